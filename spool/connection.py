"""
Connections for writing to a spool, through apsw.

Comes in: a path. Goes out: a connection to a spool of this version, with the settings that keep its
promises. Always holds: a file that is no spool, or a newer one, is left as it was.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import apsw

from spool.errors import NOT_TEXT, NewerSpool, NotASpool, SpoolBusy, SpoolUnusable
from spool.patience import WAIT_S, Patience
from spool.schema import APPLICATION_ID, FOR_GOOD, VERSION, create_tables

__all__ = ["WAL_KEEP_BYTES", "connect", "integrity", "select", "sqlite_version"]

WAL_CHECKPOINT_PAGES = 2_000
WAL_KEEP_BYTES = 16 * 1024 * 1024
"""The write-ahead log goes back to this size after a burst (2,000 pages of 8 KiB)."""

CACHE_KIB = 4096


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
    What SQLite finds wrong with the file, up to `most` lines, or that a message is not UTF-8, which
    SQLite does not look at.

    Where the schema has views, "everything" may leave out the list of free pages; to ask for one
    table, any, has that looked at.
    """
    rows = select(db, f"PRAGMA integrity_check({most:d})")
    rows += select(db, "PRAGMA integrity_check(sqlite_schema)")
    found = [str(row[0]) for row in rows if row[0] != "ok"][:most]
    return found or ([] if _has_only_texts(db) else [NOT_TEXT])


def _has_only_texts(db: apsw.Connection) -> bool:
    try:
        for _ in db.execute("SELECT message FROM event"):
            pass
    except UnicodeDecodeError:
        return False
    return True


def sqlite_version() -> str:
    """
    Of the SQLite that writes the spool.
    """
    return apsw.sqlite_lib_version()


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


def _reason(error: apsw.Error) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
