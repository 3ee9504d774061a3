"""
Whether a spool is sound: SQLite's own check, and the promise that every event is accounted for.

Comes in: an open store. Goes out: findings, one line each; none is good.
"""

from __future__ import annotations

import apsw

from spool.connection import integrity, select
from spool.schema import BLOCK_IDS
from spool.store import Store

__all__ = ["audit"]

UNACCOUNTED = """
SELECT log_group || ' ' || log_stream, collected, unsent, sent, rejected, pruned, dropped
FROM (SELECT *, queued + (SELECT coalesce(sum(events), 0) FROM batch
                           WHERE stream_id = stream.id AND batch.state = 'sending') AS unsent
      FROM stream)
WHERE collected <> unsent + sent + rejected + pruned + dropped
"""

MISCOUNTED = """
SELECT stream.log_group || ' ' || stream.log_stream, found.state, found.events, found.counted
FROM stream JOIN (
    SELECT stream.id, 'unsent' AS state,
           (SELECT count(*) FROM event_state
            WHERE stream_id = stream.id AND state = 'unsent') AS events,
           queued + (SELECT coalesce(sum(events), 0) FROM batch
                      WHERE stream_id = stream.id AND batch.state = 'sending') AS counted
    FROM stream
    UNION ALL
    SELECT id, 'sent', (SELECT count(*) FROM event_state
                        WHERE stream_id = stream.id AND state = 'sent'), sent FROM stream
    UNION ALL
    SELECT id, 'rejected', (SELECT count(*) FROM event_state
                            WHERE stream_id = stream.id AND state = 'rejected'), rejected
    FROM stream
) AS found ON found.id = stream.id
WHERE found.events <> found.counted
"""

MISPLACED = f"""
SELECT count(*) FROM event
LEFT JOIN extent ON extent.block = event.id / {BLOCK_IDS} AND extent.stream_id = event.stream_id
WHERE event.id BETWEEN extent.first_id AND extent.last_id IS NOT true
   OR event.timestamp BETWEEN extent.first_timestamp AND extent.last_timestamp IS NOT true
"""


def audit(store: Store) -> list[str]:
    """
    What is wrong with the file, in plain words.
    """
    with store.reading() as db:
        db.execute("BEGIN")  # one moment in time; an agent beside it goes on writing
        try:
            return _integrity(db) or _accounts(db)
        except apsw.CorruptError as error:
            return [f"damaged: {error}"]
        finally:
            db.execute("ROLLBACK")


def _integrity(db: apsw.Connection) -> list[str]:
    return [f"damaged: {finding}" for finding in integrity(db, 20)]


def _accounts(db: apsw.Connection) -> list[str]:
    unaccounted = [
        f"{name}: collected {collected} is not unsent {unsent} + sent {sent} + rejected {rejected}"
        f" + pruned {pruned} + dropped {dropped}"
        for name, collected, unsent, sent, rejected, pruned, dropped in select(db, UNACCOUNTED)
    ]
    miscounted = [
        f"{name}: {events} events are {state}, but {counted} are counted"
        for name, state, events, counted in select(db, MISCOUNTED)
    ]
    misplaced = [
        f"{count} events lie outside of their stream's extents"
        for (count,) in select(db, MISPLACED)
        if count
    ]
    return unaccounted + miscounted + misplaced
