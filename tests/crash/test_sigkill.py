"""
The agent is killed at random moments, with lines coming in and answers cut off on the way back.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from agent import HOST_GROUP, Agent, LogWriter, spool, wait_until
from cloudwatch_endpoint import CUT_AFTER, CUT_BEFORE, Endpoint, status

RUNS = 20
SEED = 20_261_122


class NumberedLines:
    """
    Writers that log numbered lines into containers until they are told to stop.
    """

    def __init__(self, containers: Path, names: list[str], dice: random.Random) -> None:
        self.written: Counter[str] = Counter()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._write,
                args=[LogWriter(containers, f"{number:064x}", name), dice.random() * 0.01],
            )
            for number, name in enumerate(names, 1)
        ]
        for thread in self._threads:
            thread.start()

    def _write(self, container: LogWriter, pause_s: float) -> None:
        while not self._stop.is_set():
            first = self.written[container.name]
            container.write(*(f"line {number}" for number in range(first, first + 7)))
            self.written[container.name] += 7
            if self.written[container.name] % 700 == 0:
                container.rotate(keep=1000)  # none is removed: what is lost is our loss
            time.sleep(pause_s)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.timeout(300)  # the more lines, the slower the machine
def test_twenty_sigkills_with_answers_cut_off_lose_nothing(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    """
    Promises 1 and 2: every line arrives; twice at most what was in flight at a kill.
    """
    dice = random.Random(SEED)
    faults = [None, None, None, CUT_AFTER, CUT_BEFORE, status(503, "busy")]
    endpoint.decide = lambda _: dice.choice(faults)
    writers = NumberedLines(containers, ["web", "worker", "cron"], dice)
    in_flight = 0
    try:
        for _ in range(RUNS):
            with Agent(db, containers, endpoint.environment()) as agent:
                time.sleep(dice.uniform(0.3, 1.2))
                agent.kill()
            in_flight += events_in_flight(db)
    finally:
        writers.stop()
    endpoint.heal()
    with Agent(db, containers, endpoint.environment()) as agent:
        agent.wait_started()
        total = sum(writers.written.values())
        wait_until(lambda: agent.status()["sent"] == total, timeout_s=60, what="all is sent")
        assert agent.stop() == 0
    for name, count in writers.written.items():
        arrived = Counter(endpoint.messages(HOST_GROUP, name))
        wanted = {f"line {number}" for number in range(count)}
        assert wanted - arrived.keys() == set(), f"{name}: lost"
        assert arrived.keys() - wanted == set(), f"{name}: invented"
    assert repeated(endpoint) <= in_flight + cut_after(endpoint)
    assert spool("check", "--db", db).returncode == 0


def events_in_flight(db: Path) -> int:
    """
    How many events are in batches on record as `sending`.
    """
    done = spool(
        "query", "--db", db, "SELECT coalesce(sum(events), 0) FROM batches WHERE state = 'sending'"
    )
    return int(done.stdout) if done.returncode == 0 else 0


def repeated(endpoint: Endpoint) -> int:
    """
    How many events arrived more often than once.
    """
    arrived = sum(endpoint.event_count(*stream) for stream in endpoint.streams())
    return arrived - sum(len(set(endpoint.messages(*stream))) for stream in endpoint.streams())


def cut_after(endpoint: Endpoint) -> int:
    """
    How many events were stored, and the answer then cut off.
    """
    return sum(call.stored_count for call in endpoint.calls if call.outcome == "cut_after")


@pytest.mark.parametrize("moment_s", [0.0, 0.1, 0.3])
def test_a_kill_during_start_is_an_ordinary_start_afterwards(
    endpoint: Endpoint, db: Path, containers: Path, moment_s: float
) -> None:
    LogWriter(containers, "c" * 64, "web").write("one", "two")
    with Agent(db, containers, endpoint.environment()) as agent:
        time.sleep(moment_s)
        agent.kill()
    with Agent(db, containers, endpoint.environment()) as agent:
        wait_until(lambda: endpoint.messages(HOST_GROUP, "web"))
        assert agent.stop() == 0
    assert set(endpoint.messages(HOST_GROUP, "web")) == {"one", "two"}
