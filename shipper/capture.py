"""
Source -> store: while one reading is stored, the source reads the next, and no further.

Comes in: a source's readings. Goes out: events in the spool, in the order read. Always holds: a
reading that cannot be stored is kept and tried again, and the source waits; Docker's files hold the
rest. It cannot be stored while the spool is full, or while its file system fails.

To parse takes Python's lock, and to store does not: two threads do both at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

import apsw

from shipper.sources.reading import Reading
from shipper.trouble import Trouble
from spool.store import Store

__all__ = ["Source", "capture"]

RETRY_S = 0.5
"""Between two tries to store a reading, when the spool is full, or its disk full or failing."""


class Source(Protocol):
    """
    Where lines come from.
    """

    def readings(self, stop: threading.Event, *, once: bool = False) -> Iterator[Reading]: ...

    def wake(self) -> None: ...


def capture(
    source: Source,
    store: Store,
    stop: threading.Event,
    *,
    once: bool = False,
    make_room: Callable[[], bool] = lambda: True,
    trouble: Trouble,
    on_stored: Callable[[], None],
) -> None:
    """
    Store what `source` reads until `stop` is set, or with `once` until it has read everything.

    Nothing is stored while `make_room` says no, or while the spool cannot be written, which
    `trouble` is told. A source that finds that out by itself begins anew, from the positions in it.
    """
    who = type(source).__name__
    stored = _Storing(lambda: True)
    while True:
        try:
            for reading in source.readings(stop, once=once):
                if not stored.result():
                    return
                stored = _Storing(
                    partial(_store, reading, store, stop, make_room, trouble, who, on_stored)
                )
            stored.result()
        except apsw.Error as error:
            trouble.begin(who, error)
            if not stored.result() or stop.wait(RETRY_S):
                return
        else:
            return


class _Storing:
    """
    What goes on in a thread of its own: to store one reading.
    """

    def __init__(self, store: Callable[[], bool]) -> None:
        self._store = store
        self._is_stored = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    def result(self) -> bool:
        """
        Whether it was stored, as soon as that is known. Raises what went wrong.
        """
        self._thread.join()
        if self._error:
            raise self._error
        return self._is_stored

    def _run(self) -> None:
        try:
            self._is_stored = self._store()
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            self._error = error


def _store(
    reading: Reading,
    store: Store,
    stop: threading.Event,
    make_room: Callable[[], bool],
    trouble: Trouble,
    who: str,
    on_stored: Callable[[], None],
) -> bool:
    """
    Store a reading as soon as that can be; False at a stop before.
    """
    while True:
        try:
            if make_room():
                store.append(
                    reading.chunks, checkpoints=reading.checkpoints, skipped=reading.skipped
                )
                break
        except apsw.Error as error:
            trouble.begin(who, error)
        if stop.wait(RETRY_S):
            return False
    trouble.end(who)
    on_stored()
    return True
