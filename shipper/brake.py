"""
When requests may go out: freely, so many a second, or one at a time to see whether there is a way.

Comes in: how requests ended. Goes out: how long to wait for the next. Always holds: while nothing
can succeed one request is out, not one for each stream; a service that asks for less gets less.

Shared by all streams of an endpoint. Not safe to call from several threads at a time: whoever owns
it holds a lock. Times are seconds of one clock that only goes forward.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from shipper.backoff import Backoff
from shipper.errors import Action, DeliveryError

__all__ = ["Brake", "Throttle"]

FIRST_S = 0.2

CAPS_S = {Action.WAIT: 2.0, Action.RENEW: 30.0, Action.OPERATOR: 30.0}
"""
One host sends one request so often while there is no way through. A network that is back is noticed
soon, and a request is cheap; credentials and clocks are mended by people.
"""

MIN_RATE = 0.26
MAX_RATE = 200.0
"""
Requests a second: it never falls below the one, and above the other there is no limit. A quota of
5,000 a second is 19,000 hosts at the lowest rate.
"""

RAMP_RATE, RAMP_GROWTH = 10.0, 1.5
"""After an outage, until the first throttle: eight successes, 0.3 s, to full speed."""

START_RATE, DRAIN_S = 0.3, 120.0
"""Once throttled: a rate that all hosts begin at, or one that sends what waits in that time."""

CUT = 0.78
SEARCH_STEP = 0.4
"""Of the rate at the beginning, added with each success until it was too much."""

CREEP_STEP, CREEP_WAITING = 0.001, 10
CREEP_TAKEN = {True: 15, False: 45}
"""
Requests a second, added from then on: more for who has more to send, and for successes in a row;
by whether full requests wait. docs/fleet.md tells how these were chosen.
"""

FLUSH_SHARE = 0.5
"""So much of the rate is for requests that are not full; the rest for those that are."""


@dataclass(slots=True)
class Throttle:
    """
    A rate for a quota that a whole fleet shares, and of which nothing is told but "too much".

    Whoever is told so begins low, as all others do, and adds to its rate until it is told again;
    from then on it creeps. `full_requests` is how many wait: a host with more gets more.
    """

    random: Random = field(default_factory=Random, repr=False)
    full_requests: int = 0
    _rate: float | None = None
    _is_throttled: bool = False
    _is_searching: bool = False
    _taken: int = 0
    _slowed_s: float = 0.0
    _next_s: float = 0.0

    @property
    def rate(self) -> float | None:
        """
        Requests a second; None for as many as there are.
        """
        return self._rate if self._is_throttled else None

    def pause_s(self, now_s: float) -> float:
        """
        Seconds until the next request may go.
        """
        return max(0.0, self._next_s - now_s) if self._rate else 0.0

    def flush_s(self, requests: int) -> float:
        """
        Seconds between two flushes of so many streams, so that full requests have room: where there
        is too little, requests become fewer and fuller.
        """
        return requests / (self.rate * FLUSH_SHARE) if self.rate else 0.0

    def ramp_up(self, now_s: float) -> None:
        """
        There is a way again, perhaps for many at a moment.
        """
        if not self._is_throttled:
            self._limit(RAMP_RATE, now_s)

    def sent(self, now_s: float) -> None:
        """
        A request goes out.
        """
        if self._rate:
            self._limit(self._rate, now_s)

    def slow_down(self, sent_s: float, now_s: float) -> None:
        """
        A request that went out at `sent_s` was too much; those that were out with it say no more.
        """
        if self._is_throttled and sent_s < self._slowed_s:
            return
        if self._is_throttled and self._rate:
            rate = max(MIN_RATE, self._rate * CUT)
            # told again and again it knows nothing of what there will be
            self._is_searching = rate == MIN_RATE and not self._taken
        else:
            rate = self._start_rate()
            self._is_throttled = self._is_searching = True
        self._slowed_s = now_s
        self._taken = 0
        self._limit(rate, now_s)

    def speed_up(self) -> None:
        """
        A request was taken.
        """
        self._taken += 1
        if not self._rate:
            return
        if not self._is_throttled:
            self._rate *= RAMP_GROWTH
        elif self._is_searching:
            self._rate += self._start_rate() * SEARCH_STEP
        else:
            in_a_row = 1 + (self._taken / CREEP_TAKEN[self.full_requests > 0]) ** 2
            self._rate += CREEP_STEP * in_a_row * (1 + self.full_requests / CREEP_WAITING)
        if self._rate > MAX_RATE:
            self._rate, self._is_throttled = None, False

    def _start_rate(self) -> float:
        return min(MAX_RATE, max(START_RATE, self.full_requests / DRAIN_S))

    def _limit(self, rate: float, now_s: float) -> None:
        self._rate = rate
        self._next_s = now_s + self.random.uniform(0.5, 1.5) / rate


class Brake:
    """
    Off, or on since a request failed in a way that any other would have; then one probes for all.
    """

    def __init__(self, random: Random | None = None) -> None:
        self._random = random or Random()
        self.throttle = Throttle(random=self._random)
        self._backoff: Backoff | None = None
        self._action: Action | None = None
        self._until_s = 0.0
        self._probe: int | None = None

    @property
    def is_on(self) -> bool:
        """
        Whether nothing goes out but probes.
        """
        return self._backoff is not None

    def pause_s(self, now_s: float) -> float | None:
        """
        Seconds until a request may go; None while a probe is out, since its end decides.
        """
        if self._backoff is None:
            return self.throttle.pause_s(now_s)
        if self._probe is not None:
            return None
        return max(0.0, self._until_s - now_s, self.throttle.pause_s(now_s))

    def sent(self, batch_id: int, now_s: float) -> None:
        """
        A request goes out.
        """
        if self.is_on:
            self._probe = batch_id
        self.throttle.sent(now_s)

    def ended(self, batch_id: int) -> None:
        """
        A request ended, however it did.
        """
        if self._probe == batch_id:
            self._probe = None

    def put_on(self, error: DeliveryError, now_s: float) -> bool:
        """
        Nothing can succeed now; returns whether that is news.
        """
        is_news = self._action is not error.action
        if self._backoff is None or is_news:
            self._backoff = Backoff(FIRST_S, CAPS_S[error.action], random=self._random)
            self._action = error.action
        self._until_s = now_s + self._backoff.next_s()
        return is_news

    def let_go(self) -> None:
        """
        Let the next request out at once.
        """
        self._until_s = 0.0

    def take_off(self, now_s: float) -> bool:
        """
        A request succeeded; returns whether that is news.
        """
        was_on = self.is_on
        if was_on:
            self.throttle.ramp_up(now_s)
        self._backoff = self._action = None
        return was_on
