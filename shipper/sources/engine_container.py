"""
One container of the Engine API: what is done for it when it is its turn.

Comes in: a turn, because its doorbell rang, something happened to it, or after a while. Goes out:
readings. Always holds: the engine follows the log before it is read, so that what is written
afterwards rings; a container that is gone has said its last words.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from shipper.containers import Container
from shipper.sources.doorbells import Doorbell
from shipper.sources.engine_api import Engine, Found
from shipper.sources.engine_log import EngineLog, Hand
from shipper.sources.engine_wire import (
    TIMEOUT_S,
    ContainerGone,
    ContainerRemoved,
    EngineError,
    LogsUnreadable,
)
from shipper.sources.reading import Reading
from spool.skipped import CONTAINERS_LOST

__all__ = ["EngineContainer", "World"]

log = logging.getLogger(__name__)

POLL_S = 10.0
"""A container is looked at so often without having rung."""

ASK_AGAIN_S = 0.5


@dataclass(frozen=True, slots=True)
class World:
    """
    What containers have in common. `open_log` gives a container's log, or changes where the lines
    of the one given go. `follows` is false where each is read just once.
    """

    engine: Engine
    open_log: Callable[[Found, EngineLog | None], EngineLog]
    wanted: Callable[[Container], bool]
    hand: Hand
    follows: bool


class EngineContainer:
    """
    A container, as far as it is known. `is_stale` asks for an inspection at the next turn; `arm`
    is called with its doorbell, when there is one.
    """

    def __init__(self, container_id: str, world: World, *, arm: Callable[[Doorbell], None]) -> None:
        self.is_stale = True
        self._arm = arm
        self._id = container_id
        self._world = world
        self._log: EngineLog | None = None
        self._bell: Doorbell | None = None
        self._first_bell: Doorbell | None = None
        self._has_first_bell = threading.Event()
        self._has_first_bell.set()
        self._is_collected = True
        self._was_started = self._is_start_missed = False
        self._runs = False
        self._is_followed = False
        self._removes_itself = False
        self._is_framed = True
        self._has_run_ended = False
        self._is_bell_asked_again = False
        self._is_bell_suspect = False
        self._last_line_s = monotonic()

    def is_start_followed(self) -> bool:
        """
        It starts: whether `follow_start` is to be called at once, for the first run of a container.

        It may be gone in 20 ms, and whoever inspects it or reads its log may have to wait for that.
        What it says is followed before anything else is asked; turns wait for that.
        """
        is_unread = self._log is None or self._log.is_unread
        is_followed = is_unread and self._is_collected and not self._bell
        if is_followed:
            self._has_first_bell.clear()
        return is_followed

    def follow_start(self) -> None:
        """
        Follow all that it says. For another thread than that of its turn.
        """
        try:
            opened = self._world.engine.follow(self._id, tail="all")
            self._first_bell = Doorbell(opened.socket, opened.begun, is_eager=True)
            self._arm(self._first_bell)
        except EngineError as error:
            log.debug("container %.12s: %s", self._id, error)
            self._is_start_missed = True
        finally:
            self._has_first_bell.set()

    def turn(self) -> float | None:
        """
        Hand over what is new; returns after how many seconds the next turn is due at the latest,
        None where something has to happen first.

        Raises `ContainerGone` when it was the last, `EngineUnavailable`, and what `hand` raises.
        """
        try:
            self._take_first_bell()
            self._drain()
            if self.is_stale:
                self._inspect()
            next_s = self._read(self._log) if self._log and self._was_started else None
        except ContainerGone as error:
            self._finish(is_removed=self._removes_itself or isinstance(error, ContainerRemoved))
            raise
        except LogsUnreadable as error:
            log.info("container %.12s is not collected: %s", self._id, error)
            self._log = None
            self._is_collected = False
            self.close()
            return None
        except Exception:
            self.is_stale = True  # what could not be learnt or stored now is asked for again
            raise
        finally:
            if self._bell and not self._bell.has_ended:
                self._arm(self._bell)
        return next_s

    def close(self) -> None:
        """
        Hang up.
        """
        self._take_first_bell()
        if self._bell:
            self._world.engine.hang_up(self._bell.socket)
            self._bell = None

    def _take_first_bell(self) -> None:
        self._has_first_bell.wait(TIMEOUT_S)
        first, self._first_bell = self._first_bell, None
        if first and self._bell:
            self._world.engine.hang_up(first.socket)
        elif first:
            self._bell = first

    def _drain(self) -> None:
        if not self._bell:
            return
        had_rung = self._bell.drain()
        if self._bell.has_ended:
            self._has_run_ended = self.is_stale = True
        elif self._is_bell_suspect and not had_rung:
            log.info("container %.12s wrote and the engine did not tell; asking anew", self._id)
            self.close()
        self._is_bell_suspect = False

    def _inspect(self) -> None:
        self.is_stale = False  # what happens from now on makes it stale again
        found = self._world.engine.inspect(self._id)
        container = found.container
        self._runs = container.running
        self._is_followed = self._runs and not found.is_restarting and self._world.follows
        self._removes_itself = found.removes_itself
        self._is_collected = self._world.wanted(container)
        self._was_started = found.was_started
        if not self._is_collected:
            self._log = None
            self.close()
        elif container.log_driver == "none":
            raise LogsUnreadable("its log driver is none: there is nothing to read")
        else:
            self._log = self._world.open_log(found, self._log)
        self._is_framed = not container.tty
        if self._bell:
            self._bell.is_eager = self._removes_itself

    def _read(self, container_log: EngineLog) -> float | None:
        is_new_bell = self._is_followed and not self._bell
        if is_new_bell:
            # of one that removes itself before it was read this is all there will be
            is_all = self._removes_itself and container_log.is_unread
            self._hang_bell(tail="all" if is_all else "0", is_eager=self._removes_itself)
        lines = container_log.read(self._world.engine, self._world.hand)
        if lines:
            self._last_line_s = monotonic()
        has_ended = not self._runs or monotonic() - self._last_line_s > container_log.patience_s
        if container_log.is_open and has_ended:
            container_log.flush(self._world.hand)
        if self._has_run_ended:
            return self._next_bell(container_log)
        if self._bell and container_log.is_caught_up:
            self._is_bell_suspect = lines > 0 and not is_new_bell and not self._bell.is_ringing
            self._bell.forget(is_framed=self._is_framed)
        if self._bell and self._bell.has_ended:  # while the log was read: it may have said more
            return 0.0
        if not (self._runs and self._world.follows):
            return None
        return min(POLL_S, container_log.patience_s) if container_log.is_open else POLL_S

    def _next_bell(self, container_log: EngineLog) -> float | None:
        """
        The run that was followed was over before the log was read.
        """
        if self._bell and self._bell.is_ringing and not container_log.is_caught_up:
            if not self._is_bell_asked_again:  # it may be about to be removed, with its log
                self._is_bell_asked_again = self.is_stale = True
                return ASK_AGAIN_S
            container_log.read_last_words(self._bell.last_words(), self._world.hand)
        self._is_bell_asked_again = False
        self.close()
        self._has_run_ended = False
        return 0.0 if self._runs else None

    def _hang_bell(self, *, tail: str, is_eager: bool) -> None:
        opened = self._world.engine.follow(self._id, tail=tail)
        self._bell = Doorbell(opened.socket, opened.begun, is_eager=is_eager)
        if is_eager:
            self._arm(self._bell)

    def _finish(self, *, is_removed: bool) -> None:
        """
        It is gone: what the doorbell has heard is all there is. One whose removal failed stays in
        the engine's list, and is met again.
        """
        self._take_first_bell()
        if not self._log:
            self.close()
            return
        if self._bell:
            is_all = self._log.read_last_words(self._bell.last_words(), self._world.hand)
        else:
            is_all = not self._log.is_unread or not (self._was_started or self._is_start_missed)
        self._log.flush(self._world.hand)
        if not is_all:
            log.warning("container %.12s was removed before all of its log was read", self._id)
            reading = Reading()
            reading.skip(CONTAINERS_LOST, 1)
            self._world.hand(reading)
        if is_removed:
            self._log.forget(self._world.hand)
        self.close()
