"""
The agent is killed at random moments on a node whose kubelet rotates, compresses and restarts.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from agent import HOST_GROUP, Agent, spool, wait_until
from cloudwatch_endpoint import Endpoint
from kubelet import PodWriter

RUNS = 10
SEED = 20_261_122


class Containers:
    """
    They log numbered lines, whole or in two parts, until they are told to stop.
    """

    def __init__(self, pods: Path, names: list[str], dice: random.Random) -> None:
        self.written: Counter[str] = Counter()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._write,
                args=[PodWriter(pods, container=name), random.Random(dice.random())],
            )
            for name in names
        ]
        for thread in self._threads:
            thread.start()

    def _write(self, container: PodWriter, dice: random.Random) -> None:
        while not self._stop.is_set():
            number = self.written[container.name]
            container.write("line ", tag="P")
            container.write("an error", stream="stderr")
            container.write(f"{number}")
            container.write(*(f"line {number + more}" for more in range(1, 7)))
            self.written[container.name] += 7
            if dice.random() < 0.02:
                container.rotate(keep=1000)  # none is removed: what is lost is our loss
            elif dice.random() < 0.005:
                container.close()
                container.run += 1
                container.reopen()
            time.sleep(dice.random() * 0.01)
        container.close()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.timeout(300)  # the more lines, the slower the machine
def test_ten_sigkills_on_a_node_lose_nothing_and_repeat_nothing(
    endpoint: Endpoint, db: Path, pods: Path
) -> None:
    """
    Promise 1: each line is in the spool once; the endpoint may have some of a killed request twice.
    """
    options = ("--pods-dir", str(pods))
    dice = random.Random(SEED)
    containers = Containers(pods, ["app", "proxy", "init"], dice)
    try:
        for _ in range(RUNS):
            with Agent(db, pods / "none", endpoint.environment(), options=options) as agent:
                time.sleep(dice.uniform(0.3, 1.2))
                agent.kill()
    finally:
        containers.stop()
    with Agent(db, pods / "none", endpoint.environment(), options=options) as agent:
        agent.wait_started()
        total = sum(count + count // 7 for count in containers.written.values())
        wait_until(lambda: agent.status()["sent"] == total, timeout_s=60, what="all is sent")
        assert agent.stop() == 0
    for name, count in containers.written.items():
        arrived = Counter(endpoint.messages(HOST_GROUP, name))
        assert arrived.keys() == {"an error", *(f"line {number}" for number in range(count))}
    stored = spool(
        *("query", "--db", db, "--format", "csv"),
        "SELECT count(*), count(DISTINCT log_stream || message) FROM events"
        " WHERE source LIKE '%/stdout'",
    )
    lines = sum(containers.written.values())
    assert stored.stdout.split()[-1] == f"{lines},{lines}"
    assert spool("check", "--db", db).returncode == 0
