"""
A read-only window on a spool, for other processes than the one that ships from it.

Comes in: a path and what is asked for. Goes out: rows as dictionaries, one by one where there may
be many. Always holds: nothing here writes, blocks a writer, or keeps a transaction open while who
takes the rows stands still, as a pager does: the agent's write-ahead log would grow until then.
"""

from __future__ import annotations

import marshal
import math
import re
import sqlite3
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from sqlite_utils import Database

from spool.damage import was_spool
from spool.errors import (
    NewerSpool,
    NoSpool,
    NotASpool,
    SpoolBusy,
    SpoolDamaged,
    SpoolError,
    SpoolUnusable,
    TooSlow,
)
from spool.opening import claim_driver, refuse_damaged, release_driver
from spool.place import who_may
from spool.schema import APPLICATION_ID, BLOCK_IDS, RUN_BLOCK, VERSION
from spool.selection import Selection

__all__ = ["Inspection", "Row", "open_for_strangers"]

Row = dict[str, Any]

Answer = str | int | None
"""Of a function for SQL."""

PAGE_ROWS = 1_000
PAGE_CHARACTERS = 1_000_000
"""Of events and batches so many rows are read at a time, or so much text and a row."""

RANGE_IDS = 64 * BLOCK_IDS
"""So many events are looked at in one transaction at most."""

QUERY_BYTES = 8 * 1024 * 1024
"""A larger result of a query goes through a temporary file."""

FAILED_CALL = "user-defined function raised exception"

CARRIED = f"""
id IN (SELECT batch_id FROM run WHERE last_id >= :event_id
       AND first_id BETWEEN :event_id - :event_id % {RUN_BLOCK} AND :event_id)
"""

LONGEST_VALUE_BYTES = 16 * 1024 * 1024
HEAP_BYTES = 256 * 1024 * 1024
"""What SQL that somebody typed into a form may build: a message has 1 MiB at most."""

LOOK_INSTRUCTIONS = 1_000
"""Of SQLite's machine, between two looks at the clock: about 0.1 ms."""

PAUSE_INSTRUCTIONS = 20_000
"""Between two moments, without a limit, at which a signal may end a statement."""

