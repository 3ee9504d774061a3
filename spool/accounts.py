"""
Make the rows that were saved a spool again, in which every event is accounted for.

Comes in: a new file with the rows of a damaged one, its queue as `was_queued`. Goes out: the same,
sound. Always holds: what is known to be sent, rejected or on its way stays so, everything else is
queued; what the counters say was there, and is not, is counted as dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apsw

from spool import extent
from spool.connection import select
from spool.queue import enqueue
from spool.run import runs_stored
from spool.salvage import Salvage
from spool.schema import RUN_BLOCK

__all__ = ["LOST_GROUP", "Outcome", "settle"]

LOST_GROUP = "spool-rescued"
"""Where the events of a stream go whose name was lost."""

STATES = ("sent", "rejected", "unsent")

UNREADABLE = "unreadable"
"""Why the stand-in for the newest event is rejected, where that one is lost."""

FOUND_STATE = f"""
CREATE TEMP VIEW found_state AS
SELECT id, stream_id, is_queued, is_rejected, batch_id,
       (SELECT state FROM main.batch WHERE batch.id = batch_id) AS batch_state
FROM (SELECT event.id, event.stream_id,
             coalesce((SELECT last_id FROM main.was_queued WHERE first_id <= event.id
                       ORDER BY first_id DESC LIMIT 1), 0) >= event.id AS is_queued,
             EXISTS (SELECT 1 FROM main.rejection WHERE rejection.id = event.id) AS is_rejected,
             (SELECT max(run.batch_id) FROM main.run
              WHERE run.first_id BETWEEN event.id - event.id % {RUN_BLOCK} AND event.id
                AND run.last_id >= event.id) AS batch_id
      FROM main.event)
"""
"""As in `event_state`, but nothing is taken for sent because little is known of it."""

BROKEN = """
CREATE TEMP TABLE broken (batch_id INTEGER PRIMARY KEY);
INSERT INTO broken
SELECT id FROM main.batch WHERE batch.state = 'sending' AND events IS NOT (
    SELECT nullif(count(*), 0) FROM main.run
    JOIN found_state ON found_state.id BETWEEN run.first_id AND run.last_id
    WHERE run.batch_id = batch.id AND found_state.batch_id = batch.id
      AND found_state.stream_id = batch.stream_id AND NOT found_state.is_rejected);
"""
"""Batches on their way that lack an event: what is left of them waits for another one."""

TO_QUEUE = """
SELECT id, stream_id, is_queued OR batch_state IS 'sending' AS is_known FROM found_state
WHERE (is_queued OR NOT is_rejected AND batch_state IS NOT 'sent')
  AND (is_rejected OR batch_state IS NOT 'sending' OR batch_id IN (SELECT batch_id FROM broken))
