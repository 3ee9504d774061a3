"""
How the agent is told to stop.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Stop", "stopping_on_signals"]


class Stop:
    """
    A request to stop, and who is to be woken by it.
    """

    def __init__(self) -> None:
        self.event = threading.Event()
        self._wakers: list[Callable[[], None]] = []

    def wakes(self, wake: Callable[[], None]) -> None:
        """
        Call `wake` on a stop; it may be called from a signal handler.
        """
        self._wakers.append(wake)

    def set(self) -> None:
        """
        Stop now.
        """
        self.event.set()
        for wake in self._wakers:
            wake()


@contextmanager
def stopping_on_signals() -> Iterator[Stop]:
    """
    A `Stop` that SIGTERM and SIGINT set. A second signal ends the process at once: what is stored
    is stored.
    """
    stop = Stop()

    def handle(number: int, _: FrameType | None) -> None:
        if stop.event.is_set():
            os._exit(128 + number)
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
