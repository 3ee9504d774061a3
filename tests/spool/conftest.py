"""
A spool and, in few words, what tests do with it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent import clean_environment

from shipper.batch import LIMITS
from spool.audit import audit
from spool.queue import Limits
from spool.store import Batch, Chunk, Store

NOW_MS = 1_795_345_711_289


class Desk:
    """
    An open store. Events are (timestamp, message); a stream is known by its name, in the group "g".
    """

    now_ms = NOW_MS

    def __init__(self, path: Path, limits: Limits = LIMITS) -> None:
        self.path = path
        self.limits = limits
        self.store = Store(path)

    def stream(self, name: str = "s", group: str = "g") -> int:
        return self.store.stream_id(group, name)

    def chunk(self, *events: tuple[int, str], stream: str = "s", source: str = "test") -> Chunk:
        stream_id, source_id = self.stream(stream), self.store.source_id(source)
        return Chunk(stream_id, [(stream_id, time, source_id, text) for time, text in events])

    def put(self, *events: tuple[int, str], stream: str = "s", source: str = "test") -> None:
        self.store.append([self.chunk(*events, stream=stream, source=source)])

    def take(self, stream: str = "s") -> Batch | None:
        return self.store.take(self.stream(stream), self.limits, now_ms=self.now_ms)

    def settle(self, batch: Batch, *refused: tuple[int, int, str], now_ms: int = NOW_MS) -> None:
        self.store.settle(batch, request_id=f"request-{batch.id}", now_ms=now_ms, refused=refused)

    def send(self, stream: str = "s", *, now_ms: int = NOW_MS) -> Batch:
        batch = self.take(stream)
        assert batch is not None
        self.settle(batch, now_ms=now_ms)
        return batch

    def drain(self, stream: str = "s") -> list[Batch]:
        batches = []
        while batch := self.take(stream):
            batches.append(batch)
        return batches

    def sent_as(self, batch: Batch) -> list[tuple[int, str]]:
        """
        What the service gets to see of a batch.
        """
        return [(e["timestamp"], e["message"]) for e in json.loads(self.store.log_events(batch))]

    def rows(self, sql: str, *values: Any) -> list[Any]:
        with self.store.reading() as db:
            return db.execute(sql, values).fetchall()

    def states(self, stream: str = "s") -> dict[str, str]:
        return dict(
            self.rows("SELECT message, state FROM events WHERE log_stream = ? ORDER BY id", stream)
        )

    def counts(self, stream: str = "s") -> dict[str, int]:
        names = ("collected", "queued", "sent", "rejected", "pruned", "dropped")
        sql = f"SELECT {', '.join(names)} FROM stream WHERE log_stream = ?"
        return dict(zip(names, self.rows(sql, stream)[0], strict=True))

    def reopen(self) -> None:
        self.store.close()
        self.store = Store(self.path)


@pytest.fixture(scope="session")
def open_desk() -> Callable[..., Desk]:
    return Desk


@pytest.fixture
def desk(db: Path) -> Iterator[Desk]:
    """
    A new spool; whatever a test does with it, every event is accounted for at the end.
    """
    opened = Desk(db)
    yield opened
    assert audit(opened.store) == []
    opened.store.close()


@pytest.fixture(scope="session")
def elsewhere() -> Callable[..., str]:
    """
    Run Python code in another process, with arguments; what it printed.
    """

    def run(code: str, *arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def begin_elsewhere() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """
    Start Python code in another process, and wait for its first line, which it prints when ready.
    """
    begun: list[subprocess.Popen[str]] = []

    def begin(code: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield begin
    for process in begun:
        with process:
            process.kill()
