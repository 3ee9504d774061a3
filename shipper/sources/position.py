"""
Where a container's log was read to, and finding that place again in an answer of the Engine API.

Comes in: the records of an answer, in order. Goes out: those that were not consumed before. Always
holds: a place is known by a record that was seen there, never by a number of bytes or of seconds,
as the engine drops records in front and its times are not monotone.

The marker is the last consumed record that ended its message: two messages of a stream have
different times, and a message has one end. Behind it there can only be parts of open messages (and
twins of the marker, of drivers whose times are coarse); they may be equal to each other, so they
are counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from zlib import crc32

from shipper.sources.records import Cut, Record, ends_message

__all__ = ["Behind", "Filter", "LastWords", "Later", "Marker", "NotBefore", "Position"]


@dataclass(frozen=True, slots=True)
class Marker:
    """
    What a record is known by: its time, its stream, a checksum and the length of its text.
    """

    time: str
    stream: str
    checksum: int
    length: int

    @staticmethod
    def of(record: Record) -> Marker:
        """
        The marker that `record` would be.
        """
        stream, time, text = record
        return Marker(time.decode("latin-1"), stream, crc32(text), len(text))

    def find(self, records: Sequence[Record]) -> int:
        """
        The index of the record that this marks; -1 where it is not among them.
        """
        wanted, stream, length = self.time.encode("latin-1"), self.stream, self.length
        alike = (
            (index, text)
            for index, record in enumerate(records)
            if record[1] == wanted and record[0] == stream and len(text := record[2]) == length
        )
        return next((index for index, text in alike if crc32(text) == self.checksum), -1)


@dataclass(slots=True)
class Position:
    """
    Behind `marker` and `after` more records. Without a marker no message has ended yet.
    """

    marker: Marker | None = None
    after: int = 0
    cut: Cut | None = None

    def advance(self, records: Sequence[Record]) -> None:
        """
        Now behind these records, too.
        """
        if not records:
            return
        _, time, text = records[-1]
        self.cut = None if text[-1:] == b"\n" else (time.decode("latin-1"), len(text))
        for index in range(len(records) - 1, -1, -1):
            if ends_message(records[index][2]):
                self._mark(records, records.index(records[index]))
                return
        self.after += len(records)

    def _mark(self, records: Sequence[Record], index: int) -> None:
        marker = Marker.of(records[index])
        if marker == self.marker:  # its twin
            self.after += len(records)
        else:
            self.marker, self.after = marker, len(records) - 1 - index

    def to_json(self) -> dict[str, Any]:
        """
        To be stored.
        """
        marker = self.marker
        return {
            "marker": marker and [marker.time, marker.stream, marker.checksum, marker.length],
            "after": self.after,
            "cut": self.cut,
        }

    @staticmethod
    def from_json(saved: Mapping[str, Any]) -> Position:
        """
        What `to_json` gave.
        """
        marker, cut = saved["marker"], saved["cut"]
        return Position(
            marker=Marker(*marker) if marker else None,
            after=saved["after"],
            cut=(cut[0], cut[1]) if cut else None,
        )


class Filter(Protocol):
    """
    Lets through what of an answer is new.

    `is_hopeless` once it is clear that the answer does not reach back far enough; `has_found` tells
    at its end whether it did. `has_later`: it has records that may be new.
    """

    is_hopeless: bool
    has_found: bool
    has_later: bool

    def take(self, records: Sequence[Record]) -> Sequence[Record]: ...


class Behind:
    """
    What is behind a position. `is_whole`: the answer has all that the engine still has.
    """

    def __init__(self, position: Position, *, is_whole: bool) -> None:
        self.is_hopeless = False
        self.has_later = False
        self.has_found = position.marker is None
        self._marker = position.marker
        self._is_whole = is_whole
        self._is_first = True
        self._skip = position.after

    def take(self, records: Sequence[Record]) -> Sequence[Record]:
        """
        Those of the next records that are new.
        """
        if self._marker and not self.has_found and records:
            records = self._behind(self._marker, records)
        if self._skip and self.has_found:
            skipped = min(self._skip, len(records))
            self._skip -= skipped
            records = records[skipped:]
        return records

    def _behind(self, marker: Marker, records: Sequence[Record]) -> Sequence[Record]:
        wanted = marker.time.encode("latin-1")
        is_first, self._is_first = self._is_first, False
        if is_first and not self._is_whole and records[0][1] > wanted:
            self.is_hopeless = True
            return []
        index = marker.find(records)
        if index < 0:
            self.has_later = self.has_later or any(time > wanted for _, time, _ in records)
            return []
        if is_first and index == 0 and self._skip and not self._is_whole:
            self.is_hopeless = True  # it may be a twin, with others before it
            return []
        self.has_found = True
        return records[index + 1 :]


class Later:
    """
    What is later than a marker that is nowhere any more. Of the messages that are open nothing
    more is taken: how many of their parts were read before cannot be told.
    """

    def __init__(self, marker: Marker, open_times: Mapping[str, str]) -> None:
        self.is_hopeless = False
        self.has_found = self.has_later = True
        self._time = marker.time.encode("latin-1")
        self._open = {(stream, time.encode("latin-1")) for stream, time in open_times.items()}

    def take(self, records: Sequence[Record]) -> Sequence[Record]:
        """
        Those of the next records that are new.
        """
        return [
            record
            for record in records
            if record[1] > self._time and (not self._open or record[:2] not in self._open)
        ]


class NotBefore:
    """
    What is not older than a time, but for the first `after` of that.
    """

    def __init__(self, time: str, after: int, *, is_whole: bool) -> None:
        self.is_hopeless = False
        self.has_found = self.has_later = True
        self._time = time.encode("latin-1")
        self._skip = after
        self._is_whole = is_whole

    def take(self, records: Sequence[Record]) -> Sequence[Record]:
        """
        Those of the next records that are new.
        """
        if not self._is_whole and records and records[0][1] >= self._time:
            self.is_hopeless = True
            return []
        self._is_whole = True  # that was asked of the first record only
        new = [record for record in records if record[1] >= self._time]
        skipped = min(self._skip, len(new))
        self._skip -= skipped
        return new[skipped:]


class LastWords:
    """
    What is new in a stream that was followed, which repeats records where files rotate: of each
    stream, what is later than all before. Where the marker is in it, that is what is behind the
    marker; where it is not, nothing more is taken of the messages that are open.
    """

    def __init__(self, position: Position, open_times: Mapping[str, str]) -> None:
        self.is_hopeless = False
        self.has_found = self.has_later = True
        self._marker = position.marker
        self._after = position.after
        self._marked = self._marker.time.encode("latin-1") if self._marker else b""
        self._ended = {"stdout": self._marked, "stderr": self._marked}
        self._open = {(stream, time.encode("latin-1")) for stream, time in open_times.items()}
        self._latest: bytes | None = None

    @property
    def is_short(self) -> bool:
        """
        Whether the stream broke off before it came to where the log was read to.
        """
        return self._latest is not None and self._latest < self._marked

    def take(self, records: Sequence[Record]) -> Sequence[Record]:
        """
        Those of the next records that are new.
        """
        if records:
            self._latest = max(self._latest or b"", *(time for _, time, _ in records))
        index = self._marker.find(records) if self._marker else -1
        if index >= 0:
            records = records[index + 1 + self._after :]
            self._marker = None
            self._open.clear()
        return [record for record in records if self._is_new(record)]

    def _is_new(self, record: Record) -> bool:
        stream, time, text = record
        if time <= self._ended[stream] or record[:2] in self._open:
            return False
        if ends_message(text):
            self._ended[stream] = time
        return True
