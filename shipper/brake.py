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

SHARE_REQUESTS, MIN_SHARE = 45, 0.5
"""
So many full requests that wait are one share: a host with ten times as many acts as ten hosts do.
"""

LONG_S = 300.0
"""
An outage as long as that leaves a backlog, may hit many hosts, and a few seconds more are little.
"""

QUICK_RATE, RAMP_GROWTH = 10.0, 1.5
"""After a shorter one, until the first throttle: eight successes, 0.3 s, to full speed."""

RAMP_RATE, RAMP_PER_S, RAMP_END = 3.5, 1.0, 14.0
"""
After a long one, for each share: requests a second at first, and what each second adds. From the
end on, ten seconds later, it goes on as after a short one.
"""

RAMP_LEFT = 0.3
"""What the first throttle after a long outage leaves of the rate."""

START_RATE, DRAIN_S, SEARCH_STEP = 0.3, 120.0, 0.4
"""
Throttled otherwise: a rate to begin at, or one that sends what waits in that time; and of
that rate, what each success adds until it was too much.
"""

CUT = 0.72
"""What a throttle leaves of the rate of one share."""

CREEP_PER_S, CREEP_WAITING = 0.0002, 5
CREEP_TAKEN = {True: 10, False: 30}
"""
Requests a second, added in each second from then on: more for who has more to send, and for
successes in a row; by whether full requests wait. docs/fleet.md tells how these were chosen.
"""

FLUSH_SHARE = 0.5
"""So much of the rate is for requests that are not full; the rest for those that are."""


@dataclass(slots=True)
class Throttle:
    """
    A rate for a quota that a whole fleet shares, and of which nothing is told but "too much".

    After a long outage it grows slowly, so that all of a fleet are under way before the quota is
    spent, and the first "too much" takes most of its rate; from then on it creeps. `full_requests`
    is how many wait: a host with more gets more.
    """

    random: Random = field(default_factory=Random, repr=False)
    full_requests: int = 0
    _rate: float | None = None
    _share: float = MIN_SHARE  # how many hosts it acts for, by what waited at the last throttle
    _level: float = 1.0  # requests a second that the first throttle left each share
    _was_lost: bool = False  # a long outage went before, and no throttle was met since
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

    def lose_way(self) -> None:
        """
        Nothing has got through for long, perhaps for a whole fleet.
        """
        self._was_lost = True

    def ramp_up(self, now_s: float) -> None:
        """
        There is a way again, perhaps for many at a moment.
        """
        if not self._is_throttled:
            self._share = self._new_share()
            self._limit(RAMP_RATE * self._share if self._was_lost else QUICK_RATE, now_s)

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
        was_low = self._rate == MIN_RATE and not self._taken
        if self._is_throttled and self._rate:
            self._share = max(self._share, self._new_share()) if self.full_requests else MIN_SHARE
            # one among many successes concerns one share, one after another all of them
            shares = max(1.0, self._share) if self._taken else 1.0
            rate = max(MIN_RATE, self._rate * (1 - (1 - CUT) / shares))
            # told again and again it knows nothing of what there will be
            self._is_searching = was_low
        else:
            rate = self._rate_after_ramp() if self._was_lost else self._start_rate()
            self._share = self._new_share()
            self._is_searching = not self._was_lost
            self._level = max(1.0, rate / self._share)
            self._is_throttled, self._was_lost = True, False
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
            is_slow = self._was_lost and self._rate < RAMP_END * self._share
            step = RAMP_PER_S * self._share / self._rate
            self._rate = self._rate + step if is_slow else self._rate * RAMP_GROWTH
        elif self._is_searching:
            self._rate += self._start_rate() * SEARCH_STEP
        else:
            self._rate += self._creep_per_s() / self._rate
        if self._rate > MAX_RATE:
            self._rate, self._is_throttled, self._was_lost = None, False, False

    def _creep_per_s(self) -> float:
        in_a_row = self._taken / self._share / CREEP_TAKEN[self.full_requests > 0]
        waiting = self.full_requests / self._share / CREEP_WAITING
        per_share = CREEP_PER_S * self._level**2 * (1 + in_a_row**2) * (1 + waiting)
        return per_share * self._share

    def _new_share(self) -> float:
        return max(MIN_SHARE, self.full_requests / SHARE_REQUESTS)

    def _rate_after_ramp(self) -> float:
        if self._rate is None:  # not even the probe got through
            return min(MAX_RATE, RAMP_RATE * RAMP_LEFT * self._new_share())
        return min(self._rate, RAMP_END * self._share) * RAMP_LEFT

    def _start_rate(self) -> float:
        return min(MAX_RATE, max(START_RATE, self.full_requests / DRAIN_S))

    def _limit(self, rate: float, now_s: float) -> None:
        self._rate = rate
        spread = 0.5 if self._is_throttled else 0.1  # in a ramp chance would make hosts unequal
        self._next_s = now_s + self.random.uniform(1 - spread, 1 + spread) / rate


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
        if now_s - self._on_s >= LONG_S:
            self.throttle.lose_way()
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
