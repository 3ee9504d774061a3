"""
When requests may go out: the brake that all streams share, and the rate a busy service asks for.
"""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.brake import (
    CUT,
    DEAF_S,
    FLUSH_SHARE,
    LEFT,
    LONG_S,
    MAX_RATE,
    MIN_RATE,
    MIN_SHARE,
    SHARE_REQUESTS,
    SLOW,
    Brake,
    Throttle,
)
from shipper.errors import Action, DeliveryError

NO_NETWORK = DeliveryError("no network", Action.WAIT, is_general=True)
NO_CREDENTIALS = DeliveryError("no credentials", Action.OPERATOR, is_general=True)


def test_while_the_brake_is_on_one_probe_is_out_at_a_time() -> None:
    brake = Brake()
    assert brake.pause_s(0) == 0
    brake.put_on(NO_NETWORK, 0)
    assert 0 < (brake.pause_s(0) or 0) <= 0.2
    brake.sent(1, 1)
    assert brake.pause_s(1) is None
    brake.ended(7)
    assert brake.pause_s(1) is None, "another request ended, not the probe"
    brake.put_on(NO_NETWORK, 1)
    brake.ended(1)
    assert 0 < (brake.pause_s(1) or 0) <= 0.4


def test_one_success_takes_the_brake_off() -> None:
    brake = Brake()
    brake.put_on(NO_NETWORK, 0)
    assert brake.take_off(0)
    assert not brake.take_off(0)
    assert 0 < (brake.pause_s(0) or 0) < 0.2


def test_trouble_is_news_once_until_its_kind_changes() -> None:
    brake = Brake()
    news = [brake.put_on(error, 0) for error in (NO_NETWORK, NO_NETWORK, NO_CREDENTIALS)]
    assert news == [True, False, True]


def test_a_network_is_probed_more_often_than_people_mend_credentials() -> None:
    longest = {}
    for error in (NO_NETWORK, NO_CREDENTIALS):
        brake = Brake()
        for _ in range(50):
            brake.put_on(error, 0)
        longest[error.action] = brake.pause_s(0) or 0
    assert longest[Action.WAIT] <= 2
    assert 15 <= longest[Action.OPERATOR] <= 30


START_RATE = SLOW[0]


def throttled(*, requests: int = 0, times: int = 1) -> Throttle:
    """
    One that was told so often that it sends too much, last at 1 s, while so many requests wait, all
    of them full.
    """
    throttle = Throttle(random=random.Random(1), requests=requests, full_requests=requests)
    for number in range(times):
        now_s = 1.0 + (number + 1 - times) * 2 * DEAF_S
        throttle.sent(now_s)
        throttle.slow_down(now_s, now_s)
        if number + 1 < times:
            throttle.speed_up(now_s)
    return throttle


def test_whoever_is_throttled_begins_low_as_all_others_do() -> None:
    throttle = throttled()
    assert throttle.rate == START_RATE * MIN_SHARE
    assert 0.4 / throttle.rate <= throttle.pause_s(1.0) <= 1.5 / throttle.rate


def test_who_has_more_to_send_begins_higher() -> None:
    assert throttled(requests=20 * SHARE_REQUESTS).rate == 20 * START_RATE


def test_requests_that_are_not_full_count_for_who_has_many() -> None:
    throttle = Throttle(random=random.Random(1), requests=2 * SHARE_REQUESTS)
    throttle.slow_down(1.0, 1.0)
    assert throttle.rate == 2 * START_RATE


def test_requests_that_were_out_together_slow_it_down_once() -> None:
    throttle = throttled(requests=20 * SHARE_REQUESTS)
    for _ in range(10):
        throttle.slow_down(0.99, 1.1)
    assert throttle.rate == 20 * START_RATE
    throttle.slow_down(1.1, 1.2)
    assert throttle.rate == pytest.approx(20 * START_RATE * LEFT)


def test_a_throttle_soon_after_another_takes_nothing_more() -> None:
    throttle = throttled(requests=20 * SHARE_REQUESTS, times=2)
    before = throttle.rate or 0
    for number in range(5):
        throttle.slow_down(2.0 + number, 2.0 + number)
    assert throttle.rate == before
    throttle.slow_down(1.0 + DEAF_S, 1.0 + DEAF_S)
    assert throttle.rate == pytest.approx(before * (1 - CUT))


def test_among_successes_a_throttle_takes_from_one_share_of_many() -> None:
    shares = 20
    throttle = throttled(requests=shares * SHARE_REQUESTS, times=2)
    throttle.speed_up(2.0)
    before = throttle.rate or 0
    throttle.slow_down(2.0 + DEAF_S, 2.0 + DEAF_S)
    assert throttle.rate == pytest.approx(before * (1 - CUT / shares))


def test_once_it_was_too_much_again_it_grows_slower() -> None:
    throttle = throttled(requests=SHARE_REQUESTS)
    before = throttle.rate or 0
    throttle.speed_up(2.0)
    fast = (throttle.rate or 0) - before
    throttle.slow_down(2.0, 2.1)
    before = throttle.rate or 0
    throttle.speed_up(3.0)
    assert (throttle.rate or 0) - before < fast / 10


def test_the_longer_since_the_last_throttle_the_faster_it_grows_whatever_its_rate() -> None:
    grown = []
    for requests in (SHARE_REQUESTS, SHARE_REQUESTS + 1):
        throttle = throttled(requests=requests, times=2 + requests - SHARE_REQUESTS)
        rates, now_s = [throttle.rate or 0], 1.0
        while len(rates) < 4:
            now_s += throttle.pause_s(now_s)
            throttle.sent(now_s)
            throttle.speed_up(now_s)
            if now_s > 1.0 + 40 * len(rates):
                rates.append(throttle.rate or 0)
        grown.append([after - before for before, after in pairwise(rates)])
    for of_one in grown:
        assert of_one[2] > 2 * of_one[1] > 8 * of_one[0] > 0
    assert grown[0] == pytest.approx(grown[1], rel=0.3)


