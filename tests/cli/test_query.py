"""
spool query: any reading statement, and no other.
"""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from agent import SPOOL, clean_environment, spool, wait_until

STATES = "SELECT state, count(*) AS events FROM events GROUP BY state ORDER BY state"


def test_the_stable_views_answer_in_every_format(history: Any) -> None:
    wanted = [("rejected", 1), ("sent", 5), ("unsent", 2)]
    shown = {
        output_format: spool("query", "--db", history.db, "--format", output_format, STATES).stdout
        for output_format in ("text", "table", "json", "jsonl", "csv")
    }
    assert shown["text"].splitlines() == [f"{state}  {count}" for state, count in wanted]
    assert [tuple(row.values()) for row in json.loads(shown["json"])] == wanted
    assert [tuple(json.loads(line).values()) for line in shown["jsonl"].splitlines()] == wanted
    rows = list(csv.DictReader(io.StringIO(shown["csv"])))
    assert [(row["state"], int(row["events"])) for row in rows] == wanted
    for state, count in wanted:
        assert state in shown["table"]
        assert str(count) in shown["table"]


def test_batches_and_their_events_can_be_joined(history: Any) -> None:
    sql = (
        "SELECT message FROM events JOIN batches ON batches.id = batch_id"
        " WHERE batches.state = 'sent' AND events.log_stream = 'web' ORDER BY timestamp"
    )
    assert spool("query", "--db", history.db, sql).stdout.splitlines() == [*history.web]


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM event",
        "UPDATE batch SET state = 'sent'",
        "INSERT INTO source (name) VALUES ('x') RETURNING id",
        "DROP TABLE event",
        "PRAGMA user_version = 99",
        "PRAGMA journal_mode = DELETE",
        "VACUUM",
        "SELECT 1; DELETE FROM event",
    ],
)
def test_no_statement_changes_the_spool(history: Any, sql: str) -> None:
    before = history.db.read_bytes()
    done = spool("query", "--db", history.db, sql)
    assert history.db.read_bytes() == before
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert len(done.stderr.splitlines()) == 1


