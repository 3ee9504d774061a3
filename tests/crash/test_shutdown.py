"""
A stop at any point: it is over within 10 seconds, with 0, and everything is in the spool, in
Docker's files or delivered; the next run delivers the rest.

Waits are generous: a stop that keeps its 10 seconds is given STOP_S, one that waits for SQLite's
30 or for a request's 20 is found out.
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from agent import HOST_GROUP, ROUTE, SPOOL, Agent, LogWriter, clean_environment, spool, wait_until
from cloudwatch_endpoint import HANG, THROTTLED, Endpoint, slow
from faults.gate import Gate
from manager import Manager

STOP_S = 18.0
PYTHONS_OWN = (1, 130)
"""Exit codes of Python that is interrupted before it has begun with our code."""

SIGNALS = pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"]
)

LOCK = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
db.execute("BEGIN IMMEDIATE")
print("ready", flush=True)
sys.stdin.read()
"""


def container(containers: Path, name: str, *lines: str) -> LogWriter:
    number = len(list(containers.iterdir())) + 1
    writer = LogWriter(containers, f"{number:064x}", name)
    writer.write(*lines)
    return writer


def query(db: Path, sql: str) -> int:
    try:
        with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as connection:
            return int(connection.execute(sql).fetchone()[0])
    except sqlite3.OperationalError:  # it is not there yet
        return 0


def unsent(db: Path) -> int:
    return query(db, "SELECT count(*) FROM events WHERE state = 'unsent'")


def sent(db: Path) -> int:
    return query(db, "SELECT count(*) FROM events WHERE state = 'sent'")


def in_flight(db: Path) -> int:
    return query(db, "SELECT coalesce(sum(events), 0) FROM batches WHERE state = 'sending'")


def run_once(db: Path, containers: Path, endpoint: Endpoint) -> None:
    done = spool(
        *("run", ROUTE, "--once", "--db", db, "--containers-dir", containers),
        environment=endpoint.environment(),
    )
    assert done.returncode == 0, done.stderr


def assert_whole(
    db: Path, containers: Path, endpoint: Endpoint, lines: dict[str, list[str]], *, twice: int = 0
) -> None:
    """
    The spool is sound; the next run delivers all that was ever logged, once, but for as many as
    were in flight when they were cut.
    """
    if db.exists():
        checked = spool("check", "--db", db)
        assert checked.returncode == 0, checked.stdout
    endpoint.heal()
    run_once(db, containers, endpoint)
    repeated = 0
    for name, wanted in lines.items():
        arrived = Counter(endpoint.messages(HOST_GROUP, name))
        assert arrived.keys() == set(wanted), name
        repeated += arrived.total() - len(arrived)
    assert repeated <= twice
    assert unsent(db) == 0


def stop(agent: Agent, number: int, *, code: int = 0) -> None:
    agent.process.send_signal(number)
    assert agent.process.wait(STOP_S) == code, agent.log.read_text()
    assert "Traceback" not in agent.log.read_text()


