r"""
From the bytes of the Engine API to records.

Comes in: an answer of `GET /containers/ID/logs?timestamps=1` in pieces of any size. Goes out: the
records of the engine, in order, text byte by byte as the engine has it. Always holds: how the
answer was cut into pieces makes no difference; no bytes raise, what is no record is counted in
`damaged`, and what the engine says of its own troubles in `errors`.

A container without a terminal gives frames: a byte for the stream, three zeros, a length, and the
payload `TIME text\n`. One with a terminal gives payloads alone, run together: where a line was cut
at 16,384 bytes, its stamp stands in the middle of it, `TIME zzz…zzzTIME zz\r\n`.
"""

from __future__ import annotations

import codecs
import re
import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

__all__ = [
    "ONE_FOR_EACH_BYTE",
    "PART_BYTES",
    "Cut",
    "FrameParser",
    "Parser",
    "Record",
    "TerminalParser",
    "ends_message",
    "frames_end",
    "joinable",
    "to_utc",
]

Record = tuple[str, bytes, bytes]
"""(stdout or stderr; time in UTC, 30 bytes; text, with its newline where it has one)"""

Cut = tuple[str, int]
"""(time, bytes of text) of a record without newline, behind which the next one begins."""

PART_BYTES = 16_384
"""The engine cuts longer lines here (moby, daemon/logger/copier.go), before it mends them to UTF-8,
so in UTF-8 a part that has no newline is at least as long."""

MAX_RECORD_BYTES = 16 * 1024 * 1024
"""A frame that claims to be longer is none; nor is such a line of a terminal one record."""

STREAMS = {0: "stdout", 1: "stdout", 2: "stderr"}
ERROR_FRAME = 3
HEADER = struct.Struct(">B3sI")
ZEROS = b"\0\0\0"
UTC_BYTES = len(b"2026-11-22T11:08:31.289137307Z")
TERMINAL_ERROR = b"Error grabbing logs: "
STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{9})(Z|[+-]\d\d:\d\d) ")
"""20.10 gives the driver local's times in the zone of the engine's host, not in UTC."""

UNENDED = re.compile(rb"\r(?=" + STAMP.pattern + rb")")

ONE_FOR_EACH_BYTE = "spool-one-for-each-byte"


