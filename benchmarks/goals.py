"""
What Spool should cost, against Fluent Bit or outright, and what it does cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from benchmarks.figures import FIGURES, number
from benchmarks.results import Results

__all__ = ["GOALS", "RECORDED", "Goal", "Verdict", "judge", "verdicts"]

RECORDED = (
    "On record: Fluent Bit 5.1 (tail with a position database, file-system storage with full sync,"
    " cloudwatch_logs) was measured before on the same class of machine, with a drain of 1,000,000"
    " lines of 103 bytes: 1.36 s of CPU, 2.1 s of wall, 140 to 216 MiB, 209 to 242 PutLogEvents,"
    " 145 MB on the wire; 14 to 33 s to catch up after an outage of 20 s. Of a range the end that"
    " is harder on Spool is taken."
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
    What was found for a goal, medians. `value` is what is compared with the bound.
    """

    goal: Goal
    ours: float
    theirs: float | None
    is_theirs_of_this_run: bool
    value: float

    @property
    def is_met(self) -> bool:
        return self.value <= self.goal.bound

    def cells(self) -> list[str]:
        """
        A row of the page's table.
        """
        unit = FIGURES[self.goal.figure].unit
        theirs = "" if self.theirs is None else number(self.theirs, self.goal.figure)
        if self.theirs is not None and not self.is_theirs_of_this_run:
            theirs += " (recorded)"
        said = f"{self.value:.2f} x" if self.goal.is_ratio else f"{self.value:.2f} {unit}"
        bound = f"{self.goal.bound} x" if self.goal.is_ratio else f"{self.goal.bound} {unit}"
        title = f"{self.goal.title}, {unit}" if unit else self.goal.title
        ours = number(self.ours, self.goal.figure)
        return [title, ours, theirs, said, bound, "yes" if self.is_met else "**no**"]


def judge(goal: Goal, ours: float, theirs: float | None) -> Verdict | None:
    """
    `theirs` is of this run, or None; then the recorded one serves. None where there is nothing to
    compare with.
    """
    known = goal.recorded if theirs is None else theirs
    if goal.is_ratio and not known:
        return None
    value = ours / known if goal.is_ratio and known else ours
    return Verdict(goal, ours, known, theirs is not None, value)


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
        verdict = judge(
            goal,
            median(first["spool"][goal.figure]),
            None if theirs is None else median(theirs[goal.figure]),
        )
        if verdict is not None:
            found.append(verdict)
    return found
