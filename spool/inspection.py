"""
A read-only window on a spool, for other processes than the one that ships from it.

Comes in: a path and what is asked for. Goes out: rows as dictionaries, one by one where there may
be many. Always holds: nothing here writes, blocks a writer, or keeps a transaction open between
rows for longer than it takes to read them.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from sqlite_utils import Database

from spool.errors import NewerSpool, NotASpool, SpoolError, SpoolUnusable, TooSlow
from spool.schema import APPLICATION_ID, BLOCK_IDS, VERSION, claim_driver, release_driver
from spool.selection import Selection

__all__ = ["Inspection", "Row", "open_for_strangers"]

Row = dict[str, Any]

LONGEST_VALUE_BYTES = 16 * 1024 * 1024
HEAP_BYTES = 256 * 1024 * 1024
"""What SQL that somebody typed into a form may build: a message has 1 MiB at most."""

LOOK_INSTRUCTIONS = 1_000
"""Of SQLite's machine, between two looks at the clock: about 0.1 ms."""

STREAMS = """
SELECT stream.log_group AS "group", stream.log_stream AS stream,
       stream.queued + coalesce(sending.events, 0) AS unsent,
       stream.sent, stream.rejected, stream.collected, stream.pruned, stream.dropped,
       iso(min(coalesce(sending.oldest, waiting.oldest), coalesce(waiting.oldest, sending.oldest)))
           AS oldest_unsent,
       iso(stream.delivered_at) AS last_delivery,
       stream.error AS last_error
FROM stream
LEFT JOIN (SELECT stream_id, sum(events) AS events, min(first_timestamp) AS oldest
           FROM batch WHERE state = 'sending' GROUP BY stream_id) AS sending
       ON sending.stream_id = stream.id
LEFT JOIN (SELECT id, (SELECT min(first_timestamp) FROM queue WHERE stream_id = stream.id) AS oldest
           FROM stream) AS waiting
       ON waiting.id = stream.id
ORDER BY stream.log_group, stream.log_stream
"""


