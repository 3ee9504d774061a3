"""
Docker's times to ms since the epoch.

Comes in: the first 23 characters of a time in UTC. Goes out: ms. Always holds: a time that was seen
lately is only looked up, and memory is bounded however many there are.
"""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["MAX_KNOWN_TIMES", "known_times"]

MAX_KNOWN_TIMES = 8_192
MAX_KNOWN_SECONDS = 4_096


class _Seconds(dict[str, int]):
    """
    From `2026-11-22T11:08:31` to ms since the epoch; it forgets when there are many.
    """

    def __missing__(self, text: str) -> int:
        if len(self) >= MAX_KNOWN_SECONDS:
            self.clear()
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
        milliseconds = int(moment.timestamp()) * 1000
        if milliseconds < 0:
            raise ValueError(text)
        self[text] = milliseconds
        return milliseconds


class _Milliseconds(dict[str, int]):
    """
    From the four characters behind the seconds (`.289`, `.12Z`, `Z`) to ms: Go cuts trailing zeros.
    """

    def __missing__(self, text: str) -> int:
        digits = text.rstrip("Z")
        if digits and (digits[0] != "." or not digits[1:].isdecimal() or not digits.isascii()):
            raise ValueError(text)
        self[text] = int(digits[1:].ljust(3, "0")) if digits else 0
        return self[text]


class _Times(dict[str, int]):
    """
    From `2026-11-22T11:08:31.289` (the first 23 characters, fewer where Go cut them) to ms since
    the epoch; it forgets when there are many. Lines of a busy container share their milliseconds.
    """

    def __missing__(self, text: str) -> int:
        if len(self) >= MAX_KNOWN_TIMES:
            self.clear()
        self[text] = timestamp = _seconds[text[:19]] + _milliseconds[text[19:]]
        return timestamp


_seconds = _Seconds()
_milliseconds = _Milliseconds()
known_times = _Times()
"""Raises ValueError for what is no time."""
