"""
What waits in the file does not wait in memory.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from faults.memory import fill_unsent, watch

from benchmarks.scenario import Case, Figures, Scenario
from benchmarks.shippers import Shipper
from benchmarks.spools import copy

__all__ = ["SCENARIO"]

DRAINED = 1_000_000


def measure(drained: int, _shipper: Shipper, folder: Path, home: Path) -> Figures:
    peaks = watch(copy(folder, home), home, drain=drained)
    return {"refused_mib": peaks.refused_mib, "draining_mib": peaks.draining_mib}


def cases(is_quick: bool) -> list[Case]:
    events = 50_000 if is_quick else 10_000_000
    return [
        Case(
            f"{events:,} unsent events",
            lambda folder: fill_unsent(folder / "spool.db", events),
            partial(measure, min(events, DRAINED)),
        )
    ]


SCENARIO = Scenario(
    "memory",
    "Memory",
    "An agent starts on a spool full of unsent events, first refused by the endpoint, then let"
    f" through until it has delivered {DRAINED:,} of them. Peaks of resident memory.",
    cases,
    is_shared=False,
)
