"""
spool status: what is here, what was sent, and what is wrong, for people and for scripts.
"""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agent import Agent, LogWriter, spool, status, wait_until
from cloudwatch_endpoint import Endpoint, error

COUNTS = ("unsent", "sent", "rejected")


def test_json_counts_in_all_and_by_stream(history: Any) -> None:
    whole = status(history.db)
    assert {name: whole[name] for name in COUNTS} == {"unsent": 2, "sent": 5, "rejected": 1}
    streams = {(row["group"], row["stream"]): row for row in whole["streams"]}
    assert {key: tuple(row[name] for name in COUNTS) for key, row in streams.items()} == {
        ("app", "web"): (0, 3, 0),
        ("app", "worker"): (0, 2, 1),
        ("other", "late"): (2, 0, 0),
    }
    assert whole["collected"] == len(history.all)
    assert whole["bytes"] >= history.db.stat().st_size
    assert whole["agent"] is None
    assert list(whole["streams"][0].values())[:2] == ["other", "late"], "the most waiting first"


def test_json_times_are_iso_8601_in_utc(history: Any) -> None:
    whole = status(history.db)
    oldest = datetime.fromisoformat(whole["oldest_unsent"])
    assert oldest == datetime.fromtimestamp((history.begin_ms + 1000) / 1000, UTC)
    streams = {row["stream"]: row for row in whole["streams"]}
    assert streams["late"]["oldest_unsent"] == whole["oldest_unsent"]
    assert streams["web"]["oldest_unsent"] is None
    assert streams["late"]["last_delivery"] is None
    delivered = datetime.fromisoformat(streams["web"]["last_delivery"])
    assert timedelta(0) < datetime.now(UTC) - delivered < timedelta(minutes=10)


def test_format_json_is_the_same_object(history: Any) -> None:
    done = spool("status", "--db", history.db, "--format", "json")
    assert json.loads(done.stdout) == status(history.db)


def test_the_rows_of_the_other_formats_are_streams_the_worst_first(history: Any) -> None:
    shown = {
        name: spool("status", "--db", history.db, "--format", name) for name in ("jsonl", "csv")
    }
    rows = [json.loads(line) for line in shown["jsonl"].stdout.splitlines()]
    assert [row["stream"] for row in rows] == ["late", "web", "worker"]
    assert {row["stream"]: row for row in status(history.db)["streams"]} == {
        row["stream"]: row for row in rows
    }
    table = list(csv.DictReader(io.StringIO(shown["csv"].stdout)))
    assert [row["oldest_unsent"] for row in table] == [row["oldest_unsent"] or "" for row in rows]


def test_text_says_the_same_in_a_few_lines_with_nothing_cut(history: Any) -> None:
    done = spool("status", "--db", history.db)
    oldest = status(history.db)["oldest_unsent"]
    lines = re.sub(r"for \d+ min", "for an hour", done.stdout).splitlines()
    assert lines[:6] == [
        "no agent runs: nothing is being collected",
        "",
        "agent     none runs",
        "waiting   2 events of 1 stream wait, the oldest for an hour",
        "sent      5 events still here",
        "rejected  1 event; `spool events --state rejected` shows which",
    ]
    assert lines[6].startswith("file      ")
    assert lines[6].endswith(f", {history.db}")
    assert lines[7] == (
        f"other late  unsent 2  sent 0  rejected 0  oldest unsent {oldest}"
        "  last delivery -  last error -"
    )
    assert len(lines) == 10


def test_max_lag_is_a_health_check(history: Any) -> None:
    for limit, code in (("2h", 0), ("30m", 1), ("90s", 1), ("1d", 0)):
        done = spool("status", "--db", history.db, "--max-lag", limit)
        assert done.returncode == code, (limit, done.stderr)
        assert ("the oldest unsent event is" in done.stderr) == (code == 1)


def test_nothing_unsent_is_no_lag(db: Path, containers: Path, endpoint: Endpoint) -> None:
    LogWriter(containers, "c" * 64, "web").write("one")
    run = ("run", "cloudwatch://us-east-1?NOEC2", "--once", "--db", db)
    done = spool(*run, "--containers-dir", containers, environment=endpoint.environment())
    assert done.returncode == 0, done.stderr
    assert spool("status", "--db", db, "--max-lag", "1ms").returncode == 0
    assert status(db)["oldest_unsent"] is None


def test_a_running_agent_is_named_by_its_pid_and_gone_when_it_has_ended(
    db: Path, containers: Path, endpoint: Endpoint
) -> None:
    with Agent(db, containers, endpoint.environment()) as agent:
        agent.wait_started()
        assert agent.status()["agent"] == agent.process.pid
        assert f"runs, pid {agent.process.pid}" in spool("status", "--db", db).stdout
        agent.kill()
        assert agent.status()["agent"] is None


def test_what_is_wrong_is_said_in_plain_words_until_it_is_mended(
    db: Path, containers: Path, endpoint: Endpoint
) -> None:
    endpoint.refuse()
    LogWriter(containers, "c" * 64, "web").write("kept")
    with Agent(db, containers, endpoint.environment()) as agent:
        wait_until(lambda: db.exists() and last_error(db), what="the error is on record")
        assert "Could not connect to the endpoint URL" in last_error(db)
        assert last_error(db) in spool("status", "--db", db).stdout
        assert status(db)["unsent"] == 1
        endpoint.accept()
        wait_until(lambda: status(db)["sent"] == 1)
        assert not last_error(db)
        assert agent.stop() == 0


def last_error(db: Path) -> str:
    return "".join(row["last_error"] or "" for row in status(db)["streams"])


def test_nothing_that_a_service_says_can_steer_the_terminal(
    db: Path, containers: Path, endpoint: Endpoint
) -> None:
    endpoint.fail_always(error("AccessDeniedException", message="no \x1b[31m \x07 \x9b2J"))
    LogWriter(containers, "c" * 64, "we\x9bb").write("kept")
    with Agent(db, containers, endpoint.environment()) as agent:
        wait_until(lambda: db.exists() and last_error(db), what="the error is on record")
        shown = spool("status", "--db", db).stdout + agent.log.read_text()
    assert "AccessDeniedException" in shown
    assert not {char for char in shown if not char.isprintable()} - {"\n"}


def test_lines_that_did_not_become_events_are_counted_by_reason(
    db: Path, containers: Path, endpoint: Endpoint
) -> None:
    container = LogWriter(containers, "c" * 64, "web")
    container.write("one", "", "", "two")
    with container.path.open("a") as file:
        file.write("this is damaged\n")
    run = ("run", "cloudwatch://us-east-1?NOEC2", "--once", "--db", db)
    done = spool(*run, "--containers-dir", containers, environment=endpoint.environment())
    assert done.returncode == 0, done.stderr
    assert status(db)["skipped"] == {"blank lines": 2, "damaged records": 1}
    assert status(db)["collected"] == 2
    assert "left out  2 blank lines, 1 damaged records" in spool("status", "--db", db).stdout