class Inspection:
    """
    A spool open for reading.

    Raises `SpoolUnusable`, `NotASpool` or `NewerSpool` when it cannot be, `TwoDrivers` when this
    process writes to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if not path.is_file():
                raise SpoolUnusable(
                    f"{path}: no spool here; `spool run` makes one, or give another path with --db"
                )
            self._claim = claim_driver(path, "sqlite3")
        except OSError as error:
            raise _unreadable(path, error.strerror) from error
        with ExitStack() as undo:
            undo.callback(release_driver, self._claim)
            try:
                self._connection = sqlite3.connect(_read_only(path), uri=True, isolation_level=None)
                undo.callback(self._connection.close)
                self._database = Database(self._connection)
                self._check_version()
            except sqlite3.Error as error:
                raise self._unusable(error) from error
            self._connection.create_function("iso", 1, _iso, deterministic=True)
            self._connection.create_function("regexp", 2, _matches, deterministic=True)
            undo.pop_all()

    def close(self) -> None:
        """
        Close the file.
        """
        self._connection.close()
        release_driver(self._claim)

    def __enter__(self) -> Inspection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def query(self, sql: str, values: dict[str, Any] | list[Any] | None = None) -> Iterator[Row]:
        """
        The rows of any reading statement, as they come.

        Raises `SpoolError` with SQLite's own words where the statement is wrong.
        """
        try:
            yield from self._database.query(sql, values or [])
        except (sqlite3.Error, ValueError) as error:
            if str(error) == "interrupted":
                raise TooSlow(f"{self.path}: that would take too long; ask for less") from error
            raise SpoolError(f"{self.path}: {str(error).splitlines()[0]}") from error

    @contextmanager
    def within(self, limit_s: float) -> Iterator[None]:
        """
        A block whose queries all together take no longer; they raise `TooSlow` then.
        """
        deadline_s = time.monotonic() + limit_s
        self._connection.set_progress_handler(
            lambda: time.monotonic() > deadline_s, LOOK_INSTRUCTIONS
        )
        try:
            yield
        finally:
            self._connection.set_progress_handler(None, 0)

    def streams(self) -> list[Row]:
        """
        One row for each stream: `group, stream`, counts of events, times and the last error.
        """
        return list(self.query(STREAMS))

    def skipped(self) -> dict[str, int]:
        """
        What never became an event, by reason.
        """
        return {
            row["reason"]: row["count"]
            for row in self.query("SELECT reason, count FROM skipped ORDER BY reason")
        }

    def size_bytes(self) -> int:
        """
        What the spool takes on disk, its write-ahead log included.
        """
        parts = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(part.stat().st_size for part in parts if part.exists())

    def events(self, selection: Selection, *, newest: int | None = None) -> Iterator[Row]:
        """
        Rows of the view `events`, in the order stored; with `newest` only that many, the last ones.
        """
        if newest is None:
            for ids in self._ranges(selection):
                yield from self._events_within(selection, ids)
            return
        found: list[Row] = []
        for ids in reversed(self._ranges(selection)):
            if len(found) >= newest:
                break
            found = [*self._events_within(selection, ids, newest=newest - len(found)), *found]
        yield from found

    def _ranges(self, selection: Selection) -> list[tuple[int, int]]:
        """
        Where such events may lie now: (first id, last id), each a moderate number of them.
        """
        newest = next(self.query("SELECT coalesce(max(id), 0) AS id FROM event"))["id"]
        condition, values = selection.extents_sql()
        sql = f"SELECT DISTINCT block FROM extent WHERE {condition} ORDER BY block"
        blocks = [row["block"] for row in self.query(sql, values)]
        return [
            (block * BLOCK_IDS, min(block * BLOCK_IDS + BLOCK_IDS - 1, newest)) for block in blocks
        ]

    def _events_within(
        self, selection: Selection, ids: tuple[int, int], *, newest: int | None = None
    ) -> list[Row]:
        condition, values = selection.sql()
        sql = (
            f"SELECT * FROM events WHERE id BETWEEN :from_id AND :to_id AND {condition} ORDER BY id"
        )
        if newest is not None:
            sql = f"SELECT * FROM ({sql} DESC LIMIT {newest:d}) ORDER BY id"
        return list(self.query(sql, {**values, "from_id": ids[0], "to_id": ids[1]}))

    def batches(
        self,
        *,
        group: str | None = None,
        stream: str | None = None,
        state: str | None = None,
        newest: int | None = None,
    ) -> Iterator[Row]:
        """
        Rows of the view `batches`, oldest first.
        """
        wanted = {"log_group": group, "log_stream": stream, "state": state}
        given = {column: value for column, value in wanted.items() if value is not None}
        condition = " AND ".join(f"{column} = :{column}" for column in given) or "true"
        sql = f"SELECT * FROM batches WHERE {condition} ORDER BY id"
        if newest is not None:
            sql = f"SELECT * FROM ({sql} DESC LIMIT {newest:d}) ORDER BY id"
        return self.query(sql, given)

    def _check_version(self) -> None:
        application_id = self._connection.execute("PRAGMA application_id").fetchone()[0]
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if application_id != APPLICATION_ID:
            raise NotASpool(self.path)
        if version > VERSION:
            raise NewerSpool(self.path, version, known=VERSION)

    def _unusable(self, error: sqlite3.Error) -> SpoolError:
        if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
            return NotASpool(self.path)
        return _unreadable(self.path, error)


def open_for_strangers(path: Path) -> sqlite3.Connection:
    """
    A connection for SQL from a web page: it reads this file and no other, follows what is written
    meanwhile, and builds nothing large. The caller has claimed the file, and limits the time.

    Raises `sqlite3.Error`.
    """
    connection = sqlite3.connect(_read_only(path), uri=True, check_same_thread=False)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE_BYTES)
    for pragma in ("query_only = ON", "trusted_schema = OFF", f"hard_heap_limit = {HEAP_BYTES}"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _read_only(path: Path) -> str:
    return f"file:{quote(str(path.absolute()))}?mode=ro"


def _unreadable(path: Path, reason: object) -> SpoolUnusable:
    return SpoolUnusable(
        f"{path}: cannot be read ({reason}); check its owner and that of its folder"
    )


def _iso(timestamp_ms: int | None) -> str | None:
    """
    ISO 8601 in UTC from ms since the epoch.
    """
    if timestamp_ms is None:
        return None
    moment = datetime.fromtimestamp(timestamp_ms // 1000, UTC)
    moment = moment.replace(microsecond=timestamp_ms % 1000 * 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _matches(pattern: str, message: str) -> bool:
    """
    SQLite's `message REGEXP pattern`; `re` keeps the compiled pattern.
    """
    return re.search(pattern, message) is not None
