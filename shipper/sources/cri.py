r"""
From the bytes of a CRI log to messages.

Comes in: whole lines of one container's log file, each a record such as
`2016-10-06T00:17:09.669794202Z stdout F text\n`, in the file's order: time, stream, tags between
colons of which the first is F where a message ends and P where it goes on, and the text
(https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md).
Goes out: events, as `Joiner` gives them. Always holds: no bytes raise; a damaged line costs itself.

containerd cuts a line at every 16,384 bytes and CRI-O at every 8,192, and each part has a time of
its own. CRI-O also writes what has no newline yet. The text is as the container wrote it: what is
no UTF-8 becomes U+FFFD, one for each byte, as Docker does it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from shipper.sources.lines import Joiner
from shipper.sources.records import ONE_FOR_EACH_BYTE, to_utc
from shipper.sources.times import MAX_KNOWN_TIMES, known_times
from spool.store import Event

__all__ = ["CriJoiner"]

LINE = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,9})?"
    r"(Z|[+-][0-9]{2}:[0-9]{2}) (stdout|stderr) ([^ :]+)(?::[^ ]*)?(?: (.*))?",
    re.DOTALL,
)
PARTIAL = "P"

ZONE_AT = len("2016-10-06T00:17:09.669794202")
"""Behind nine digits, which containerd and CRI-O always write."""

UTC = "Z"


@dataclass(slots=True)
class CriJoiner(Joiner):
    """
    Turns the lines of one run of a pod's container into events of one stream.
    """

    def read_all(self, data: bytes) -> list[Event]:
        """
        The events that end in `data`, of both streams and line by line.
        """
        lines = str(data[:-1], "utf-8", ONE_FOR_EACH_BYTE).split("\n")
        if not self.open:
            try:
                return self._read_alike(data, lines)
            except (ValueError, LookupError, OverflowError):
                pass  # something on these lines is out of the ordinary: look at each
        return [event for line in lines if line for event in self._read_one(line)]

    def _read_alike(self, data: bytes, lines: list[str]) -> list[Event]:
        """
        The fast way, for lines that are each a record of a whole message, all in one time zone.
        """
        zone = UTC if lines[0][ZONE_AT] == UTC else lines[0][ZONE_AT : ZONE_AT + len("+00:00")]
        stream_id, times = self.stream_id, _times_in(zone)
        kinds = {f"{zone} {stream} F ": id_ for stream, id_ in self.source_ids.items()}
        start = ZONE_AT + len(zone) + len(" stdout F ")
        events = [
            (stream_id, times[line[:23]], kinds[line[ZONE_AT:start]], line[start:])
            for line in lines
            if len(line) > start
        ]
        blank = 0
        if len(events) < len(lines) and not self.keep_blank:
            blank = sum(
                line[ZONE_AT:] in kinds and times[line[:23]] >= 0
                for line in lines
                if len(line) == start
            )
        if len(events) + blank < len(lines) or self.has_long(data, events):
            raise ValueError("damaged or very long messages among them")
        self.blank += blank
        return events

    def _read_one(self, line: str) -> Iterator[Event]:
        record = line.lstrip("\0")
        if record is not line:
            self.damaged += 1  # a hole, as after a power cut; what stands behind it is whole
        match = LINE.fullmatch(record)
        time = _time(match) if match else None
        if match is None or time is None:
            self.damaged += bool(record)
            return
        yield from self.add_part(match[4], time, match[6] or "", is_last=match[5] != PARTIAL)


class _ZoneTimes(dict[str, int]):
    """
    As `known_times`, of clocks that are ahead of UTC.
    """

    def __init__(self, ahead_ms: int) -> None:
        super().__init__()
        self._ahead_ms = ahead_ms

    def __missing__(self, text: str) -> int:
        if len(self) >= MAX_KNOWN_TIMES:
            self.clear()
        timestamp = known_times[text] - self._ahead_ms
        if timestamp < 0:
            raise ValueError(text)
        self[text] = timestamp
        return timestamp


@lru_cache(maxsize=8)
def _times_in(zone: str) -> dict[str, int]:
    """
    From times there to ms since the epoch. Raises ValueError for what is no zone.
    """
    if zone == UTC:
        return known_times
    offset = datetime.strptime(zone, "%z").utcoffset()
    if offset is None:
        raise ValueError(zone)
    return _ZoneTimes(round(offset.total_seconds() * 1000))


def _time(match: re.Match[str]) -> str | None:
    """
    In UTC, as `known_times` takes it; None where that is no time.
    """
    seconds, fraction, zone = match[1], match[2] or "", match[3]
    try:
        if zone != UTC:
            seconds = to_utc((seconds + zone).encode()).decode()
        time = f"{seconds}{fraction}"
        known_times[time[:23]]
    except (ValueError, OverflowError):
        return None
    return time
