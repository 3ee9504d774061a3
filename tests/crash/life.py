"""
The life of a spool, told step by step, with what its user may rely on after each.

Comes in: a path, and which steps. Goes out: a ledger after every call that returned. The ledger is
kept from what was asked and answered, not read from the file: only which events a batch holds is
taken from the text of its request, for that is what goes out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from shipper.batch import fit, pack
from spool import replay
from spool.piece import Ages
from spool.queue import Limits
from spool.retention import prune
from spool.selection import Selection
from spool.store import Batch, Chunk, Store

__all__ = ["Ledger", "Life", "Promise", "read_ledger", "short_life", "steps_of_short_life"]

NOW_MS = 1_795_345_711_289
GROUP = "g"
SOURCE = "file"
BATCH_EVENTS = 12
"""Small, so that a stream is many batches."""

LIMITS = Limits(
    pack=lambda runs: pack(runs) if sum(run.events for run in runs) <= BATCH_EVENTS else 0,
    fit=lambda times, sizes: min(BATCH_EVENTS, fit(times, sizes)),
)

Key = tuple[str, str]
"""(stream, message); no message is written twice in a stream."""

EVER = Ages(0, 2**62)


@dataclass(slots=True)
class Ledger:
    """
    What is in a spool: the state of each event, the source's position, and each batch with its
    state, its attempts and, while it is on its way, its events.
    """

    position: str | None = None
    events: dict[Key, str] = field(default_factory=dict)
    batches: dict[int, tuple[str, int, frozenset[Key]]] = field(default_factory=dict)

    def copy(self) -> Ledger:
        return deepcopy(self)


@dataclass(frozen=True, slots=True)
class Promise:
    """
    What holds once so many operations were done on the disk; `is_gradual` where the call that led
    there was durable bit by bit, and only takes away.
    """

    operations: int
    ledger: Ledger
    is_gradual: bool = False

    def allows(self, found: Ledger, before: Ledger) -> bool:
        """
        Whether that may be there in the midst of the call.
        """
        if not self.is_gradual:
            return found in (before, self.ledger)
        return (
            found.position == before.position
            and self.ledger.events.items() <= found.events.items() <= before.events.items()
            and self.ledger.batches.items() <= found.batches.items() <= before.batches.items()
        )


def read_ledger(store: Store) -> Ledger:
    """
    What is in a spool, by the views that users read; fails where an event is there twice.
    """
    with store.reading() as db:
        rows = db.execute("SELECT log_stream, message, state, batch_id FROM events").fetchall()
        batches = db.execute("SELECT id, state, attempts FROM batches").fetchall()
    events = {(stream, message): state for stream, message, state, _ in rows}
    assert len(events) == len(rows), "an event is there twice"
    on_way: dict[int, set[Key]] = {}
    for stream, message, state, batch_id in rows:
        if state == "unsent" and batch_id is not None:
            on_way.setdefault(batch_id, set()).add((stream, message))
    return Ledger(
        position=store.checkpoint(SOURCE),
        events=events,
        batches={
            batch_id: (state, attempts, frozenset(on_way.get(batch_id, ())))
            for batch_id, state, attempts in batches
        },
    )


class Life:
    """
    A store, and the one user that it has.

    `operations` tells how many were done on the disk so far.
    """

    def __init__(self, path: Path, operations: Callable[[], int] = lambda: 0) -> None:
        self.path = path
        self.ledger = Ledger()
        self.promises = [Promise(0, Ledger())]
        self.on_way: list[Batch] = []
        self._operations = operations
        self._line = 0
        self._chunk = 0
        self._now_ms = NOW_MS
        self._looking: apsw.Connection | None = None
        self.store = self._open()

    def _open(self) -> Store:
        store = Store(self.path)
        with store.idle_writer() as db:
            db.execute("PRAGMA journal_size_limit = 0")
            db.set_wal_hook(_checkpoint_often)
        return store

    def _promise(self, *, is_gradual: bool = False) -> None:
        self.promises.append(Promise(self._operations(), self.ledger.copy(), is_gradual))

    def _set_batch(self, batch: Batch, state: str, *, attempts: int | None = None) -> None:
        events = self.request(batch) if state == "sending" else frozenset()
        attempts = self.ledger.batches[batch.id][1] if attempts is None else attempts
        self.ledger.batches[batch.id] = (state, attempts, events)

    def request(self, batch: Batch) -> frozenset[Key]:
        """
        The events that go out with a batch.
        """
        sent = json.loads(self.store.log_events(batch))
        return frozenset((batch.stream, event["message"]) for event in sent)

    def _in_order(self, batch: Batch) -> list[Key]:
        return [(batch.stream, one["message"]) for one in json.loads(self.store.log_events(batch))]

    # --- steps; each is one call, or one after the other ------------------------------------------

    def append(self, *counts: tuple[str, int]) -> None:
        """
        So many events for each of these streams, and the source's position, at once.
        """
        written = [(stream, self._lines(count)) for stream, count in counts]
        self._chunk += 1
        self.store.append(
            [self._make_chunk(stream, lines) for stream, lines in written],
            checkpoints={SOURCE: str(self._chunk)},
            skipped={"blank lines": 1},
        )
        self.ledger.position = str(self._chunk)
        keys = [(stream, text) for stream, lines in written for _, text in lines]
        self.ledger.events.update(dict.fromkeys(keys, "unsent"))
        self._promise()

    def _lines(self, count: int) -> list[tuple[int, str]]:
        """
        (timestamp, message), not quite in order of time.
        """
        numbers = range(self._line, self._line + count)
        self._line += count
        return [
            (NOW_MS + number + number * 31 % 17, f"line {number} {'x' * (number * 37 % 900)}")
            for number in numbers
        ]

    def _make_chunk(self, stream: str, lines: list[tuple[int, str]]) -> Chunk:
        stream_id = self.store.stream_id(GROUP, stream)
        source_id = self.store.source_id(SOURCE)
        return Chunk(stream_id, [(stream_id, at_ms, source_id, text) for at_ms, text in lines])

    def take(self, stream: str) -> None:
        stream_id = self.store.stream_id(GROUP, stream)
        batch = self.store.take(stream_id, LIMITS, now_ms=self._now_ms)
        if batch:
            self.on_way.append(batch)
            self._set_batch(batch, "sending", attempts=1)
            self._promise()

    def attempt(self, batch: Batch) -> None:
        self.store.note_failure(batch, "busy", now_ms=self._now_ms)
        self.store.note_attempt(batch)
        self._set_batch(batch, "sending", attempts=self.ledger.batches[batch.id][1] + 1)
        self._promise()

    def settle(self, batch: Batch, *refused: tuple[int, int, str]) -> None:
        keys = self._in_order(batch)
        self._now_ms += 1
        self.store.settle(batch, request_id="r", now_ms=self._now_ms, refused=refused)
        self.on_way.remove(batch)
        self._set_batch(batch, "sent")
        self.ledger.events.update(dict.fromkeys(keys, "sent"))
        for start, end, _ in refused:
            self.ledger.events.update(dict.fromkeys(keys[start:end], "rejected"))
        self._promise()

    def split(self, batch: Batch) -> None:
        keys = self._in_order(batch)
        parts = self.store.split(batch, "refused", now_ms=self._now_ms)
        self.on_way.remove(batch)
        self.on_way += parts
        self._set_batch(batch, "refused")
        for part in parts:
            self._set_batch(part, "sending", attempts=0)
        if not parts:
            self.ledger.events[keys[0]] = "rejected"
        self._promise()

    def reject_old(self, stream: str) -> None:
        """
        What waits in a stream and is among the older half of all lines.
        """
        stream_id = self.store.stream_id(GROUP, stream)
        oldest_ms = NOW_MS + self._line // 2
        with self.store.reading() as db:
            rows = db.execute(
                "SELECT message FROM events WHERE log_stream = ? AND state = 'unsent'"
                " AND batch_id IS NULL AND timestamp < ?",
                (stream, oldest_ms),
            ).fetchall()
        if self.store.reject_outside(stream_id, oldest_ms=oldest_ms, newest_ms=NOW_MS * 2):
            self.ledger.events.update({(stream, text): "rejected" for (text,) in rows})
            self._promise()

    def replay(self, stream: str) -> None:
        """
        What was sent or rejected of a stream waits again.
        """
        if replay.requeue(self.store, Selection(stream=stream), EVER):
            waiting = {key: "unsent" for key in self.ledger.events if key[0] == stream}
            self.ledger.events.update(waiting)
            self._promise()

    def copy(self, stream: str) -> None:
        """
        The events of a stream are queued once more, in a stream of their own.
        """
        target = f"copy {self._line} of {stream}"
        self._line += 1
        chosen = replay.survey(self.store, Selection(stream=stream), EVER)
        targets = replay.targets(self.store, chosen.streams, None, target)
        replay.copy(self.store, Selection(stream=stream), EVER, targets)
        copies = {(target, text): "unsent" for name, text in self.ledger.events if name == stream}
        self.ledger.events.update(copies)
        self._promise()

    def prune(self) -> None:
        """
        What was sent and is not of the last batch goes; only what was sent may.
        """
        before = self.ledger
        prune(self.store, sent_before_ms=self._now_ms)
        self.ledger = read_ledger(self.store)
        gone = before.events.keys() - self.ledger.events.keys()
        assert {before.events[key] for key in gone} <= {"sent"}
        self._promise(is_gradual=True)

    def look(self) -> None:
        """
        Another connection begins to read, or ends it: as long as it reads, the write-ahead log
        cannot be begun anew.
        """
        if self._looking:
            self._looking.close()
            self._looking = None
        else:
            self._looking = apsw.Connection(str(self.path))
            self._looking.execute("BEGIN; SELECT count(*) FROM event")

    def reopen(self) -> None:
        self.close()
        self.store = self._open()

    def close(self) -> None:
        """
        With the last connection the log is moved into the file; SQLite passes over what fails then.
        """
        if self._looking:
            self.look()
        with suppress(apsw.Error):
            self.store.close()


def _checkpoint_often(connection: apsw.Connection, name: str, pages: int) -> int:
    """
    As SQLite does it by itself, but after a few pages already. What fails in it fails for SQLite
    alone: the transaction is durable before.
    """
    if pages >= 6:
        with suppress(apsw.Error):
            connection.wal_checkpoint(name)
    return apsw.SQLITE_OK


def steps_of_short_life() -> list[Callable[[Life], None]]:
    """
    Everything that a spool does, once or twice.
    """
    return [
        lambda life: life.append(("web", 5), ("worker", 3)),
        lambda life: life.append(("web", 30)),
        lambda life: life.take("web"),
        lambda life: life.take("web"),
        lambda life: life.attempt(life.on_way[0]),
        lambda life: life.settle(life.on_way[0]),
        lambda life: life.settle(life.on_way[0], (1, 3, "too old")),
        lambda life: life.take("worker"),
        lambda life: life.split(life.on_way[0]),
        lambda life: life.split(life.on_way[0]),
        lambda life: life.look(),
        lambda life: life.append(("web", 10)),
        lambda life: life.reject_old("web"),
        lambda life: life.append(("web", 10)),
        lambda life: life.look(),
        lambda life: life.replay("web"),
        lambda life: life.take("web"),
        lambda life: life.settle(life.on_way[-1]),
        lambda life: life.append(("web", 3)),
        lambda life: life.prune(),
        lambda life: life.copy("worker"),
        lambda life: life.reopen(),
        lambda life: life.append(("cron", 4)),
        lambda life: life.take("cron"),
    ]


def short_life(life: Life) -> None:
    """
    All of it, to the end.
    """
    for step in steps_of_short_life():
        step(life)
    life.close()
