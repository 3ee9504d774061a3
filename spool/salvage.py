"""
Read every row that can be read, from a damaged spool into a new one.

Comes in: the pages of the old file, and the new one with its tables empty. Goes out: rows, as they
were. Always holds: pages that were given back are not looked at, so that nothing deleted returns; a
row of a sound page goes before one of a page that is not; memory does not grow with the events.

A page of events is known by what is in it, not by who points to it: so a damaged interior page
costs nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import apsw

from spool.pages import INDEX_KINDS, TABLE_INTERIOR, TABLE_LEAF, Pages, Row
from spool.records import Value
from spool.schema import RUN_BLOCK
from spool.shapes import Table, tables_in

__all__ = ["Salvage", "salvage", "salvage_checkpoints"]

MAX_ID = 2**62
"""Half of what SQLite can count to: there is room above it, and no spool gets as far."""

DERIVED = ("sqlite_sequence", "extent")
"""What follows from the other rows."""

WAS_QUEUED = "CREATE TABLE was_queued (first_id INTEGER PRIMARY KEY, last_id INTEGER NOT NULL)"


@dataclass(slots=True)
class Salvage:
    """
    What was met besides the rows: the greatest id of an event that the queue, a run or a rejection
    tells of, and the greatest id of a batch.
    """

    greatest_id: int = 0
    greatest_batch_id: int = 0


def salvage(pages: Pages, db: apsw.Connection) -> Salvage:
    """
    Copy all rows that can be read; those of the queue into a table `was_queued`.
    """
    db.execute(WAS_QUEUED)
    return _Reader(pages, db).run()


def salvage_checkpoints(pages: Pages, db: apsw.Connection) -> None:
    """
    Take the checkpoints of `pages` instead of those in the new file.
    """
    db.execute("DELETE FROM checkpoint")
    reader = _Reader(pages, db)
    for number, table in reader.owners.items():
        if table.name == "checkpoint":
            reader.keep_index(number, pages.read(number))


class _Reader:
    """
    One reading of a file, page by page and then the pages of events once more.
    """

    def __init__(self, pages: Pages, db: apsw.Connection) -> None:
        self._pages = pages
        self._db = db
        self._found = Salvage()
        self._tables = tables_in(pages)
        self._event = next(table for table in self._tables if table.name == "event")
        self._by_root = {table.root: table for table in self._tables}
        self.owners = {
            number: table
            for table in self._tables
            if not table.has_rowids
            for number in pages.tree(table.root)
        }
        # by the interior pages, the ids that a page may hold: above the one, up to the other
        self._above = array("q", bytes(8 * (pages.count + 1)))
        self._up_to = array("q", bytes(8 * (pages.count + 1)))

    def run(self) -> Salvage:
        event_pages = array("L")
        for number in range(1, self._pages.count + 1):
            page = self._pages.read(number)
            kind = self._pages.kind(number, page)
            if kind == TABLE_INTERIOR:
                self._note_bounds(number, page)
            elif kind in INDEX_KINDS:
                self.keep_index(number, page)
            elif kind == TABLE_LEAF and not self._keep_table(number, page):
                event_pages.append(number)
        self._keep_events(event_pages)
        return self._found

    # --- few rows -----------------------------------------------------------------------------

    def _keep_table(self, number: int, page: bytes) -> bool:
        """
        Copy the rows of a page, unless it is one of events: then False.
        """
        for row in _rows(self._pages, number, page):
            table = self._table_of(number, row) if row else None
            if row and table:
                if table.name == "event":
                    return False
                is_alias = row[1][0] is None
                self._keep(table, (row[0], *row[1][1:]) if is_alias else row[1])
        return True

    def _table_of(self, number: int, row: Row) -> Table | None:
        """
        What the row fits; where that is several tables, the one in whose tree the page is.
        """
        fitting = [table for table in self._tables if table.has_rowids and table.fits(row[1])]
        if len(fitting) > 1:
            root = self._pages.root_of(number)
            fitting = [table for table in fitting if table.root == root]
        return fitting[0] if fitting else None

    def keep_index(self, number: int, page: bytes) -> None:
        """
        Copy the rows of a page of a table without rowids; an index, which looks the same, tells
        nothing new.
        """
        root = self._pages.root_of(number)
        table = self.owners.get(number) if root is None else self._by_root.get(root)
        if table is None or table.has_rowids:
            return
        for row in self._pages.rows(number, page):
            if row and table.fits(row[1]):
                self._keep(table, row[1])

    def _keep(self, table: Table, values: tuple[Value, ...]) -> None:
        row = dict(zip(table.columns, values, strict=True))
        if not _is_possible(table, row):
            return
        self._note_ids(table, row)
        if table.name == "queue":
            self._db.execute("INSERT OR IGNORE INTO was_queued VALUES (:first_id, :last_id)", row)
        elif table.name not in DERIVED:
            marks = ", ".join(f":{column}" for column in table.columns)
            self._db.execute(f"INSERT OR IGNORE INTO {table.name} VALUES ({marks})", row)

    def _note_ids(self, table: Table, row: dict[str, Any]) -> None:
        """
        What is told of the ids that were given: none of them may be given again.
        """
        last = row.get("last_id", row["id"] if table.name == "rejection" else 0)
        batch = row.get("batch_id", row["id"] if table.name == "batch" else row.get("seq"))
        self._found.greatest_id = max(self._found.greatest_id, last)
        self._found.greatest_batch_id = max(self._found.greatest_batch_id, batch or 0)

    # --- events -------------------------------------------------------------------------------

    def _note_bounds(self, number: int, page: bytes) -> None:
        above = 0
        for child, up_to in self._pages.children(number, page):
            if up_to < MAX_ID:
                self._above[child] = above
                self._up_to[child] = up_to
                above = up_to

    def _keep_events(self, numbers: Iterable[int]) -> None:
        """
        Events of sound pages, then of the others: a wrong id may be that of another event, or so
        large that none is left above it.
        """
        damaged = array("L")
        for number in numbers:
            rows = _rows(self._pages, number, self._pages.read(number))
            if self._is_sound(number, rows):
                self._insert(rows)
            else:
                damaged.append(number)
        known = self._db.execute("SELECT coalesce(max(id), 0) FROM event").get
        greatest = max(self._found.greatest_id, known)
        for number in damaged:
            rows = _rows(self._pages, number, self._pages.read(number))
            self._insert(row for row in rows if row and 0 < row[0] <= greatest)

    def _is_sound(self, number: int, rows: list[Row | None]) -> bool:
        before = self._above[number]
        for row in rows:
            if row is None or not before < row[0] < MAX_ID:
                return False
            before = row[0]
        return not self._up_to[number] or before <= self._up_to[number]

    def _insert(self, rows: Iterable[Row | None]) -> None:
        event = self._event
        self._db.executemany(
            "INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?)",
            ((row[0], *row[1][1:]) for row in rows if row and event.fits(row[1])),
        )


def _rows(pages: Pages, number: int, page: bytes) -> list[Row | None]:
    """
    The rows of a page. The last column is for people, a message say: if it is damaged here and
    there the rest can be read.
    """
    return [_mended(row) if row else None for row in pages.rows(number, page)]


def _mended(row: Row) -> Row:
    *values, last = row[1]
    if not isinstance(last, bytes):
        return row
    return row[0], (*values, last.decode(errors="replace"))


def _is_possible(table: Table, row: dict[str, Any]) -> bool:
    """
    Whether these numbers can be; what only a table's own constraints know, they refuse.
    """
    if any(isinstance(value, int) and not -MAX_ID < value < MAX_ID for value in row.values()):
        return False
    if table.name not in ("run", "queue"):
        return True
    if not 0 < row["first_id"] <= row["last_id"]:
        return False
    return table.name == "queue" or row["last_id"] // RUN_BLOCK == row["first_id"] // RUN_BLOCK
