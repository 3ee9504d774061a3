"""
spool run under a service manager: what systemd is told, by the process itself.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from agent import Agent, LogWriter, spool, wait_until
from cloudwatch_endpoint import Endpoint
from manager import Manager

WEB = "a" * 64
STANDSTILL = Path(__file__).parent.parent / "faults" / "standstill"
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with Manager(str(tmp_path / "notify")) as listening:
        yield listening


def supervised(
    manager: Manager, db: Path, containers: Path, endpoint: Endpoint, **environment: str
) -> Agent:
    told = {**endpoint.environment(), **manager.environment(watchdog_s=0.4), **environment}
    return Agent(db, containers, told)


def test_it_is_ready_gives_signs_of_life_and_says_that_it_stops(
    manager: Manager, endpoint: Endpoint, db: Path, containers: Path
) -> None:
    LogWriter(containers, WEB, "web").write("one")
    with supervised(manager, db, containers, endpoint) as agent:
        manager.wait_for("READY")
        manager.wait_for("STATUS", "all sent")
        wait_until(lambda: len(manager.values("WATCHDOG")) > 4)
        assert manager.values("STOPPING") == []
        assert agent.stop() == 0
    manager.wait_for("STOPPING")
    assert manager.values("STOPPING") == ["1"]
    assert manager.told[-1].keys() <= {"STOPPING", "STATUS"}


def test_it_is_ready_and_lives_without_cloudwatch_and_says_what_is_the_matter(
    manager: Manager, endpoint: Endpoint, db: Path, containers: Path
) -> None:
    """
    A restart would not bring CloudWatch back.
    """
    LogWriter(containers, WEB, "web").write("one")
    nowhere = {"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": "http://127.0.0.1:9"}
    with supervised(manager, db, containers, endpoint, **nowhere):
        manager.wait_for("READY")
        status = manager.wait_for("STATUS", "takes nothing now")
        assert status.startswith("CloudWatch Logs takes nothing now, lines are kept: ")
        manager.wait_for("STATUS", "; 1 event waits, the oldest for ")
        pings = len(manager.values("WATCHDOG"))
        wait_until(lambda: len(manager.values("WATCHDOG")) > pings + 3)


def test_a_spool_that_another_process_has_locked_is_told_and_no_reason_to_be_killed(
    manager: Manager, endpoint: Endpoint, db: Path, containers: Path
) -> None:
    web = LogWriter(containers, WEB, "web")
    with supervised(manager, db, containers, endpoint):
        manager.wait_for("READY")
        with closing(sqlite3.connect(db, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            web.write("one")
            manager.wait_for("STATUS", "cannot be used now")
            pings = len(manager.values("WATCHDOG"))
            wait_until(lambda: len(manager.values("WATCHDOG")) > pings + 3)
        manager.wait_for("STATUS", "all sent")


@pytest.mark.parametrize("loop", ["capture", "upload"])
def test_the_signs_of_life_end_when_a_loop_hangs_and_come_back_with_it(
    manager: Manager, endpoint: Endpoint, db: Path, containers: Path, loop: str
) -> None:
    LogWriter(containers, WEB, "web").write("one")
    hangs = db.parent / "hangs"
    environment = {"HANGS": str(hangs), "HANGS_IN": loop, "PYTHONPATH": f"{STANDSTILL}:{ROOT}"}
    with supervised(manager, db, containers, endpoint, **environment) as agent:
        manager.wait_for("STATUS", "all sent")
        hangs.touch()
        manager.wait_for("STATUS", f"a part of the agent is stuck: {loop}, for ")
        manager.told.clear()
        wait_until(lambda: len(manager.values("STATUS")) > 3)
        assert manager.values("WATCHDOG") == []
        assert b"is stuck" in agent.own_log()
        hangs.unlink()
        manager.wait_for("WATCHDOG")


def test_what_the_watchdog_kills_leaves_where_it_stood_in_the_log(
    manager: Manager, endpoint: Endpoint, db: Path, containers: Path
) -> None:
    with supervised(manager, db, containers, endpoint) as agent:
        manager.wait_for("READY")
        agent.process.send_signal(signal.SIGABRT)
        assert agent.process.wait(60) == -signal.SIGABRT
        log = agent.log.read_text()
    assert "Fatal Python error: Aborted" in log
    assert "in readings" in log


def test_a_damaged_spool_is_rescued_before_it_is_ready(
    manager: Manager, endpoint: Endpoint, db: Path, containers: Path
) -> None:
    assert spool("put", "--db", db, "--group", "g", "--stream", "s", stdin="one\n").returncode == 0
    with db.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(4096))
    with supervised(manager, db, containers, endpoint) as agent:
        manager.wait_for("READY")
        assert b"set aside" in agent.own_log() or b"is damaged" in agent.own_log()
    first = next(index for index, fields in enumerate(manager.told) if "READY" in fields)
    assert any("EXTEND_TIMEOUT_USEC" in fields for fields in manager.told[:first])
