"""
The spool of one host: lines come in with `append`, leave with `take` and `settle`.

Comes in: chunks of events, each with where its source stands. Goes out: batches, each a stretch
of one stream in timestamp order. Always holds: what a method has returned from is durable; an
event is queued, in a batch or rejected, and never two of these.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import apsw

from spool import batches, extent, queue
from spool.batches import Batch
from spool.connection import select
from spool.file import SpoolFile
from spool.run import Event, Run, runs_of, runs_stored

__all__ = ["EXPIRED", "TOO_NEW", "TOO_OLD", "Batch", "Chunk", "Event", "Store", "Waiting"]

TOO_OLD = "too old"
TOO_NEW = "too new"
EXPIRED = "older than the group's retention"
"""Why events are rejected for their age."""


ROWS = 64
"""So many are inserted by one statement; from there on more make it no faster."""

INSERT_ROW = "INSERT INTO event (stream_id, timestamp, source_id, message) VALUES (?, ?, ?, ?)"
INSERT_ROWS = INSERT_ROW + ", (?, ?, ?, ?)" * (ROWS - 1)


@dataclass(slots=True)
class Chunk:
    """
    What one reading of a source gave: events of one stream, in the order read.
    """

    stream_id: int
    events: list[Event]


@dataclass(frozen=True, slots=True)
class Waiting:
    """
    What waits for a batch in one stream; what is on its way is not counted.
    """

    stream_id: int
    group: str
    stream: str
    events: int
    message_bytes: int
    oldest_ms: int


@dataclass(slots=True)
class _Names:
    """
    Ids of names that are in the file for good.
    """

    streams: dict[tuple[str, str], int] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)


class Store(SpoolFile):
    """
    An open spool, into which lines go and from which batches leave. Raises what SpoolFile raises.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        super().__init__(path, create=create)
        self._names = _Names()

    def _forget(self) -> None:
        self._names = _Names()  # ids given in a transaction that was undone are none

    # --- in ---------------------------------------------------------------------------------

    def stream_id(self, group: str, stream: str) -> int:
        """
        The id of a stream, made when it is new; durable on return.
        """
        with self._writer_lock:  # what another thread has just named may yet be undone
            known = self._names.streams.get((group, stream))
            if known is None:
                with self.transaction() as db:
                    db.execute(
                        "INSERT OR IGNORE INTO stream (log_group, log_stream) VALUES (?, ?)",
                        (group, stream),
                    )
                    known = db.execute(
                        "SELECT id FROM stream WHERE log_group = ? AND log_stream = ?",
                        (group, stream),
                    ).get
                self._names.streams[group, stream] = known
            return known

    def source_id(self, name: str) -> int:
        """
        The id of a source's name, made when it is new; durable on return.
        """
        with self._writer_lock:
            known = self._names.sources.get(name)
            if known is None:
                with self.transaction() as db:
                    db.execute("INSERT OR IGNORE INTO source (name) VALUES (?)", (name,))
                    known = db.execute("SELECT id FROM source WHERE name = ?", (name,)).get
                self._names.sources[name] = known
            return known

    def checkpoint(self, source: str) -> str | None:
        """
        Where this source stood in the last chunk that it stored; None for a new one.
        """
        with self._using(self._writer_lock):
            found: str | None = self._writer.execute(
                "SELECT position FROM checkpoint WHERE source = ?", (source,)
            ).get
            return found

    def append(
        self,
        chunks: Sequence[Chunk],
        *,
        checkpoints: Mapping[str, str | None] | None = None,
        skipped: Mapping[str, int] | None = None,
    ) -> None:
        """
        Store events and where their sources now stand, in one transaction; durable on return. A
        source whose checkpoint is None has ended: it is forgotten.
        """
        with self.transaction() as db:
            for chunk in chunks:
                if chunk.events:
                    _insert_events(db, chunk)
            if checkpoints:
                _note_checkpoints(db, checkpoints)
            if skipped:
                db.executemany(
                    "INSERT INTO skipped (reason, count) VALUES (?, ?)"
                    " ON CONFLICT (reason) DO UPDATE SET count = count + excluded.count",
                    skipped.items(),
                )

    # --- out --------------------------------------------------------------------------------

    def queues(self) -> list[Waiting]:
        """
        The streams in which events wait for a batch, the longest-waiting first.
        """
        with self._using(self._writer_lock):
            rows = select(
                self._writer,
                "SELECT id, log_group, log_stream, queued, queued_bytes,"
                " (SELECT min(first_timestamp) FROM queue WHERE stream_id = stream.id) AS oldest"
                " FROM stream WHERE queued > 0 ORDER BY oldest",
            )
        return [Waiting(*row) for row in rows]

    def unsent(self, stream_ids: Collection[int] | None = None) -> int:
        """
        How many events, of some streams or all, wait or are on their way.
        """
        with self._using(self._writer_lock):
            rows = select(
                self._writer,
                "SELECT id, queued + (SELECT coalesce(sum(events), 0) FROM batch"
                " WHERE stream_id = stream.id AND batch.state = 'sending') FROM stream",
            )
        return sum(count for id_, count in rows if stream_ids is None or id_ in stream_ids)

    def waiting(self, stream_id: int) -> tuple[int, int]:
        """
        How many events of a stream wait for a batch, and the bytes of their messages.
        """
        with self._using(self._writer_lock):
            events, size = select(
                self._writer, "SELECT queued, queued_bytes FROM stream WHERE id = ?", (stream_id,)
            )[0]
            return events, size

    def unsettled(self) -> list[Batch]:
        """
        Batches on record as `sending`, the oldest first: after a crash, those that may have
        arrived.
        """
        with self._using(self._writer_lock):
            return batches.find(self._writer, "batch.state = 'sending'", ())

    def reject_outside(self, stream_id: int, *, oldest_ms: int, newest_ms: int) -> int:
        """
        Of a stream's next events, keep those before `oldest_ms` or after `newest_ms` as rejected;
        returns how many.
        """
        with self._using(self._writer_lock):
            if not queue.is_outside(self._writer, stream_id, oldest_ms, newest_ms):
                return 0
        with self.transaction() as db:
            outside = queue.take_outside(db, stream_id, oldest_ms, newest_ms)
            db.executemany(
                "INSERT INTO rejection (id, reason) VALUES (?, ?)",
                [
                    (event_id, TOO_OLD if timestamp < oldest_ms else TOO_NEW)
                    for timestamp, event_id in outside
                ],
            )
            db.execute(
                "UPDATE stream SET rejected = rejected + ? WHERE id = ?", (len(outside), stream_id)
            )
            return len(outside)

    def take(self, stream_id: int, limits: queue.Limits, *, now_ms: int) -> Batch | None:
        """
        Put the oldest queued events of a stream into a batch, as many as the limits allow.

        On return the batch is on record as `sending`, first attempt; None where nothing waits.
        """
        with self.transaction() as db:
            taken = queue.take_oldest(db, stream_id, limits)
            if taken is None:
                return None
            batch_id = batches.record(db, stream_id, taken, attempts=1, now_ms=now_ms)
            batch = batches.find(db, "batch.id = ?", (batch_id,))[0]
            return replace(batch, in_order=taken.in_order)

    def log_events(self, batch: Batch) -> str:
        """
        The batch as a JSON array of {"timestamp", "message"}, in timestamp order, ties as stored.
        """
        # a run is read by ascending ids, its table's own order: only others need to be sorted
        order = "first_id" if batch.in_order else "timestamp, event.id"
        with self.reading() as db:
            text: str = db.execute(
                "SELECT json_group_array(json_object('timestamp', timestamp, 'message', message))"
                " FROM (SELECT timestamp, message FROM run"
                "       JOIN event ON event.id BETWEEN first_id AND last_id"
                f"       WHERE batch_id = ? ORDER BY {order})",
                (batch.id,),
            ).get
            return text

    def settle(
        self,
        batch: Batch,
        *,
        request_id: str,
        now_ms: int,
        refused: Sequence[tuple[int, int, str]] = (),
    ) -> None:
        """
        CloudWatch has answered 200 for this batch: its events are sent, on return durably.

        `refused` are ranges (first index, end index, reason) of the batch that it did not take;
        these events are kept as rejected.
        """
        with self.transaction() as db:
            db.execute(
                "UPDATE batch SET state = 'sent', sent_at = ?, request_id = ?, error = NULL"
                " WHERE id = ?",
                (now_ms, request_id, batch.id),
            )
            rejected = sum(batches.reject(db, batch, *part) for part in refused)
            db.execute(
                "UPDATE stream SET sent = sent + ?, rejected = rejected + ?, delivered_at = ?,"
                " error = NULL, error_at = NULL WHERE id = ?",
                (batch.events - rejected, rejected, now_ms, batch.stream_id),
            )

    def note_attempt(self, batch: Batch) -> None:
        """
        The batch goes out once more; on record before it does.
        """
        with self.transaction() as db:
            db.execute("UPDATE batch SET attempts = attempts + 1 WHERE id = ?", (batch.id,))

    def note_failure(self, batch: Batch, error: str, *, now_ms: int) -> None:
        """
        An attempt failed; the batch stays on its way.
        """
        with self.transaction() as db:
            db.execute("UPDATE batch SET error = ? WHERE id = ?", (error, batch.id))
            db.execute(
                "UPDATE stream SET error = ?, error_at = ? WHERE id = ?",
                (error, now_ms, batch.stream_id),
            )

    def split(self, batch: Batch, error: str, *, now_ms: int) -> list[Batch]:
        """
        CloudWatch refused the batch as a whole: make two of it, to find what it cannot take.

        A batch of one event is its own culprit: the event is kept as rejected, and none is left.
        """
        with self.transaction() as db:
            db.execute(
                "UPDATE batch SET state = 'refused', error = ? WHERE id = ?", (error, batch.id)
            )
            if batch.events == 1:
                batches.reject(db, batch, 0, 1, error)
                db.execute(
                    "UPDATE stream SET rejected = rejected + 1 WHERE id = ?", (batch.stream_id,)
                )
                return []
            half = batch.events // 2
            parts = [
                batches.record_part(db, batch, start, end, now_ms=now_ms)
                for start, end in ((0, half), (half, batch.events))
            ]
            return batches.find(db, f"batch.id IN ({parts[0]:d}, {parts[1]:d})", ())


