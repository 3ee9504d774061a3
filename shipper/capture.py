"""
Source -> store: what a source reads is stored before it reads on.

Comes in: a source's readings. Goes out: events in the spool. Always holds: a reading that cannot
be stored is kept and tried again, and the source waits; Docker's files hold the rest.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

import apsw

from shipper.sources.reading import Reading
from spool.store import Store

__all__ = ["Source", "capture"]

log = logging.getLogger(__name__)

RETRY_S = 1.0
"""Between two tries to store a reading, when the disk is full or fails."""


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
    on_stored: Callable[[], None],
) -> None:
    """
    Store what `source` reads until `stop` is set, or with `once` until it has read everything.

    A source that finds the spool unusable by itself begins anew, from the positions in it.
    """
    while True:
        try:
            for reading in source.readings(stop, once=once):
                if not _store(reading, store, stop):
                    return
                on_stored()
        except apsw.Error as error:
            log.error("cannot use the spool, reading no more until it works: %s", error)
            if stop.wait(RETRY_S):
                return
        else:
            return


def _store(reading: Reading, store: Store, stop: threading.Event) -> bool:
    failed = False
    while True:
        try:
            store.append(reading.chunks, checkpoints=reading.checkpoints, skipped=reading.skipped)
        except apsw.Error as error:
            if not failed:
                log.error("cannot store lines, reading no more until it works: %s", error)
            failed = True
            if stop.wait(RETRY_S):
                return False
        else:
            if failed:
                log.info("lines are stored again")
            return True
