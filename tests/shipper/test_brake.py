"""
When requests may go out: the brake that all streams share, and the rate a busy service asks for.
"""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from shipper.brake import MAX_RATE, MIN_RATE, Brake, Throttle
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
    assert brake.take_off()
    assert not brake.take_off()
    assert brake.pause_s(0) == 0


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


def throttled(*, rate: int) -> Throttle:
    """
    One that sent so many requests in the last second, and was told that this is too much.
    """
    throttle = Throttle(random=random.Random(1))
    for number in range(rate):
        throttle.sent(number / rate)
    throttle.slow_down(0.99, 1.0)
    return throttle


def test_a_throttled_rate_is_half_of_what_it_was() -> None:
    throttle = throttled(rate=40)
    assert throttle.rate == 20
    assert 0.5 / 20 <= throttle.pause_s(1.0) <= 1.5 / 20


def test_requests_that_were_out_together_halve_the_rate_once() -> None:
    throttle = throttled(rate=40)
    for _ in range(10):
        throttle.slow_down(0.99, 1.1)
    assert throttle.rate == 20


@given(st.lists(st.booleans(), max_size=2_000), st.integers(1, 150))
def test_whatever_the_answers_the_rate_stays_within_its_bounds(
    answers: list[bool], rate: int
) -> None:
    throttle = throttled(rate=rate)
    now_s = 1.0
    for is_taken in answers:
        now_s += throttle.pause_s(now_s) + 0.01
        throttle.sent(now_s)
        if is_taken:
            throttle.speed_up()
        else:
            throttle.slow_down(now_s, now_s)
        assert throttle.rate is None or MIN_RATE <= throttle.rate <= MAX_RATE


def test_after_a_thousand_throttles_in_a_row_it_is_soon_as_fast_as_before() -> None:
    throttle = throttled(rate=40)
    now_s = 1.0
    for _ in range(1_000):
        now_s += 10
        throttle.sent(now_s)
        throttle.slow_down(now_s, now_s)
    assert throttle.rate == MIN_RATE
    waited_s = 0.0
    while (throttle.rate or MAX_RATE) < 20:
        now_s += 1 / (throttle.rate or MAX_RATE)
        waited_s += 1 / (throttle.rate or MAX_RATE)
        throttle.speed_up()
    assert waited_s < 20
    while throttle.rate is not None:
        throttle.speed_up()
