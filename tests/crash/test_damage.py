"""
The spool is damaged while the agent does not run, and while it does: it says so, and goes on.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from agent import HOST_GROUP, ROUTE, Agent, LogWriter, clean_environment, spool, wait_until
from cloudwatch_endpoint import Endpoint, status

PAGE_BYTES = 8192
LINES = 3_000


def put(db: Path, count: int, *, first: int = 0) -> list[str]:
    lines = [f"line {number} of many" for number in range(first, first + count)]
    done = spool("put", "--db", db, "--group", "g", "--stream", "s", stdin="\n".join(lines))
    assert done.returncode == 0, done.stderr
    return lines


def run_once(db: Path, containers: Path, endpoint: Endpoint) -> tuple[int, str]:
    done = spool(
        *("run", ROUTE, "--once", "--db", db, "--containers-dir", containers),
        environment=endpoint.environment(),
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def aside(db: Path) -> list[Path]:
    return sorted(path for path in db.parent.iterdir() if ".damaged-" in path.name)


def root(db: Path, name: str) -> int:
    with closing(sqlite3.connect(db)) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)
        ).fetchone()
    return int(page)


def ruin(db: Path, page: int, data: bytes = b"\xa5" * PAGE_BYTES) -> None:
    with db.open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(data)


def pages(db: Path) -> int:
    return db.stat().st_size // PAGE_BYTES


def is_sound(db: Path) -> bool:
    done = spool("check", "--db", db)
    assert done.stderr == ""
    return done.returncode == 0


@pytest.mark.parametrize("page", ["first", "event", "queue", "queue_stream", "stream"])
def test_all_events_arrive_from_a_spool_in_which_no_page_of_events_is_damaged(
    endpoint: Endpoint, db: Path, containers: Path, page: str
) -> None:
    lines = put(db, LINES)
    ruin(db, 1 if page == "first" else root(db, page))
    before = db.read_bytes()
    code, told = run_once(db, containers, endpoint)
    assert code == 0
    (old,) = aside(db)
    assert old.read_bytes() == before
    assert "is damaged: " in told
    assert str(old) in told
    assert f"{LINES:,} events were saved, none is known to be lost" in told
    arrived = [m for stream in endpoint.streams() for m in endpoint.messages(*stream)]
    assert sorted(arrived) == sorted(lines)
    assert is_sound(db)


def test_a_message_that_is_no_text_goes_out_without_what_is_none(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    put(db, 3)
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.execute("UPDATE event SET message = CAST(x'61ff' AS TEXT) WHERE id = 2")
    code, told = run_once(db, containers, endpoint)
    assert code == 0
    assert "the spool is damaged: a text in it is not UTF-8" in told
    assert endpoint.messages("g", "s") == ["line 0 of many", "a\ufffd", "line 2 of many"]
    assert is_sound(db)


def test_a_lost_tail_costs_what_was_in_it(endpoint: Endpoint, db: Path, containers: Path) -> None:
    lines = put(db, LINES)
    with db.open("r+b") as file:
        file.truncate((pages(db) - 3) * PAGE_BYTES)
    code, told = run_once(db, containers, endpoint)
    assert code == 0
    arrived = endpoint.messages("g", "s")
    assert 0 < len(arrived) < LINES
    assert set(arrived) <= set(lines)
    # the newest id has a stand-in, which is rejected
    assert f"{len(arrived):,} events were saved, {LINES - len(arrived) - 1:,} are lost" in told
    assert is_sound(db)
    newer = put(db, 10, first=LINES)
    assert run_once(db, containers, endpoint)[0] == 0
    assert Counter(endpoint.messages("g", "s")) == Counter([*arrived, *newer])


def test_a_clean_stop_makes_the_next_start_short(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    """
    What only a look at everything finds, is found after a crash; after a stop, when it is met.
    """
    put(db, LINES)
    assert run_once(db, containers, endpoint)[0] == 0
    assert db.with_name("spool.db.lock").read_text() == ""
    ruin(db, pages(db) - 3)
    assert "is damaged" not in run_once(db, containers, endpoint)[1]
    with Agent(db, containers, endpoint.environment()) as agent:
        agent.wait_started()
        agent.kill()
    assert "is damaged" in run_once(db, containers, endpoint)[1]
    assert is_sound(db)


def test_damage_that_is_met_while_the_agent_runs_needs_no_restart(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    """
    The events wait, and one of their pages is damaged; lines that come later arrive too.
    """
    endpoint.decide = lambda _: status(503, "busy")
    lines = put(db, LINES)
    web = LogWriter(containers, "a" * 64, "web")
    Agent(db, containers, endpoint.environment()).__exit__()
    ruin(db, pages(db) - 5)
    db.with_name("spool.db.lock").write_text("")  # so that the start does not find it
    endpoint.heal()
    with Agent(db, containers, endpoint.environment()) as agent:
        agent.wait_started()
        wait_until(lambda: aside(db), what="the damage is met")
        web.write("after the damage")
        wait_until(lambda: "after the damage" in endpoint.messages(HOST_GROUP, "web"))
        wait_until(lambda: agent.status()["unsent"] == 0)
        assert agent.stop() == 0
        told = agent.log.read_text()
    assert "the spool is damaged: " in told
    assert "Traceback" not in told
    arrived = endpoint.messages("g", "s")
    assert set(arrived) <= set(lines)
    assert len(arrived) > LINES - 300
    assert is_sound(db)


def test_a_text_that_is_none_does_not_hold_up_its_stream(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    lines = put(db, 100)
    content = db.read_bytes()
    assert content.count(b"line 50 of many") == 1
    db.write_bytes(content.replace(b"line 50 of many", b"line 5\xff of many"))
    assert run_once(db, containers, endpoint)[0] == 0
    arrived = endpoint.messages("g", "s")
    assert Counter(arrived) == Counter([*lines[:50], "line 5\ufffd of many", *lines[51:]])
    assert is_sound(db)


def test_lines_behind_a_torn_log_arrive(endpoint: Endpoint, db: Path, containers: Path) -> None:
    endpoint.decide = lambda _: status(503, "busy")
    web = LogWriter(containers, "a" * 64, "web")
    with Agent(db, containers, endpoint.environment()) as agent:
        agent.wait_started()
        for number in range(20):
            web.write(f"line {number}")
            wait_until(lambda n=number: agent.status()["unsent"] > n)
        agent.kill()
    wal = db.with_name("spool.db-wal")
    content = bytearray(wal.read_bytes())
    content[len(content) // 3] ^= 0xFF
    wal.write_bytes(content)
    shutil.rmtree(web.folder)  # what is not in the spool is nowhere
    endpoint.heal()
    code, told = run_once(db, containers, endpoint)
    assert code == 0
    assert "its write-ahead log is torn" in told
    assert set(endpoint.messages(HOST_GROUP, "web")) == {f"line {n}" for n in range(20)}
    assert aside(db)[1].read_bytes() == content
    assert is_sound(db)


def test_replay_without_an_agent_rescues_too(endpoint: Endpoint, db: Path) -> None:
    lines = put(db, LINES)
    ruin(db, 1, bytes(PAGE_BYTES))
    dry = spool("replay", "--dry-run", "--db", db, environment=endpoint.environment())
    assert dry.returncode == 1
    assert not aside(db)
    done = spool("replay", "--db", db, environment=endpoint.environment())
    assert done.returncode == 0
    assert "is damaged: " in done.stderr
    assert sorted(endpoint.messages("g", "s")) == sorted(lines)
    assert len(aside(db)) == 1
    assert is_sound(db)


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["events"],
        ["batches"],
        ["query", "SELECT count(message) FROM events"],
        ["prune"],
        ["check"],
        ["replay", "--dry-run"],
        ["put", "--group", "g", "--stream", "s"],
    ],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize("damage", ["first page", "events", "empty"])
def test_others_say_in_one_line_what_to_do(db: Path, command: list[str], damage: str) -> None:
    put(db, LINES)
    if damage == "first page":
        ruin(db, 1)
    elif damage == "events":
        ruin(db, root(db, "event"))
        if command[0] in ("status", "batches", "prune"):
            pytest.skip("it reads no events")
    else:
        db.with_name("spool.db-wal").write_bytes(b"something")
        db.write_bytes(b"")
    before = db.read_bytes()
    done = spool(*command, "--db", db, stdin="one more line\n")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "damaged" in done.stderr
    assert "`spool run` or `spool replay`" in done.stderr
    assert "Traceback" not in done.stderr
    assert not aside(db)
    if damage != "events":
        assert db.read_bytes() == before


def test_what_is_no_spool_is_not_touched_by_run(
    endpoint: Endpoint, tmp_path: Path, containers: Path
) -> None:
    other = tmp_path / "other.db"
    other.write_bytes(b"mine" * 50_000)
    code, told = run_once(other, containers, endpoint)
    assert code == 1
    assert "not a spool" in told
    assert other.read_bytes() == b"mine" * 50_000
    assert not aside(other)


def test_kills_during_the_rescue_lose_nothing(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    dice = random.Random(20_261_122)
    lines = put(db, 20_000)
    ruin(db, root(db, "event"))
    before = db.read_bytes()
    for _ in range(8):
        with Agent(db, containers, endpoint.environment(), options=["--once"]) as agent:
            time.sleep(dice.uniform(0.2, 1.2))
            agent.kill()
    assert run_once(db, containers, endpoint)[0] == 0
    assert [path.read_bytes() for path in aside(db)] == [before]
    arrived = Counter(endpoint.messages("g", "s"))
    assert arrived.keys() == set(lines)
    assert is_sound(db)


ALONE = """
import fcntl, os, sys
from spool.rescue import SHARED_BYTES
start, length = SHARED_BYTES
fcntl.lockf(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX, length, start)
print("ready", flush=True)
sys.stdin.readline()
"""


def test_while_a_rescue_is_under_way_others_are_told_to_wait(db: Path) -> None:
    put(db, 1)
    other = subprocess.Popen(
        [sys.executable, "-c", ALONE, str(db)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    )
    with other:
        assert other.stdout
        assert other.stdout.readline() == "ready\n"
        for command in (["status"], ["events"], ["check"]):
            done = spool(*command, "--db", db)
            assert (done.returncode, done.stdout) == (1, "")
            assert "another process has it to itself" in done.stderr, command
            assert "owner" not in done.stderr
        other.communicate("\n")
    assert spool("status", "--db", db).returncode == 0
