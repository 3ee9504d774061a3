"""
A read-only window on a spool, for other processes than the one that ships from it.

Comes in: a path and SQL. Goes out: rows as dictionaries. Always holds: nothing here writes or
blocks a writer; a signal ends what takes long, and so does a limit.
"""

from __future__ import annotations

import marshal
import math
import re
import signal
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self
from urllib.parse import quote

from sqlite_utils import Database

from spool.damage import was_spool
from spool.errors import (
    NewerSpool,
    NoSpool,
    NotASpool,
    NotText,
    SpoolBusy,
    SpoolDamaged,
    SpoolError,
    SpoolUnusable,
    TooSlow,
)
from spool.opening import claim_driver, refuse_damaged, release_driver
from spool.place import who_may
from spool.schema import APPLICATION_ID, VERSION

__all__ = ["Row", "Window", "open_for_strangers"]

Row = dict[str, Any]

Answer = str | int | None
"""Of a function for SQL."""

QUERY_BYTES = 8 * 1024 * 1024
"""A larger result of a query goes through a temporary file."""

FAILED_CALL = "user-defined function raised exception"

LONGEST_VALUE_BYTES = 16 * 1024 * 1024
HEAP_BYTES = 256 * 1024 * 1024
"""What SQL that somebody typed into a form may build: a message has 1 MiB at most."""

NO_TEXT = "Could not decode to UTF-8"
"""What Python's sqlite3 says of bytes in a text that are none."""

HOW_TO_SEE_BYTES = "a text is not UTF-8; CAST(… AS BLOB) has its bytes"

LOOK_INSTRUCTIONS = 1_000
"""Of SQLite's machine, between two looks at the clock: about 0.1 ms."""

PAUSE_INSTRUCTIONS = 20_000
"""Between two moments, without a limit, at which a signal may end a statement."""


class Window:
    """
    A spool open for reading, for any SQL that reads.

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
            _remember_interrupts()
            undo.pop_all()

    def close(self) -> None:
        """
        Close the file.
        """
        self._connection.close()
        release_driver(self._claim)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def query(
        self, sql: str, values: dict[str, Any] | list[Any] | None = None, *, is_ours: bool = True
    ) -> Iterator[Row]:
        """
        The rows of any reading statement, all of them read before the first is given out. One that
        is not ours may itself make texts of bytes; that is no damage.

        Raises `SpoolError` with SQLite's own words where the statement is wrong, and
        KeyboardInterrupt also while SQLite works on it.
        """
        with tempfile.SpooledTemporaryFile(QUERY_BYTES) as file:
            count = 0
            for row in self.rows(sql, values or [], is_ours=is_ours):
                marshal.dump(row, file)
                count += 1
            file.seek(0)
            for _ in range(count):
                yield marshal.load(file)  # noqa: S302 - what was written above

    def rows(
        self,
        sql: str,
        values: dict[str, Any] | list[Any],
        *,
        is_ours: bool = True,
        mends: bool = False,
    ) -> Generator[Row, None, None]:
        """
        The same, one by one: a transaction is open until the last one is taken. With `mends`, what
        is not UTF-8 in a text becomes U+FFFD; else that raises `NotText`.
        """
        self._failure = None
        self._connection.text_factory = _mended if mends else str
        try:
            yield from self._database.query(sql, values)
        except sqlite3.Error as error:
            raise self._sorted(error, is_ours=is_ours) from error
        except UnicodeError as error:
            raise SpoolError(f"{self.path}: the statement is not UTF-8 text") from error
        except ValueError as error:  # sqlite_utils runs none that gives no rows
            raise SpoolError(
                f"{self.path}: only a statement that reads and gives rows, as SELECT does, is run"
            ) from error

    def _sorted(self, error: sqlite3.Error, *, is_ours: bool) -> BaseException:
        """
        What to raise for what SQLite, or Python on its behalf, says of a statement.
        """
        if _is_damage(error):
            return SpoolDamaged(self.path, "it cannot be read as a whole")
        if _is_no_text(error) and is_ours:
            return NotText(self.path)
        reason = str(error)
        if reason == "interrupted":
            if self._is_late():
                return TooSlow(f"{self.path}: that would take too long; ask for less")
            return KeyboardInterrupt()
        if reason == FAILED_CALL and not self._failure and _interrupted.is_set():
            return KeyboardInterrupt()  # it came while SQLite called one of ours
        if reason == FAILED_CALL:
            reason = self._failure or HOW_TO_SEE_BYTES  # Python could not read what to call it with
        elif _is_no_text(error):
            reason = HOW_TO_SEE_BYTES
        return SpoolError(f"{self.path}: {reason.splitlines()[0]}")

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


_interrupted = threading.Event()


def _remember_interrupts() -> None:
    """
    From now on, where Python's own handler has them: SQLite keeps to itself what ended a call.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _interrupted.set()
    signal.default_int_handler(number, frame)


def _mended(text: bytes) -> str:
    return text.decode(errors="replace")


def _is_damage(error: Exception) -> bool:
    return _code(error) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _is_no_text(error: Exception) -> bool:
    """
    Whether Python could not read what SQLite gave, which therefore has no code for it.
    """
    return not _code(error) and str(error).startswith(NO_TEXT)


def _code(error: Exception) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code


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


def _matches(pattern: str, message: str | bytes) -> bool:
    """
    SQLite's `message REGEXP pattern`; `re` keeps the compiled pattern. Python reads no text that
    is not UTF-8, but its bytes.
    """
    text = _mended(message) if isinstance(message, bytes) else message
    return re.search(pattern, text) is not None
