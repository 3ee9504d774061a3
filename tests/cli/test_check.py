"""
spool check: a sound spool is told from one that somebody or something has damaged.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from agent import Agent, spool
from cloudwatch_endpoint import Endpoint


def test_a_sound_spool_is_called_sound(spool_to_change: Any) -> None:
    done = spool("check", "--db", spool_to_change.db)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "sound: every event is accounted for\n"


def test_it_can_be_asked_while_the_agent_runs(
    db: Path, containers: Path, endpoint: Endpoint
) -> None:
    with Agent(db, containers, endpoint.environment()) as agent:
        agent.wait_started()
        assert spool("check", "--db", db).returncode == 0
        assert agent.stop() == 0


@pytest.mark.parametrize(
    "tampering",
    [
        "DELETE FROM event WHERE id = 1",
        "DELETE FROM queue",
        "UPDATE stream SET sent = sent + 1",
        "UPDATE stream SET collected = collected + 1",
        "DELETE FROM rejection",
    ],
)
def test_an_event_that_is_not_accounted_for_is_found(spool_to_change: Any, tampering: str) -> None:
    with closing(sqlite3.connect(spool_to_change.db)) as spool_file, spool_file:
        spool_file.execute(tampering)
    done = spool("check", "--db", spool_to_change.db)
    assert done.returncode == 1
    assert "app w" in done.stdout or "other late" in done.stdout, "the stream is named"
    assert done.stderr == ""


def test_no_name_can_steer_the_terminal(db: Path) -> None:
    put = ("put", "--db", db, "--group", "g", "--stream", "a\x9b2Jsound\u202e")
    assert spool(*put, stdin="one").returncode == 0
    with closing(sqlite3.connect(db)) as spool_file, spool_file:
        spool_file.execute("UPDATE stream SET collected = collected + 1")
    done = spool("check", "--db", db)
    assert r"g a\x9b2Jsound\u202e: collected 2" in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_a_damaged_page_is_found(spool_to_change: Any) -> None:
    db = spool_to_change.db
    with closing(sqlite3.connect(db)) as spool_file:
        spool_file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = spool_file.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'event'")
        (number,) = page.fetchone()
    with db.open("r+b") as file:
        file.seek((number - 1) * 8192 + 8)
        file.write(b"\xa5" * 4_000)
    done = spool("check", "--db", db)
    assert done.returncode == 1
    assert "damaged" in done.stdout or "malformed" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_message_that_is_no_text_is_found(spool_to_change: Any) -> None:
    with closing(sqlite3.connect(spool_to_change.db)) as spool_file, spool_file:
        spool_file.execute("UPDATE event SET message = CAST(x'ff' AS TEXT) WHERE id = 2")
    done = spool("check", "--db", spool_to_change.db)
    assert (done.returncode, done.stdout) == (1, "damaged: a text in it is not UTF-8\n")
    assert len(done.stderr.splitlines()) == 1


def test_half_a_file_is_found(spool_to_change: Any) -> None:
    with closing(sqlite3.connect(spool_to_change.db)) as spool_file:
        spool_file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = spool_to_change.db.read_bytes()
    spool_to_change.db.write_bytes(content[: len(content) // 2])
    done = spool("check", "--db", spool_to_change.db)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_what_is_no_spool_is_said_and_left_as_it_was(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as database, database:
        database.execute("CREATE TABLE mine (id)")
    before = other.read_bytes()
    for path, told in ((other, "not a spool"), (tmp_path / "none.db", "no spool here")):
        done = spool("check", "--db", path)
        assert done.returncode == 1
        assert told in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert other.read_bytes() == before
    assert not (tmp_path / "none.db").exists()
