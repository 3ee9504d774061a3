"""
Which containers have something to tell, and the threads that let them tell it.

Comes in: the engine's events, its list of containers, doorbells. Goes out: turns of containers.
Always holds: the events are subscribed to before the list is asked for, so that no container is
missed between; an engine that is away, or restarts, is waited for, said once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

from msgspec import json

from shipper.backoff import Backoff
from shipper.redaction import without_secrets
from shipper.sources.doorbells import Doorbells
from shipper.sources.engine_container import EngineContainer, World
from shipper.sources.engine_wire import ContainerGone, EngineError, EngineUnavailable, Opened
from shipper.sources.outbox import Closed
from shipper.sources.turns import Turns

__all__ = ["Watch"]

log = logging.getLogger(__name__)

READERS = 4
STARTERS = 2
LIST_S = 30.0

POLLS_EVERY_S = 0.05
"""With very many containers, they are polled as often altogether."""

PAUSE_S = 0.1
PAUSES_EVERY_S = 0.003
"""Between two turns of a container, with many the latter for each: a turn costs some ms."""

RETRY_S = 2.0
JOIN_S = 1.0
EVENTS = "events"
RECEIVE_BYTES = 1_000_000


class Watch:
    """
    Everything that goes on for one call of `readings`. `on_idle` is called after each turn.
    """

    def __init__(self, world: World, *, on_idle: Callable[[], None]) -> None:
        self._world = world
        self._on_idle = on_idle
        self._turns = Turns()
        self._starts = Turns()
        self._bells = Doorbells()
        self._containers: dict[str, EngineContainer] = {}
        self._listed: dict[str, tuple[str, ...]] = {}
        self._was_listed = False
        self._is_closed = threading.Event()
        self.answers: bool | None = None
        """Whether the engine did when it was last asked; None before."""
        self._troubled: set[str] = set()
        self._threads = [
            threading.Thread(target=self._watch, name="engine-watch", daemon=True),
            *(
                threading.Thread(target=self._work, name=f"engine-{number}", daemon=True)
                for number in range(READERS)
            ),
            *(
                threading.Thread(
                    target=self._follow_starts, name=f"engine-start-{number}", daemon=True
                )
                for number in range(STARTERS)
            ),
        ]

    def start(self) -> None:
        """
        Begin.
        """
        for thread in self._threads:
            thread.start()

    def is_done(self) -> bool:
        """
        Whether all containers were read that were to be read once.
        """
        return not self._world.follows and self._was_listed and self._turns.is_idle()

    def close(self) -> None:
        """
        End, whatever the engine does.
        """
        self._is_closed.set()
        self._turns.close()
        self._starts.close()
        self._bells.wake()
        self._world.engine.close()
        until_s = monotonic() + JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, until_s - monotonic()))
        if not any(thread.is_alive() for thread in self._threads):
            for container in self._containers.values():
                container.close()
            self._bells.close()

    # --- the watching thread ----------------------------------------------------------------

    def _watch(self) -> None:
        backoff = Backoff(0.2, 10.0)
        while not self._is_closed.is_set():
            try:
                self._world.engine.connect()
                self._attend(backoff)
            except EngineError as error:  # also a proxy that knows no such path
                self._say_away(error)
            if not self._world.follows:
                self._was_listed = True
                self._on_idle()
                return
            self._wait(backoff.next_s())

    def _attend(self, backoff: Backoff) -> None:
        """
        As long as the engine tells what happens.
        """
        events = self._world.engine.events() if self._world.follows else None
        # a proxy may have said of any, while the engine was away, that it is gone: ask of all again
        self._listed = dict.fromkeys(self._listed, ())
        try:
            self._list()
            backoff.reset()
            if self.answers is False:
                log.info("the engine answers again")
            self.answers = True
            if events:
                self._listen(events)
        finally:
            if events:
                self._world.engine.hang_up(events.socket)

    def _listen(self, events: Opened) -> None:
        begun = self._tell(events.begun)
        self._bells.arm(EVENTS, events.socket)
        listed_s = monotonic()
        while not self._is_closed.is_set():
            if self._serve_bells(listed_s + LIST_S - monotonic()):
                data = _receive(events)
                if not data:
                    return
                begun = self._tell(begun + data)
                self._bells.arm(EVENTS, events.socket)
            if monotonic() - listed_s >= LIST_S:
                self._list()
                listed_s = monotonic()

    def _serve_bells(self, timeout_s: float) -> bool:
        """
        Wait for what rings; returns whether there is news of events.
        """
        rung = self._bells.wait(timeout_s)
        for key in rung:
            if key != EVENTS:
                self._turns.ring(key)
        return EVENTS in rung

    def _wait(self, pause_s: float) -> None:
        until_s = monotonic() + pause_s
        while not self._is_closed.is_set() and monotonic() < until_s:
            self._serve_bells(until_s - monotonic())

    def _list(self) -> None:
        """
        A turn for each container that is new, has changed or is gone.
        """
        listed = self._world.engine.containers()
        for container_id in {**self._listed, **listed}:
            if self._listed.get(container_id) != listed.get(container_id):
                self._ring_stale(container_id)
        self._listed = listed
        self._was_listed = True

    def _tell(self, data: bytes) -> bytes:
        """
        A turn for each container that something has happened to; returns the begin of an event.
        """
        *lines, rest = data.split(b"\n")
        for line in lines:
            try:
                event = json.decode(line)
                container_id, status = str(event["id"]), event["status"]
            except (ValueError, LookupError, TypeError):
                continue
            if status in ("create", "start") or container_id in self._containers:
                self._ring_stale(container_id, is_start=status == "start")
        return rest

    def _ring_stale(self, container_id: str, *, is_start: bool = False) -> None:
        container = self._containers.get(container_id)
        if container is None:
            container = EngineContainer(
                container_id,
                self._world,
                arm=lambda bell: self._bells.arm(container_id, bell.socket, bell),
            )
            self._containers[container_id] = container
        if is_start and container.is_start_followed():
            self._starts.ring(container_id)
        container.is_stale = True
        self._turns.ring(container_id)

    def _say_away(self, error: EngineError) -> None:
        if self.answers is not False and not self._is_closed.is_set():
            where = without_secrets(self._world.engine.base_url)
            # one that has never answered is, as a rule, one that nobody asked for
            level = logging.INFO if self.answers is None else logging.WARNING
            log.log(level, "no engine at %s: %s", where, without_secrets(str(error)))
        self.answers = False

    # --- the reading threads ----------------------------------------------------------------

    def _work(self) -> None:
        while (container_id := self._turns.take()) is not None:
            try:
                self._turn(container_id)
            except Closed:
                return
            self._on_idle()

    def _follow_starts(self) -> None:
        while (container_id := self._starts.take()) is not None:
            container = self._containers.get(container_id)
            if container:
                container.follow_start()
            self._starts.drop(container_id)

    def _turn(self, container_id: str) -> None:
        container = self._containers.get(container_id)
        if container is None:  # gone just now
            self._turns.drop(container_id)
            return
        next_s: float | None = RETRY_S if self._world.follows else None
        try:
            next_s = container.turn()
        except ContainerGone:
            self._containers.pop(container_id, None)
            self._troubled.discard(container_id)
            self._turns.drop(container_id)
            return
        except EngineUnavailable as error:
            log.debug("container %.12s: %s", container_id, error)
        except Closed:
            raise
        except Exception:
            if container_id not in self._troubled:
                log.exception("container %.12s cannot be read now", container_id)
            self._troubled.add(container_id)
        else:
            self._troubled.discard(container_id)
        count = len(self._containers)
        self._turns.done(container_id, pause_s=max(PAUSE_S, PAUSES_EVERY_S * count))
        if next_s is not None:
            poll_s = next_s and max(next_s, POLLS_EVERY_S * count)
            self._turns.ring(container_id, in_s=poll_s)


def _receive(events: Opened) -> bytes:
    try:
        return events.socket.recv(RECEIVE_BYTES)
    except OSError:
        return b""
