"""
What is made of the runs.
"""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.figures import shown, summary
from benchmarks.goals import GOALS, Goal, Verdict
from benchmarks.guard import bound, has_grown
from benchmarks.processes import Failed
from benchmarks.steady import lateness, percentile

RATIO = Goal("CPU", "drain", "cpu_s", 1.5, is_ratio=True, recorded=1.36)
ABSOLUTE = Goal("catch-up", "catch-up", "caught_up_s", 3.0, is_ratio=False, recorded=14)


def test_several_runs_come_to_their_median_and_the_extremes() -> None:
    found = summary([2.0, 9.0, 1.0, 3.0, 4.0])
    assert (found.median, found.least, found.most) == (3.0, 1.0, 9.0)
    assert shown([2.0, 9.0, 1.0, 3.0, 4.0], "cpu_s") == "3.00 s (1.00 to 9.00)"
    assert shown([1234.2, 1234.4], "requests") == "1,234"


def test_a_percentile_is_a_lateness_that_so_many_events_did_not_exceed() -> None:
    histogram = Counter({10: 50, 20: 49, 500: 1})
    assert percentile(histogram, 50) == 10
    assert percentile(histogram, 51) == 20
    assert percentile(histogram, 99) == 20
    assert percentile(histogram, 99.5) == 500
    with pytest.raises(Failed):
        percentile(Counter(), 50)


def test_only_what_came_between_two_looks_is_in_the_latency() -> None:
    before, after = {"lateness_ms": {"5": 3}}, {"lateness_ms": {"5": 3, "7": 2}}
    assert lateness(after) - lateness(before) == Counter({7: 2})


def test_a_ratio_is_against_this_run_where_there_is_one_else_against_the_record() -> None:
    beside = Verdict(RATIO, 3.0, 2.0)
    assert (beside.value, beside.is_met) == (1.5, True)
    alone = Verdict(RATIO, 2.72, None)
    assert (alone.value, alone.is_met) == (2.0, False)
    assert "**2.00 x**" in alone.cells()


def test_an_outright_bound_asks_nobody_else() -> None:
    assert Verdict(ABSOLUTE, 3.0, None).is_met
    assert not Verdict(ABSOLUTE, 3.1, 40.0).is_met


def test_every_ratio_has_something_to_be_compared_with() -> None:
    assert all(goal.recorded for goal in GOALS if goal.is_ratio)


def test_the_guard_fails_above_a_fifth_more_and_not_for_a_few_rounds() -> None:
    assert bound(2.0) == pytest.approx(2.4)
    assert not has_grown([2.0, 2.1, 2.39, 9.9, 9.9], 2.0)
    assert has_grown([2.0, 2.41, 2.41, 2.5, 2.0], 2.0)