def _replace_each_byte(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\ufffd" * (error.end - error.start), error.end


# As Go does, and the engine for json-file; errors="replace" has one for a whole cut-off sequence.
codecs.register_error(ONE_FOR_EACH_BYTE, _replace_each_byte)


class Parser(Protocol):
    """
    Takes an answer apart, piece by piece.
    """

    damaged: int
    errors: int

    def feed(self, data: bytes) -> list[Record]: ...

    def finish(self) -> list[Record]: ...


class FrameParser:
    """
    The answer for a container without a terminal.
    """

    def __init__(self) -> None:
        self.damaged = 0
        self.errors = 0
        self._rest = b""
        self._is_lost = False

    def feed(self, data: bytes) -> list[Record]:
        """
        The records that end in `data`.
        """
        if self._is_lost:
            return []
        records: list[Record] = []
        data = self._rest + data
        start, size = 0, len(data)
        while size - start >= HEADER.size:
            kind, zeros, length = HEADER.unpack_from(data, start)
            if zeros != ZEROS or kind > ERROR_FRAME or length > MAX_RECORD_BYTES:
                self._is_lost = True  # no frames: where the next one is cannot be known
                self.damaged += 1
                break
            text = start + HEADER.size
            end = text + length
            if end > size:
                break
            blank = text + UTC_BYTES
            if kind == ERROR_FRAME:
                self.errors += 1
            elif data[blank - 1 : blank + 1] == b"Z " and blank < end:
                records.append((STREAMS[kind], data[text:blank], data[blank + 1 : end]))
            else:
                records.extend(self._in_zone(STREAMS[kind], data[text:end]))
            start = end
        self._rest = b"" if self._is_lost else data[start:]
        return records

    def finish(self) -> list[Record]:
        """
        The answer has ended; a frame that is not whole comes again with the next answer.
        """
        return []

    def _in_zone(self, stream: str, payload: bytes) -> Iterator[Record]:
        record = _record(stream, payload)
        if record:
            yield record
        else:
            self.damaged += 1


class TerminalParser:
    """
    The answer for a container with a terminal: all is stdout.

    `cut` is where the text ended that was read last: if a new run of the container has begun since,
    its first record follows there without a newline between. `has_unended` is true of a driver that
    gives no newline to the last part of a line that was cut (local): its text ends in the `\r` of
    the terminal, and the next record follows at once.
    """

    def __init__(self, cut: Cut | None = None, *, has_unended: bool = False) -> None:
        self.damaged = 0
        self.errors = 0
        self._cut = cut
        self._has_unended = has_unended
        self._rest = b""
        self._cr_time: bytes | None = None  # of a part that ends in \r: the next one may be empty

    def feed(self, data: bytes) -> list[Record]:
        """
        The records that end in `data`.
        """
        *lines, rest = (self._rest + data).split(b"\n")
        records: list[Record] = []
        for line in lines:
            records.extend(self._line(line + b"\n"))
        *parts, self._rest = self._parts(rest)
        if len(self._rest) > MAX_RECORD_BYTES:
            parts.append(self._rest)
            self._rest = b""
        for part in parts:
            records.extend(self._piece(part))
        return records

    def finish(self) -> list[Record]:
        """
        The answer has ended: the record without newline at its end, if there is one.
        """
        rest, self._rest = self._rest, b""
        return self._line(rest) if rest else []

    def _line(self, line: bytes) -> list[Record]:
        return [record for part in self._parts(line) for record in self._piece(part)]

    def _parts(self, line: bytes) -> list[bytes]:
        """
        A line, taken apart where its own stamp comes again. No text has it by chance; and where it
        comes again the engine has cut, not before so many bytes.
        """
        if len(line) <= PART_BYTES or not (stamp := STAMP.match(line)):
            return [line]
        parts = []
        start, length = 0, len(stamp[0])
        while (again := line.find(stamp[0], start + length + PART_BYTES)) >= 0:
            parts.append(line[start:again])
            start = again
        return [*parts, line[start:]]

    def _piece(self, piece: bytes) -> Iterator[Record]:
        record = _record("stdout", piece)
        if not record:
            if piece.startswith(TERMINAL_ERROR):
                self.errors += 1
            else:
                self.damaged += 1
            return
        stream, time, text = record
        end = self._unended(time, text)
        head = text if end < 0 else text[:end]
        self._cr_time = time if len(head) >= PART_BYTES and head[-1:] == b"\r" else None
        yield (stream, time, head)
        if end >= 0:
            yield from self._piece(text[end:])

    def _unended(self, time: bytes, text: bytes) -> int:
        """
        Where in `text` another record begins; -1 where none does.
        """
        if self._cut and self._cut[0].encode() == time and STAMP.match(text, self._cut[1]):
            return self._cut[1]
        if not self._has_unended:
            return -1
        if self._cr_time == time and STAMP.match(text):
            return 0
        following = UNENDED.search(text)
        return following.end() if following else -1


def ends_message(text: bytes) -> bool:
    """
    Whether a record is the last of its message. Without a newline that is the end of a stream, or,
    of the driver local, the last part of a line that was cut.
    """
    return text[-1:] == b"\n" or len(text) < PART_BYTES


def joinable(records: Sequence[Record]) -> list[tuple[str, str, str]]:
    """
    Records as `Joiner.read_records` takes them: text, stream, time.
    """
    return [
        (
            str(
                text if text[-1:] == b"\n" or len(text) >= PART_BYTES else text + b"\n",
                "utf-8",
                ONE_FOR_EACH_BYTE,
            ),
            stream,
            str(time, "latin-1"),
        )
        for stream, time, text in records
    ]


def frames_end(data: bytes | bytearray) -> int:
    """
    Where the last whole frame in `data` ends; behind all of it, if these are no frames.
    """
    end = 0
    while len(data) - end >= HEADER.size:
        _, zeros, length = HEADER.unpack_from(data, end)
        if zeros != ZEROS or length > MAX_RECORD_BYTES:
            return len(data)
        if end + HEADER.size + length > len(data):
            break
        end += HEADER.size + length
    return end


def _record(stream: str, payload: bytes) -> Record | None:
    stamp = STAMP.match(payload)
    if not stamp:
        return None
    text = payload[stamp.end() :]
    if stamp[3] == b"Z":
        return (stream, payload[:UTC_BYTES], text)
    try:
        return (stream, to_utc(stamp[1] + stamp[3]) + stamp[2] + b"Z", text)
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=256)
def to_utc(moment: bytes) -> bytes:
    """
    `2026-11-22T12:08:31+01:00` as UTC, without the zone. Raises ValueError, OverflowError.
    """
    local = datetime.strptime(moment.decode(), "%Y-%m-%dT%H:%M:%S%z")
    return local.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()
