"""
Source: lines of files or stdin, for `spool put`.

Comes in: a binary file. Goes out: readings, each with the events of up to READ_BYTES of lines.
Always holds: every line becomes an event, whatever is wrong with it, or is blank and counted; what
is not UTF-8 becomes U+FFFD.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from msgspec import json

from shipper.sources.reading import Reading
from shipper.sources.splitting import split_message
from spool.skipped import BLANK
from spool.store import Chunk, Event

__all__ = ["TextSource"]

READ_BYTES = 1_000_000

MAX_LINE_BYTES = 16 * 1024 * 1024
"""A longer line is taken in pieces of this size, so that memory is bounded."""


@dataclass(slots=True)
class TextSource:
    """
    How lines become events of one stream: `place` has its id and that of the source, and is not
    called before there is an event.

    With `timestamp_field`, a line is a JSON object and its time is in that field (as `parse_time`
    takes it, to ms since the epoch); with `message_field`, its message too. A line that is not so
    is stored as it is with the present time, and counted in `odd`.
    """

    place: Callable[[], tuple[int, int]]
    now_ms: Callable[[], int]
    parse_time: Callable[[str | float], int]
    timestamp_field: str | None = None
    message_field: str | None = None
    odd: int = 0

    def readings(self, file: BinaryIO) -> Iterator[Reading]:
        """
        The lines of `file`, in order; from a pipe, what there is each time.
        """
        rest = b""
        goes_on = False
        while True:
            data = file.read1(READ_BYTES)  # type: ignore[attr-defined]
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            if goes_on and lines and not lines[0]:
                del lines[0]  # the end of what was taken in pieces
            goes_on = len(rest) > MAX_LINE_BYTES
            if not data or goes_on:
                end = _end_of_characters(rest) if data else len(rest)
                lines += [rest[:end]] if end else []
                rest = rest[end:]
            yield self._reading(lines)
            if not data:
                return

    def _reading(self, lines: list[bytes]) -> Reading:
        now_ms = self.now_ms()
        texts = [line.decode(errors="replace") for line in lines if line]
        reading = Reading()
        reading.skip(BLANK, len(lines) - len(texts))
        if texts:
            stream_id, source_id = self.place()
            events: list[Event] = [
                (stream_id, timestamp, source_id, part)
                for timestamp, message in (self._parse(text, now_ms) for text in texts)
                for part in split_message(message)
            ]
            reading.chunks.append(Chunk(stream_id, events))
        return reading

    def _parse(self, text: str, now_ms: int) -> tuple[int, str]:
        if self.timestamp_field is None:
            return (now_ms, text)
        try:
            record = json.decode(text)
            message = record.get(self.message_field, text) if self.message_field else text
            timestamp = self._timestamp(record)
            return (now_ms if timestamp is None else timestamp, _text(message) or text)
        except (ValueError, AttributeError, OverflowError, RecursionError):
            self.odd += 1
            return (now_ms, text)

    def _timestamp(self, record: dict[str | None, Any]) -> int | None:
        value = record.get(self.timestamp_field)
        if value is None and self.message_field:
            return None  # its own format: a line without a time is from now
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(value)
        timestamp = self.parse_time(value)
        if timestamp < 0:
            raise ValueError(value)
        return timestamp


def _end_of_characters(data: bytes) -> int:
    """
    Where to cut, so that no character is cut: at most 3 bytes before the end.
    """
    for back in (1, 2, 3):
        if data[-back] & 0xC0 != 0x80:  # begins a character, which may go on behind the end
            return len(data) - back if data[-back] >= 0xC0 else len(data)
    return len(data)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.encode(value).decode()
