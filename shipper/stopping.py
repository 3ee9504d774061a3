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

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """
    A request to stop, and who is to be woken by it.
    """

    def __init__(self) -> None:
        self.event = threading.Event()
        self._wakers: list[Callable[[], None]] = []

    def wakes(self, wake: Callable[[], None]) -> None:
        """
        Call `wake` on a stop; it may be called from any thread.
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

    A thread learns of them from a pipe. Python runs handlers in the main thread, once that does
    something: one that has just gone to sleep for an hour would know in an hour, and one that holds
    an event's lock could not set that event.
    """
    stop = Stop()
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(writer, False)
    listener = threading.Thread(target=_listen, args=[reader, stop], name="signals", daemon=True)
    listener.start()
    before_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    before = {number: signal.signal(number, _nothing) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before_fd)
        os.close(writer)
        listener.join()
        os.close(reader)


def _listen(reader: int, stop: Stop) -> None:
    """
    Act on each signal, until the pipe's other end is closed.
    """
    is_told = False
    while number := os.read(reader, 1):
        if number[0] not in SIGNALS:
            continue
        if is_told:
            os._exit(128 + number[0])
        is_told = True
        stop.set()


def _nothing(number: int, _: FrameType | None) -> None:
    """
    For a signal whose number is in the pipe by now.
    """
