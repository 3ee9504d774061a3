"""
The file: whose it is, what is in it, and what is left alone.
"""

import gc
import itertools
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spool.audit import audit
from spool.errors import NewerSpool, NotASpool, SpoolError, SpoolUnusable, TwoDrivers
from spool.inspection import Inspection
from spool.schema import VERSION
from spool.store import Store

EVENTS = [
    "id",
    "log_group",
    "log_stream",
    "timestamp",
    "time",
    "message",
    "state",
    "batch_id",
    "source",
]
BATCHES = [
    *("id", "log_group", "log_stream", "events", "bytes", "first_timestamp", "last_timestamp"),
    *("state", "attempts", "created_at", "sent_at", "request_id", "error"),
]

SHELL = """
import sqlite3, sys
connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
for row in connection.execute(sys.argv[2]):
    print(*("" if value is None else value for value in row), sep="|")
"""


def shell(path, sql):
    """
    What another program reads: the sqlite3 shell, or Python's where there is none.
    """
    program = shutil.which("sqlite3")
    command = (
        [program, "-readonly", path, sql] if program else [sys.executable, "-c", SHELL, path, sql]
    )
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.splitlines()


# For everybody else


def test_the_two_views_have_the_columns_that_were_promised(desk):
    for view, columns in (("events", EVENTS), ("batches", BATCHES)):
        assert [row[1] for row in desk.rows(f"PRAGMA table_info({view})")] == columns


def test_any_shell_reads_the_views_while_the_agent_runs(desk):
    desk.put((1_795_345_711_289, "one"), (1_795_345_711_290, "two"))
    desk.settle(desk.take(), (1, 2, "too new"), now_ms=1_795_345_712_000)
    desk.put((0, "three"))
    desk.take()
    desk.put((999, "four"))
    assert shell(desk.path, "SELECT * FROM events ORDER BY id") == [
        "1|g|s|1795345711289|2026-11-22T11:08:31.289Z|one|sent|1|test",
        "2|g|s|1795345711290|2026-11-22T11:08:31.290Z|two|rejected|1|test",
        "3|g|s|0|1970-01-01T00:00:00.000Z|three|unsent|2|test",
        "4|g|s|999|1970-01-01T00:00:00.999Z|four|unsent||test",
    ]
    now = "2026-11-22T11:08:31.289Z"
    assert shell(desk.path, "SELECT * FROM batches ORDER BY id") == [
        "1|g|s|2|6|1795345711289|1795345711290|sent|1|"
        + now
        + "|2026-11-22T11:08:32.000Z|request-1|",
        f"2|g|s|1|5|0|0|sending|1|{now}|||",
    ]


def test_the_shell_reads_what_was_stored_a_moment_ago(desk):
    for n in range(5):
        desk.put((n, f"{n}"))
        assert shell(desk.path, "SELECT count(*) FROM events") == [f"{n + 1}"]


