"""
The bytes of a socket until a deadline: its own timeout starts anew with every byte, and a far side
that drips has for ever.
"""

from __future__ import annotations

import io
import socket
import sys
import time

__all__ = ["TimedBytes", "left_s"]


class TimedBytes(io.RawIOBase):
    """
    What comes from `sock` until `deadline_s` of the monotonic clock, and no more than `most_bytes`.

    Raises TimeoutError when the time is up.
    """

    def __init__(
        self, sock: socket.socket, deadline_s: float, *, most_bytes: int = sys.maxsize
    ) -> None:
        self._sock = sock
        self._deadline_s = deadline_s
        self._left_bytes = most_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._sock.settimeout(left_s(self._deadline_s))
        count = self._sock.recv_into(buffer[: self._left_bytes])
        self._left_bytes -= count
        return count

    def makefile(self, _mode: str = "rb") -> io.BufferedReader:
        """
        All that http.client and http.server want of a socket.
        """
        return io.BufferedReader(self)


def left_s(deadline_s: float) -> float:
    """
    How long it is until then.

    Raises TimeoutError where that was before.
    """
    seconds = deadline_s - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("the time is up")
    return seconds
