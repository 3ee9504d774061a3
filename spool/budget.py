"""
How large a spool may become, and what gives way when it is full.

Comes in: an open store, a limit, what to do when that is not enough. Goes out: whether lines may be
stored now. Always holds: only who appends asks here. What delivery writes always goes through, so
that a full spool empties.

Of the limit a part is the write-ahead log's, the rest is for what is in use of the file: free pages
in it are used before it grows, so `ls -l` shows no more than the limit and one reading (some MB),
which may be in the log and in the file at once. What gives way, in this order: sent events,
whatever their age; rejected events; then either collecting, which waits, or the oldest unsent
events.

Only while another process keeps reading an old state, and so holds the log, may the log grow beyond
its part: to a quarter of the limit. Then collecting waits; to delete something would not help.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Literal

from spool.connection import WAL_KEEP_BYTES
from spool.queue import SLICE_BYTES
from spool.retention import drop_rejected, drop_unsent, prune_sent
from spool.store import Store
from spool.wording import human_bytes

__all__ = ["DEFAULT_BYTES", "Budget", "WhenFull", "known_limit_bytes"]

log = logging.getLogger(__name__)

WhenFull = Literal["block", "drop-oldest"]
State = Literal["open", "full", "dropping", "held"]

DEFAULT_BYTES = 1024**3
"""Where no agent has said what it was given."""

LOG_SHARE = 4
"""So small a part of the limit may be the write-ahead log, at most."""

HELD_LOG_BYTES = 2 * WAL_KEEP_BYTES
"""A log that is larger is held by a reader."""

STEP_SHARE = 64
"""So small a part of the limit is made free at a time: 16 MB of 1 GiB."""

RESUME_SHARE = 16
"""When so much of the limit is free, and two slices more, a full spool has room again."""

NEVER_MS = 2**62


class Budget:
    """
    The limit of one spool in this process. Its methods may be called from any thread.
    """

    def __init__(self, store: Store, max_bytes: int, when_full: WhenFull = "block") -> None:
        self._store = store
        self._drops = when_full == "drop-oldest"
        self.max_bytes = max_bytes
        log_bytes = min(WAL_KEEP_BYTES, max_bytes // LOG_SHARE)
        store.limit_log(log_bytes)
        self._most_bytes = max_bytes - log_bytes
        self._step_bytes = self._most_bytes // STEP_SHARE
        self._resume_bytes = self._most_bytes // RESUME_SHARE + 2 * SLICE_BYTES
        self._most_log_bytes = max(HELD_LOG_BYTES, max_bytes // LOG_SHARE)
        self._lock = threading.Lock()
        self._state: State = "open"
        self._dropped = 0
        self.notes: dict[str, str | None] = {
            "max_size": str(max_bytes),
            "full": None,
            "reader": None,
        }
        """For other processes: what the limit is and what is the matter; None where nothing is."""

    @property
    def is_blocked(self) -> bool:
        """
        Whether there was no room when last asked.
        """
        return self._state in ("full", "held")

    def make_room(self) -> bool:
        """
        Whether events may be appended now; deletes what gives way. Ask again a little later.
        """
        with self._lock:
            state = self._look()
            if state != self._state:
                self._say(state)
                self._state = state
            return state in ("open", "dropping")

    def watch_log(self) -> None:
        """
        Bring a write-ahead log that has grown back to its size, or say that somebody holds it.
        """
        size = self._store.log_bytes()
        is_held = size > HELD_LOG_BYTES and not self._store.empty_log()
        if is_held and not self.notes["reader"]:
            self.notes["reader"] = (
                "another process has been reading the spool for a while and holds its write-ahead"
                f" log at {human_bytes(size)}; at {human_bytes(self._most_log_bytes)} no more lines"
                " are collected"
            )
            log.warning(self.notes["reader"])
        elif self.notes["reader"] and not is_held:
            log.info("nobody holds the write-ahead log any more")
            self.notes["reader"] = None

    # --- where it stands ------------------------------------------------------------------------

    def _look(self) -> State:
        if self._store.log_bytes() > self._most_log_bytes and not self._store.empty_log():
            return "held"
        if self._state not in ("full", "dropping"):
            if self._has_free(0):
                return "open"
            self._delete(prune_sent(self._store, sent_before_ms=NEVER_MS), self._step_bytes)
            if self._has_free(0):
                return "open"
        return self._look_when_full()

    def _look_when_full(self) -> State:
        """
        A spool that was full has room again only when there is plenty of it: so it is told once.
        """
        self._delete(prune_sent(self._store, sent_before_ms=NEVER_MS), self._resume_bytes)
        rejected = self._delete(drop_rejected(self._store), self._resume_bytes)
        if rejected:
            log.warning("the spool is full: %d rejected events were dropped", rejected)
        if self._has_free(self._resume_bytes):
            return "open"
        if self._drops and not self._has_free(0):
            self._dropped += self._delete(drop_unsent(self._store), self._step_bytes)
        return "dropping" if self._drops and self._has_free(0) else "full"

    def _delete(self, slices: Iterator[int], free_bytes: int) -> int:
        """
        Let slices be deleted until so much of the limit is free; how many events they were.
        """
        deleted = 0
        while not self._has_free(free_bytes):
            count = next(slices, None)
            if count is None:
                break
            deleted += count
        return deleted

    def _has_free(self, free_bytes: int) -> bool:
        return self._store.used_bytes() + free_bytes <= self._most_bytes

    # --- what is said ---------------------------------------------------------------------------

    def _say(self, state: State) -> None:
        limit = human_bytes(self.max_bytes)
        if state == "open":
            dropped = f"; {self._dropped:,} unsent events were dropped" if self._dropped else ""
            log.info("the spool has room again%s", dropped)
            self._dropped = 0
            self.notes["full"] = None
            return
        text = {
            "full": f"the spool is full ({limit}) of events that wait: no more lines are collected"
            " until some were sent",
            "dropping": f"the spool is full ({limit}) of events that wait: the oldest are dropped",
            "held": "another process has been reading the spool for a while, and its write-ahead"
            " log may not grow any more: no more lines are collected until that one ends",
        }[state]
        log.warning(text)
        self.notes["full"] = text


def known_limit_bytes(store: Store) -> int:
    """
    The limit that the spool's last agent was given; the default where it had none.
    """
    return int(store.noted("max_size") or DEFAULT_BYTES)
