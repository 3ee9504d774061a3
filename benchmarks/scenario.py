"""
What is measured, as data: a scenario has cases, a case is prepared once and measured several times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.shippers import Shipper

__all__ = ["Case", "Figures", "Scenario"]

Figures = dict[str, float]
"""What one run gave, by the names in `figures.FIGURES`."""


@dataclass(frozen=True)
class Case:
    """
    `prepare(folder)` makes what each run finds there; `measure(shipper, folder, home)` is a run,
    with an empty folder `home` of its own.
    """

    name: str
    prepare: Callable[[Path], None]
    measure: Callable[[Shipper, Path, Path], Figures]


@dataclass(frozen=True)
class Scenario:
    """
    `cases(is_quick)`: the same in small, to see that all works. Others are measured beside us where
    `is_shared`.
    """

    name: str
    title: str
    about: str
    cases: Callable[[bool], list[Case]]
    is_shared: bool
