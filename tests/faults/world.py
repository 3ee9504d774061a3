"""
A host for one cell of the matrix: containers that log numbered lines, a CloudWatch Logs, and a
`spool` process between them.

Comes in: what a moment and a fault do. Goes out: what was written, what arrived, and how often a
line may have arrived once more. Always holds: `written` names every line of every container, and
`doubled` counts each event that was stored while its answer could not come back.
"""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent import HOST_GROUP, ROUTE, SPOOL, Agent, LogWriter, clean_environment, spool, wait_until
from cloudwatch_endpoint import (
    ACCESS_KEY,
    CUT_BEFORE,
    SECRET_KEY,
    Endpoint,
    Fault,
    LogStream,
    Request,
)
from faults.gate import Gate

from spool.errors import SpoolError
from spool.inspection import Inspection

__all__ = ["LAZY", "MARK", "NAMES", "Line", "World"]

LAZY = "cloudwatch://us-east-1?NOEC2&DELAY=3600"
"""Sends nothing but full batches, until it is told to stop."""

NAMES = ("web", "worker", "cron")
MARK = "zebra"
"""In every line, and so in no log of the agent's own."""

SETTLED_S = 60.0
EXIT_S = 18.0
"""One that waits for a request's 20 s is found out."""
STORED_NOT_ANSWERED = {"cut_after", "cut_mid_answer", "hang_after"}

Line = tuple[str, str]
"""(stream, message)."""