def _insert_events(db: apsw.Connection, chunk: Chunk) -> None:
    events = chunk.events
    many = len(events) - len(events) % ROWS
    values = chain.from_iterable(events[:many])
    db.executemany(INSERT_ROWS, zip(*[values] * (len(events[0]) * ROWS), strict=True))
    db.executemany(INSERT_ROW, events[many:])
    first_id = db.last_insert_rowid() - len(events) + 1
    _queue_new(db, chunk.stream_id, runs_of(events, first_id))


def _note_checkpoints(db: apsw.Connection, checkpoints: Mapping[str, str | None]) -> None:
    standing = {
        source: position for source, position in checkpoints.items() if position is not None
    }
    db.executemany(
        "INSERT OR REPLACE INTO checkpoint (source, position) VALUES (?, ?)", standing.items()
    )
    ended = checkpoints.keys() - standing.keys()
    db.executemany("DELETE FROM checkpoint WHERE source = ?", ((source,) for source in ended))


def queue_newest(db: apsw.Connection, stream_id: int, count: int) -> None:
    """
    Queue the `count` events, all of one stream, that this transaction has inserted last.
    """
    last = db.last_insert_rowid()
    _queue_new(db, stream_id, runs_stored(db, last - count + 1, last))


def _queue_new(db: apsw.Connection, stream_id: int, runs: Sequence[Run]) -> None:
    queue.enqueue(db, stream_id, runs)
    extent.add(db, stream_id, runs)
    db.execute(
        "UPDATE stream SET collected = collected + ? WHERE id = ?",
        (sum(run.events for run in runs), stream_id),
    )
