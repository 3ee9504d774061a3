"""
From Docker's records to messages.

Comes in: the records of one container, or the whole lines of its json-file, in order. Goes out:
events in that order, each message without its final newline. Always holds: a message that is still
open is kept in `Joiner.open`, which the source stores with its position, so that no part is read
twice and none is lost.

Docker cuts a line at every 16,384 bytes into parts, without a newline but for the last, all with
the time of the first; the parts of stdout and of stderr may stand between each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from shipper.batch import MAX_MESSAGE_BYTES
from shipper.sources.json_file import read_line, read_plain
from shipper.sources.multiline import Multiline
from shipper.sources.splitting import MAX_CHARACTER_BYTES, split_message
from shipper.sources.times import known_times
from spool.store import Event

__all__ = ["Joiner", "Open"]

PART_BYTES = 16_384
"""Docker's: a shorter record without a newline is no part that another one follows."""

OPEN_MESSAGE_S = 30.0
"""The parts of a line come as fast as its container writes it; this is long after that."""


@dataclass(slots=True)
class Open:
    """
    A message whose end was not read yet: the time of its first part as Docker wrote it, its text.
    """

    time: str
    text: str


@dataclass(slots=True)
class Joiner:
    """
    Turns the lines of one container's files into events of one stream.

    `source_ids` are the ids of the container's stdout and stderr; `only` those that are wanted.
    With `keep_blank` an empty line is a single space, as CloudWatch takes no empty message. One of
    more than `max_bytes` of UTF-8 becomes several events. `unjoined` is what `multiline` had open
    before it was taken away. What is not an event is counted in `blank` and `damaged` (records or
    lines).
    """

    stream_id: int
    source_ids: dict[str, int]
    open: dict[str, Open] = field(default_factory=dict)
    keep_blank: bool = False
    max_bytes: int = MAX_MESSAGE_BYTES
    only: frozenset[int] | None = None
    multiline: Multiline | None = None
    unjoined: dict[str, Any] = field(default_factory=dict)
    blank: int = 0
    damaged: int = 0

    def read(self, data: bytes) -> list[Event]:
        """
        The events that end in `data`, which is one or more whole lines.
        """
        return self._chosen(self.read_all(data))

    def read_all(self, data: bytes) -> list[Event]:
        """
        The same, of both streams and line by line.
        """
        if not self.open:
            try:
                return self._read_plain(data)
            except (ValueError, LookupError, RecursionError):
                pass  # something on these lines is out of the ordinary: look at each
        return [event for line in data.split(b"\n") if line for event in self._read_line(line)]

    def _chosen(self, events: list[Event]) -> list[Event]:
        """
        Of stdout and stderr what is wanted, and lines that belong together made one.
        """
        if self.only is not None:
            events = [event for event in events if event[2] in self.only]
        if self.unjoined:
            events = self._as_they_are() + events
        return self.multiline.read(events) if self.multiline else events

    def _as_they_are(self) -> list[Event]:
        """
        Messages that were open when lines were still joined.
        """
        begun, self.unjoined = self.unjoined, {}
        return [
            (self.stream_id, timestamp, int(source_id), text)
            for source_id, (timestamp, lines) in begun.items()
            for text in split_message("\n".join(lines), self.max_bytes)
        ]

    def read_records(self, records: Iterable[tuple[str, str, str]]) -> list[Event]:
        """
        The events that end in these records: (text with its newline if it has one, stream, time).

        A record without newline ends its message where it is shorter than Docker's parts are.
        """
        return self._chosen(self._read_records(list(records)))

    def _read_records(self, records: list[tuple[str, str, str]]) -> list[Event]:
        if not self.open:
            try:
                return self._read_plain_records(records)
            except (ValueError, LookupError):
                pass  # something among these is out of the ordinary: look at each
        events: list[Event] = []
        for text, stream, time in records:
            try:
                self._event(stream, time, text)
            except (ValueError, LookupError):
                self.damaged += 1
                continue
            is_end = not text.endswith("\n") and len(text.encode()) < PART_BYTES
            events.extend(self._read_record(text + "\n" if is_end else text, stream, time))
        return events

    def is_open(self) -> bool:
        """
        Whether a message has begun whose end was not read.
        """
        return bool(self.open or self.unjoined or (self.multiline and self.multiline.open))

    def patience_s(self) -> float:
        """
        How long the end of what is open is waited for when its container is silent.
        """
        if self.unjoined and not self.open:
            return 0.0
        if self.multiline and not self.open:
            return self.multiline.rule.flush_s
        return OPEN_MESSAGE_S

    def flush(self) -> list[Event]:
        """
        What is open, as messages: their ends will not come.
        """
        ended = [self._close(stream) for stream in sorted(self.open)]
        events = self._chosen([event for events in ended for event in events])
        return events + self.multiline.flush(self.stream_id) if self.multiline else events

    def _read_plain(self, data: bytes) -> list[Event]:
        """
        The fast way, for lines that each begin a record, all of them of whole messages.
        """
        records = read_plain(data)
        stream_id, source_ids = self.stream_id, self.source_ids
        times = known_times
        events = [
            (stream_id, times[record.time[:23]], source_ids[record.stream], log[:-1])
            for record in records
            if (log := record.log) != "\n" and log[-1] == "\n"
        ]
        blank = 0
        if len(events) < len(records) and not self.keep_blank:
            blank = sum(record.log == "\n" for record in records)
        if len(events) + blank < len(records) or self.has_long(data, events):
            raise ValueError("partial or very long messages among them")
        self.blank += blank
        return events

    def _read_plain_records(self, records: list[tuple[str, str, str]]) -> list[Event]:
        """
        The fast way, for records that are each a whole, non-empty message.
        """
        stream_id, source_ids, times = self.stream_id, self.source_ids, known_times
        short = min(PART_BYTES, self.max_bytes // MAX_CHARACTER_BYTES)
        events = [
            (stream_id, times[time[:23]], source_ids[stream], text[:-1])
            for text, stream, time in records
            if 1 < len(text) < short and text[-1] == "\n"
        ]
        if len(events) < len(records):
            raise ValueError("partial, blank or very long messages among them")
        return events

    def has_long(self, data: bytes, events: list[Event]) -> bool:
        """
        Whether a message may be longer than an event; no record is longer than all of them.
        """
        if len(data) <= self.max_bytes:
            return False
        longest = max((len(event[3]) for event in events), default=0)
        return longest * MAX_CHARACTER_BYTES > self.max_bytes

    def _read_line(self, line: bytes) -> Iterator[Event]:
        records, damaged = read_line(line)
        self.damaged += damaged
        for record in records:
            try:
                self._event(record.stream, record.time, record.log)
            except (ValueError, LookupError):
                self.damaged += 1
                continue
            yield from self._read_record(record.log, record.stream, record.time)

    def _read_record(self, log: str, stream: str, time: str) -> Iterator[Event]:
        text = log.removesuffix("\n")
        begun = self.open.get(stream)
        if begun and begun.time != time:  # a new message: the open one ended without a newline
            yield from self._close(stream)
        yield from self.add_part(stream, time, text, is_last=text is not log)

    def add_part(self, stream: str, time: str, text: str, *, is_last: bool) -> Iterator[Event]:
        """
        A part more of the message that is open in `stream`, or the first one of the next; what can
        be told of it now.
        """
        begun = self.open.get(stream)
        if begun:
            begun.text += text
        else:
            begun = self.open[stream] = Open(time, text)
        if is_last:
            yield from self._close(stream)
        elif len(begun.text) > self.max_bytes:
            *full, begun.text = split_message(begun.text, self.max_bytes)
            yield from (self._event(stream, time, text) for text in full)

    def _close(self, stream: str) -> list[Event]:
        message = self.open.pop(stream)
        if not message.text:
            if not self.keep_blank:
                self.blank += 1
                return []
            message.text = " "
        texts = split_message(message.text, self.max_bytes)
        return [self._event(stream, message.time, text) for text in texts]

    def _event(self, stream: str, time: str, text: str) -> Event:
        return (self.stream_id, known_times[time[:23]], self.source_ids[stream], text)

    def position(self) -> dict[str, Any]:
        """
        What is open, to be stored; `Joiner.resume` takes it back.
        """
        position: dict[str, Any] = {
            stream: [message.time, message.text] for stream, message in self.open.items()
        }
        if self.unjoined:
            position["multiline"] = self.unjoined
        elif self.multiline and self.multiline.open:
            position["multiline"] = self.multiline.position()
        return position

    def resume(self, position: dict[str, Any], time_form: Callable[[str], str] = str) -> None:
        """
        Go on where `position` was given, maybe by another source: `time_form` makes of a record's
        time what it is here.
        """
        begun = position.get("multiline", {})
        if self.multiline:
            self.multiline.resume(begun)
        else:
            self.unjoined = begun  # the setting was taken away
        self.open = {
            stream: Open(time_form(message[0]), message[1])
            for stream, message in position.items()
            if stream != "multiline"
        }
