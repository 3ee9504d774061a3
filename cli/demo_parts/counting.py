"""
Counts what became of written lines. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Tally", "tally"]


@dataclass(frozen=True, slots=True)
class Tally:
    """
    Of the lines `written` to a stream: how many arrived, how many did not, and how many arrivals
    were one too many.
    """

    stream: str
    written: int
    delivered: int
    lost: int
    twice: int


def tally(stream: str, written: Iterable[str], arrived: Iterable[str]) -> Tally:
    """
    Compare whole texts: a line that arrived changed is a line that was lost.
    """
    wanted = set(written)
    counts = Counter(text for text in arrived if text in wanted)
    return Tally(
        stream=stream,
        written=len(wanted),
        delivered=len(counts),
        lost=len(wanted) - len(counts),
        twice=counts.total() - len(counts),
    )
