"""
A read-only window on a spool, for other processes than the one that ships from it.

Comes in: a path and what is asked for. Goes out: rows as dictionaries, one by one where there may
be many. Always holds: nothing here writes, blocks a writer, or keeps a transaction open while who
takes the rows stands still, as a pager does: the agent's write-ahead log would grow until then.
"""

from __future__ import annotations

import marshal
import re
import sqlite3
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from sqlite_utils import Database

from spool.errors import NewerSpool, NotASpool, SpoolError, SpoolUnusable
from spool.schema import APPLICATION_ID, VERSION, claim_driver, release_driver
from spool.selection import Selection

__all__ = ["Inspection", "Row"]

Row = dict[str, Any]

PAGE_ROWS = 1_000
PAGE_CHARACTERS = 1_000_000
"""Of events and batches so many rows are read at a time, or so much text and a row."""

QUERY_BYTES = 8 * 1024 * 1024
"""A larger result of a query goes through a temporary file."""

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
                self._connection = sqlite3.connect(
                    f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, isolation_level=None
                )
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
        The rows of any reading statement, all of them read before the first is given out.

        Raises `SpoolError` with SQLite's own words where the statement is wrong.
        """
        with tempfile.SpooledTemporaryFile(QUERY_BYTES) as file:
            count = 0
            for row in self._rows(sql, values or []):
                marshal.dump(row, file)
                count += 1
            file.seek(0)
            for _ in range(count):
                yield marshal.load(file)  # noqa: S302 - what was written above

    def _rows(self, sql: str, values: dict[str, Any] | list[Any]) -> Generator[Row, None, None]:
        try:
            yield from self._database.query(sql, values)
        except (sqlite3.Error, ValueError) as error:
            raise SpoolError(f"{self.path}: {str(error).splitlines()[0]}") from error

    def _pages(
        self, view: str, condition: str, values: dict[str, Any], *, newest: int | None
    ) -> Iterator[Row]:
        """
        Rows of a view in the order of their ids, of those that are there now, page by page.
        """
        first, last = self._bounds(view, condition, values, newest)
        while first is not None:
            page = self._page(view, condition, {**values, "page_first": first, "page_last": last})
            yield from page
            first = page[-1]["id"] + 1 if page else None

    def _bounds(
        self, view: str, condition: str, values: dict[str, Any], newest: int | None
    ) -> tuple[int | None, int | None]:
        """
        The first and the last id to look at.
        """
        if newest is None:
            end = next(self.query(f"SELECT id FROM {view} ORDER BY id DESC LIMIT 1"), None)
            return (1, end["id"]) if end else (None, None)
        ids = f"SELECT id FROM {view} WHERE {condition} ORDER BY id DESC LIMIT {newest:d}"
        row = next(self.query(f"SELECT min(id) AS first, max(id) AS last FROM ({ids})", values))
        return row["first"], row["last"]

    def _page(self, view: str, condition: str, values: dict[str, Any]) -> list[Row]:
        page: list[Row] = []
        size = 0
        sql = (
            f"SELECT * FROM {view} WHERE id BETWEEN :page_first AND :page_last AND {condition}"
            f" ORDER BY id LIMIT {PAGE_ROWS}"
        )
        with closing(self._rows(sql, values)) as rows:
            for row in rows:
                page.append(row)
                size += len(row.get("message", ""))
                if size >= PAGE_CHARACTERS:
                    break
        return page

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

    def notes(self) -> dict[str, Row]:
        """
        What the agent tells of itself, by name: `since, text`.
        """
        rows = self.query("SELECT name, iso(since) AS since, text FROM note ORDER BY name")
        return {row.pop("name"): row for row in rows}

    def size_bytes(self) -> int:
        """
        What the spool takes on disk, its write-ahead log included.
        """
        return self.path.stat().st_size + self.log_bytes()

    def log_bytes(self) -> int:
        """
        What the write-ahead log takes of that.
        """
        path = self.path.resolve()  # a link's log lies beside what it points to
        try:
            return path.with_name(path.name + "-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def events(self, selection: Selection, *, newest: int | None = None) -> Iterator[Row]:
        """
        Rows of the view `events`, in the order stored; with `newest` only that many, the last ones.
        """
        condition, values = selection.sql()
        return self._pages("events", condition, values, newest=newest)

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
        return self._pages("batches", condition, given, newest=newest)

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
