"""
The pages of a spool as they lie on the disk, read without SQLite, which gives up at the first that
is damaged (https://www.sqlite.org/fileformat.html).

Comes in: the file, and its write-ahead log. Goes out: the rows that a page holds, and which tree it
belongs to. Always holds: whatever is in the files, nothing is raised and nothing runs without end;
a row comes out whole or not at all.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from spool.records import Unreadable, Value, values_of, varint
from spool.schema import PAGE_BYTES
from spool.wal import Log, read_log

__all__ = [
    "INDEX_KINDS",
    "TABLE_INTERIOR",
    "TABLE_KINDS",
    "TABLE_LEAF",
    "Pages",
    "Row",
    "opened",
]

Row = tuple[int, tuple[Value, ...]]
"""(rowid, or 0 where there is none; the values of the record)."""

INDEX_INTERIOR, TABLE_INTERIOR, INDEX_LEAF, TABLE_LEAF = 0x02, 0x05, 0x0A, 0x0D
INDEX_KINDS = (INDEX_INTERIOR, INDEX_LEAF)
TABLE_KINDS = (TABLE_INTERIOR, TABLE_LEAF)
INTERIOR_KINDS = (INDEX_INTERIOR, TABLE_INTERIOR)
KINDS = (INDEX_INTERIOR, TABLE_INTERIOR, INDEX_LEAF, TABLE_LEAF)

FILE_HEADER_BYTES = 100
ROOT, FREE, OVERFLOW_FIRST, OVERFLOW_NEXT, NODE = 1, 2, 3, 4, 5
"""What the pointer map of a file with auto_vacuum says that a page is."""

MAP_PAGES = PAGE_BYTES // 5 + 1
"""A page of the pointer map, and those that it tells of."""

MAX_DEPTH = 20


@contextmanager
def opened(path: Path) -> Iterator[Pages]:
    """
    The pages of the spool at `path`: what is committed in its write-ahead log comes first, behind a
    tear as well.

    Closing it takes away all locks that this process has on the file.
    """
    with ExitStack() as undo:
        descriptors = []
        for name in (path, path.with_name(path.name + "-wal")):
            if name.exists():
                descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
                undo.callback(os.close, descriptor)
                descriptors.append(descriptor)
            else:
                descriptors.append(-1)
        file, wal = descriptors
        log = read_log(wal) if wal >= 0 else Log()
        yield Pages(file, wal, log)


class Pages:
    """
    Numbered from 1, as everywhere in SQLite.
    """

    def __init__(self, file: int, wal: int, log: Log) -> None:
        self._file = file
        self._wal = wal
        self.log = log
        self._offsets = log.offsets
        size_pages = log.size_pages
        if log.is_torn:
            self._offsets = log.offsets | log.offsets_behind
            size_pages = log.size_pages_behind or size_pages
        in_file = -(-os.fstat(file).st_size // PAGE_BYTES) if file >= 0 else 0
        most = max(in_file, *self._offsets, 0)
        self.count = min(size_pages or most, most)
        self._map: tuple[int, bytes] = (0, b"")
        self._has_map = self._number(1, 52) > 0 or self.read(2)[:5] == b"\1\0\0\0\0"
        self._free = self._free_pages()

    def before_tear(self) -> Pages:
        """
        The same without what comes behind a tear.
        """
        return Pages(self._file, self._wal, Log(self.log.offsets, self.log.size_pages))

    def read(self, number: int) -> bytes:
        """
        One page; zeros where there is nothing, or nothing can be read.
        """
        offset = self._offsets.get(number)
        try:
            if offset is not None:
                page = os.pread(self._wal, PAGE_BYTES, offset)
            elif self._file >= 0:
                page = os.pread(self._file, PAGE_BYTES, (number - 1) * PAGE_BYTES)
            else:
                page = b""
        except OSError:  # a bad sector
            page = b""
        return page.ljust(PAGE_BYTES, b"\0")

    def kind(self, number: int, page: bytes) -> int:
        """
        What kind of node of a tree a page looks like; 0 for none, or where it is not in use.
        """
        kind = page[_start(number)]
        if kind not in KINDS or self._is_map(number) or self.is_free(number):
            return 0
        return kind

    # --- what else tells of a page ------------------------------------------------------------

    def is_free(self, number: int) -> bool:
        """
        Whether what a page holds was deleted: by the pointer map, else by the list of free pages.
        """
        entry = self._map_entry(number)
        if entry is None:
            return number < len(self._free) and bool(self._free[number])
        return entry[0] == FREE

    def root_of(self, number: int) -> int | None:
        """
        The root page of the tree that a node is in, by the pointer map.
        """
        for _ in range(MAX_DEPTH):
            entry = self._map_entry(number)
            if entry is None or entry[0] not in (ROOT, NODE):
                return None
            if entry[0] == ROOT:
                return number
            number = entry[1]
        return None

    def _map_entry(self, number: int) -> tuple[int, int] | None:
        """
        (what the page is, its parent); None where the map says nothing that can be.
        """
        if not self._has_map or number < 3 or self._is_map(number):
            return None
        map_number = (number - 2) // MAP_PAGES * MAP_PAGES + 2
        if self._map[0] != map_number:
            self._map = (map_number, self.read(map_number))
        at = 5 * (number - map_number - 1)
        entry = self._map[1][at : at + 5]
        kind, parent = entry[0], int.from_bytes(entry[1:], "big")
        has_parent = kind in (OVERFLOW_FIRST, OVERFLOW_NEXT, NODE)
        if kind not in (ROOT, FREE) and not has_parent:
            return None
        is_possible = 0 < parent <= self.count if has_parent else parent == 0
        return (kind, parent) if is_possible else None

    def _is_map(self, number: int) -> bool:
        return self._has_map and number % MAP_PAGES == 2

    def _free_pages(self) -> bytearray:
        """
        For each page whether the list of free pages names it; none where the list is damaged.
        """
        free, found, trunk = bytearray(self.count + 1), 0, self._number(1, 32)
        while 1 < trunk <= self.count and not free[trunk]:
            free[trunk] = 1
            length = self._number(trunk, 4)
            if length > PAGE_BYTES // 4 - 2:
                return bytearray()
            leaves = struct.unpack_from(f">{length}I", self.read(trunk), 8)
            if any(not 1 < leaf <= self.count for leaf in leaves):
                return bytearray()
            for leaf in leaves:
                free[leaf] = 1
            found += 1 + length
            trunk = self._number(trunk, 0)
        is_whole = trunk == 0 and found == sum(free) == self._number(1, 36)
        return free if is_whole else bytearray()

    def _number(self, page: int, at: int) -> int:
        return int.from_bytes(self.read(page)[at : at + 4], "big")

    # --- trees --------------------------------------------------------------------------------

    def children(self, number: int, page: bytes) -> list[tuple[int, int]]:
        """
        (page, greatest rowid in it) of an interior node; 0 for a rowid where there is none.
        """
        start = _start(number)
        children = []
        for at in _pointers(number, page):
            cell = page[at : at + 13].ljust(13, b"\0")
            key = varint(cell, 4)[0] if page[start] == TABLE_INTERIOR else 0
            children.append((int.from_bytes(cell[:4], "big"), key))
        children.append((int.from_bytes(page[start + 8 : start + 12], "big"), 0))
        return [(child, key) for child, key in children if 1 < child <= self.count]

    def tree(self, root: int) -> Iterator[int]:
        """
        All nodes that can be reached from a root.
        """
        seen = {root}
        waiting = [root]
        while waiting:
            number = waiting.pop()
            page = self.read(number)
            yield number
            if self.kind(number, page) in INTERIOR_KINDS:
                for child, _ in self.children(number, page):
                    if child not in seen:
                        seen.add(child)
                        waiting.append(child)

    # --- rows ---------------------------------------------------------------------------------

    def rows(self, number: int, page: bytes) -> Iterator[Row | None]:
        """
        The rows of a node, in its order; None for each that cannot be read.
        """
        kind = page[_start(number)]
        for at in _pointers(number, page):
            try:
                yield self._row(number, page, at, kind)
            except (Unreadable, IndexError):
                yield None

    def _row(self, number: int, page: bytes, at: int, kind: int) -> Row:
        if kind == INDEX_INTERIOR:
            at += 4
        size, at = varint(page, at)
        rowid = 0
        if kind == TABLE_LEAF:
            rowid, at = varint(page, at)
        most = PAGE_BYTES - 35 if kind == TABLE_LEAF else (PAGE_BYTES - 12) * 64 // 255 - 23
        if size <= most:
            if at + size > PAGE_BYTES:
                raise Unreadable
            return rowid, values_of(page[at : at + size])
        return rowid, values_of(self._with_overflow(number, page, at, size, most))

    def _with_overflow(self, number: int, page: bytes, at: int, size: int, most: int) -> bytes:
        """
        A record of `size` bytes, of which a node holds the beginning, up to `most`.
        """
        least = (PAGE_BYTES - 12) * 32 // 255 - 23
        here = least + (size - least) % (PAGE_BYTES - 4)
        here = here if here <= most else least
        if size > self.count * PAGE_BYTES or at + here + 4 > PAGE_BYTES:
            raise Unreadable
        parts = [page[at : at + here]]
        following = int.from_bytes(page[at + here : at + here + 4], "big")
        left, kind = size - here, OVERFLOW_FIRST
        while left > 0:
            entry = self._map_entry(following)
            if not 1 < following <= self.count or entry not in (None, (kind, number)):
                raise Unreadable
            overflow = self.read(following)
            parts.append(overflow[4 : 4 + left])
            number, kind = following, OVERFLOW_NEXT
            following = int.from_bytes(overflow[:4], "big")
            left -= PAGE_BYTES - 4
        if following:
            raise Unreadable
        return b"".join(parts)


def _start(number: int) -> int:
    return FILE_HEADER_BYTES if number == 1 else 0


def _pointers(number: int, page: bytes) -> tuple[int, ...]:
    """
    Where in a node its cells begin.
    """
    start = _start(number)
    first = start + (12 if page[start] in INTERIOR_KINDS else 8)
    count = int.from_bytes(page[start + 3 : start + 5], "big")
    count = min(count, (PAGE_BYTES - first) // 2)
    return struct.unpack_from(f">{count}H", page, first)
