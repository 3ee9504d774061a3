"""
From many readers to the one who stores: readings, in the order of each container.

Comes in: readings, from several threads. Goes out: what has gathered, as one reading: however many
containers write, what they wrote while one transaction ran is the next one. Always holds: not much
more than MAX_BYTES is in hand; who has more must wait.
"""

from __future__ import annotations

import threading

from shipper.sources.reading import Reading

__all__ = ["Closed", "Outbox"]

MAX_BYTES = 2_000_000


class Closed(Exception):
    """
    Nobody takes readings any more; there is no sense in reading on.
    """


class Outbox:
    """
    Its methods may be called from any thread.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._gathered = Reading()
        self._is_empty = True
        self._is_woken = False
        self._is_closed = False

    def put(self, reading: Reading) -> None:
        """
        Hand a reading over; waits while too much is there. Raises `Closed`.
        """
        with self._changed:
            while self._gathered.bytes > MAX_BYTES and not self._is_closed:
                self._changed.wait()
            if self._is_closed:
                raise Closed
            _add(self._gathered, reading)
            self._is_empty = False
            self._changed.notify_all()

    def take(self, timeout_s: float) -> Reading | None:
        """
        What there is; None where there is nothing within `timeout_s`, or somebody called `wake`.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._is_empty or self._is_woken, timeout_s)
            self._is_woken = False
            if self._is_empty:
                return None
            taken, self._gathered, self._is_empty = self._gathered, Reading(), True
            self._changed.notify_all()
            return taken

    def wake(self) -> None:
        """
        End the present `take`, or the next one.
        """
        self._is_woken = True
        if self._changed.acquire(blocking=False):  # may be called from a signal handler
            self._changed.notify_all()
            self._changed.release()

    def close(self) -> None:
        """
        Take no more.
        """
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


def _add(gathered: Reading, reading: Reading) -> None:
    gathered.chunks += reading.chunks
    gathered.checkpoints.update(reading.checkpoints)
    gathered.bytes += reading.bytes
    for reason, count in reading.skipped.items():
        gathered.skip(reason, count)