ORDER BY id
"""

NAMELESS = """
SELECT DISTINCT stream_id FROM (SELECT stream_id FROM event UNION SELECT stream_id FROM batch)
WHERE stream_id NOT IN (SELECT id FROM stream)
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    How many events were saved; how many of them wait again because what became of them is not
    known; how many are taken for sent that once were not; how many are known to be lost; and in how
    many streams the name is.
    """

    events: int
    unknown: int
    taken_for_sent: int
    lost: int
    nameless_streams: int


def settle(db: apsw.Connection, salvage: Salvage) -> Outcome:
    """
    Queue what is to be sent, drop what nothing is behind, and count it all.
    """
    events = db.execute("SELECT count(*) FROM event").get
    nameless = _name_the_nameless(db)
    unknown = _queue(db)
    _remove_what_is_left_over(db)
    _forget_impossible_counts(db, salvage)
    _stand_in_for_newest(db, salvage)
    extent.rebuild(db)
    taken_for_sent, lost = _count(db)
    _keep_batch_ids(db, salvage)
    return Outcome(
        events, unknown=unknown, taken_for_sent=taken_for_sent, lost=lost, nameless_streams=nameless
    )


def _name_the_nameless(db: apsw.Connection) -> int:
    nameless = select(db, NAMELESS)
    db.executemany(
        f"INSERT INTO stream (id, log_group, log_stream) VALUES (?1, '{LOST_GROUP}',"
        " 'stream-' || ?1)",
        nameless,
    )
    db.execute(
        "INSERT INTO source (id, name) SELECT DISTINCT source_id, 'rescued-' || source_id"
        " FROM event WHERE source_id NOT IN (SELECT id FROM source)"
    )
    return len(nameless)


def _queue(db: apsw.Connection) -> int:
    """
    Queue what is neither sent, rejected nor on its way; returns of how many that is not known.
    """
    db.execute("UPDATE stream SET queued = 0, queued_bytes = 0")
    db.execute(FOUND_STATE)
    db.execute(BROKEN)
    unknown = 0
    for stream_id, first_id, last_id, unknown_of_it in _stretches(db.execute(TO_QUEUE)):
        enqueue(db, stream_id, runs_stored(db, first_id, last_id))
        unknown += unknown_of_it
    return unknown


def _stretches(rows: Iterable[tuple[int, int, int]]) -> Iterator[tuple[int, int, int, int]]:
    """
    (stream, first id, last id, how many unknown) of consecutive ids of one stream.
    """
    stream, first, last, unknown = 0, 0, 0, 0
    for event_id, stream_id, is_known in rows:
        if (stream_id, event_id) != (stream, last + 1):
            if first:
                yield stream, first, last, unknown
            stream, first, unknown = stream_id, event_id, 0
        last = event_id
        unknown += not is_known
    if first:
        yield stream, first, last, unknown


def _remove_what_is_left_over(db: apsw.Connection) -> None:
    db.execute("DELETE FROM batch WHERE id IN (SELECT batch_id FROM broken)")
    db.execute("DELETE FROM run WHERE batch_id NOT IN (SELECT id FROM batch)")
    db.execute(
        "DELETE FROM rejection WHERE NOT EXISTS (SELECT 1 FROM event_state"
        " WHERE event_state.id = rejection.id AND event_state.state = 'rejected')"
    )
    db.execute("DROP VIEW found_state")
    db.execute("DROP TABLE was_queued")


def _newest_id(db: apsw.Connection) -> int:
    return int(db.execute("SELECT coalesce(max(id), 0) FROM event").get)


def _greatest_id(db: apsw.Connection, salvage: Salvage) -> int:
    return max(salvage.greatest_id, _newest_id(db))


def _forget_impossible_counts(db: apsw.Connection, salvage: Salvage) -> None:
    """
    A stream cannot have collected many more events than ids were given.
    """
    limit = 2 * _greatest_id(db, salvage) + 1_000_000
    db.execute(
        "UPDATE stream SET collected = 0, pruned = 0, dropped = 0"
        " WHERE NOT (collected BETWEEN 0 AND ?1 AND pruned BETWEEN 0 AND collected"
        " AND dropped BETWEEN 0 AND collected)",
        (limit,),
    )


def _stand_in_for_newest(db: apsw.Connection, salvage: Salvage) -> None:
    """
    The newest row stays, so that no id is given twice: where it is lost, a rejected event that
    says so has its id. Each id was counted by the stream that collected it.
    """
    collected = db.execute("SELECT total(collected) FROM stream").get
    newest = max(salvage.greatest_id, int(collected))
    if newest <= _newest_id(db):
        return
    stream_id = db.execute("SELECT id FROM stream ORDER BY collected DESC LIMIT 1").get
    if stream_id is None:
        db.execute(f"INSERT INTO stream (log_group, log_stream) VALUES ('{LOST_GROUP}', 'unknown')")
        stream_id = db.last_insert_rowid()
    db.execute("INSERT OR IGNORE INTO source (name) VALUES ('rescued')")
    db.execute(
        "INSERT INTO event (id, stream_id, timestamp, source_id, message) SELECT ?, ?, 0, id,"
        " 'the event of this id was lost when the spool was damaged'"
        " FROM source WHERE name = 'rescued'",
        (newest, stream_id),
    )
    db.execute("INSERT INTO rejection (id, reason) VALUES (?, ?)", (newest, UNREADABLE))


def _count(db: apsw.Connection) -> tuple[int, int]:
    """
    Set the counters right; returns how many events are sent beyond those that were, and how many
    are newly known to be lost.
    """
    counts = Counter(db.execute("SELECT stream_id, state FROM event_state"))
    before = select(db, "SELECT id, sent, collected, pruned, dropped FROM stream")
    taken_for_sent = newly_lost = 0
    for stream_id, old_sent, old_collected, pruned, old_dropped in before:
        sent, rejected, unsent = (counts[stream_id, state] for state in STATES)
        events = sent + rejected + unsent
        collected = max(old_collected, events + pruned + old_dropped)
        dropped = collected - events - pruned
        db.execute(
            "UPDATE stream SET sent = ?, rejected = ?, collected = ?, dropped = ? WHERE id = ?",
            (sent, rejected, collected, dropped, stream_id),
        )
        newly_lost += dropped - old_dropped
        if collected == old_collected:
            taken_for_sent += max(0, sent - old_sent)
    return taken_for_sent, newly_lost


def _keep_batch_ids(db: apsw.Connection, salvage: Salvage) -> None:
    db.execute("DELETE FROM sqlite_sequence WHERE name = 'batch'")
    db.execute(
        "INSERT INTO sqlite_sequence (name, seq)"
        " SELECT 'batch', max(?, (SELECT coalesce(max(id), 0) FROM batch))",
        (salvage.greatest_batch_id,),
    )
