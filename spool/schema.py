"""
The file: its tables, its two stable views, its settings, and who in this process has it open.

Comes in: a path. Goes out: an apsw connection to a spool of this version. Always holds: a file
that is no spool, or a newer one, is left as it was.

Where an event is, is told by four tables and no flag on the event itself:

    queue       waits for a batch                        unsent
    run         was put into a batch: while the batch
                is `sending`                             unsent
                once it is `sent`                        sent
    rejection   is kept here for good, with the reason   rejected

Queue and run hold stretches of consecutive ids, not single events: so to queue a chunk, to put a
batch on record and to mark it sent takes a few rows, whatever they hold. The table `extent` is an
index in the same spirit: one row for a stream and a thousand ids, instead of one for each event.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any, Literal

import apsw

from spool.errors import (
    NewerSpool,
    NoSpool,
    NotASpool,
    SpoolBusy,
    SpoolDamaged,
    SpoolUnusable,
    TwoDrivers,
)
from spool.patience import WAIT_S, Patience
from spool.place import make_folder, open_file, who_may

__all__ = [
    "APPLICATION_ID",
    "BLOCK_IDS",
    "FOR_GOOD",
    "PAGE_BYTES",
    "RUN_BLOCK",
    "VERSION",
    "WAL_KEEP_BYTES",
    "claim_driver",
    "connect",
    "create_tables",
    "integrity",
    "is_at",
    "prepare_place",
    "refuse_damaged",
    "release_driver",
    "select",
    "sqlite_version",
    "unfinished_rescues",
]

VERSION = 1
"""Kept in the file as `user_version`."""

APPLICATION_ID = 0x53504F4C
"""'SPOL', at byte 68 of the file: `file spool.db` and we ourselves know it by this."""

RUN_BLOCK = 256
"""Runs end where an id is a multiple of this: those around an event begin near it."""

BLOCK_IDS = 1024
"""An extent tells of so many ids; a multiple of RUN_BLOCK, so that a run is in one extent."""

WAL_CHECKPOINT_PAGES = 2_000
WAL_KEEP_BYTES = 16 * 1024 * 1024
"""The write-ahead log goes back to this size after a burst (2,000 pages of 8 KiB)."""

PAGE_BYTES = 8192
CACHE_KIB = 4096

FOR_GOOD = (f"page_size = {PAGE_BYTES}", "auto_vacuum = INCREMENTAL")
"""Settings of a file that are there before its first table, or never."""

TABLES = f"""
CREATE TABLE stream (
    id             INTEGER PRIMARY KEY,
    log_group      TEXT NOT NULL,
    log_stream     TEXT NOT NULL,
    -- collected = queued + in batches that are `sending` + sent + rejected + pruned + dropped
    collected      INTEGER NOT NULL DEFAULT 0,
    queued         INTEGER NOT NULL DEFAULT 0,
    queued_bytes   INTEGER NOT NULL DEFAULT 0,
    sent           INTEGER NOT NULL DEFAULT 0,
    rejected       INTEGER NOT NULL DEFAULT 0,
    pruned         INTEGER NOT NULL DEFAULT 0,
    dropped        INTEGER NOT NULL DEFAULT 0,
    delivered_at   INTEGER,
    error          TEXT,
    error_at       INTEGER,
    UNIQUE (log_group, log_stream)
) STRICT;

CREATE TABLE source (
    id    INTEGER PRIMARY KEY,
    name  TEXT NOT NULL UNIQUE
) STRICT;

-- Only ever appended to and pruned. The newest row stays, so that no id is given twice.
CREATE TABLE event (
    id         INTEGER PRIMARY KEY,
    stream_id  INTEGER NOT NULL,
    timestamp  INTEGER NOT NULL,
    source_id  INTEGER NOT NULL,
    message    TEXT NOT NULL
) STRICT;

