"""
Spools with a history, for commands that look at them or send from them.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from agent import spool
from cloudwatch_endpoint import Endpoint

from shipper.batch import LIMITS
from spool.store import Chunk, Store

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True)
class History:
    """
    A spool in which `app web` and `app worker` were sent an hour after they happened, but for one
    event of `worker` that was 20 days old; what `other late` got since then is unsent.

    The messages, by what became of them; the web events are 1 s apart, from `begin_ms` on.
    """

    db: Path
    begin_ms: int
    web: tuple[str, ...] = ("GET /one 200", "GET /two 500", "GET /three 200")
    worker: tuple[str, ...] = ("job 1 done", "job 2 done")
    rejected: str = "from long ago"
    late: tuple[str, ...] = ("\x1b[2J\x07hostile \x9b31m\r\nsecond line \x7f", "grüße 😀 {web}")

    @property
    def sent(self) -> list[str]:
        """
        All messages that were sent.
        """
        return [*self.web, *self.worker]

    @property
    def all(self) -> list[str]:
        """
        All messages, in the order stored.
        """
        return [*self.web, *self.worker, self.rejected, *self.late]


def put(db: Path, stream: str, *events: tuple[int, str], group: str = "app") -> None:
    lines = [json.dumps({"timestamp": at_ms, "message": message}) for at_ms, message in events]
    target = ("--db", db, "--group", group, "--stream", stream)
    done = spool("put", *target, "--json", stdin="\n".join(lines))
    assert done.returncode == 0, done.stderr


def happened(begin_ms: int, messages: tuple[str, ...]) -> list[tuple[int, str]]:
    return [(begin_ms + 1000 * number, message) for number, message in enumerate(messages)]


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """
    To look at; a test that changes something takes `spool_to_change`.
    """
    begin_ms = time.time_ns() // 1_000_000 - HOUR_MS
    made = History(tmp_path_factory.mktemp("history") / "spool.db", begin_ms)
    put(made.db, "web", *happened(begin_ms, made.web))
    old = (begin_ms - 20 * DAY_MS, made.rejected)
    put(made.db, "worker", *happened(begin_ms, made.worker), old)
    with Endpoint() as endpoint:
        done = spool("replay", "--db", made.db, environment=endpoint.environment())
        assert done.returncode == 0, done.stderr
        assert endpoint.violations == []
    put(made.db, "late", *happened(begin_ms + 1000, made.late), group="other")
    before = made.db.read_bytes()
    yield made
    assert made.db.read_bytes() == before, "a command that only looks has changed the spool"


@pytest.fixture
def spool_to_change(history: History, tmp_path: Path) -> History:
    """
    A copy of the history, to send from and to prune.
    """
    folder = tmp_path / "copy"
    shutil.copytree(history.db.parent, folder)
    return replace(history, db=folder / history.db.name)


@dataclass
class Scene:
    """
    A spool as it would be after some time, made at once.
    """

    db: Path
    now_ms: int

    @property
    def environment(self) -> dict[str, str]:
        """
        A time zone where it is about noon, so that minutes ago it was the same day.
        """
        return {"TZ": f"NOON{self._hour - 12}"}

    @property
    def _hour(self) -> int:
        return datetime.fromtimestamp(self.now_ms / 1000, UTC).hour

    def clock(self, minutes: int) -> str:
        """
        What the clocks showed there so many minutes ago.
        """
        zone = timezone(timedelta(hours=12 - self._hour))
        return datetime.fromtimestamp(self.now_ms / 1000 - 60 * minutes, zone).strftime("%H:%M")

    def stream(
        self,
        name: str,
        *,
        group: str = "app",
        sent: int = 0,
        rejected: int = 0,
        unsent: int = 0,
        minutes: int = 14,
        error: str = "",
    ) -> None:
        """
        What was sent arrived 30 minutes ago. What waits is so many minutes old; with an error, it
        failed for the first time then, and last 5 minutes ago.
        """
        then_ms = self.now_ms - minutes * MINUTE_MS
        with Store(self.db) as store:
            stream_id, source_id = store.stream_id(group, name), store.source_id("test")

            def append(count: int, at_ms: int) -> None:
                events = [(stream_id, at_ms, source_id, "a line")] * count
                store.append([Chunk(stream_id, events)] if events else [])

            sent_at_ms = self.now_ms - 30 * MINUTE_MS
            for count, refused in ((sent, []), (rejected, [(0, rejected, "too old")])):
                append(count, self.now_ms - 60 * MINUTE_MS)
                while batch := store.take(stream_id, LIMITS, now_ms=sent_at_ms):
                    store.settle(batch, request_id="r", now_ms=sent_at_ms, refused=refused)
            append(unsent, then_ms)
            if error:
                batch = store.take(stream_id, LIMITS, now_ms=then_ms)
                assert batch
                store.note_failure(batch, error, now_ms=self.now_ms - 5 * MINUTE_MS)


@pytest.fixture
def scene(db: Path) -> Scene:
    """
    An empty spool, to which a test adds streams.
    """
    Store(db).close()
    return Scene(db, time.time_ns() // 1_000_000)
