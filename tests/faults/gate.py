"""
Holds requests back at the endpoint, so that a fault comes when they are there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from cloudwatch_endpoint import Request

__all__ = ["Gate"]

HELD_S = 60.0


class Gate:
    """
    Holds requests back at the endpoint, from the moment they are there.
    """

    def __init__(self) -> None:
        self._is_held: Callable[[Request], bool] = lambda _: False
        self._lock = threading.Lock()
        self._opened = threading.Event()
        self.held = 0

    def close(self, is_held: Callable[[Request], bool]) -> None:
        """
        Hold those of which `is_held` says so.
        """
        self.held = 0
        self._opened.clear()
        self._is_held = is_held

    def open(self) -> None:
        """
        Let all pass.
        """
        self._is_held = lambda _: False
        self._opened.set()

    def pass_through(self, request: Request) -> None:
        """
        Returns when the request may go on.
        """
        with self._lock:
            if not self._is_held(request):
                return
            self.held += 1
        self._opened.wait(HELD_S)
