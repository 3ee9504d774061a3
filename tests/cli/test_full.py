"""
--max-size and --when-full: what users see of a spool that is full.
"""

from __future__ import annotations

import sqlite3
import subprocess
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from agent import (
    HOST_GROUP,
    ROUTE,
    SPOOL,
    Agent,
    LogWriter,
    clean_environment,
    spool,
    status,
    wait_until,
)
from cloudwatch_endpoint import Endpoint
from faults.gate import Gate

WEB = "c" * 64
MIB = 1024**2
SIZE = ("--max-size", "8MiB")
LOG_BYTES = 8 * MIB
"""What one reading may take besides, in the write-ahead log and in the file."""


def write(container: LogWriter, first: int, count: int) -> list[str]:
    lines = [f"{number:06} {'x' * 1_000}" for number in range(first, first + count)]
    container.write(*lines)
    return lines


def size_bytes(db: Path) -> int:
    return sum(path.stat().st_size for path in db.parent.glob("spool.db*"))


def test_a_full_spool_stops_collecting_and_goes_on_by_itself_with_no_line_lost(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    endpoint.refuse()
    container = LogWriter(containers, WEB, "web")
    lines = write(container, 0, 15_000)
    with Agent(db, containers, endpoint.environment(), options=SIZE) as agent:
        agent.wait_started()
        wait_until(lambda: status(db)["full"], what="the spool is full")
        container.rotate()
        lines += write(container, 15_000, 1_000)
        full = agent.status()
        assert full["max_size"] == 8 * MIB
        assert 0 < full["unsent"] == full["collected"] < 12_000
        [told] = [note["text"] for note in full["warnings"] if "CloudWatch" not in note["text"]]
        assert "no more lines are collected" in told
        assert "of 8.0 MiB" in spool("status", "--db", db).stdout
        assert told in spool("status", "--db", db).stdout
        assert size_bytes(db) < 8 * MIB + LOG_BYTES
        endpoint.accept()
        wait_until(lambda: endpoint.event_count(HOST_GROUP, "web") >= 16_000)
        wait_until(lambda: not status(db)["full"], what="there is room again")
        assert agent.stop() == 0
    assert Counter(endpoint.messages(HOST_GROUP, "web")) == Counter(lines)
    done = status(db)
    assert done["dropped"] == 0
    assert done["collected"] == 16_000 == done["sent"] + done["pruned"]
    assert size_bytes(db) < 8 * MIB + LOG_BYTES
    assert spool("check", "--db", db).returncode == 0


def test_drop_oldest_goes_on_collecting_and_counts_what_it_dropped(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    endpoint.refuse()
    container = LogWriter(containers, WEB, "web")
    lines = write(container, 0, 15_000)
    options = (*SIZE, "--when-full", "drop-oldest")
    with Agent(db, containers, endpoint.environment(), options=options) as agent:
        agent.wait_started()
        wait_until(lambda: status(db)["collected"] == 15_000)
        assert agent.status()["dropped"] > 5_000
        assert size_bytes(db) < 8 * MIB + LOG_BYTES
        endpoint.accept()
        wait_until(lambda: agent.status()["unsent"] == 0)
        for first in range(15_000, 22_000, 1_000):  # room is made when it is needed
            lines.extend(write(container, first, 1_000))
            wait_until(lambda: agent.status()["collected"] == len(lines))
            wait_until(lambda: agent.status()["unsent"] == 0)
        told = agent.log.read_text()
        assert agent.stop() == 0
    done = status(db)
    arrived = endpoint.messages(HOST_GROUP, "web")
    assert len(arrived) == len(set(arrived)) == 22_000 - done["dropped"]
    assert lines[-1] in arrived
    assert told.count("the oldest are dropped") == 1
    assert told.count(f"{done['dropped']:,} unsent events were dropped") == 1
    assert spool("check", "--db", db).returncode == 0


def test_a_reader_that_does_not_end_cannot_make_the_log_fill_the_disk(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    """
    While it reads, nothing can be taken out of the write-ahead log.
    """
    container = LogWriter(containers, WEB, "web")
    write(container, 0, 100)
    with Agent(db, containers, endpoint.environment(), options=SIZE) as agent:
        agent.wait_started()
        wait_until(lambda: status(db)["sent"] == 100)
        with closing(sqlite3.connect(db, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM events").fetchall()
            write(container, 100, 40_000)
            wait_until(lambda: len(status(db)["warnings"]) == 2)
            held = agent.status()
            assert held["full"]
            assert 32 * MIB < held["wal_bytes"] < 40 * MIB
            assert "holds its write-ahead log" in held["warnings"][1]["text"]
            assert "until that one ends" in held["warnings"][0]["text"]
            assert held["collected"] < 40_100
        wait_until(lambda: endpoint.event_count(HOST_GROUP, "web") >= 40_100)
        wait_until(lambda: status(db)["warnings"] == [])
        assert agent.status()["wal_bytes"] <= LOG_BYTES
        assert agent.stop() == 0
    assert spool("check", "--db", db).returncode == 0


def test_once_ships_much_more_than_the_spool_may_hold(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    lines = []
    for number in range(30):  # none of them fills a batch by itself
        container = LogWriter(containers, f"{number:064x}", f"web-{number}")
        lines += write(container, number * 500, 500)
    run = ("run", ROUTE, "--once", "--db", db, "--containers-dir", containers, *SIZE)
    done = spool(*run, environment=endpoint.environment())
    assert done.returncode == 0, done.stderr
    streams = [endpoint.messages(*stream) for stream in endpoint.streams()]
    assert Counter(line for stream in streams for line in stream) == Counter(lines)


def test_once_gives_up_where_nothing_can_be_delivered(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    endpoint.refuse()
    write(LogWriter(containers, WEB, "web"), 0, 12_000)
    run = ("run", ROUTE, "--once", "--db", db, "--containers-dir", containers, *SIZE)
    done = spool(*run, environment=endpoint.environment())
    assert done.returncode == 75, done.stderr
    kept = status(db)
    assert 0 < kept["unsent"] == kept["collected"] < 12_000
    endpoint.accept()
    done = spool(*run, environment=endpoint.environment())
    assert done.returncode == 0, done.stderr
    assert len(set(endpoint.messages(HOST_GROUP, "web"))) == 12_000


def test_put_into_a_full_spool_without_an_agent_says_how_far_it_came(
    endpoint: Endpoint, db: Path
) -> None:
    put = ("put", "--db", db, "--group", "g", "--stream", "s")
    lines = [f"{number} {'x' * 1_000}" for number in range(8_000)]
    done = spool(*put, *SIZE, stdin="\n".join(lines))
    assert done.returncode == 75
    stored = status(db)["unsent"]
    assert 4_000 < stored < 8_000
    assert len(done.stderr.splitlines()) == 1
    assert f"the spool is full (8.0 MiB): {stored:,} events stored, the rest not" in done.stderr
    assert spool("replay", "--db", db, environment=endpoint.environment()).returncode == 0
    assert spool(*put, *SIZE, stdin="\n".join(lines[stored:])).returncode == 0
    assert status(db)["collected"] == 8_000


def test_put_beside_an_agent_keeps_to_its_limit_and_waits_for_it(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    gate = Gate()
    gate.close(lambda _: True)
    endpoint.decide = gate.pass_through
    lines = [f"{number} {'x' * 1_000}" for number in range(15_000)]
    with Agent(db, containers, endpoint.environment(), options=SIZE) as agent:
        agent.wait_started()
        wait_until(lambda: status(db)["max_size"])
        with subprocess.Popen(
            [*SPOOL, "put", "--db", str(db), "--group", "g", "--stream", "s"],
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as put:
            assert put.stdin
            assert put.stderr
            feeder = threading.Thread(target=put.stdin.write, args=["\n".join(lines)])
            feeder.start()
            told = put.stderr.readline()
            assert told == "spool put: the spool is full; waiting for the agent to send\n"
            gate.open()
            feeder.join()
            assert put.communicate() == (None, "")
        assert put.returncode == 0
        assert size_bytes(db) < 8 * MIB + LOG_BYTES
        wait_until(lambda: agent.status()["unsent"] == 0)
        assert agent.stop() == 0
    assert Counter(endpoint.messages("g", "s")) == Counter(lines)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--max-size", "1MiB"], "1MiB is too little; it takes 8,388,608 bytes"),
        (["--max-size", "much"], "no size"),
        (["--when-full", "panic"], "--when-full"),
    ],
)
def test_a_limit_that_cannot_be_kept_is_refused(db: Path, options: list[str], told: str) -> None:
    done = spool("run", ROUTE, "--db", db, *options)
    assert done.returncode == 2
    assert told in done.stderr
    assert not db.exists()


def test_limits_can_be_told_by_the_environment(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    environment = {"SPOOL_MAX_SIZE": "9MiB", "SPOOL_WHEN_FULL": "panic"}
    run = ("run", ROUTE, "--once", "--db", db, "--containers-dir", containers)
    done = spool(*run, environment=endpoint.environment() | environment)
    assert done.returncode == 2
    assert "panic" in done.stderr
    environment["SPOOL_WHEN_FULL"] = "drop-oldest"
    assert spool(*run, environment=endpoint.environment() | environment).returncode == 0
    assert status(db)["max_size"] == 9 * MIB