@settings(max_examples=150)
@given(st.integers(0, 253_402_300_799_999))
def test_the_time_shown_is_the_timestamp_to_the_millisecond(desk, timestamp):
    with desk.store.reading() as db:
        column = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'events'").get
        expression = column[column.index("strftime") : column.index(" AS time")]
        shown = db.execute(
            f"SELECT {expression} FROM (SELECT ? AS timestamp) AS event", (timestamp,)
        )
        shown = shown.get
    moment = datetime.fromtimestamp(timestamp // 1000, UTC)
    assert shown == f"{moment:%Y-%m-%dT%H:%M:%S}.{timestamp % 1000:03d}Z".zfill(24)


def test_the_file_is_a_spool_of_this_version_in_wal_mode(desk):
    desk.put((1, "one"))
    settings_of = {
        name: desk.rows(f"PRAGMA {name}")[0][0]
        for name in ("application_id", "user_version", "journal_mode", "synchronous", "auto_vacuum")
    }
    full, incremental = 2, 2
    assert settings_of == {
        "application_id": 0x53504F4C,
        "user_version": VERSION,
        "journal_mode": "wal",
        "synchronous": full,
        "auto_vacuum": incremental,
    }


# For its owner only


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_file_and_folder_are_for_their_owner_only(open_desk, db, umask):
    before = os.umask(umask)
    try:
        desk = open_desk(db)
        desk.put((1, "one"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in db.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(["spool.db", "spool.db-wal", "spool.db-shm"], 0o600)
    assert stat.S_IMODE(db.parent.stat().st_mode) == 0o700
    desk.store.close()


# What is left alone


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def make_database(path, *statements):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement).fetchall()


@pytest.mark.parametrize("opened", [Store, Inspection])
@pytest.mark.parametrize(
    "data",
    [
        b"hello\n",
        b"SQLite format 3\0",
        b"\0" * 100,
        b"x" * 100_000,
        b"SQLite format 3\0" + b"\xff" * 10_000,
    ],
    ids=["text", "magic", "nothing", "large", "nonsense"],
)
def test_a_file_that_holds_something_else_is_left_as_it_was(tmp_path, data, opened):
    (tmp_path / "other").write_bytes(data)
    with pytest.raises(NotASpool, match="give another path with --db"):
        opened(tmp_path / "other")
    assert contents(tmp_path) == {"other": data}


@pytest.mark.parametrize("opened", [Store, Inspection])
@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE mine (a)"],
        ["PRAGMA user_version = 7"],
        ["PRAGMA application_id = 1196444487"],
        ["PRAGMA journal_mode = WAL", "CREATE TABLE mine (a)"],
    ],
    ids=["tables", "version", "application", "wal"],
)
def test_somebody_elses_database_is_left_as_it_was(tmp_path, statements, opened):
    make_database(tmp_path / "other", *statements)
    before = contents(tmp_path)
    with pytest.raises(NotASpool):
        opened(tmp_path / "other")
    gc.collect()
    assert contents(tmp_path)["other"] == before["other"]


@pytest.mark.parametrize("opened", [Store, Inspection])
def test_what_somebody_else_has_not_yet_moved_into_his_database_stays_where_it_is(tmp_path, opened):
    """
    Whoever closes a database last moves the write-ahead log into it. That is not for us to do.
    """
    live, other = tmp_path / "live", tmp_path / "other"
    with closing(sqlite3.connect(live)) as connection:
        for sql in ("PRAGMA journal_mode = WAL", "CREATE TABLE a (b)", "PRAGMA wal_checkpoint"):
            connection.execute(sql).fetchall()
        connection.execute("CREATE TABLE c (d)")
        for name in ("", "-wal"):
            shutil.copy(f"{live}{name}", f"{other}{name}")
    before = contents(tmp_path)
    with pytest.raises(NotASpool):
        opened(other)
    gc.collect()
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("opened", [Store, Inspection])
def test_a_newer_spool_is_left_as_it_was(db, opened):
    Store(db).close()
    make_database(db, f"PRAGMA user_version = {VERSION + 1}", "PRAGMA journal_mode = DELETE")
    before = contents(db.parent)
    with pytest.raises(NewerSpool, match=f"format {VERSION + 1}, this one knows {VERSION}"):
        opened(db)
    assert contents(db.parent) == before