-- Consecutive ids of one stream that wait for a batch; no id is in two of these. Cut where an id is
-- a multiple of {RUN_BLOCK}.
CREATE TABLE queue (
    first_id         INTEGER PRIMARY KEY,
    last_id          INTEGER NOT NULL,
    stream_id        INTEGER NOT NULL,
    first_timestamp  INTEGER NOT NULL,
    last_timestamp   INTEGER NOT NULL,
    bytes            INTEGER NOT NULL,
    in_order         INTEGER NOT NULL  -- 1 where no event is older than one with a lower id
) STRICT;
CREATE INDEX queue_stream ON queue (stream_id, first_timestamp);

-- What a stream has among the ids from block * {BLOCK_IDS} on: where to look for its hour.
CREATE TABLE extent (
    block            INTEGER NOT NULL,
    stream_id        INTEGER NOT NULL,
    first_id         INTEGER NOT NULL,
    last_id          INTEGER NOT NULL,
    first_timestamp  INTEGER NOT NULL,
    last_timestamp   INTEGER NOT NULL,
    events           INTEGER NOT NULL,
    bytes            INTEGER NOT NULL,
    PRIMARY KEY (block, stream_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE batch (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    stream_id        INTEGER NOT NULL,
    events           INTEGER NOT NULL,
    bytes            INTEGER NOT NULL,
    first_timestamp  INTEGER NOT NULL,
    last_timestamp   INTEGER NOT NULL,
    state            TEXT NOT NULL CHECK (state IN ('sending', 'sent', 'refused')),
    attempts         INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    sent_at          INTEGER,
    request_id       TEXT,
    error            TEXT
) STRICT;
CREATE INDEX batch_sending ON batch (stream_id) WHERE state = 'sending';
CREATE INDEX batch_sent ON batch (sent_at) WHERE state = 'sent';
CREATE INDEX batch_refused ON batch (created_at) WHERE state = 'refused';

-- Consecutive ids that went into one batch, cut where an id is a multiple of {RUN_BLOCK}.
CREATE TABLE run (
    first_id  INTEGER NOT NULL,
    batch_id  INTEGER NOT NULL,
    last_id   INTEGER NOT NULL,
    PRIMARY KEY (first_id, batch_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_batch ON run (batch_id);

CREATE TABLE rejection (
    id        INTEGER PRIMARY KEY,
    batch_id  INTEGER,
    reason    TEXT NOT NULL
) STRICT;

CREATE TABLE checkpoint (
    source    TEXT PRIMARY KEY,
    position  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What never became an event, by reason: blank lines, damaged records, ...
CREATE TABLE skipped (
    reason  TEXT PRIMARY KEY,
    count   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What the agent tells other processes of itself: its limits, and what keeps it from collecting.
CREATE TABLE note (
    name   TEXT PRIMARY KEY,
    since  INTEGER NOT NULL,
    text   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""

# The views use what SQLite had in 2021, so that an old `sqlite3` shell reads them too.
VIEWS = f"""
CREATE VIEW event_state AS
SELECT id, stream_id, timestamp,
       CASE WHEN is_queued THEN 'unsent'
            WHEN is_rejected THEN 'rejected'
            WHEN (SELECT state FROM batch WHERE batch.id = last_batch_id) = 'sending' THEN 'unsent'
            ELSE 'sent' END AS state,
       CASE WHEN NOT is_queued THEN last_batch_id END AS batch_id
FROM (SELECT event.id, event.stream_id, event.timestamp,
             coalesce((SELECT queue.last_id FROM queue WHERE queue.first_id <= event.id
                       ORDER BY queue.first_id DESC LIMIT 1), 0) >= event.id AS is_queued,
             EXISTS (SELECT 1 FROM rejection WHERE rejection.id = event.id) AS is_rejected,
             (SELECT max(run.batch_id) FROM run
              WHERE run.first_id BETWEEN event.id - event.id % {RUN_BLOCK} AND event.id
                AND run.last_id >= event.id) AS last_batch_id
      FROM event);

CREATE VIEW events AS
SELECT event.id, stream.log_group, stream.log_stream, event.timestamp,
       strftime('%Y-%m-%dT%H:%M:%fZ', event.timestamp / 1000.0, 'unixepoch') AS time,
       event.message, event_state.state, event_state.batch_id, source.name AS source
FROM event
JOIN event_state ON event_state.id = event.id
JOIN stream ON stream.id = event.stream_id
JOIN source ON source.id = event.source_id;

CREATE VIEW batches AS
SELECT batch.id, stream.log_group, stream.log_stream, batch.events, batch.bytes,
       batch.first_timestamp, batch.last_timestamp, batch.state, batch.attempts,
       strftime('%Y-%m-%dT%H:%M:%fZ', batch.created_at / 1000.0, 'unixepoch') AS created_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', batch.sent_at / 1000.0, 'unixepoch') AS sent_at,
       batch.request_id, batch.error
FROM batch
JOIN stream ON stream.id = batch.stream_id;
"""

Driver = Literal["apsw", "sqlite3"]

_open_files: dict[tuple[int, int], tuple[Driver, int]] = {}
_open_files_lock = threading.Lock()


def claim_driver(path: Path, driver: Driver) -> tuple[int, int]:
    """
    Note that this process uses `driver` on the file, which exists; returns the claim.

    Raises `TwoDrivers` where the other one has it open: POSIX drops all locks of a process on a
    file when any descriptor of it is closed, and each copy of SQLite knows only its own.
    """
    status = path.stat()
    claim = (status.st_dev, status.st_ino)
    with _open_files_lock:
        holder, count = _open_files.get(claim, (driver, 0))
        if holder != driver:
            raise TwoDrivers(f"{path}: open through {holder} in this process; close it first")
        _open_files[claim] = (driver, count + 1)
    return claim


def is_at(claim: tuple[int, int], path: Path) -> bool:
    """
    Whether the file that was claimed is still the one at `path`.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return claim == (status.st_dev, status.st_ino)


def release_driver(claim: tuple[int, int]) -> None:
    """
    Give back what `claim_driver` returned.
    """
    with _open_files_lock:
        driver, count = _open_files[claim]
        if count > 1:
            _open_files[claim] = (driver, count - 1)
        else:
            del _open_files[claim]


def sqlite_version() -> str:
    """
    Of the SQLite that writes the spool.
    """
    return apsw.sqlite_lib_version()


def prepare_place(path: Path, *, create: bool) -> None:
    """
    See that a file is there, made if `create` (file 0600, folder 0700). An existing one is not
    opened here: to close it again would drop the locks that another connection of this process
    holds on it.

    Raises `SpoolUnusable`.
    """
    try:
        if path.is_dir():
            raise SpoolUnusable(f"{path}: is a folder; give the path of a file with --db")
        refuse_damaged(path)
        if create and not path.exists():
            make_folder(path.parent)
            os.close(open_file(path))
        if path.stat().st_size == 0 and not create:
            raise NoSpool(path, "no spool yet, but an empty file")
    except FileNotFoundError as error:
        raise NoSpool(path) from error
    except OSError as error:
        raise _unwritable(path, error.strerror) from error
    if not (os.access(path, os.R_OK | os.W_OK) and os.access(path.parent, os.W_OK)):
        raise _unwritable(path, "no permission")


def unfinished_rescues(path: Path) -> list[Path]:
    """
    Complete copies of what could be read from a damaged spool, that are not in its place yet.
    """
    beginning = f"{path.name}.rescued-"
    if not path.parent.is_dir():
        return []
    return [name for name in path.parent.iterdir() if name.name.startswith(beginning)]


def refuse_damaged(path: Path) -> None:
    """
    Raises `SpoolDamaged` where to open the file would make things worse: SQLite removes the
    write-ahead log of an empty file, and what is written before a rescue is finished is set aside.
    """
    if unfinished_rescues(path):
        raise SpoolDamaged(path, "its rescue is not finished")
    log = path.with_name(path.name + "-wal")
    if path.is_file() and path.stat().st_size == 0 and log.exists() and log.stat().st_size > 0:
        raise SpoolDamaged(path, "it is empty, and its write-ahead log is not")


def connect(path: Path, patience: Patience) -> apsw.Connection:
    """
    A connection for writing to the spool at `path`; an empty file there becomes one. To open one
    that is there writes nothing, and so waits for no other process's transaction.

    Raises `SpoolUnusable`, `SpoolBusy`, `NotASpool` or `NewerSpool`; then the file is as it was. A
    file that SQLite cannot read is none, as far as can be told here.
    """
    try:
        connection = apsw.Connection(str(path))
        try:
            connection.set_busy_handler(patience)
            _configure(connection, path, patience)
        except BaseException:
            connection.close()
            raise
    except (apsw.NotADBError, apsw.CorruptError) as error:
        raise NotASpool(path) from error
    except apsw.BusyError as error:
        raise SpoolBusy(path) from error
    except apsw.Error as error:
        raise SpoolUnusable(f"{path}: cannot be used as a spool: {_reason(error)}") from error
    return connection


def select(db: apsw.Connection, sql: str, values: Any = ()) -> list[Any]:
    """
    All rows of a statement, which the caller knows the columns of.
    """
    return db.execute(sql, values).fetchall()


def integrity(db: apsw.Connection, most: int) -> list[str]:
    """
    What SQLite finds wrong with the file, up to `most` lines.

    Where the schema has views, "everything" may leave out the list of free pages; to ask for one
    table, any, has that looked at.
    """
    rows = select(db, f"PRAGMA integrity_check({most:d})")
    rows += select(db, "PRAGMA integrity_check(sqlite_schema)")
    return [str(row[0]) for row in rows if row[0] != "ok"][:most]


def _configure(connection: apsw.Connection, path: Path, patience: Patience) -> None:
    # until it is known to be ours: who closes a file last moves its write-ahead log into it
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    version = _version(connection, path)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
    if version == 0:  # before the first table: these are for good, and writing them takes the lock
        for pragma in FOR_GOOD:
            connection.execute(f"PRAGMA {pragma}")
    _log_ahead(connection, patience)
    for pragma in (
        "synchronous = FULL",  # a committed chunk survives a power cut
        f"wal_autocheckpoint = {WAL_CHECKPOINT_PAGES}",
        f"journal_size_limit = {WAL_KEEP_BYTES}",
        f"cache_size = -{CACHE_KIB}",
        "trusted_schema = OFF",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    if version == 0:
        _create(connection)


def _log_ahead(connection: apsw.Connection, patience: Patience) -> None:
    """
    Turn the write-ahead log on. Where another process is making the file at this moment SQLite
    does not ask its busy handler: it might be that each waits for the other.
    """
    until_s = time.monotonic() + WAIT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        except apsw.BusyError:
            if time.monotonic() > until_s or not patience(0):
                raise
        else:
            return


def _version(connection: apsw.Connection, path: Path) -> int:
    """
    The version in the file; 0 for an empty one.
    """
    # one moment: another process may be making it
    application_id, version, tables = select(
        connection,
        "SELECT (SELECT application_id FROM pragma_application_id),"
        " (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)",
    )[0]
    if application_id != APPLICATION_ID:
        if tables or version or application_id:
            raise NotASpool(path)
        return 0
    if version > VERSION:
        raise NewerSpool(path, version, known=VERSION)
    return int(version)


def _create(connection: apsw.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.pragma("user_version") == 0:  # nobody else made it since we looked
            create_tables(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has undone it already
            connection.execute("ROLLBACK")
        raise


def create_tables(connection: apsw.Connection) -> None:
    """
    Make an empty database a spool.
    """
    connection.execute(TABLES)
    connection.execute(VIEWS)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _unwritable(path: Path, reason: str | None) -> SpoolUnusable:
    return SpoolUnusable(
        f"{path}: cannot be opened for writing ({reason}); {who_may(path)},"
        " or give another path with --db"
    )


def _reason(error: apsw.Error) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
