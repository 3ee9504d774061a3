"""
What the tables of a spool look like from below: where each begins, and what its rows are made of.

Goes out: the tables of this version. Always holds: it is SQLite itself that tells, of a new and
empty spool; the pages at which the trees of a spool begin are the same in every file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import apsw

from spool.connection import select
from spool.pages import INDEX_KINDS, TABLE_KINDS, TABLE_LEAF, Pages
from spool.records import Value
from spool.schema import FOR_GOOD, create_tables

__all__ = ["Table", "roots_in", "tables_in"]

TYPES: dict[str, type] = {"INTEGER": int, "TEXT": str}

TABLES = """
SELECT table_list.name, rootpage, wr FROM pragma_table_list AS table_list
JOIN sqlite_schema ON sqlite_schema.name = table_list.name AND sqlite_schema.type = 'table'
WHERE schema = 'main' ORDER BY rootpage
"""
SEQUENCE = ((str,), (int,))
"""The types in sqlite_sequence, which is declared without any."""


@dataclass(frozen=True, slots=True)
class Table:
    """
    A table with its columns in the order in which they lie in its records; the first of one with
    rowids is NULL there, and the rowid stands for it.
    """

    name: str
    root: int
    columns: tuple[str, ...]
    types: tuple[tuple[type, ...], ...]
    has_rowids: bool

    def fits(self, values: tuple[Value, ...]) -> bool:
        """
        Whether this could be one of its rows.
        """
        return len(values) == len(self.types) and all(map(isinstance, values, self.types))


@cache
def tables() -> tuple[Table, ...]:
    """
    All tables of a spool.
    """
    db = _empty()
    return tuple(
        _table(db, name, root, has_rowids=not without) for name, root, without in select(db, TABLES)
    )


def tables_in(pages: Pages) -> tuple[Table, ...]:
    """
    The tables, and where they begin in this file: somebody may have said VACUUM.
    """
    found = _schema_of(pages)
    return tuple(
        replace(table, root=found.get(("table", table.name), table.root)) for table in tables()
    )


def roots_in(pages: Pages) -> dict[int, tuple[int, ...]]:
    """
    Root page -> what kinds of node it can be, tables and indexes alike.
    """
    found = _schema_of(pages)
    with_rowids = {table.name for table in tables() if table.has_rowids}
    return {
        found.get((kind, name), root): TABLE_KINDS
        if kind == "table" and name in with_rowids
        else INDEX_KINDS
        for kind, name, root in _roots()
    }


def _schema_of(pages: Pages) -> dict[tuple[str, str], int]:
    """
    (type, name) -> root page, as far as the file's own schema can be read.
    """
    found = {}
    for number in pages.tree(1):
        page = pages.read(number)
        if pages.kind(number, page) == TABLE_LEAF:
            for row in pages.rows(number, page):
                match row:
                    case (_, (str(kind), str(name), str(), int(root), _)) if root > 1:
                        found[kind, name] = root
    return found


@cache
def _roots() -> tuple[tuple[str, str, int], ...]:
    sql = "SELECT type, name, rootpage FROM sqlite_schema WHERE rootpage > 0"
    return tuple(select(_empty(), sql))


def _empty() -> apsw.Connection:
    db = apsw.Connection(":memory:")
    for pragma in FOR_GOOD:
        select(db, f"PRAGMA {pragma}")
    create_tables(db)
    return db


def _table(db: apsw.Connection, name: str, root: int, *, has_rowids: bool) -> Table:
    columns = select(
        db,
        'SELECT name, type, "notnull", pk FROM pragma_table_info(?) ORDER BY pk = 0, pk, cid',
        (name,),
    )
    names = tuple(column[0] for column in columns)
    if name == "sqlite_sequence":
        return Table(name, root, names, SEQUENCE, has_rowids=has_rowids)
    types = [_types(*column[1:3]) for column in columns]
    if has_rowids:
        types[0] = (type(None),)
    return Table(name, root, names, tuple(types), has_rowids=has_rowids)


def _types(declared: str, is_not_null: int) -> tuple[type, ...]:
    return (TYPES[declared],) if is_not_null else (TYPES[declared], type(None))