def test_throttled_a_flush_takes_a_part_of_the_rate_so_that_requests_become_fuller() -> None:
    assert Throttle().flush_s(10) == 0
    throttle = throttled()
    assert throttle.flush_s(10) == pytest.approx(10 / (throttle.rate or 0) / FLUSH_SHARE)


def back(*, requests: int = 0, outage_s: float = LONG_S) -> Brake:
    """
    One that has got through again after an outage, at 1 s, while so many requests wait.
    """
    brake = Brake(random.Random(1))
    brake.throttle.requests = requests
    brake.put_on(NO_NETWORK, 1.0 - outage_s)
    brake.put_on(NO_NETWORK, 1.0)
    brake.take_off(1.0)
    return brake


def sent_within(brake: Brake, seconds: float) -> int:
    """
    How many requests may go in that time, if all are taken.
    """
    now_s, count = 1.0, 0
    while (now_s := now_s + (brake.pause_s(now_s) or 0)) <= 1.0 + seconds and count < 10_000:
        brake.sent(1, now_s)
        brake.throttle.speed_up(now_s)
        count += 1
    return count


def test_after_a_short_outage_it_is_at_full_speed_within_half_a_second() -> None:
    brake = back(outage_s=LONG_S - 1)
    assert sent_within(brake, 0.5) == 10_000


def test_after_a_long_outage_a_backlog_of_any_size_may_be_gone_in_twelve_seconds() -> None:
    for requests in (1, 10, 25, *(shares * SHARE_REQUESTS for shares in (1, 10, 100))):
        assert sent_within(back(requests=requests), 12) >= requests


def test_after_a_long_outage_all_begin_alike_whatever_chance_says() -> None:
    """
    In what they have sent after 5 s, too: who is ahead then would stay so.
    """
    counts = []
    for seed in range(50):
        brake = back(requests=SHARE_REQUESTS)
        brake.throttle.random = random.Random(seed)
        counts.append(sent_within(brake, 5))
    assert max(counts) - min(counts) <= 2


def test_the_first_throttle_after_a_long_outage_takes_most_of_the_rate() -> None:
    brake = back(requests=SHARE_REQUESTS)
    sent_within(brake, 3)
    before = brake.throttle._rate or 0
    brake.throttle.slow_down(4.0, 4.0)
    assert brake.throttle.rate == pytest.approx(before * LEFT)


def test_after_an_outage_a_throttle_at_full_speed_begins_it_slowly() -> None:
    brake = back(outage_s=LONG_S - 1)
    sent_within(brake, 0.5)
    brake.throttle.slow_down(2.0, 2.0)
    assert brake.throttle.rate == START_RATE * MIN_SHARE


@pytest.mark.parametrize("outage_s", [LONG_S - 1, LONG_S, 10 * LONG_S])
def test_whoever_was_throttled_before_an_outage_does_not_come_back_faster(outage_s: float) -> None:
    brake = Brake(random.Random(1))
    brake.throttle.slow_down(0.0, 0.0)
    brake.throttle.slow_down(1.0, 1.0)
    brake.put_on(NO_NETWORK, 1.0)
    brake.take_off(1.0 + outage_s)
    brake.throttle.speed_up(1.0 + outage_s)
    brake.throttle.speed_up(2.0 + outage_s)
    assert (brake.throttle.rate or MAX_RATE) < 1.5 * START_RATE


def test_a_probe_that_was_throttled_waits_for_its_rate() -> None:
    brake = Brake(random.Random(1))
    brake.put_on(NO_NETWORK, 0)
    brake.put_on(NO_NETWORK, LONG_S)
    now_s = LONG_S + 10
    brake.sent(1, now_s)
    brake.throttle.slow_down(now_s, now_s)
    brake.ended(1)
    assert brake.throttle.rate == START_RATE * MIN_SHARE
    assert (brake.pause_s(now_s) or 0) >= 0.4 / (brake.throttle.rate or 0)


@given(st.lists(st.booleans(), max_size=2_000), st.integers(0, 100_000))
def test_whatever_the_answers_the_rate_stays_within_its_bounds(
    answers: list[bool], requests: int
) -> None:
    throttle = throttled(requests=requests)
    now_s = 1.0
    for is_taken in answers:
        now_s += throttle.pause_s(now_s) + 0.01
        throttle.sent(now_s)
        if is_taken:
            throttle.speed_up(now_s)
        else:
            throttle.slow_down(now_s, now_s)
        highest = MAX_RATE * max(1.0, requests / SHARE_REQUESTS)
        assert throttle.rate is None or MIN_RATE <= throttle.rate <= highest


def test_after_a_thousand_throttles_in_a_row_it_finds_back_to_its_speed_in_a_minute() -> None:
    """
    No sooner: of a fleet in which all do so none may overrun the quota again.
    """
    throttle = throttled()
    now_s = 1.0
    for _ in range(1_000):
        now_s += 10
        throttle.sent(now_s)
        throttle.slow_down(now_s, now_s)
    assert throttle.rate == MIN_RATE
    healed_s = now_s
    while throttle.rate is not None:
        now_s += throttle.pause_s(now_s)
        throttle.sent(now_s)
        throttle.speed_up(now_s)
    assert 5 < now_s - healed_s < 60
