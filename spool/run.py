"""
Runs: consecutive ids of one stream, and what these hold.

Comes in: events, as they are stored or as they lie in the file. Goes out: runs, in the order of
ids. Always holds: a run has RUN_BLOCK events at most and lies between two multiples of that, and
so in one extent; it is small against a batch, unless a single event is larger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import apsw

from spool.connection import select
from spool.schema import RUN_BLOCK

__all__ = ["RUN_BYTES", "Event", "Run", "blocks", "runs_of", "runs_stored"]

Event = tuple[int, int, int, str]
"""(stream id, timestamp in ms since the epoch, source id, message of at least one character)."""

RUN_BYTES = 128 * 1024
"""How large a run becomes at most, where no single event is larger: an eighth of a batch."""


class Run(NamedTuple):
    """
    Consecutive ids of one stream; first and last timestamp in ms, UTF-8 bytes of the messages;
    whether it is known that no event is older than one with a lower id.
    """

    first_id: int
    last_id: int
    first_timestamp: int
    last_timestamp: int
    bytes: int
    in_order: bool

    @property
    def events(self) -> int:
        """
        How many.
        """
        return self.last_id - self.first_id + 1


def runs_of(events: Sequence[Event], first_id: int) -> list[Run]:
    """
    The runs that events become which are stored under the ids from `first_id` on.
    """

    def measure(first: int, last: int) -> Run:
        measured = events[first - first_id : last - first_id + 1]
        text = "".join([event[3] for event in measured])
        size = len(text) if text.isascii() else len(text.encode())
        timestamps = [event[1] for event in measured]
        ordered = sorted(timestamps)
        return Run(first, last, ordered[0], ordered[-1], size, ordered == timestamps)

    return list(_runs(first_id, first_id + len(events) - 1, measure))


def runs_stored(
    db: apsw.Connection, first_id: int, last_id: int, *, in_order: bool = False
) -> list[Run]:
    """
    The runs of events that are in the file under these ids, all of one stream.
    """

    def measure(first: int, last: int) -> Run:
        (found,) = select(
            db,
            "SELECT min(timestamp), max(timestamp), sum(octet_length(message)) FROM event"
            " WHERE id BETWEEN ? AND ?",
            (first, last),
        )
        return Run(first, last, found[0], found[1], found[2], in_order)

    return list(_runs(first_id, last_id, measure))


def blocks(first_id: int, last_id: int) -> list[tuple[int, int]]:
    """
    Ids (first, last), cut where one is a multiple of RUN_BLOCK.
    """
    starts = range(first_id - first_id % RUN_BLOCK, last_id + 1, RUN_BLOCK)
    return [(max(start, first_id), min(start + RUN_BLOCK - 1, last_id)) for start in starts]


def _runs(first_id: int, last_id: int, measure: Callable[[int, int], Run]) -> Iterator[Run]:
    for block in blocks(first_id, last_id):
        run = measure(*block)
        if run.bytes <= RUN_BYTES or run.events == 1:
            yield run
        else:
            step = max(1, run.events * RUN_BYTES // run.bytes)
            for start in range(run.first_id, run.last_id + 1, step):
                yield measure(start, min(start + step - 1, run.last_id))