@pytest.fixture
def lock() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """
    Another process begins a transaction on a spool, and holds it until its stdin is closed.
    """
    begun: list[subprocess.Popen[str]] = []

    def begin(db: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", LOCK, str(db)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        return process

    yield begin
    for process in begun:
        with process:
            process.kill()


# --- run --------------------------------------------------------------------------------------

TROUBLE: dict[str, Callable[[Endpoint], None]] = {
    "quiet": lambda _: None,
    "slow": lambda endpoint: endpoint.fail_always(slow(0.3)),
    "hang": lambda endpoint: endpoint.fail_always(HANG),
    "outage": lambda endpoint: endpoint.refuse(),
    "throttling": lambda endpoint: endpoint.fail_always(THROTTLED),
}


@pytest.mark.parametrize(
    ("trouble", "number"),
    [*((trouble, signal.SIGTERM) for trouble in TROUBLE), ("quiet", signal.SIGINT)],
)
def test_whatever_the_endpoint_does_a_signal_ends_a_run_with_0_and_nothing_is_lost(
    endpoint: Endpoint, db: Path, containers: Path, trouble: str, number: int
) -> None:
    web = container(containers, "web", "one")
    with Agent(db, containers, endpoint.environment()) as agent:
        wait_until(lambda: sent(db) == 1)
        TROUBLE[trouble](endpoint)
        web.write("two")
        wait_until(lambda: query(db, "SELECT count(*) FROM events") == 2)
        web.write("three")
        stop(agent, number)
    assert_whole(db, containers, endpoint, {"web": ["one", "two", "three"]})


def test_under_load_a_signal_ends_a_run_with_0_and_nothing_is_lost(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    names = ["web", "worker", "cron"]
    writers = [container(containers, name) for name in names]
    lines: dict[str, list[str]] = {name: [] for name in names}
    over = threading.Event()

    def write() -> None:
        while not over.wait(0.001):
            for writer in writers:
                more = [f"line {len(lines[writer.name]) + one}" for one in range(20)]
                writer.write(*more)
                lines[writer.name] += more

    thread = threading.Thread(target=write)
    thread.start()
    try:
        with Agent(db, containers, endpoint.environment()) as agent:
            wait_until(lambda: endpoint.event_count() > 2_000)
            stop(agent, signal.SIGTERM)
    finally:
        over.set()
        thread.join()
    assert_whole(db, containers, endpoint, lines, twice=in_flight(db))


def test_with_50_streams_waiting_for_a_slow_endpoint_a_stop_keeps_what_it_cannot_send(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    lines = {f"c{number}": [f"{number}: {line}" for line in range(50)] for number in range(50)}
    for name, wanted in lines.items():
        container(containers, name, *wanted)
    endpoint.fail_always(slow(2.0), "PutLogEvents")
    with Agent(db, containers, endpoint.environment()) as agent:
        wait_until(lambda: query(db, "SELECT count(*) FROM events") == 2_500)
        stop(agent, signal.SIGTERM)
    assert unsent(db) > 0
    assert_whole(db, containers, endpoint, lines, twice=in_flight(db))


def test_a_second_signal_ends_a_run_at_once_and_nothing_is_lost(
    endpoint: Endpoint, db: Path, containers: Path, tmp_path: Path
) -> None:
    endpoint.fail_always(HANG)
    container(containers, "web", "one", "two")
    with (
        Manager(str(tmp_path / "notify")) as manager,
        Agent(db, containers, endpoint.environment() | manager.environment()) as agent,
    ):
        wait_until(lambda: in_flight(db) == 2)
        agent.process.send_signal(signal.SIGTERM)
        manager.wait_for("STOPPING")
        stop(agent, signal.SIGTERM, code=128 + signal.SIGTERM)
    assert_whole(db, containers, endpoint, {"web": ["one", "two"]})


@SIGNALS
def test_at_any_moment_of_a_start_a_signal_leaves_a_spool_that_works(
    tmp_path: Path, containers: Path, number: int
) -> None:
    """
    Before Python has got as far as to handle signals they end it as they end any process; then 0.
    """
    container(containers, "web", "one", "two")
    for moment_ms in (0, 30, 80, 150, 250, 400, 700):
        db = tmp_path / str(moment_ms) / "spool.db"
        with Endpoint() as endpoint:
            with Agent(db, containers, endpoint.environment()) as agent:
                time.sleep(moment_ms / 1000)
                agent.process.send_signal(number)
                assert agent.process.wait(STOP_S) in (0, -number, *PYTHONS_OWN)
            assert_whole(db, containers, endpoint, {"web": ["one", "two"]})
            assert endpoint.violations == []


# --- a spool that another process has locked --------------------------------------------------


def test_a_spool_that_is_locked_holds_up_no_stop(
    endpoint: Endpoint, db: Path, containers: Path, lock: Callable[[Path], subprocess.Popen[str]]
) -> None:
    """
    What cannot be stored stays in Docker's files, where it is read from the next time.
    """
    web = container(containers, "web", "one")
    with Agent(db, containers, endpoint.environment()) as agent:
        wait_until(lambda: sent(db) == 1)
        other = lock(db)
        web.write("two")
        time.sleep(1)
        web.write("three")
        stop(agent, signal.SIGTERM)
    other.communicate()
    assert_whole(db, containers, endpoint, {"web": ["one", "two", "three"]})


def test_a_spool_that_is_locked_from_the_start_holds_up_no_stop(
    endpoint: Endpoint,
    db: Path,
    containers: Path,
    lock: Callable[[Path], subprocess.Popen[str]],
) -> None:
    container(containers, "web", "one")
    assert spool("put", "--db", db, "--group", "g", "--stream", "s", stdin="x\n").returncode == 0
    other = lock(db)
    with Agent(db, containers, endpoint.environment()) as agent:
        agent.wait_started()
        stop(agent, signal.SIGTERM)
    other.communicate()
    assert_whole(db, containers, endpoint, {"web": ["one"]})


# --- run --once -------------------------------------------------------------------------------


def test_once_that_is_stopped_says_75_where_something_is_left(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    endpoint.fail_always(HANG)
    container(containers, "web", "one", "two")
    with Agent(db, containers, endpoint.environment(), options=["--once"]) as agent:
        wait_until(lambda: in_flight(db) == 2)
        stop(agent, signal.SIGTERM, code=75)
    assert_whole(db, containers, endpoint, {"web": ["one", "two"]})


def test_once_that_is_stopped_sends_what_it_can_in_a_last_flush(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    endpoint.create(HOST_GROUP, "web")
    endpoint.fail_always(slow(3), "PutLogEvents")
    container(containers, "web", "one", "two")
    with Agent(db, containers, endpoint.environment(), options=["--once"]) as agent:
        wait_until(lambda: in_flight(db) == 2)
        stop(agent, signal.SIGTERM)
    assert unsent(db) == 0
    assert_whole(db, containers, endpoint, {"web": ["one", "two"]})


def test_once_that_is_stopped_while_it_cannot_store_says_75(
    endpoint: Endpoint,
    db: Path,
    containers: Path,
    lock: Callable[[Path], subprocess.Popen[str]],
) -> None:
    container(containers, "web", "one")
    assert spool("put", "--db", db, "--group", "g", "--stream", "s", stdin="x\n").returncode == 0
    other = lock(db)
    with Agent(db, containers, endpoint.environment(), options=["--once"]) as agent:
        agent.wait_started()
        stop(agent, signal.SIGTERM, code=75)
    other.communicate()
    assert_whole(db, containers, endpoint, {"web": ["one"]})


# --- replay and put ---------------------------------------------------------------------------


@SIGNALS
def test_a_replay_that_is_stopped_says_130_and_the_next_one_goes_on(
    endpoint: Endpoint, db: Path, containers: Path, number: int
) -> None:
    target = ("--db", db, "--group", HOST_GROUP, "--stream", "web")
    assert spool("put", *target, stdin="one\ntwo\n").returncode == 0
    endpoint.fail_always(HANG)
    with begin("replay", "--db", db, environment=endpoint.environment()) as process:
        wait_until(lambda: in_flight(db) == 2)
        process.send_signal(number)
        assert process.wait(STOP_S) == 130
    assert_whole(db, containers, endpoint, {"web": ["one", "two"]})


def test_a_replay_that_is_stopped_and_could_send_all_the_same_says_0(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    target = ("--db", db, "--group", HOST_GROUP, "--stream", "web")
    assert spool("put", *target, stdin="one\n").returncode == 0
    endpoint.create(HOST_GROUP, "web")
    gate = Gate()
    gate.close(lambda _: True)
    endpoint.decide = gate.pass_through
    with begin("replay", "--db", db, environment=endpoint.environment()) as process:
        wait_until(lambda: gate.held)
        process.send_signal(signal.SIGTERM)
        gate.open()
        assert process.wait(STOP_S) == 0
    assert endpoint.messages(HOST_GROUP, "web") == ["one"]
    assert_whole(db, containers, endpoint, {"web": ["one"]})


@SIGNALS
def test_a_put_that_is_stopped_has_stored_every_line_that_it_had_read(
    endpoint: Endpoint, db: Path, containers: Path, number: int
) -> None:
    options = ("--db", db, "--group", HOST_GROUP, "--stream", "web")
    with begin("put", *options) as process:
        assert process.stdin
        process.stdin.write(b"one\ntwo\n")
        process.stdin.flush()
        wait_until(lambda: unsent(db) == 2)
        process.send_signal(number)
        assert process.wait(STOP_S) in (130, -number)
    assert_whole(db, containers, endpoint, {"web": ["one", "two"]})


@SIGNALS
def test_a_put_that_waits_for_a_locked_spool_can_be_stopped(
    endpoint: Endpoint,
    db: Path,
    containers: Path,
    lock: Callable[[Path], subprocess.Popen[str]],
    number: int,
) -> None:
    target = ("--db", db, "--group", HOST_GROUP, "--stream", "web")
    assert spool("put", *target, stdin="one\n").returncode == 0
    other = lock(db)
    with begin("put", *target) as process:
        assert process.stdin
        process.stdin.write(b"two\n")
        process.stdin.flush()
        time.sleep(1)
        process.send_signal(number)
        assert process.wait(STOP_S) in (130, -number, *PYTHONS_OWN)
    other.communicate()
    assert_whole(db, containers, endpoint, {"web": ["one"]})


def begin(
    *arguments: str | Path, environment: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*SPOOL, *map(str, arguments)],
        env=clean_environment(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
