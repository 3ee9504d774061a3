"""
Rules about time: how long to wait, when a flush is due, how fast to send, how old is too old.
"""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from shipper.backoff import Backoff, Every, Pace
from shipper.batch import MAX_AGE_MS, MAX_AHEAD_MS, acceptable_ms
from spool.clock import now_ms


@given(
    st.floats(0.01, 10),
    st.floats(0.01, 100),
    st.integers(1, 100),
    st.integers(),
)
def test_a_wait_doubles_to_its_cap_and_is_between_half_of_that_and_all(
    first_s: float, cap_s: float, failures: int, seed: int
) -> None:
    backoff = Backoff(first_s, cap_s, random=random.Random(seed))
    for failure in range(failures):
        longest_s = min(cap_s, first_s * 2**failure)
        assert longest_s / 2 <= backoff.next_s() <= longest_s


def test_after_a_success_the_wait_begins_small_again() -> None:
    backoff = Backoff(1, 60)
    for _ in range(10):
        backoff.next_s()
    assert backoff.next_s() >= 30
    backoff.reset()
    assert backoff.next_s() <= 1


def test_a_thousand_failures_still_make_a_number() -> None:
    backoff = Backoff(0.2, 2)
    assert max(backoff.next_s() for _ in range(5_000)) <= 2


def test_agents_that_failed_at_one_moment_do_not_come_back_at_one_moment() -> None:
    waits = {Backoff(1, 60).next_s() for _ in range(100)}
    assert len(waits) == 100


def test_agents_that_began_at_one_moment_do_not_flush_at_one_moment() -> None:
    with freeze_time("2026-11-22T11:08:31Z"):
        firsts = [Every(4).pause_s() for _ in range(100)]
    assert len(set(firsts)) == 100
    assert min(firsts) >= 0
    assert max(firsts) <= 4


def test_what_is_made_due_is_due_once() -> None:
    flush = Every(1000)
    flush.make_due()
    assert [flush.is_due() for _ in range(3)] == [True, False, False]


def test_delay_is_due_once_each_period() -> None:
    with freeze_time("2026-11-22T11:08:31Z") as frozen:
        flush = Every(4)
        frozen.tick(timedelta(seconds=4))
        assert flush.is_due()
        assert not flush.is_due()
        assert flush.pause_s() == pytest.approx(4)
        frozen.tick(timedelta(seconds=3.9))
        assert not flush.is_due()
        assert flush.pause_s() == pytest.approx(0.1)
        frozen.tick(timedelta(seconds=0.2))
        assert flush.pause_s() == 0
        assert flush.is_due()
        assert not flush.is_due(), "it was just told"
        assert flush.pause_s() == pytest.approx(4)


def test_periods_that_were_missed_are_not_made_up_for() -> None:
    with freeze_time("2026-11-22T11:08:31Z") as frozen:
        flush = Every(4)
        frozen.tick(timedelta(hours=1))
        assert [flush.is_due() for _ in range(3)] == [True, False, False]
        frozen.tick(timedelta(seconds=3))
        assert not flush.is_due()
        frozen.tick(timedelta(seconds=1))
        assert flush.is_due()


def test_asking_often_does_not_put_a_flush_off() -> None:
    with freeze_time("2026-11-22T11:08:31Z") as frozen:
        flush = Every(1)
        due = 0
        for _ in range(100):
            frozen.tick(timedelta(seconds=0.1))
            due += flush.is_due()
        assert due in (9, 10)


def test_what_is_too_old_or_too_new_follows_the_clock() -> None:
    """
    14 days back and 2 hours ahead of the present, at the moment of the flush.
    """
    with freeze_time("2026-11-22T11:08:31.289Z") as frozen:
        at_ms = now_ms()
        oldest_ms, newest_ms = acceptable_ms(at_ms)
        assert (at_ms - oldest_ms, newest_ms - at_ms) == (MAX_AGE_MS, MAX_AHEAD_MS)
        assert timedelta(milliseconds=MAX_AGE_MS) == timedelta(days=14)
        assert timedelta(milliseconds=MAX_AHEAD_MS) == timedelta(hours=2)
        event_ms = oldest_ms
        frozen.tick(timedelta(milliseconds=1))
        oldest_ms, newest_ms = acceptable_ms(now_ms())
        assert event_ms < oldest_ms, "a ms later it is too old"
        frozen.move_to("2026-12-06T11:08:31.289Z")
        assert acceptable_ms(now_ms())[0] == at_ms, "14 days later the present is the oldest"


def test_a_pace_lets_the_first_go_at_once_and_holds_the_rest_to_the_rate() -> None:
    pace = Pace(bytes_per_s=10_000)
    assert pace.pause_s(50.0) == 0
    pace.sent(1_000, 50.0)
    assert pace.pause_s(50.0) == pytest.approx(0.1)
    assert pace.pause_s(50.05) == pytest.approx(0.05)
    pace.sent(2_000, 50.2)
    assert pace.pause_s(50.2) == pytest.approx(0.2)


def test_a_pace_that_was_not_used_saves_nothing_up() -> None:
    pace = Pace(bytes_per_s=10_000)
    pace.sent(10, 50.0)
    assert pace.pause_s(60.0) == 0
    pace.sent(1_000, 60.0)
    assert pace.pause_s(60.0) == pytest.approx(0.1)


def test_a_pace_tells_until_when_nothing_could_succeed_but_not_once_that_fails_as_well() -> None:
    pace = Pace(bytes_per_s=100)
    for is_failure, expected_s in ((False, 60), (True, 70), (True, 70), (False, 90), (True, 100)):
        pace.sent(1_000, 50.0)
        pace.ended(is_failure=is_failure)
        assert pace.held_until_s == expected_s
