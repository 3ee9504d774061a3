"""
When requests may go out: freely, so many a second, or one at a time to see whether there is a way.

Comes in: how requests ended. Goes out: how long to wait for the next. Always holds: while nothing
can succeed one request is out, not one for each stream; a service that asks for less gets less.

Shared by all streams of an endpoint. Not safe to call from several threads at a time: whoever owns
it holds a lock. Times are seconds of one clock that only goes forward.
"""

from __future__ import annotations

import math
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

MIN_RATE = 0.3
MAX_RATE = 20.0
"""
Requests a second: it never falls below the one, and above the other, for each share, there is no
limit. Were that far above what a host has a use for, a throttle would take what nobody misses.
A quota of 5,000 a second is 16,600 hosts at the lowest rate.
"""

SHARE_REQUESTS, MIN_SHARE = 55, 0.5
"""
So many requests that wait are one share: a host with ten times as many acts as ten hosts do.
"""

LONG_S = 300.0
"""
An outage as long as that leaves a backlog, may hit many hosts, and a few seconds more are little.
"""

SLOW = (0.8, 0.4, 0.03)
QUICK = (10.0, 200.0, 0.0)
"""
How a rate begins, for each share: requests a second; what a second adds to that; and what it adds
more for the square of the seconds since. Slowly after a long outage or a throttle at full speed,
to be through in eleven seconds; quickly, in 0.1 s to full speed, after a shorter one.
"""

LEFT = 0.3
"""
What the first throttle leaves. The rate is then one and a half times the fair one or more, by
chance: all are to come below that one, and to climb on together.
"""

CREEP = 0.00001
"""
From then on a second adds so much for the square of the seconds since the last throttle: next to
nothing at first, and 0.04 after a minute. It is by time and not by what was sent, so that whoever
has come to a low rate grows as fast as all others.
"""

CUT, DEAF_S = 0.5, 8.0
"""
What a later throttle takes of the rate of one share, and for how long no other takes anything:
chance would cut some hosts twice, while others have yet to learn that it is too much.
"""

LOST = 10
"""So often in a row, at the lowest rate, is news of nothing: once there is a way it begins anew."""

FLUSH_SHARE = 0.25
"""So much of the rate is for requests that are not full; the rest for those that are."""


@dataclass(slots=True)
class Throttle:
    """
    A rate for a quota that a whole fleet shares, and of which nothing is told but "too much".

    All hosts begin low and grow alike, faster the longer it goes well. The first "too much" takes
    most of the rate; from then on it creeps, and one more takes half. `requests` is how many wait,
    `full_requests` how many of these are full: a host with more gets more.
    """

    random: Random = field(default_factory=Random, repr=False)
    requests: int = 0
    full_requests: int = 0
    _rate: float | None = None
    _share: float = MIN_SHARE  # how many hosts it acts for
    _growth: float = 0.0  # requests a second that a second adds to one share,
    _growing: float = 0.0  # and more for the square of the seconds since
    _since_s: float = 0.0  # it began, or was too much
    _is_beginning: bool = False  # slowly, and nothing was too much since
    _is_throttled: bool = False
    _refused: int = 0  # in a row
    _slowed_s: float = -math.inf
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

    def ramp_up(self, now_s: float, *, slowly: bool) -> None:
        """
        There is a way again, perhaps for many at a moment.
        """
        self._since_s = now_s  # to have sent nothing is no success
        if slowly or not self._is_throttled:
            self._begin(now_s, slowly=slowly)

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
        was_throttled = self._is_throttled
        if was_throttled and sent_s < self._slowed_s:
            return
        self._is_throttled = True
        self._since_s = now_s
        self._refused += 1
        if self._rate is None or not (was_throttled or self._is_beginning):
            self._begin(now_s, slowly=True)
        elif self._rate == MIN_RATE and self._refused >= LOST:
            self._is_beginning = True
            _, self._growth, self._growing = SLOW
        elif self._is_beginning:
            self._is_beginning = False
            self._growth, self._growing = 0.0, CREEP
            self._limit(self._rate * LEFT, now_s)
        elif now_s < self._slowed_s + DEAF_S:
            return
        else:
            if not self.full_requests:
                self._share = self._new_share()
            # one among many successes concerns one share, one after another all of them
            shares = max(1.0, self._share) if self._refused == 1 else 1.0
            self._limit(self._rate * (1 - CUT / shares), now_s)
        self._slowed_s = now_s

    def speed_up(self, now_s: float) -> None:
        """
        A request was taken.
        """
        self._refused = 0
        if not self._rate:
            return
        self._rate = self._after_one(self._rate, now_s)
        if self._rate > MAX_RATE * max(1.0, self._share):
            self._rate, self._is_throttled, self._is_beginning = None, False, False

    def _begin(self, now_s: float, *, slowly: bool) -> None:
        rate, self._growth, self._growing = SLOW if slowly else QUICK
        self._is_beginning = slowly
        self._since_s = now_s
        self._share = self._new_share()
        self._limit(rate * self._share, now_s)

    def _new_share(self) -> float:
        return max(MIN_SHARE, self.requests / SHARE_REQUESTS)

    def _after_one(self, rate: float, now_s: float) -> float:
        """
        What the rate has grown to when one more request has gone at it.
        """
        growth = self._growth + self._growing * (now_s - self._since_s) ** 2
        return math.sqrt(rate**2 + 2 * growth * self._share)

    def _limit(self, rate: float, now_s: float) -> None:
        self._rate = max(MIN_RATE, rate)
        spread = 0.5 if self._is_throttled else 0.1  # in a ramp chance would make hosts unequal
        # it grows meanwhile: at a low rate that is much
        mean_s = 2 / (self._rate + self._after_one(self._rate, now_s))
        self._next_s = now_s + self.random.uniform(1 - spread, 1 + spread) * mean_s


class Brake:
    """
    Off, or on since a request failed in a way that any other would have; then one probes for all.
    """

    def __init__(self, random: Random | None = None) -> None:
        self._random = random or Random()
        self.throttle = Throttle(random=self._random)
        self._backoff: Backoff | None = None
        self._action: Action | None = None
        self._on_s = 0.0
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
        if not self.is_on:
            self._on_s = now_s
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
            self.throttle.ramp_up(now_s, slowly=now_s - self._on_s >= LONG_S)
        self._backoff = self._action = None
        return was_on