class World:
    """
    `answer` gives the endpoint's fault for a request, or None; `each_step` is called while a fault
    stays; `environment` is that of the processes to come.
    """

    def __init__(self, folder: Path, *, tls: bool = False, seed: int = 0) -> None:
        self.folder = folder
        self.db = folder / "spool" / "spool.db"
        self.containers = folder / "containers"
        self.containers.mkdir(parents=True)
        self.dice = random.Random(seed)
        self.endpoint = Endpoint(tls=tls)
        self.endpoint.start()
        self.gate = Gate()
        self.answer: Callable[[Request], Fault | None] = lambda _: None
        self.endpoint.decide = self._decide
        self.each_step: Callable[[], None] = lambda: None
        self.credentials = folder / "credentials"
        self.environment = self._make_environment()
        self._containers = len(NAMES)
        self.writers = [
            LogWriter(self.containers, f"{n:064x}", name) for n, name in enumerate(NAMES, 1)
        ]
        self.written: Counter[Line] = Counter()
        self.collected = 0
        self.doubled = 0
        self.is_collecting = False
        self.process: subprocess.Popen[Any] | None = None
        self.ends: list[tuple[str, int]] = []
        self._deleted: list[LogStream] = []
        self._launch: Callable[[], None] = lambda: None

    def close(self) -> None:
        """
        Ends all that runs.
        """
        self.gate.open()
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.endpoint.close()

    # --- the endpoint ---

    def know_streams(self) -> None:
        """
        Group and streams are there before the first request.
        """
        for name in NAMES:
            self.endpoint.create(HOST_GROUP, name)

    def delete(self, stream: str | None = None) -> None:
        """
        Somebody deletes a stream, or the group with all of them, if it is there.
        """
        with suppress(KeyError):
            self._deleted += self.endpoint.delete(HOST_GROUP, stream)

    def hush(self) -> None:
        """
        Cut all connections; no request is answered or stored that comes in from now on.
        """
        self.answer = lambda _: CUT_BEFORE
        self.gate.open()
        time.sleep(0.2)  # what was being stored is answered
        self.endpoint.refuse()

    def calm(self) -> None:
        """
        The endpoint listens, and is as it should be.
        """
        self.answer = lambda _: None
        self.endpoint.heal()
        self.endpoint.decide = self._decide

    def write_credentials(self, access_key: str, secret: str) -> None:
        """
        Replace the shared credentials file.
        """
        new = self.credentials.with_suffix(".new")
        new.write_text(
            f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret}\n"
        )
        new.rename(self.credentials)

    # --- containers ---

    def write(self, count: int, *, to: tuple[str, ...] = NAMES) -> None:
        """
        So many lines in each container; one of the logs is rotated before.
        """
        self.dice.choice(self.writers).rotate(keep=10_000)  # none is removed: a loss is our loss
        for writer in self.writers:
            if writer.name in to:
                writer.write(*self._lines(writer.name, count))

    def put(self, count: int) -> None:
        """
        So many lines into each stream of the file, by `spool put`.
        """
        for name in NAMES:
            target = ("--db", self.db, "--group", HOST_GROUP, "--stream", name)
            done = spool("put", *target, stdin="\n".join(self._lines(name, count)))
            assert done.returncode == 0, done.stderr

    def add_container(self, name: str, count: int) -> None:
        """
        A container begins to run, and logs so many lines.
        """
        number = self._containers = self._containers + 1
        self.writers.append(LogWriter(self.containers, f"{number:064x}", name))
        self.writers[-1].write(*self._lines(name, count))

    def remove_container(self, name: str) -> None:
        """
        A container logs one last line and is removed; another one comes in its place.
        """
        [writer] = (writer for writer in self.writers if writer.name == name)
        writer.write(*self._lines(name, 1))
        writer.remove()
        self.writers.remove(writer)
        self.add_container(name, 3)

    def stay(self, seconds: float) -> None:
        """
        Time passes; where somebody collects them, lines come in.
        """
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self.each_step()
            if self.is_collecting:
                self.write(2)
            time.sleep(0.15)

    # --- processes ---

    def launch(self, route: str = ROUTE) -> None:
        """
        Start `spool run`.
        """
        self._launch = lambda: self.launch(ROUTE)
        self.process = Agent(self.db, self.containers, self.environment, route=route).process
        self.is_collecting = True

    def launch_replay(self, *options: str) -> None:
        """
        Start `spool replay`; a later one drains what is left.
        """
        self._launch = self.launch_replay
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*SPOOL, "replay", "--db", str(self.db), *options],
                env=clean_environment(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def relaunch(self) -> None:
        """
        Start what ran last anew, unless it still runs.
        """
        if self.process is None or self.process.poll() is not None:
            self._launch()

    def signal(self, number: signal.Signals) -> None:
        """
        Send a signal to what runs.
        """
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: signal.Signals) -> None:
        """
        Send a signal that ends what runs, and wait for that.
        """
        self.signal(number)
        self.wait_ended()

    def wait_ended(self, timeout_s: float = EXIT_S) -> int:
        """
        Wait for the end of what runs; its exit code.
        """
        assert self.process is not None
        code = self.process.wait(timeout_s)
        self.is_collecting = False
        self.ends.append((str(self.process.args[3]), code))
        self.doubled += self.count("SELECT sum(events) FROM batches WHERE state = 'sending'")
        return code

    # --- what can be seen ---

    @property
    def log(self) -> Path:
        """
        What the processes log.
        """
        return self.db.parent / "agent.log"

    def count(self, sql: str) -> int:
        """
        A number out of the file; 0 while there is no spool yet.
        """
        try:
            with Inspection(self.db) as spool_file:
                row = next(spool_file.query(sql))
        except (SpoolError, sqlite3.Error):
            return 0
        return int(next(iter(row.values())) or 0)

    def wait_stored(self) -> None:
        """
        Wait until every line is in the file.
        """
        self.wait_for(lambda: self.count("SELECT sum(collected) FROM stream") == self.collected)

    def wait_settled(self) -> None:
        """
        Wait until every line is in the file, and nothing of it is unsent.
        """
        self.wait_stored()
        self.wait_for(lambda: not self.unsent())

    def wait_for(self, question: Callable[[], Any]) -> None:
        """
        Wait for a yes, as long as the slowest of faults may take to be over.
        """
        wait_until(question, timeout_s=SETTLED_S, what=f"{self.unsent()} unsent")

    def unsent(self) -> int:
        """
        How many events wait or are on their way.
        """
        waiting = self.count("SELECT sum(queued) FROM stream")
        return waiting + self.count("SELECT sum(events) FROM batches WHERE state = 'sending'")

    def arrived(self) -> Counter[Line]:
        """
        How often each line has arrived, also in what was deleted since.
        """
        found: Counter[Line] = Counter()
        for group, stream in self.endpoint.streams():
            found.update((stream, text) for text in self.endpoint.messages(group, stream))
        for gone in self._deleted:
            found.update((gone.name, text) for text in gone.messages)
        return found

    def may_double(self) -> int:
        """
        How many events may have arrived once more than they were sent for.
        """
        unanswered = [call for call in self.endpoint.calls if call.outcome in STORED_NOT_ANSWERED]
        return self.doubled + sum(call.stored_count for call in unanswered)

    # --- inside ---

    def _decide(self, request: Request) -> Fault | None:
        self.gate.pass_through(request)
        return self.answer(request)

    def _lines(self, name: str, count: int) -> list[str]:
        first = self.collected
        lines = [f"{MARK} {name} {number:06d}" for number in range(first, first + count)]
        self.collected += count
        self.written.update((name, line) for line in lines)
        return lines

    def _make_environment(self) -> dict[str, str]:
        found = self.endpoint.environment()
        del found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"]
        self.write_credentials(ACCESS_KEY, SECRET_KEY)
        return found | {"AWS_SHARED_CREDENTIALS_FILE": str(self.credentials)}