def test_a_path_with_no_spool_is_told_and_nothing_is_made(tmp_path):
    for path, opened in itertools.product(
        (tmp_path / "missing", tmp_path / "no folder" / "missing"),
        (lambda path: Store(path, create=False), Inspection),
    ):
        with pytest.raises(SpoolUnusable, match="no spool here"):
            opened(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("opened", [Store, Inspection])
def test_a_path_that_cannot_be_is_told_in_one_line(tmp_path, opened):
    (tmp_path / "file").write_bytes(b"mine")
    for path in (tmp_path, tmp_path / "file" / "spool.db", tmp_path / ("x" * 300)):
        with pytest.raises(SpoolUnusable) as caught:
            opened(path)
        assert str(path) in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
    assert contents(tmp_path) == {"file": b"mine"}


def test_an_empty_file_becomes_a_spool(tmp_path):
    """
    A process that was killed while it made one leaves such a file.
    """
    (tmp_path / "spool.db").touch()
    with Store(tmp_path / "spool.db") as store:
        assert audit(store) == []


def test_two_processes_may_make_the_same_spool_at_once(db, begin_elsewhere):
    code = """
import sys
from pathlib import Path
from spool.store import Store
print("ready", flush=True)
sys.stdin.readline()
store = Store(Path(sys.argv[1]))
stream, source = store.stream_id("g", "s"), store.source_id("test")
print(stream, source, flush=True)
store.close()
"""
    processes = [begin_elsewhere(code, db) for _ in range(4)]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    assert {process.stdout.readline() for process in processes} == {"1 1\n"}
    assert [process.wait() for process in processes] == [0] * 4


def test_a_spool_without_its_log_is_given_one_when_another_process_lets_go_of_it(
    db, begin_elsewhere
):
    """
    As in the moment between its first table and its log, when two make it at once.
    """
    code = """
import sqlite3, sys
other = sqlite3.connect(sys.argv[1], isolation_level=None)
other.execute("PRAGMA journal_mode = DELETE")
other.execute("BEGIN IMMEDIATE")
print("ready", flush=True)
sys.stdin.readline()
other.execute("ROLLBACK")
"""
    Store(db).close()
    process = begin_elsewhere(code, db)
    timer = threading.Timer(0.2, process.communicate, ("\n",))
    timer.start()
    with Store(db) as store, store.reading() as reader:
        assert reader.pragma("journal_mode") == "wal"
    timer.join()


# One copy of SQLite in one process


def test_one_process_writes_or_inspects_a_spool_and_not_both(db):
    with Store(db):
        with pytest.raises(TwoDrivers, match="open through apsw"):
            Inspection(db)
        with Store(db, create=False), pytest.raises(TwoDrivers):
            Inspection(db)
        with pytest.raises(TwoDrivers):
            Inspection(db)
    with Inspection(db):
        with pytest.raises(TwoDrivers, match="open through sqlite3"):
            Store(db)
        with Inspection(db), pytest.raises(TwoDrivers):
            Store(db)
    Store(db).close()
    Inspection(db).close()


def test_another_name_of_the_file_is_the_same_file(db, tmp_path):
    with Store(db):
        (tmp_path / "soft").symlink_to(db)
        (tmp_path / "hard").hardlink_to(db)
        for name in ("soft", "hard"):
            with pytest.raises(TwoDrivers):
                Inspection(tmp_path / name)


def test_a_refused_opening_takes_no_locks_away(db):
    """
    The kernel drops all of a process's locks on a file when it closes any descriptor of it. So the
    other copy of SQLite may not even look at the file before it is refused.
    """
    Store(db).close()
    take_over = "PRAGMA journal_mode = DELETE"  # which needs the file for itself
    with Inspection(db) as inspection:
        with pytest.raises(TwoDrivers):
            Store(db)
        gc.collect()
        assert list(inspection.query("SELECT * FROM events")) == []
        with pytest.raises(subprocess.CalledProcessError) as caught:
            shell_writing(db, take_over)
        assert "locked" in caught.value.stderr
    assert shell_writing(db, take_over) == "delete\n"


def shell_writing(path, sql):
    code = (
        "import sqlite3, sys; "
        "print(*sqlite3.connect(sys.argv[1], timeout=0).execute(sys.argv[2]).fetchone())"
    )
    return subprocess.run(
        [sys.executable, "-c", code, path, sql], capture_output=True, text=True, check=True
    ).stdout


def test_an_opening_that_failed_leaves_no_claim(tmp_path):
    path = tmp_path / "spool.db"
    path.write_bytes(b"x" * 5_000)
    for opened in (Store, Inspection, Store, Inspection):
        with pytest.raises(NotASpool):
            opened(path)
    path.write_bytes(b"")
    Store(path).close()
    Inspection(path).close()


def test_every_error_is_the_packages_own():
    for error in (NewerSpool, NotASpool, SpoolUnusable, TwoDrivers):
        assert issubclass(error, SpoolError)
        assert not issubclass(error, apsw.Error)
