"""
How the agent is told to stop.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
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
        Call `wake` on a stop, from a thread of its own.
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
    # A handler runs in the midst of what the main thread does, which may hold the very lock that
    # waking takes; so another thread wakes. Of all queues SimpleQueue may be filled in a handler.
    signals: SimpleQueue[bool] = SimpleQueue()
    is_told = False

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal is_told
        if is_told:
            os._exit(128 + number)
        is_told = True
        signals.put(True)

    def pass_on() -> None:
        if signals.get():
            stop.set()

    threading.Thread(target=pass_on, name="stop", daemon=True).start()
    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signals.put(False)
