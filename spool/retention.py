"""
What leaves the spool: sent events after a while.

Comes in: how long to keep them. Goes out: a smaller file. Always holds: an event that is unsent or
rejected stays; each pruned one is counted.
"""

from __future__ import annotations

from spool import extent
from spool.schema import BLOCK_IDS, select
from spool.store import Store

__all__ = ["prune"]

FREE_PAGES = 2_000
"""Given back to the file system at a time (16 MB), so that no writer waits long."""


def prune(store: Store, *, sent_before_ms: int) -> int:
    """
    Delete events whose batch was sent before that (ms since the epoch); returns how many.

    One transaction for each batch: durable one by one, and other writers come between.
    """
    with store.transaction() as db:
        batches = select(
            db,
            "SELECT id FROM batch WHERE state = 'sent' AND sent_at < ? ORDER BY sent_at",
            (sent_before_ms,),
        )
    pruned = sum(_prune_batch(store, batch_id) for (batch_id,) in batches)
    if pruned:
        with store.idle_writer() as db:
            select(db, f"PRAGMA incremental_vacuum({FREE_PAGES})")
    return pruned


def _prune_batch(store: Store, batch_id: int) -> int:
    with store.transaction() as db:
        touched = select(
            db,
            f"SELECT DISTINCT stream_id, first_id / {BLOCK_IDS} FROM run"
            " JOIN batch ON batch.id = batch_id WHERE batch_id = ?",
            (batch_id,),
        )
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
            extent.remeasure(db, touched[0][0], {block for _, block in touched})
        db.execute(
            "UPDATE stream SET sent = sent - ?1, pruned = pruned + ?1"
            " WHERE id = (SELECT stream_id FROM batch WHERE id = ?2)",
            (pruned, batch_id),
        )
        is_empty = not db.execute(
            "SELECT EXISTS (SELECT 1 FROM run JOIN event ON event.id BETWEEN first_id AND last_id"
            " WHERE batch_id = ?)",
            (batch_id,),
        ).get
        if is_empty:
            db.execute("DELETE FROM run WHERE batch_id = ?", (batch_id,))
            db.execute("DELETE FROM batch WHERE id = ?", (batch_id,))
        return pruned
