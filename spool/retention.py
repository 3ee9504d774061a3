"""
What leaves the spool: sent events after a while, and, where there is no room, what matters least.

Comes in: an open store. Goes out: fewer events, each counted as pruned if it was sent, else as
dropped; a smaller file. Always holds: no transaction deletes more than a slice, so that no writer
waits long; an event on its way stays, and so does the newest, whose id would be given again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import apsw

from spool import extent
from spool.connection import select
from spool.queue import SLICE_EVENTS, drop_oldest, slice_length
from spool.store import Store

__all__ = ["drop_rejected", "drop_unsent", "prune", "prune_sent", "shrink"]

SLICE_BATCHES = 100

FREE_PAGES = 500
"""Given back to the file system at a time (4 MB)."""

FREE_SHARE = 8
"""So small a part of what is in use stays free: a busy spool needs it again within a minute."""

PAUSE_S = 0.005
"""Between two slices, in which other threads and processes write."""


def prune(store: Store, *, sent_before_ms: int) -> int:
    """
    Delete events whose batch was sent before that (ms since the epoch), and what no event needs any
    more of batches made before; returns how many events.

    Durable slice by slice.
    """
    pruned = sum(prune_sent(store, sent_before_ms=sent_before_ms))
    _forget_refused(store, sent_before_ms)
    return pruned


def prune_sent(store: Store, *, sent_before_ms: int) -> Iterator[int]:
    """
    Delete sent events, batch by batch, those sent first; yields after each slice how many.
    """
    after = (-1, 0)
    while True:
        with store.transaction() as db:
            batches = _sent_batches(db, after, sent_before_ms)
            pruned = sum(_prune_batch(db, batch_id) for _, batch_id in batches)
        if not batches:
            return
        yield pruned
        after = batches[-1]


def drop_rejected(store: Store) -> Iterator[int]:
    """
    Delete rejected events, the first stored first; yields after each slice how many.
    """
    while True:
        with store.transaction() as db:
            rows = select(
                db,
                "SELECT event.id, octet_length(message) FROM rejection"
                " JOIN event ON event.id = rejection.id"
                " WHERE event.id < (SELECT max(id) FROM event) ORDER BY event.id LIMIT ?",
                (SLICE_EVENTS,),
            )
            ids = [event_id for event_id, _ in rows[: slice_length((1, size) for _, size in rows)]]
            _drop_rejected(db, ids)
        if not ids:
            return
        yield len(ids)


def drop_unsent(store: Store) -> Iterator[int]:
    """
    Delete queued events, of the stream in which the oldest waits and there by their times, run by
    run; yields after each slice how many.
    """
    while True:
        with store.transaction() as db:
            dropped = drop_oldest(db)
        if not dropped:
            return
        yield dropped


def shrink(store: Store) -> None:
    """
    Give what is free in the file back to the file system, but for a share of what is in use.
    """
    before = math.inf
    while True:
        with store.idle_writer() as db:
            free: int = db.pragma("freelist_count")
            spare = free - (db.pragma("page_count") - free) // FREE_SHARE
            if spare <= 0 or free >= before:  # somebody's VACUUM may have made it a file that stays
                break
            before = free
            select(db, f"PRAGMA incremental_vacuum({min(spare, FREE_PAGES)})")
        time.sleep(PAUSE_S)
    store.empty_log()  # only then does the file itself end earlier


def _sent_batches(
    db: apsw.Connection, after: tuple[int, int], sent_before_ms: int
) -> list[tuple[int, int]]:
    """
    (sent at, id) of the next batches for one slice.
    """
    rows = select(
        db,
        "SELECT events, bytes, sent_at, id FROM batch WHERE state = 'sent'"
        " AND (sent_at, id) > (?, ?) AND sent_at < ? ORDER BY sent_at, id LIMIT ?",
        (*after, sent_before_ms, SLICE_BATCHES),
    )
    return [row[2:] for row in rows[: slice_length(row[:2] for row in rows)]]


def _prune_batch(db: apsw.Connection, batch_id: int) -> int:
    db.execute(
        "DELETE FROM event WHERE id < (SELECT max(id) FROM event) AND id IN ("
        " SELECT event_state.id FROM run JOIN event_state"
        " ON event_state.id BETWEEN run.first_id AND run.last_id"
        " WHERE run.batch_id = ?1"
        " AND event_state.state = 'sent' AND event_state.batch_id = ?1)",
        (batch_id,),
    )
    pruned = db.changes()
    if pruned:
        extent.remeasure(
            db,
            select(
                db,
                "SELECT stream_id, first_id, last_id FROM run"
                " JOIN batch ON batch.id = batch_id WHERE batch_id = ?",
                (batch_id,),
            ),
        )
    db.execute(
        "UPDATE stream SET sent = sent - ?1, pruned = pruned + ?1"
        " WHERE id = (SELECT stream_id FROM batch WHERE id = ?2)",
        (pruned, batch_id),
    )
    _forget_if_empty(db, batch_id)
    return pruned


def _forget_if_empty(db: apsw.Connection, batch_id: int) -> None:
    """
    Take a batch off the record that is the last one of no event: they are gone, wait again or went
    into another.
    """
    is_needed = db.execute(
        "SELECT EXISTS (SELECT 1 FROM run JOIN event_state"
        " ON event_state.id BETWEEN run.first_id AND run.last_id"
        " WHERE run.batch_id = ?1 AND event_state.batch_id = ?1)",
        (batch_id,),
    ).get
    if not is_needed:
        db.execute("DELETE FROM run WHERE batch_id = ?", (batch_id,))
        db.execute("DELETE FROM batch WHERE id = ?", (batch_id,))


def _forget_refused(store: Store, before_ms: int) -> None:
    """
    Batches that CloudWatch refused were sent in parts, or are a rejected event.
    """
    last_id = 0
    while True:
        with store.transaction() as db:
            rows = select(
                db,
                "SELECT id FROM batch WHERE state = 'refused' AND created_at < ? AND id > ?"
                " ORDER BY id LIMIT ?",
                (before_ms, last_id, SLICE_BATCHES),
            )
            for (batch_id,) in rows:
                _forget_if_empty(db, batch_id)
        if not rows:
            return
        last_id = rows[-1][0]


def _drop_rejected(db: apsw.Connection, ids: list[int]) -> None:
    values = [(event_id,) for event_id in ids]
    streams = [
        select(db, "SELECT stream_id, id, id FROM event WHERE id = ?", (event_id,))[0]
        for event_id in ids
    ]
    db.executemany(
        "UPDATE stream SET rejected = rejected - 1, dropped = dropped + 1"
        " WHERE id = (SELECT stream_id FROM event WHERE id = ?)",
        values,
    )
    db.executemany("DELETE FROM rejection WHERE id = ?", values)
    db.executemany("DELETE FROM event WHERE id = ?", values)
    extent.remeasure(db, streams)
