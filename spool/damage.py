"""
Whether a spool is damaged, and whether a file was a spool at all.

Comes in: a path that no connection of this process is open on. Goes out: what is wrong, in a few
words. Always holds: nothing is changed; somebody else's file is not called damaged.
"""

from __future__ import annotations

from pathlib import Path

import apsw

from spool.connection import integrity, select
from spool.errors import NOT_TEXT
from spool.pages import Pages, opened
from spool.schema import APPLICATION_ID, PAGE_BYTES, VERSION
from spool.shapes import roots_in, tables

__all__ = ["find_damage", "is_damage", "was_spool"]

MAGIC = b"SQLite format 3\0"

FIXED = {
    "page size": (16, PAGE_BYTES.to_bytes(2, "big")),
    "reserved bytes": (20, b"\0"),
    "payload fractions": (21, b"\x40\x20\x20"),
    "schema format": (44, b"\0\0\0\4"),
    "text encoding": (56, b"\0\0\0\1"),
    "application id": (68, APPLICATION_ID.to_bytes(4, "big")),
}
"""What stands in the header of every spool, and where."""

FORMATS = (1, 2)
"""Written and read as: with a rollback journal, with a write-ahead log."""

PLAUSIBLE_VERSION = 1000
"""Above it a version is damage rather than news."""

MIN_ROOTS = 8
"""So many of a spool's trees must begin where they should, and most of all, to know it by them."""


def is_damage(error: BaseException) -> bool:
    """
    Whether SQLite says by this that the file is damaged.
    """
    return isinstance(error, apsw.CorruptError | apsw.NotADBError)


def was_spool(path: Path) -> bool:
    """
    Whether a file that cannot be opened as a spool is one nevertheless: the page that says so may
    be what is damaged.
    """
    try:
        if not _has_content(path):
            return False
        with opened(path) as pages:
            return _is_ours(pages)
    except OSError:
        return False


def find_damage(path: Path, *, is_thorough: bool) -> str | None:
    """
    What is wrong with the spool at `path`; None where nothing is, or where it is none.

    A look at the beginning of each table, and if `is_thorough` at everything.
    """
    if not _has_content(path):
        return None
    with opened(path) as pages:
        if not _is_ours(pages) or _is_newer(pages):
            return None
        reason = _torn(pages) or _header_damage(pages) or _root_damage(pages)
    if path.stat().st_size == 0:
        return "the file is empty, and its write-ahead log is not"
    return reason or _sql_damage(path, is_thorough=is_thorough)


def _has_content(path: Path) -> bool:
    """
    Whether there is a file, and something in it or in its log. SQLite removes the log of an empty
    file.
    """
    wal = path.with_name(path.name + "-wal")
    return path.is_file() and (path.stat().st_size > 0 or (wal.exists() and wal.stat().st_size > 0))


def _is_ours(pages: Pages) -> bool:
    header = pages.read(1)[:100]
    position, application_id = FIXED["application id"]
    if header[position : position + 4] == application_id:
        return True
    found = [
        root
        for root, kinds in roots_in(pages).items()
        if pages.kind(root, pages.read(root)) in kinds
    ]
    wrong = [root for root in roots_in(pages) if root <= pages.count and root not in found]
    return len(found) >= MIN_ROOTS and len(wrong) * 4 <= len(found)


def _is_newer(pages: Pages) -> bool:
    header = pages.read(1)
    version = int.from_bytes(header[60:64], "big")
    return header[:16] == MAGIC and VERSION < version < PLAUSIBLE_VERSION


def _torn(pages: Pages) -> str | None:
    lost = pages.log.transactions_behind
    if not lost:
        return None
    return f"its write-ahead log is torn, with {lost} committed transactions behind the tear"


def _header_damage(pages: Pages) -> str | None:
    header = pages.read(1)
    wrong = [name for name, (at, value) in FIXED.items() if header[at : at + len(value)] != value]
    if header[:16] != MAGIC:
        wrong.insert(0, "first bytes")
    if header[18] not in FORMATS or header[19] not in FORMATS:
        wrong.append("format")
    if header[18:20] != b"\2\2" and pages.log.offsets:
        wrong.append("journal mode")
    if not 0 < int.from_bytes(header[60:64], "big") <= VERSION:
        wrong.append("version")
    return f"its header is damaged ({', '.join(wrong)})" if wrong else None


def _root_damage(pages: Pages) -> str | None:
    for root, kinds in roots_in(pages).items():
        if pages.kind(root, pages.read(root)) not in kinds:
            return f"page {root}, where a table begins, is damaged"
    return None


def _sql_damage(path: Path, *, is_thorough: bool) -> str | None:
    """
    What SQLite finds; the connection leaves the write-ahead log where it is.
    """
    try:
        db = apsw.Connection(str(path))
        try:
            db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            return _first_finding(db, is_thorough=is_thorough)
        finally:
            db.close()
    except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError) as error:
        return str(error)
    except UnicodeDecodeError:
        return NOT_TEXT
    except apsw.Error:  # busy, no permission: the opening proper says it
        return None


def _first_finding(db: apsw.Connection, *, is_thorough: bool) -> str | None:
    for table in tables():
        select(db, f"SELECT * FROM {table.name} LIMIT 1")
        select(db, f"SELECT max({table.columns[0]}) FROM {table.name}")
    for view in ("events", "batches"):
        select(db, f"SELECT * FROM {view} LIMIT 1")
    if is_thorough:
        # beyond quick_check it compares the indexes, which are small: events have none
        for finding in integrity(db, 1):
            return " ".join(finding.split())
    return None