def test_no_statement_makes_another_file(history: Any, tmp_path: Path) -> None:
    for sql in (
        f"ATTACH DATABASE '{tmp_path}/attached.db' AS other",
        f"VACUUM INTO '{tmp_path}/copy.db'",
    ):
        assert spool("query", "--db", history.db, sql).returncode == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sql", ["SELECT nothing", "SELEC 1", "", "SELECT ("])
def test_a_wrong_statement_is_told_in_one_line(history: Any, sql: str) -> None:
    done = spool("query", "--db", history.db, sql)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_no_rows_are_an_empty_answer(history: Any) -> None:
    none = ("query", "--db", history.db, "SELECT id FROM events WHERE false")
    assert spool(*none).stdout == ""
    assert json.loads(spool(*none, "--format", "json").stdout) == []
    assert spool(*none, "--format", "jsonl").stdout == ""


@pytest.mark.parametrize("output_format", ["text", "table", "json", "jsonl", "csv"])
def test_bytes_and_nulls_are_shown_in_every_format(history: Any, output_format: str) -> None:
    sql = "SELECT x'00ff1b' AS bytes, NULL AS missing, 1.5 AS number"
    done = spool("query", "--db", history.db, "--format", output_format, sql)
    assert done.returncode == 0, done.stderr
    assert "1.5" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_time_that_no_clock_here_shows_is_in_a_table_as_it_is(history: Any) -> None:
    sql = "SELECT 'noon' AS time UNION ALL SELECT iso(253402300799999)"
    in_a_table = ("query", "--db", history.db, "--format", "table", sql)
    done = spool(*in_a_table, environment={"TZ": "Asia/Tokyo"})
    assert done.returncode == 0, done.stderr
    assert [line.strip() for line in done.stdout.splitlines()] == [
        "time",
        "noon",
        "9999-12-31T23:59:59.999Z",
    ]


def test_without_a_spool_it_says_where_it_looked(tmp_path: Path) -> None:
    done = spool("query", "--db", tmp_path / "none.db", STATES)
    assert done.returncode == 1
    assert str(tmp_path / "none.db") in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sql", ["", "VACUUM", "BEGIN", "ATTACH ':memory:' AS other"])
def test_a_statement_that_gives_no_rows_is_told_so_in_plain_words(history: Any, sql: str) -> None:
    done = spool("query", "--db", history.db, sql)
    assert done.returncode == 1
    assert done.stderr == (
        f"spool: {history.db}: only a statement that reads and gives rows, as SELECT does, is run\n"
    )


def test_sql_that_is_not_utf_8_is_wrong_usage(history: Any) -> None:
    done = spool("query", "--db", history.db, os.fsdecode(b"SELECT '\xff'"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not UTF-8 text" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "sql", ["SELECT [Could not decode to UTF-8]", "SELECT CAST(x'ff' AS TEXT) AS text"]
)
def test_a_statement_that_makes_bytes_a_text_calls_no_file_damaged(history: Any, sql: str) -> None:
    done = spool("query", "--db", history.db, sql)
    assert (done.returncode, done.stdout) == (1, "")
    assert "UTF-8" in done.stderr
    assert "damaged" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_message_that_is_no_text_is_damage_for_events_alone(spool_to_change: Any) -> None:
    db = spool_to_change.db
    with closing(sqlite3.connect(db)) as file, file:
        file.execute("UPDATE event SET message = CAST(x'ff' AS TEXT)")
    assert "damaged" in spool("events", "--db", db).stderr
    asked = spool("query", "--db", db, "SELECT message FROM events").stderr
    assert asked.endswith("a text is not UTF-8; CAST(… AS BLOB) has its bytes\n")


def test_a_function_that_cannot_be_called_with_a_text_ends_nothing_silently(
    spool_to_change: Any,
) -> None:
    db = spool_to_change.db
    with closing(sqlite3.connect(db)) as file, file:
        file.execute("UPDATE event SET message = CAST(x'61ff' AS TEXT) WHERE id = 2")
    asked = spool("query", "--db", db, "SELECT id FROM events WHERE message REGEXP 'a'")
    assert (asked.returncode, asked.stdout) == (1, "")
    assert asked.stderr == f"spool: {db}: a text is not UTF-8; CAST(… AS BLOB) has its bytes\n"
    sql = "SELECT id FROM events WHERE CAST(message AS BLOB) REGEXP '^a.$'"
    asked = spool("query", "--db", db, "--format", "text", sql)
    assert (asked.returncode, asked.stdout) == (0, "2\n")


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT iso('soon')", "iso: "),
        ("SELECT 'a' REGEXP '('", "regexp: missing ), unterminated subpattern"),
    ],
)
def test_what_a_function_cannot_take_is_told(history: Any, sql: str, told: str) -> None:
    done = spool("query", "--db", history.db, sql)
    assert done.returncode == 1
    assert done.stderr.startswith(f"spool: {history.db}: {told}")


@pytest.mark.parametrize("output_format", ["json", "jsonl"])
def test_what_is_no_number_in_json_is_null(history: Any, output_format: str) -> None:
    sql = "SELECT 1e999 AS much, -1e999 AS little, 1.5 AS some"
    shown = spool("query", "--db", history.db, "--format", output_format, sql).stdout
    found = json.loads(shown)
    row = found[0] if output_format == "json" else found
    assert row == {"much": None, "little": None, "some": 1.5}


FOR_EVER = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
MANY_CALLS = FOR_EVER.replace("max(i)", "max(iso(i))")


@pytest.mark.parametrize(
    "arguments",
    [("query", FOR_EVER), ("query", MANY_CALLS), ("events", "--grep", "(a+)+$")],
    ids=["a statement", "its functions", "a pattern"],
)
def test_an_interrupt_ends_at_once_what_would_take_for_ever(
    db: Path, arguments: tuple[str, ...]
) -> None:
    spool("put", "--db", db, "--group", "g", "--stream", "s", stdin="a" * 60 + "b\n")
    with subprocess.Popen(
        [*SPOOL, *arguments, "--db", str(db)],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        wait_until(lambda: has_open(process.pid, db))
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        shown, told = process.communicate(timeout=60)
        assert (shown, told.strip()) == (b"", b"")
        assert process.returncode == 130


def has_open(pid: int, path: Path) -> bool:
    return any(one.resolve() == path for one in Path(f"/proc/{pid}/fd").iterdir())