STREAMS = """
SELECT stream.log_group AS "group", stream.log_stream AS stream,
       stream.queued + coalesce(sending.events, 0) AS unsent,
       stream.sent, stream.rejected, stream.collected, stream.pruned, stream.dropped,
       iso(min(coalesce(sending.oldest, waiting.oldest), coalesce(waiting.oldest, sending.oldest)))
           AS oldest_unsent,
       iso(stream.delivered_at) AS last_delivery,
       stream.error AS last_error, iso(stream.error_at) AS last_error_at,
       iso(sending.failing_since) AS failing_since
FROM stream
LEFT JOIN (SELECT stream_id, sum(events) AS events, min(first_timestamp) AS oldest,
                  min(CASE WHEN error IS NOT NULL THEN created_at END) AS failing_since
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
        self._deadline_s = math.inf
        self._failure: str | None = None  # of a function of ours that SQLite has called
        try:
            refuse_damaged(path)
            if not path.is_file():
                raise NoSpool(path)
            if path.stat().st_size == 0:
                raise NoSpool(path, "no spool yet, but an empty file")
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
            except (sqlite3.Error, NotASpool) as error:
                raise self._unusable(error) from error
            self._create_function("iso", 1, _iso)
            self._create_function("regexp", 2, _matches)
            self._connection.set_progress_handler(_go_on, PAUSE_INSTRUCTIONS)
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

        Raises `SpoolError` with SQLite's own words where the statement is wrong, and
        KeyboardInterrupt also while SQLite works on it.
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
        self._failure = None
        try:
            yield from self._database.query(sql, values)
        except sqlite3.Error as error:
            if _is_damage(error):
                raise SpoolDamaged(self.path, "it cannot be read as a whole") from error
            if str(error) == "interrupted" and self._is_late():
                raise TooSlow(f"{self.path}: that would take too long; ask for less") from error
            if str(error) == "interrupted" or (str(error) == FAILED_CALL and not self._failure):
                raise KeyboardInterrupt from error  # it came while SQLite called one of ours
            reason = self._failure if str(error) == FAILED_CALL else error
            raise SpoolError(f"{self.path}: {str(reason).splitlines()[0]}") from error
        except UnicodeError as error:
            raise SpoolError(f"{self.path}: the statement is not UTF-8 text") from error
        except ValueError as error:  # sqlite_utils runs none that gives no rows
            raise SpoolError(
                f"{self.path}: only a statement that reads and gives rows, as SELECT does, is run"
            ) from error

    def _create_function(self, name: str, count: int, function: Callable[..., Answer]) -> None:
        """
        One for SQL. SQLite does not say why it failed; a KeyboardInterrupt is no failure.
        """

        def call(*values: object) -> Answer:
            try:
                return function(*values)
            except Exception as error:
                self._failure = f"{name}: {error}"
                raise

        self._connection.create_function(name, count, call, deterministic=True)

    def _pages(
        self,
        view: str,
        condition: str,
        values: dict[str, Any],
        ranges: list[tuple[int, int]],
        *,
        newest: int | None,
    ) -> Iterator[Row]:
        """
        Rows of a view in the order of their ids, page by page, of those in these ranges of ids;
        with `newest` only that many, the last ones.
        """
        if newest is not None:
            ranges = self._last_ranges(view, condition, values, ranges, newest)
        for begin, last in ranges:
            first: int | None = begin
            while first is not None:
                bounds = {"page_first": first, "page_last": last}
                page = self._page(view, condition, {**values, **bounds})
                yield from page
                first = page[-1]["id"] + 1 if page else None

    def _last_ranges(
        self,
        view: str,
        condition: str,
        values: dict[str, Any],
        ranges: list[tuple[int, int]],
        newest: int,
    ) -> list[tuple[int, int]]:
        """
        The ends of these ranges in which there are so many rows.
        """
        found: list[tuple[int, int]] = []
        for first, last in reversed(ranges):
            if newest <= 0:
                break
            sql = (
                f"SELECT id FROM {view} WHERE id BETWEEN :page_first AND :page_last"
                f" AND {condition} ORDER BY id DESC LIMIT {newest:d}"
            )
            ids = list(self.query(sql, {**values, "page_first": first, "page_last": last}))
            if ids:
                found.append((ids[-1]["id"], last))
                newest -= len(ids)
        return found[::-1]

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

    @contextmanager
    def within(self, limit_s: float) -> Iterator[None]:
        """
        A block whose queries all together take no longer; they raise `TooSlow` then.
        """
        self._deadline_s = time.monotonic() + limit_s
        self._connection.set_progress_handler(self._is_late, LOOK_INSTRUCTIONS)
        try:
            yield
        finally:
            self._deadline_s = math.inf
            self._connection.set_progress_handler(_go_on, PAUSE_INSTRUCTIONS)

    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline_s

    def streams(self) -> list[Row]:
        """
        One row for each stream: `group, stream`, counts of events, times and the last error, which
        is none once something was delivered. `failing_since` is when the first batch was made of
        those that wait for another attempt.
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
        ranges = self._ranges(selection)
        return self._pages("events", condition, values, ranges, newest=newest)

    def with_reasons(self, events: Iterator[Row]) -> Iterator[Row]:
        """
        Events with one value more: the `reason` for which one was rejected, else None.
        """
        sql = "SELECT reason FROM rejection WHERE id = ?"
        for event in events:
            is_rejected = event["state"] == "rejected"
            known = next(self.query(sql, [event["id"]]), {}) if is_rejected else {}
            yield {**event, "reason": known.get("reason")}

    def around(self, event_id: int, each: int) -> Iterator[Row]:
        """
        An event and up to `each` before and after it in its stream, in the order stored.

        Raises `SpoolError` where there is no such event.
        """
        found = self.events(Selection(after_id=event_id - 1, last_id=event_id))
        event = next(found, None)
        if event is None:
            raise SpoolError(f"{self.path}: no event {event_id}; it may have been pruned")
        here = Selection(group=event["log_group"], stream=event["log_stream"])
        yield from self.events(replace(here, last_id=event_id - 1), newest=each)
        yield event
        yield from islice(self.events(replace(here, after_id=event_id)), each)

    def _ranges(self, selection: Selection) -> list[tuple[int, int]]:
        """
        Where such events may lie now: (first id, last id), each a moderate number of them.
        """
        end = self._newest_id("event")
        condition, values = selection.extents_sql()
        sql = f"SELECT DISTINCT block FROM extent WHERE {condition} ORDER BY block"
        ranges: list[tuple[int, int]] = []
        for row in self.query(sql, values):
            first, last = row["block"] * BLOCK_IDS, row["block"] * BLOCK_IDS + BLOCK_IDS - 1
            if ranges and ranges[-1][1] + 1 == first and last - ranges[-1][0] < RANGE_IDS:
                first = ranges.pop()[0]
            ranges.append((first, min(last, end)))
        return ranges

    def _newest_id(self, table: str) -> int:
        newest: int = next(self.query(f"SELECT coalesce(max(id), 0) AS id FROM {table}"))["id"]
        return newest

    def batches(
        self,
        *,
        group: str | None = None,
        stream: str | None = None,
        state: str | None = None,
        event_id: int | None = None,
        only_twice: bool = False,
        newest: int | None = None,
    ) -> Iterator[Row]:
        """
        Rows of the view `batches`, oldest first: those that carried an event, or that may have
        arrived twice, since they were sent more than once.
        """
        wanted = {"log_group": group, "log_stream": stream, "state": state, "event_id": event_id}
        given: dict[str, Any] = {
            column: value for column, value in wanted.items() if value is not None
        }
        parts = [CARRIED if column == "event_id" else f"{column} = :{column}" for column in given]
        parts += ["attempts > 1"] if only_twice else []
        condition = " AND ".join(parts) or "true"
        ranges = [(1, self._newest_id("batch"))]
        return self._pages("batches", condition, given, ranges, newest=newest)

    def _check_version(self) -> None:
        application_id = self._connection.execute("PRAGMA application_id").fetchone()[0]
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if application_id != APPLICATION_ID:
            raise NotASpool(self.path)
        if version > VERSION:
            raise NewerSpool(self.path, version, known=VERSION)

    def _unusable(self, error: sqlite3.Error | NotASpool) -> SpoolError:
        if isinstance(error, NotASpool) or _is_damage(error):
            is_ours = was_spool(self.path)
            return SpoolDamaged(self.path, "header") if is_ours else NotASpool(self.path)
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            return SpoolBusy(self.path)
        return _unreadable(self.path, error)


def _go_on() -> int:
    """
    For SQLite to call now and then: only in Python code does Python act on a signal.
    """
    return 0


def _is_damage(error: Exception) -> bool:
    """
    Whether SQLite's words mean a damaged file: so do bytes in a text that are none.
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "UTF-8" in str(error)


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
    return SpoolUnusable(f"{path}: cannot be read ({reason}); {who_may(path)}")


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
