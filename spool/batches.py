"""
Batches: which events went out together, and what came of it.

Comes in: events that are no longer queued. Goes out: their batch, on record. Always holds: the runs
of a batch are its events; one that was refused has them in other batches, or as rejected.

All of this happens within a transaction of the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import apsw

from spool import queue
from spool.connection import select
from spool.run import blocks

__all__ = ["Batch", "find", "record", "record_part", "reject"]


@dataclass(frozen=True, slots=True)
class Batch:
    """
    Events of one stream on their way: on record, and no longer queued. `bytes` are the UTF-8
    bytes of their messages; `in_order` says that it is known that no event is older than one with
    a lower id.
    """

    id: int
    stream_id: int
    group: str
    stream: str
    events: int
    bytes: int
    first_timestamp: int
    last_timestamp: int
    attempts: int
    in_order: bool = field(default=False, compare=False)


def record(
    db: apsw.Connection, stream_id: int, taken: queue.Taken, *, attempts: int, now_ms: int
) -> int:
    """
    Put what was taken out of the queue on record as `sending`, so many times; the batch's id.
    """
    db.execute(
        "INSERT INTO batch (stream_id, events, bytes, first_timestamp, last_timestamp,"
        " state, attempts, created_at) VALUES (?, ?, ?, ?, ?, 'sending', ?, ?)",
        (
            stream_id,
            taken.events,
            taken.bytes,
            taken.first_timestamp,
            taken.last_timestamp,
            attempts,
            now_ms,
        ),
    )
    batch_id = db.last_insert_rowid()
    db.executemany(
        "INSERT INTO run (first_id, last_id, batch_id) VALUES (?, ?, ?)",
        [(first, last, batch_id) for run in taken.runs for first, last in blocks(*run)],
    )
    return batch_id


def _in_batch(
    db: apsw.Connection, batch: Batch, start: int, end: int
) -> list[tuple[int, int, int]]:
    """
    (timestamp, bytes, id) of the events from index `start` to before `end` of a batch.
    """
    return select(
        db,
        "SELECT timestamp, octet_length(message), event.id FROM run"
        " JOIN event ON event.id BETWEEN first_id AND last_id"
        " WHERE batch_id = ? ORDER BY timestamp, event.id LIMIT ? OFFSET ?",
        (batch.id, end - start, start),
    )


def record_part(db: apsw.Connection, batch: Batch, start: int, end: int, *, now_ms: int) -> int:
    """
    The events from index `start` to before `end` of a batch, as a new one that was not sent yet;
    its id.
    """
    timestamps, sizes, ids = zip(*_in_batch(db, batch, start, end), strict=True)
    part = queue.Taken(
        runs=queue.consecutive(ids),
        events=len(ids),
        bytes=sum(sizes),
        first_timestamp=timestamps[0],
        last_timestamp=timestamps[-1],
    )
    return record(db, batch.stream_id, part, attempts=0, now_ms=now_ms)


def reject(db: apsw.Connection, batch: Batch, start: int, end: int, reason: str) -> int:
    """
    Keep these events of a batch as rejected; how many.
    """
    culprits = _in_batch(db, batch, start, end)
    db.executemany(
        "INSERT INTO rejection (id, batch_id, reason) VALUES (?, ?, ?)",
        [(event_id, batch.id, reason) for _, _, event_id in culprits],
    )
    return len(culprits)


def find(db: apsw.Connection, condition: str, values: tuple[int, ...]) -> list[Batch]:
    """
    Batches that meet a condition in SQL, the oldest first.
    """
    rows = select(
        db,
        "SELECT batch.id, stream_id, log_group, log_stream, events, bytes,"
        " first_timestamp, last_timestamp, attempts"
        " FROM batch JOIN stream ON stream.id = batch.stream_id"
        f" WHERE {condition} ORDER BY batch.id",
        values,
    )
    return [Batch(*row) for row in rows]
