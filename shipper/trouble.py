"""
What does not work is told when it begins and when it is over, and not at every try between.

Comes in: from any thread, that something failed or worked. Goes out: two lines of log. Always
holds: it is over only when all works again that had failed, so two that fail by turns are no noise.
"""

from __future__ import annotations

import logging
import threading

__all__ = ["Trouble"]


class Trouble:
    """
    One thing that several need, such as the spool; each is known by a word.
    """

    def __init__(self, log: logging.Logger, *, begins: str, ends: str) -> None:
        """
        `begins` is a message with one %s, for the first reason; `ends` has none.
        """
        self._log = log
        self._begins = begins
        self._ends = ends
        self._troubled: set[str] = set()
        self.reason: str | None = None
        """Why it fails at present, as it was logged."""
        self._lock = threading.Lock()

    def begin(self, who: str, reason: object) -> None:
        """
        It fails for one of them.
        """
        with self._lock:
            if not self._troubled:
                self.reason = self._begins % reason
                self._log.error("%s", self.reason)
            self._troubled.add(who)

    def end(self, who: str) -> None:
        """
        It works for one of them.
        """
        with self._lock:
            if self._troubled == {who}:
                self.reason = None
                self._log.info(self._ends)
            self._troubled.discard(who)
