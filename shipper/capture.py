"""
Source -> store: what a source reads is stored before it reads on.

Comes in: a source's readings. Goes out: events in the spool. Always holds: a reading that cannot
be stored is kept and tried again, and the source waits; Docker's files hold the rest. It cannot be
stored while the spool is full, or while its file system fails.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
    storing = _Storing(store, stop, make_room, trouble, who=type(source).__name__)
    while True:
        try:
            for reading in source.readings(stop, once=once):
                if not storing.store(reading):
                    return
                on_stored()
        except apsw.Error as error:
            trouble.begin(storing.who, error)
            if stop.wait(RETRY_S):
                return
        else:
            return


@dataclass(frozen=True, slots=True)
class _Storing:
    """
    What storing a reading takes.
    """

    spool: Store
    stop: threading.Event
    make_room: Callable[[], bool]
    trouble: Trouble
    who: str

    def store(self, reading: Reading) -> bool:
        """
        Store a reading as soon as that can be; False at a stop before.
        """
        while not self._try(reading):
            if self.stop.wait(RETRY_S):
                return False
        return True

    def _try(self, reading: Reading) -> bool:
        try:
            if not self.make_room():
                return False
            self.spool.append(
                reading.chunks, checkpoints=reading.checkpoints, skipped=reading.skipped
            )
        except apsw.Error as error:
            self.trouble.begin(self.who, error)
            return False
        self.trouble.end(self.who)
        return True
