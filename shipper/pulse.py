"""
Whether a loop still turns.

Comes in: the stop that it asks for at each turn, as it would anyway. Goes out: how long ago it last
did. Always holds: a loop has nothing to do for it, and none can forget to.
"""

from __future__ import annotations

import threading
import time

__all__ = ["Pulse"]


class Pulse(threading.Event):
    """
    `stop` as one loop sees it: the same answers, and the time of each question is kept.
    """

    def __init__(self, name: str, stop: threading.Event) -> None:
        super().__init__()
        self.name = name
        self._stop = stop
        self._asked_s: float | None = None

    def is_set(self) -> bool:
        self._asked_s = time.monotonic()
        return self._stop.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        self._asked_s = time.monotonic()
        is_set = self._stop.wait(timeout)
        self._asked_s = time.monotonic()
        return is_set

    def still_for_s(self) -> float:
        """
        Seconds since the loop last asked; 0 where it has not begun.
        """
        return 0.0 if self._asked_s is None else time.monotonic() - self._asked_s
