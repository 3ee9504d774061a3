"""
What Spool should cost, against Fluent Bit or outright, and what it does cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from benchmarks.figures import FIGURES, number
from benchmarks.results import Results

__all__ = ["GOALS", "RECORDED", "Goal", "Verdict", "verdicts"]

RECORDED = (
    "In bold is what is above its bound. Fluent Bit is measured in turn with Spool, in one run. On"
    " record is what Fluent Bit 5.1 came to before, on the same class of machine, with a drain of"
    " 1,000,000 lines of 103 bytes, a position database and file-system storage with full sync:"
    " 1.36 s of CPU, 2.1 s of wall, 140 to 216 MiB, 209 to 242 PutLogEvents, 145 MB on the wire,"
    " and 14 to 33 s to catch up after an outage of 20 s; of a range the end harder on Spool is"
    " taken. Its seconds are those of another disk, and compare less well than counts and bytes."
)


@dataclass(frozen=True)
class Goal:
    """
    A figure of a scenario's first case is at most `bound`, as a multiple of Fluent Bit's where
    `is_ratio`. `recorded` is what Fluent Bit came to when it was measured here last.
    """

    title: str
    scenario: str
    figure: str
    bound: float
    is_ratio: bool
    recorded: float | None


GOALS = (
    Goal("wall of a drain", "drain", "wall_s", 1.0, is_ratio=True, recorded=2.1),
    Goal("CPU of a drain", "drain", "cpu_s", 1.5, is_ratio=True, recorded=1.36),
    Goal("memory in a drain", "drain", "peak_mib", 0.7, is_ratio=True, recorded=140),
    Goal("requests of a drain", "drain", "requests", 0.6, is_ratio=True, recorded=209),
    Goal("bytes on the wire", "drain", "wire_mb", 0.2, is_ratio=True, recorded=145),
    Goal("catch-up", "catch-up", "caught_up_s", 3.0, is_ratio=False, recorded=14),
    Goal("idle", "idle", "core_percent", 0.5, is_ratio=False, recorded=None),
)


@dataclass(frozen=True)
class Verdict:
    """
    What was found for a goal, medians; `theirs` is Fluent Bit's in the same run, None where it was
    not measured. `value` is what is compared with the bound: a ratio to that, else to the record.
    """

    goal: Goal
    ours: float
    theirs: float | None

    @property
    def value(self) -> float:
        known = self.theirs or self.goal.recorded
        return self.ours / known if self.goal.is_ratio and known else self.ours

    @property
    def is_met(self) -> bool:
        return self.value <= self.goal.bound

    def cells(self) -> list[str]:
        """
        A row of the page's table.
        """
        goal, figure = self.goal, self.goal.figure
        unit = FIGURES[figure].unit
        title = f"{goal.title}, {unit}" if unit else goal.title
        ours = number(self.ours, figure)
        return [
            title,
            ours if goal.is_ratio or self.is_met else f"**{ours}**",
            *self._beside(self.theirs),
            *self._beside(goal.recorded),
            f"{goal.bound} x" if goal.is_ratio else f"{goal.bound} {unit}",
        ]

    def _beside(self, theirs: float | None) -> list[str]:
        """
        Somebody else's figure, and how much of it ours is.
        """
        if theirs is None:
            return ["", ""]
        ratio = self.ours / theirs
        said = f"{ratio:.2f} x"
        is_too_much = self.goal.is_ratio and ratio > self.goal.bound
        return [number(theirs, self.goal.figure), f"**{said}**" if is_too_much else said]


def verdicts(results: Results) -> list[Verdict]:
    """
    For all goals whose scenarios were measured.
    """
    found = []
    for goal in GOALS:
        if goal.scenario not in results["scenarios"]:
            continue
        first = next(iter(results["scenarios"][goal.scenario]["cases"].values()))
        theirs = first.get("fluent-bit")
        ours = median(first["spool"][goal.figure])
        found.append(Verdict(goal, ours, None if theirs is None else median(theirs[goal.figure])))
    return found
