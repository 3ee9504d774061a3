"""
Source: containers whose logs are not on this disk in a form to be read, through the Engine API.

Comes in: an engine. Goes out: readings, each the events of some containers and their positions
behind them. Always holds: an event is in one reading, the reading after which its container's
position is past it; what is in memory is bounded, however much the containers write; a stop takes
about a second, also when the engine hangs.

One thread watches (engine_watch.py); READERS threads take turns for the containers that have
something to tell.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from shipper.containers import Container
from shipper.naming import Target
from shipper.sources.engine_api import Engine, Found
from shipper.sources.engine_container import World
from shipper.sources.engine_log import Begin, EngineLog
from shipper.sources.engine_watch import Watch
from shipper.sources.lines import Joiner
from shipper.sources.outbox import Outbox
from shipper.sources.reading import Reading
from spool.store import Store

__all__ = ["EngineSource"]

log = logging.getLogger(__name__)

WAIT_S = 0.5
BEGUN_KEY = "engine:begun"
"""The checkpoint that says when a source without backlog first began: a restart is no new begin."""


class EngineSource:
    """
    Every container of an engine for which `wanted` says so, each into the stream that `name` gives,
    its lines made events by what `joiner` gives.

    Of containers that were there before the source first began, with `backlog` all is read that
    the engine still has, or the last `tail` records; without it nothing of what was before.
    """

    def __init__(
        self,
        store: Store,
        name: Callable[[Container], Target],
        *,
        joiner: Callable[[Container], Joiner],
        wanted: Callable[[Container], bool] = lambda _: True,
        backlog: bool = True,
        tail: int | None = None,
    ) -> None:
        self._store = store
        self._name = name
        self._wanted = wanted
        self._backlog = backlog
        self._tail = tail
        self._joiner = joiner
        self._outbox: Outbox | None = None
        self._watch: Watch | None = None
        self._begun = ""

    def readings(self, stop: threading.Event, *, once: bool = False) -> Iterator[Reading]:
        """
        Readings without end, until `stop` is set; with `once`, until all that is there was read.
        """
        outbox = self._outbox = Outbox()
        self._begun = self._first_begun()
        watch = self._watch = Watch(self._world(outbox, follows=not once), on_idle=outbox.wake)
        watch.start()
        try:
            while not stop.is_set():
                is_done = watch.is_done()
                reading = outbox.take(0 if is_done else WAIT_S)
                if reading:
                    yield reading
                elif is_done:
                    return
            outbox.close()
            reading = outbox.take(0)
            if reading:
                yield reading
        finally:
            outbox.close()
            watch.close()

    @property
    def answers(self) -> bool | None:
        """
        Whether the engine did when it was last asked; None before.
        """
        return self._watch.answers if self._watch else None

    def wake(self) -> None:
        """
        End the present wait; called from other threads.
        """
        if self._outbox:
            self._outbox.wake()

    def _world(self, outbox: Outbox, *, follows: bool) -> World:
        return World(
            engine=Engine(),
            open_log=self._open_log,
            wanted=self._wanted,
            hand=outbox.put,
            follows=follows,
        )

    def _open_log(self, found: Found, known: EngineLog | None) -> EngineLog:
        container = found.container
        target = self._name(container)
        opened = known or EngineLog(
            container,
            self._store,
            self._begin(found),
            joiner=self._joiner(container),
        )
        opened.deliver_to(self._store.stream_id(target.group, target.stream))
        if not known:
            log.info("collecting %s as %s %s", container.name, target.group, target.stream)
        return opened

    def _begin(self, found: Found) -> Begin:
        if found.created >= self._begun:
            return Begin()
        return Begin(time=self._begun) if not self._backlog else Begin(tail=self._tail)

    def _first_begun(self) -> str:
        """
        When the source first began, where that matters.
        """
        if self._backlog and self._tail is None:
            return ""
        begun = self._store.checkpoint(BEGUN_KEY)
        if begun is None:
            begun = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
            self._store.append([], checkpoints={BEGUN_KEY: begun})
        return begun
