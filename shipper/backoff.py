"""
How long to wait: before trying again, until the next flush, and between requests where a rate is
asked for.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

__all__ = ["Backoff", "Every", "Pace"]


@dataclass(slots=True)
class Backoff:
    """
    Doubles from `first_s` to `cap_s`, and is somewhere between half of that and all of it, so that
    a fleet which failed at one moment does not come back at one moment.
    """

    first_s: float
    cap_s: float
    failures: int = 0
    random: Random = field(default_factory=Random, repr=False)

    def next_s(self) -> float:
        """
        Seconds to wait after one more failure.
        """
        longest_s = min(self.cap_s, self.first_s * 2.0 ** min(self.failures, 32))
        self.failures += 1
        return longest_s * self.random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """
        It worked.
        """
        self.failures = 0


class Every:
    """
    Something that is due every `period_s`, first after some part of it, so that a fleet which began
    at one moment does not march in step; what was missed is not made up for.

    `monotonic` tells the time (s) where it is not the host's.
    """

    def __init__(
        self,
        period_s: float,
        *,
        monotonic: Callable[[], float] | None = None,
        random: Random | None = None,
    ) -> None:
        self._period_s = period_s
        self._now_s = monotonic or time.monotonic
        self._begun_s = self._now_s() - (random or Random()).uniform(0, period_s)

    def pause_s(self, at_least_s: float = 0.0) -> float:
        """
        Seconds until it is due, where its period is the longer of its own and `at_least_s`.
        """
        return max(0.0, self._begun_s + max(self._period_s, at_least_s) - self._now_s())

    def is_due(self, at_least_s: float = 0.0) -> bool:
        """
        Whether it is due now; then the next time is a period from now.
        """
        if self.pause_s(at_least_s) > 0:
            return False
        self._begun_s = self._now_s()
        return True

    def make_due(self) -> None:
        """
        It is due now.
        """
        self._begun_s = -math.inf


class Pace:
    """
    So many bytes a second altogether. Times are seconds of one clock that only goes forward.

    Not safe to call from several threads at a time: whoever owns it holds a lock.
    """

    def __init__(self, bytes_per_s: float = math.inf) -> None:
        self._bytes_per_s = bytes_per_s
        self._has_failed = False
        self.free_s = -math.inf
        """When the next request may go."""
        self.held_until_s = -math.inf
        """Until then nothing could succeed, as nothing might go."""

    def pause_s(self, now_s: float) -> float:
        """
        Seconds until the next request may go.
        """
        return max(0.0, self.free_s - now_s)

    def sent(self, size_bytes: int, now_s: float) -> None:
        """
        A request of so many bytes goes now.
        """
        self.free_s = max(self.free_s, now_s) + size_bytes / self._bytes_per_s

    def ended(self, *, is_failure: bool) -> None:
        """
        A request was answered, or failed. The first failure in a row may be chance; with a pause
        for each of them, whoever waits for a success would wait for hours at a low rate.
        """
        if not (is_failure and self._has_failed):
            self.held_until_s = self.free_s
        self._has_failed = is_failure
