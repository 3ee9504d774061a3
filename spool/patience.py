"""
How long to wait for another process's transaction.

Comes in: each further try of SQLite's. Goes out: whether it is worth one. Always holds: the wait
is in Python, so that a signal that comes meanwhile is handled.
"""

from __future__ import annotations

import math
import time

__all__ = ["WAIT_S", "Patience"]

WAIT_S = 5.0
"""Ours all last milliseconds; who holds one for longer is waited for in the open: it is told."""

LAST_WAIT_S = 2.0
"""From `end` on, for all waits together: a stop has 10 seconds."""

STEP_S = 0.01
FIRST_STEP_S = 0.001


class Patience:
    """
    A busy handler for connections; one for all of a store's.
    """

    def __init__(self) -> None:
        self._until_s = math.inf

    def end(self) -> None:
        """
        Wait no longer than LAST_WAIT_S from now; waits that have begun, too.
        """
        self._until_s = min(self._until_s, time.monotonic() + LAST_WAIT_S)

    def __call__(self, tries: int) -> bool:
        """
        Wait a moment, if that is still worth it, for the next try after `tries`.
        """
        if tries * STEP_S >= WAIT_S or time.monotonic() >= self._until_s:
            return False
        time.sleep(min(STEP_S, FIRST_STEP_S * (tries + 1)))
        return True
