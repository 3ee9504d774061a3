"""
Whose turn it is: work on many things by a few threads, one thread on one thing at a time.

Comes in: keys, each with the time when it is due. Goes out: keys that are due, the longest-waiting
first. Always holds: a key that rings while it is being worked on gets another turn.
"""

from __future__ import annotations

import threading
from heapq import heappop, heappush
from time import monotonic

__all__ = ["Turns"]


class Turns:
    """
    A queue of keys. Its methods may be called from any thread.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heap: list[tuple[float, str]] = []
        self._due_s: dict[str, float] = {}
        self._earliest_s: dict[str, float] = {}
        self._working: set[str] = set()
        self._is_closed = False

    def ring(self, key: str, *, in_s: float = 0.0) -> None:
        """
        Give `key` a turn in `in_s` seconds or before, but not within the pause after its last.
        """
        with self._changed:
            due_s = max(monotonic() + in_s, self._earliest_s.get(key, 0.0))
            if due_s < self._due_s.get(key, float("inf")):
                self._due_s[key] = due_s
                heappush(self._heap, (due_s, key))
                self._changed.notify()

    def take(self) -> str | None:
        """
        The next key, when it is due; None when this is closed. `done` must follow.
        """
        with self._changed:
            while not self._is_closed:
                pause_s = self._next_pause_s()
                if pause_s is not None and pause_s <= 0:
                    _, key = heappop(self._heap)
                    del self._due_s[key]
                    self._working.add(key)
                    return key
                self._changed.wait(pause_s)
            return None

    def done(self, key: str, *, pause_s: float = 0.0) -> None:
        """
        The turn is over; the next one is not before `pause_s` from now.
        """
        with self._changed:
            self._working.discard(key)
            earliest_s = self._earliest_s[key] = monotonic() + pause_s
            if key in self._due_s:
                self._due_s[key] = max(self._due_s[key], earliest_s)
                heappush(self._heap, (self._due_s[key], key))
            self._changed.notify_all()

    def drop(self, key: str) -> None:
        """
        Forget a key that is being worked on and whose turns are over for good.
        """
        with self._changed:
            self._working.discard(key)
            self._due_s.pop(key, None)
            self._earliest_s.pop(key, None)
            self._changed.notify_all()

    def is_idle(self) -> bool:
        """
        Whether nothing is worked on or waits.
        """
        with self._changed:
            return not self._due_s and not self._working

    def close(self) -> None:
        """
        Give no more turns.
        """
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _next_pause_s(self) -> float | None:
        """
        Seconds until the top of the heap is due, after what is no longer true was taken off it.
        """
        while self._heap:
            due_s, key = self._heap[0]
            if self._due_s.get(key) == due_s and key not in self._working:
                return due_s - monotonic()
            heappop(self._heap)  # a key being worked on comes back with `done`
        return None
