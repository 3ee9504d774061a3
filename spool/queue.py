"""
The queue: which events wait for a batch, as runs of consecutive ids.

Comes in: ids. Goes out: the oldest of a stream, for a batch. Always holds: an event is queued once;
the counts of its stream say how many are.

A run is small against a batch, so that a batch is as a rule made of whole runs, without a look at
its events; it is filled up from the next one. Only where runs overlap in time, at the end of a
batch, are all its events taken one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import apsw

from spool import extent
from spool.connection import select
from spool.run import RUN_BYTES, Run, runs_stored
from spool.schema import RUN_BLOCK

__all__ = [
    "SLICE_BYTES",
    "SLICE_EVENTS",
    "Limits",
    "Taken",
    "consecutive",
    "drop_oldest",
    "enqueue",
    "is_outside",
    "slice_length",
    "take_oldest",
    "take_outside",
]

LOOK_EVENTS = 40_000
"""
So many events are looked at for one batch. Where more overlap in time, the order is right within
each batch, and may not be from one batch to the next.
"""

SLICE_EVENTS = 10_000
SLICE_BYTES = 1024 * 1024
"""Deleted in one transaction: tens of ms, so that no writer waits long."""


@dataclass(frozen=True, slots=True)
class Limits:
    """
    What may be in one batch.

    `pack` tells how many of the first runs fit in whole, maybe none; `fit` how many of the first
    events do, at least one, from their timestamps (ms, ascending) and their messages' bytes.
    """

    pack: Callable[[Sequence[Run]], int]
    fit: Callable[[Sequence[int], Sequence[int]], int]


@dataclass(frozen=True, slots=True)
class Taken:
    """
    What is no longer queued: runs (first id, last id), events, bytes, first and last timestamp;
    whether the ids are known to be in timestamp order.
    """

    runs: list[tuple[int, int]]
    events: int
    bytes: int
    first_timestamp: int
    last_timestamp: int
    in_order: bool = False


def enqueue(db: apsw.Connection, stream_id: int, runs: Sequence[Run]) -> None:
    """
    Queue runs of one stream, no event of which is queued.
    """
    first, *others = runs
    if not _extend(db, stream_id, first):
        others = [*runs]
    db.executemany(
        "INSERT INTO queue (stream_id, first_id, last_id, first_timestamp, last_timestamp, bytes,"
        " in_order) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(stream_id, *run) for run in others],
    )
    db.execute(
        "UPDATE stream SET queued = queued + ?, queued_bytes = queued_bytes + ? WHERE id = ?",
        (sum(run.events for run in runs), sum(run.bytes for run in runs), stream_id),
    )


def _extend(db: apsw.Connection, stream_id: int, run: Run) -> bool:
    """
    Make it part of the run just before it, if there is room: lines that trickle in would be as many
    runs.
    """
    db.execute(
        "UPDATE queue SET last_id = ?2, bytes = bytes + ?5,"
        " in_order = in_order AND ?6 AND last_timestamp <= ?3,"
        " first_timestamp = min(first_timestamp, ?3), last_timestamp = max(last_timestamp, ?4)"
        " WHERE first_id = (SELECT max(first_id) FROM queue WHERE first_id < ?1)"
        f" AND last_id = ?1 - 1 AND stream_id = ?7 AND first_id / {RUN_BLOCK} = ?1 / {RUN_BLOCK}"
        f" AND bytes + ?5 <= {RUN_BYTES}",
        (*run, stream_id),
    )
    return db.changes() > 0


def take_oldest(db: apsw.Connection, stream_id: int, limits: Limits) -> Taken | None:
    """
    Remove a stream's oldest events from the queue, as many as the limits allow.
    """
    runs = _oldest_runs(db, stream_id)
    if not runs:
        return None
    packed = limits.pack(runs)
    if packed and _ends_before(runs[:packed], runs[packed:]):
        return _take_runs(db, stream_id, runs, packed, limits)
    horizon = max(run.last_timestamp for run in runs[: packed + 1])
    involved = [run for run in runs if run.first_timestamp <= horizon]
    return _take_events(db, stream_id, involved, limits)


def is_outside(db: apsw.Connection, stream_id: int, oldest_ms: int, newest_ms: int) -> bool:
    """
    Whether a stream's next events are before or after that.
    """
    runs = _oldest_runs(db, stream_id)
    return any(r.first_timestamp < oldest_ms or r.last_timestamp > newest_ms for r in runs)


def take_outside(
    db: apsw.Connection, stream_id: int, oldest_ms: int, newest_ms: int
) -> list[tuple[int, int]]:
    """
    Remove those of a stream's next events that are before or after that; their (timestamp, id).
    """
    runs = [
        run
        for run in _oldest_runs(db, stream_id)
        if run.first_timestamp < oldest_ms or run.last_timestamp > newest_ms
    ]
    taken: list[tuple[int, int]] = [
        (timestamp, event_id)
        for timestamp, event_id, _ in _events_of(db, runs)
        if not oldest_ms <= timestamp <= newest_ms
    ]
    _remove(db, stream_id, runs)
    _put_back(db, stream_id, runs, {event_id for _, event_id in taken})
    return taken


def drop_oldest(db: apsw.Connection) -> int:
    """
    Delete a slice of the stream in which the oldest event waits: its next ones, by whole runs,
    counted as dropped; returns how many. A run with the newest event of all stays.
    """
    newest_id = db.execute("SELECT max(id) FROM event").get
    streams = select(
        db,
        "SELECT id, (SELECT first_timestamp FROM queue WHERE stream_id = stream.id AND last_id < ?"
        " ORDER BY first_timestamp LIMIT 1) AS oldest"
        " FROM stream WHERE queued > 0 AND oldest IS NOT NULL ORDER BY oldest, id LIMIT 1",
        (newest_id,),
    )
    if not streams:
        return 0
    stream_id = streams[0][0]
    runs = [run for run in _oldest_runs(db, stream_id) if run.last_id < newest_id]
    count = slice_length((run.events, run.bytes) for run in runs)
    return _drop(db, stream_id, runs[:count])


def consecutive(ids: Sequence[int]) -> list[tuple[int, int]]:
    """
    The runs (first, last) of consecutive numbers among distinct ids.
    """
    ordered = sorted(ids)
    breaks = [(end, start) for end, start in pairwise(ordered) if start != end + 1]
    firsts = [*ordered[:1], *(start for _, start in breaks)]
    lasts = [*(end for end, _ in breaks), *ordered[-1:]]
    return list(zip(firsts, lasts, strict=True))


def slice_length(sizes: Iterable[tuple[int, int]]) -> int:
    """
    How many of the first of these (events, bytes) make up a slice; at least one where there is one.
    """
    sums = list(accumulate(sizes, lambda sum_, more: (sum_[0] + more[0], sum_[1] + more[1])))
    fitting = [sum_ for sum_ in sums if sum_[0] <= SLICE_EVENTS and sum_[1] <= SLICE_BYTES]
    return max(len(fitting), min(len(sums), 1))


def _oldest_runs(db: apsw.Connection, stream_id: int) -> list[Run]:
    """
    A stream's runs by their first timestamps, up to LOOK_EVENTS: enough for a batch.
    """
    runs: list[Run] = []
    events = 0
    for row in db.execute(
        "SELECT first_id, last_id, first_timestamp, last_timestamp, bytes, in_order FROM queue"
        " WHERE stream_id = ? ORDER BY first_timestamp, first_id",
        (stream_id,),
    ):
        runs.append(Run._make(row))
        events += runs[-1].events
        if events >= LOOK_EVENTS:
            break
    return runs


def _events_of(db: apsw.Connection, runs: Sequence[Run]) -> list[tuple[int, int, int]]:
    """
    (timestamp, id, bytes) of the events in these runs.
    """
    return [
        row
        for run in runs
        for row in select(
            db,
            "SELECT timestamp, id, octet_length(message) FROM event WHERE id BETWEEN ? AND ?",
            (run.first_id, run.last_id),
        )
    ]


def _ends_before(runs: Sequence[Run], others: Sequence[Run]) -> bool:
    """
    Whether no event of `others` belongs before one of `runs`; `others` begin in order of time, and
    of equal ones the first stored is first.
    """
    if not others:
        return True
    end = max((run.last_timestamp, run.last_id) for run in runs)
    return end < (others[0].first_timestamp, others[0].first_id)


def _take_runs(
    db: apsw.Connection, stream_id: int, runs: Sequence[Run], packed: int, limits: Limits
) -> Taken:
    """
    The first runs whole, and of the next what still fits, if that one ends before the others.
    """
    whole, cut = runs[:packed], runs[packed : packed + 1]
    singles: list[Run] = []
    if cut and _ends_before(cut, runs[packed + 1 :]):
        singles = [
            Run(id_, id_, time, time, size, in_order=True)
            for time, id_, size in sorted(_events_of(db, cut))
        ]
    part = singles[: limits.pack([*whole, *singles]) - packed]
    taken = [*whole, *part]
    _remove(db, stream_id, [*whole, *cut] if part else whole)
    if part:
        _put_back(db, stream_id, cut, {run.first_id for run in part}, in_order=cut[0].in_order)
    return Taken(
        runs=_joined([(run.first_id, run.last_id) for run in taken]),
        events=sum(run.events for run in taken),
        bytes=sum(run.bytes for run in taken),
        first_timestamp=taken[0].first_timestamp,
        last_timestamp=max(run.last_timestamp for run in taken),
        in_order=_are_in_order(taken),
    )


def _take_events(db: apsw.Connection, stream_id: int, runs: Sequence[Run], limits: Limits) -> Taken:
    """
    The oldest events one by one: where runs overlap, or one is more than a batch.
    """
    rows = sorted(_events_of(db, runs))
    timestamps, ids, sizes = zip(*rows, strict=True)
    count = limits.fit(timestamps, sizes)
    taken = ids[:count]
    last = timestamps[count - 1]
    touched = [run for run in runs if run.first_timestamp <= last]
    _remove(db, stream_id, touched)
    _put_back(db, stream_id, touched, set(taken))
    return Taken(
        runs=consecutive(taken),
        events=count,
        bytes=sum(sizes[:count]),
        first_timestamp=timestamps[0],
        last_timestamp=last,
    )


def _remove(db: apsw.Connection, stream_id: int, runs: Sequence[Run]) -> None:
    db.executemany("DELETE FROM queue WHERE first_id = ?", [(run.first_id,) for run in runs])
    db.execute(
        "UPDATE stream SET queued = queued - ?, queued_bytes = queued_bytes - ? WHERE id = ?",
        (sum(run.events for run in runs), sum(run.bytes for run in runs), stream_id),
    )


def _drop(db: apsw.Connection, stream_id: int, runs: Sequence[Run]) -> int:
    _remove(db, stream_id, runs)
    db.executemany(
        "DELETE FROM event WHERE id BETWEEN ? AND ?", [(run.first_id, run.last_id) for run in runs]
    )
    extent.remeasure(db, [(stream_id, run.first_id, run.last_id) for run in runs])
    dropped = sum(run.events for run in runs)
    db.execute("UPDATE stream SET dropped = dropped + ? WHERE id = ?", (dropped, stream_id))
    return dropped


def _put_back(
    db: apsw.Connection,
    stream_id: int,
    runs: Sequence[Run],
    but: set[int],
    *,
    in_order: bool = False,
) -> None:
    left = [
        event_id
        for run in runs
        for event_id in range(run.first_id, run.last_id + 1)
        if event_id not in but
    ]
    for first, last in consecutive(left):
        enqueue(db, stream_id, runs_stored(db, first, last, in_order=in_order))


def _are_in_order(runs: Sequence[Run]) -> bool:
    """
    Whether their events, by their ids, are known to be in order of time.
    """
    ordered = sorted(runs)
    return all(run.in_order for run in ordered) and all(
        run.last_timestamp <= after.first_timestamp for run, after in pairwise(ordered)
    )


def _joined(runs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """
    Runs, those that follow each other made one.
    """
    joined: list[tuple[int, int]] = []
    for first, last in sorted(runs):
        if joined and joined[-1][1] + 1 == first:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined
