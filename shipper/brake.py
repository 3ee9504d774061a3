"""
When requests may go out: freely, so many a second, or one at a time to see whether there is a way.

Comes in: how requests ended. Goes out: how long to wait for the next. Always holds: while nothing
can succeed one request is out, not one for each stream; a service that asks for less gets less.

Shared by all streams of an endpoint. Not safe to call from several threads at a time: whoever owns
it holds a lock. Times are seconds of one clock that only goes forward.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

from shipper.backoff import Backoff
from shipper.errors import Action, DeliveryError

__all__ = ["Brake", "Throttle"]

FIRST_S = 0.2

CAPS_S = {Action.WAIT: 2.0, Action.RENEW: 30.0, Action.OPERATOR: 30.0}
"""
One host sends one request so often while there is no way through. A network that is back is noticed
soon, and a request is cheap; credentials and clocks are mended by people.
"""

MIN_RATE = 0.2
MAX_RATE = 200.0
"""Requests a second: it never falls below the one, and above the other there is no limit."""

FAST, SLOW = 1.5, 1.03
"""Growth for each success: up to half of the rate that was too much, and from there on."""


@dataclass(slots=True)
class Throttle:
    """
    A rate that is halved when the service asks for less, and grows again with each success: fast at
    first, and slowly where it was too much before (the way TCP finds out what a line carries).
    """

    random: random.Random = field(default_factory=random.Random, repr=False)
    _rate: float | None = None
    _enough: float = 1.0
    _had_success: bool = True
    _slowed_s: float = 0.0
    _next_s: float = 0.0
    _sent_s: deque[float] = field(default_factory=lambda: deque(maxlen=int(MAX_RATE)), repr=False)

    @property
    def rate(self) -> float | None:
        """
        Requests a second; None for as many as there are.
        """
        return self._rate

    def pause_s(self, now_s: float) -> float:
        """
        Seconds until the next request may go.
        """
        return max(0.0, self._next_s - now_s) if self._rate else 0.0

    def sent(self, now_s: float) -> None:
        """
        A request goes out.
        """
        self._sent_s.append(now_s)
        if self._rate:
            self._next_s = now_s + self.random.uniform(0.5, 1.5) / self._rate

    def slow_down(self, sent_s: float, now_s: float) -> None:
        """
        A request that went out at `sent_s` was too much; those that were out with it say no more.
        """
        if self._rate and sent_s < self._slowed_s:
            return
        self._slowed_s = now_s
        rate = self._rate or sum(1 for sent in self._sent_s if sent >= now_s - 1)
        if self._had_success:
            self._enough = max(1.0, rate / 2)
        self._had_success = False
        self._rate = max(MIN_RATE, rate / 2)
        self._next_s = now_s + self.random.uniform(0.5, 1.5) / self._rate

    def speed_up(self) -> None:
        """
        A request was taken.
        """
        self._had_success = True
        if self._rate:
            self._rate *= FAST if self._rate < self._enough else SLOW
            if self._rate > MAX_RATE:
                self._rate = None


class Brake:
    """
    Off, or on since a request failed in a way that any other would have; then one probes for all.
    """

    def __init__(self) -> None:
        self.throttle = Throttle()
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
        return None if self._probe is not None else max(0.0, self._until_s - now_s)

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
            self._backoff = Backoff(FIRST_S, CAPS_S[error.action])
            self._action = error.action
        self._until_s = now_s + self._backoff.next_s()
        return is_news

    def let_go(self) -> None:
        """
        Let the next request out at once.
        """
        self._until_s = 0.0

    def take_off(self) -> bool:
        """
        A request succeeded; returns whether that is news.
        """
        was_on = self.is_on
        self._backoff = self._action = None
        return was_on
