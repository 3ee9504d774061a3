"""
What an engine has of one container's log, as a list of records, and how it answers: with the
engine's own rules for `tail` and `since`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

from shipper.sources.engine_wire import EngineUnavailable

__all__ = ["PART", "Log", "Written"]

PART = b"p" * 16_384


class Written(NamedTuple):
    stream: str
    time: str
    text: bytes


class Log:
    """
    The log of one container.
    """

    def __init__(self) -> None:
        self.records: list[Written] = []
        self.newest_file = 0
        self.asked: list[Mapping[str, str]] = []
        self.clock_ns = 1_795_000_000_000_000_000
        self.breaks_after: int | None = None

    def write(self, *texts: bytes, stream: str = "stdout", same_time: bool = False) -> None:
        for text in texts:
            if not same_time:
                self.clock_ns += 1_000_003
            moment = datetime.fromtimestamp(self.clock_ns // 10**9, UTC)
            time = moment.strftime("%Y-%m-%dT%H:%M:%S") + f".{self.clock_ns % 10**9:09d}Z"
            self.records.append(Written(stream, time, text))

    def drop(self, count: int) -> None:
        del self.records[:count]
        self.newest_file = max(0, self.newest_file - count)

    def rotate(self) -> None:
        """
        From here on is the newest file; `since` looks into no other.
        """
        self.newest_file = len(self.records)

    @contextmanager
    def answer(self, container_id: str, asked: Mapping[str, str]) -> Iterator[Iterator[bytes]]:
        assert len(container_id) == 64
        self.asked.append(asked)
        records = self.records[self.newest_file if "since" in asked else 0 :]
        if asked["tail"] != "all":
            records = records[-int(asked["tail"]) :]
        if "since" in asked:
            records = [record for record in records if seconds(record.time) >= asked["since"]]
        yield self.pieces(records)

    def pieces(self, records: list[Written]) -> Iterator[bytes]:
        for number, record in enumerate(records):
            if number == self.breaks_after:
                raise EngineUnavailable("cut")
            payload = record.time.encode() + b" " + record.text
            kind = 1 if record.stream == "stdout" else 2
            yield struct.pack(">BxxxI", kind, len(payload)) + payload


def seconds(time: str) -> str:
    moment = datetime.strptime(time[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    return f"{int(moment.timestamp())}.{time[20:29]}"
