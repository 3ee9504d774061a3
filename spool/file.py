"""
The open file of a spool: two connections to it, transactions, its size, and what the agent notes in
it for other processes.

Always holds: one thread writes at a time; who reads waits for no writer, and no writer for it; that
the file is damaged is told to one place, whoever meets it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import apsw

from spool.connection import connect
from spool.damage import is_damage, was_spool
from spool.errors import NOT_TEXT, NotASpool, SpoolDamaged
from spool.opening import claim_driver, is_at, prepare_place, release_driver
from spool.patience import Patience
from spool.schema import PAGE_BYTES

__all__ = ["SpoolFile"]


class SpoolFile:
    """
    An open spool, as a file. Its methods may be called from any thread.

    Raises `SpoolUnusable`, `NotASpool`, `NewerSpool`, `SpoolDamaged` or `TwoDrivers` when it cannot
    be opened. Where it turns out to be damaged later, `on_damage` is called with what SQLite says.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        self.on_damage: Callable[[str], None] = lambda _: None
        self._patience = Patience()
        while not self._open(create=create):
            pass
        self._log_path = Path(self._writer.filename_wal)
        self._writer_lock = threading.RLock()
        self._reader_lock = threading.Lock()
        self._is_in_transaction = False

    def _open(self, *, create: bool) -> bool:
        """
        False where meanwhile a rescue has put another file in the place of this one.
        """
        prepare_place(self.path, create=create)
        with ExitStack() as undo:
            claim = claim_driver(self.path, "apsw")
            undo.callback(release_driver, claim)
            try:
                self._writer = connect(self.path, self._patience)
                undo.callback(self._writer.close)
                self._reader = connect(self.path, self._patience)
                undo.callback(self._reader.close)
            except NotASpool as error:
                if was_spool(self.path):
                    raise SpoolDamaged(self.path, error.__cause__ or "header") from error
                raise
            if is_at(claim, self.path):
                self._opened = undo.pop_all()
                return True
        return False

    def close(self) -> None:
        """
        Close the file; what was not committed is gone, and that is nothing a method returned from.

        To close it once more does nothing.
        """
        with self._writer_lock, self._reader_lock:
            self._opened.close()

    def hurry(self) -> None:
        """
        Wait for other processes' transactions for a moment more, and then never again: a method
        that meets one raises at once. For the time after a stop.
        """
        self._patience.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _using(self, lock: AbstractContextManager[object]) -> Iterator[None]:
        """
        Hold a lock, and tell of damage that is met meanwhile.
        """
        with lock:
            try:
                yield
            except UnicodeDecodeError:
                self.on_damage(NOT_TEXT)
                raise apsw.CorruptError(NOT_TEXT) from None
            except apsw.Error as error:
                if is_damage(error):
                    self.on_damage(str(error))
                raise

    @contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        """
        One write transaction on the spool: durable when the block ends, undone if it raises.

        Within another one of the same thread it is part of that.
        """
        with self._using(self._writer_lock):
            if self._is_in_transaction:
                yield self._writer
                return
            self._roll_back()  # what could not be undone before must not become part of this
            try:
                self._is_in_transaction = True
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                self._forget()
                raise
            finally:
                self._is_in_transaction = False
                self._roll_back()

    def _forget(self) -> None:
        """
        What is known of a transaction is undone with it.
        """

    def _roll_back(self) -> None:
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")

    @contextmanager
    def idle_writer(self) -> Iterator[apsw.Connection]:
        """
        The writing connection outside a transaction, for statements that cannot be in one.
        """
        with self._using(self._writer_lock):
            yield self._writer

    @contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        """
        The reading connection: it waits for no writer, and no writer waits for it.
        """
        with self._using(self._reader_lock):
            yield self._reader

    def used_bytes(self) -> int:
        """
        What is in use of the file; what is free in it will be used first.
        """
        with self._using(self._writer_lock):
            used: int = self._writer.pragma("page_count") - self._writer.pragma("freelist_count")
        return used * PAGE_BYTES

    def log_bytes(self) -> int:
        """
        How large the write-ahead log is.
        """
        try:
            return self._log_path.stat().st_size
        except FileNotFoundError:
            return 0

    def limit_log(self, size_bytes: int) -> None:
        """
        From now on the write-ahead log is moved into the file when it is so large, and goes back to
        that size after a transaction that needed more.
        """
        with self._using(self._writer_lock):
            self._writer.pragma("wal_autocheckpoint", max(1, size_bytes // PAGE_BYTES))
            self._writer.pragma("journal_size_limit", size_bytes)

    def empty_log(self) -> bool:
        """
        Move the write-ahead log into the file and give its space back; False while another process
        still reads what was there before.
        """
        with self._using(self._writer_lock), self._reader_lock:
            self._writer.set_busy_timeout(0)
            try:
                self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            except apsw.BusyError:
                return False
            else:
                return True
            finally:
                self._writer.set_busy_handler(self._patience)

    def note(self, name: str, text: str | None, *, now_ms: int) -> None:
        """
        Tell other processes something about this one; None where it is no longer so.
        """
        with self.transaction() as db:
            if text is None:
                db.execute("DELETE FROM note WHERE name = ?", (name,))
                return
            db.execute(
                "INSERT INTO note (name, since, text) VALUES (?, ?, ?) ON CONFLICT (name)"
                " DO UPDATE SET since = excluded.since, text = excluded.text"
                " WHERE text <> excluded.text",
                (name, now_ms, text),
            )

    def noted(self, name: str) -> str | None:
        """
        What was told last under that name.
        """
        with self._using(self._writer_lock):
            text: str | None = self._writer.execute(
                "SELECT text FROM note WHERE name = ?", (name,)
            ).get
            return text
