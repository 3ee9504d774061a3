"""
Batches that failed, until each may go again.

Comes in: a batch and the time from which it may go. Goes out: the one that may go first. Always
holds: of those with one time the one that came first is first.

Not safe to call from several threads at a time: whoever owns it holds a lock. Times are seconds of
one clock that only goes forward.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from spool.store import Batch

__all__ = ["AT_ONCE", "Retries"]

AT_ONCE = -math.inf
"""Due before all that had to wait for some time."""


@dataclass(order=True, slots=True)
class _Retry:
    due_s: float
    number: int
    batch: Batch = field(compare=False)


class Retries:
    """
    Several of one stream may be among them: the parts of a batch that was refused.
    """

    def __init__(self) -> None:
        self._heap: list[_Retry] = []
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, batch: Batch, *, due_s: float) -> None:
        """
        It goes again, from then on.
        """
        heapq.heappush(self._heap, _Retry(due_s, next(self._numbers), batch))

    @property
    def due_s(self) -> float:
        """
        When the first may go; infinity where there is none.
        """
        return self._heap[0].due_s if self._heap else math.inf

    def first(self, now_s: float) -> Batch | None:
        """
        The batch that is to go now; it stays until it is removed.
        """
        return self._heap[0].batch if self.due_s <= now_s else None

    def remove_first(self) -> None:
        """
        It goes.
        """
        heapq.heappop(self._heap)

    def stream_ids(self) -> set[int]:
        """
        Whose they are: what came later to these streams waits behind them.
        """
        return {retry.batch.stream_id for retry in self._heap}

    def hasten(self, condition: Callable[[Batch], bool]) -> None:
        """
        Those that meet the condition may go at once.
        """
        for retry in self._heap:
            if condition(retry.batch):
                retry.due_s = AT_ONCE
        heapq.heapify(self._heap)

    def clear(self) -> None:
        """
        None of them goes again.
        """
        self._heap.clear()
