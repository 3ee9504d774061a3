"""
Send again: what a selection names goes back into the queue.

Comes in: a selection of events. Goes out: the same events, unsent. Always holds: an event that
already waits or is on its way is left alone, so replaying twice sends once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import apsw

from spool.queue import enqueue, runs_of
from spool.schema import select
from spool.selection import Selection
from spool.store import Store, queue_newest

__all__ = ["Amount", "copy", "newest_id", "requeue", "stream_ids", "survey"]

SLICE_EVENTS = 100_000
"""Put back in one transaction; between two of them the agent stores and sends."""


@dataclass(frozen=True, slots=True)
class Amount:
    """
    How much: events, the UTF-8 bytes of their messages, and their streams.
    """

    events: int
    bytes: int
    streams: int


def survey(store: Store, selection: Selection) -> Amount:
    """
    How much a selection names.
    """
    condition, values = selection.sql()
    with store.reading() as db:
        row = select(
            db,
            "SELECT count(*), total(octet_length(message)),"
            f" count(DISTINCT log_group || ' ' || log_stream) FROM events WHERE {condition}",
            values,
        )[0]
    return Amount(events=row[0], bytes=int(row[1]), streams=row[2])


def newest_id(store: Store) -> int:
    """
    The id of the newest event; 0 where there is none.
    """
    with store.reading() as db:
        return int(db.execute("SELECT coalesce(max(id), 0) FROM event").get)


def stream_ids(store: Store, selection: Selection) -> set[int]:
    """
    The streams in which a selection has events.
    """
    condition, values = selection.sql()
    with store.reading() as db:
        rows = select(
            db,
            "SELECT id FROM stream WHERE (log_group, log_stream) IN"
            f" (SELECT log_group, log_stream FROM events WHERE {condition})",
            values,
        )
    return {row[0] for row in rows}


def requeue(store: Store, selection: Selection) -> int:
    """
    Put the sent and rejected events of a selection back into the queue; returns how many.

    Durable slice by slice.
    """
    return sum(_requeue_slice(store, selection, ids) for ids in _slices(store, selection))


def copy(store: Store, selection: Selection, *, group: str | None, stream: str | None) -> set[int]:
    """
    Queue the events of a selection once more, as new events of another group, stream or both.

    The old ones stay as they are. Returns the ids of the streams that got some; durable slice by
    slice.
    """
    slices = _slices(store, selection)
    condition, values = selection.sql()
    with store.reading() as db:
        streams = select(
            db, f"SELECT DISTINCT log_group, log_stream FROM events WHERE {condition}", values
        )
    targets = {
        store.stream_id(*old): store.stream_id(group or old[0], stream or old[1]) for old in streams
    }
    for ids in slices:
        _copy_slice(store, selection, ids, targets)
    return set(targets.values())


def _slices(store: Store, selection: Selection) -> list[tuple[int, int]]:
    last = newest_id(store) if selection.last_id is None else selection.last_id
    return [
        (first, min(first + SLICE_EVENTS - 1, last)) for first in range(1, last + 1, SLICE_EVENTS)
    ]


def _chosen(
    db: apsw.Connection, selection: Selection, ids: tuple[int, int]
) -> list[tuple[int, int, str]]:
    """
    (id, stream id, state) of the selected events in a slice.
    """
    condition, values = selection.sql()
    return select(
        db,
        "SELECT id, (SELECT stream_id FROM event WHERE event.id = events.id), state"
        f" FROM events WHERE id BETWEEN :first AND :last AND {condition}",
        {**values, "first": ids[0], "last": ids[1]},
    )


def _requeue_slice(store: Store, selection: Selection, ids: tuple[int, int]) -> int:
    with store.transaction() as db:
        chosen = [row for row in _chosen(db, selection, ids) if row[2] != "unsent"]
        db.executemany("DELETE FROM rejection WHERE id = ?", [row[:1] for row in chosen])
        for stream_id in {row[1] for row in chosen}:
            states = {row[0]: row[2] for row in chosen if row[1] == stream_id}
            for first, last in runs_of(list(states)):
                enqueue(db, stream_id, first, last)
            counts = Counter(states.values())
            db.execute(
                "UPDATE stream SET sent = sent - ?, rejected = rejected - ? WHERE id = ?",
                (counts["sent"], counts["rejected"], stream_id),
            )
        return len(chosen)


def _copy_slice(
    store: Store, selection: Selection, ids: tuple[int, int], targets: dict[int, int]
) -> None:
    with store.transaction() as db:
        # beside a running agent a stream may have its first sent event only now: it was not meant
        chosen = [row for row in _chosen(db, selection, ids) if row[1] in targets]
        for target in sorted(set(targets.values())):
            copied = [(target, row[0]) for row in chosen if targets[row[1]] == target]
            if copied:
                db.executemany(
                    "INSERT INTO event (stream_id, timestamp, source_id, message)"
                    " SELECT ?, timestamp, source_id, message FROM event WHERE id = ?",
                    copied,
                )
                queue_newest(db, target, len(copied))
