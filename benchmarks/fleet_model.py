"""
A fleet on a simulated clock: hosts with the product's own brake, backoff, flush and batcher, and
one account's quota that they share.

Comes in: how many hosts, with what load, and how the service failed. Goes out: when each host had
sent what the outage left, and what became of each request. Always holds: a seed tells all; a host
waits, slows down and packs its batches by `shipper.brake`, `shipper.backoff` and `shipper.batch`;
only what `shipper.upload` and `shipper.lineup` do with them (threads there, events here) is told
again in `Host`.

Times are seconds after the recovery: the outage is before 0.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING

from shipper.backoff import Every
from shipper.batch import LIMITS, MAX_BATCH_EVENTS, is_full, requests_for
from shipper.brake import Brake
from shipper.errors import Action, DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable

OUTAGE_S = 3600.0
PROBED_S = 60.0
"""So much of the outage is simulated; before, a host does the same, and its queue grows."""

LATENCY_S = (0.05, 0.25)
"""Median and sigma of a lognormal: nine of ten requests take 33 to 75 ms."""

NO_WAY = DeliveryError("no way through", Action.WAIT, is_general=True)
THROTTLED = DeliveryError("too many requests", Action.SLOW_DOWN, is_general=True)


@dataclass(frozen=True)
class Fleet:
    """
    How many hosts, what they log, and what they share.

    `lines_per_s` is the median of a host; `spread` the sigma of the lognormal around it, 0 where
    all hosts are alike. `fails_after_s`: how soon a request fails in the outage.
    """

    hosts: int
    lines_per_s: float = 20.0
    spread: float = 0.0
    most_lines_per_s: float = 2_000.0
    streams: int = 10
    line_bytes: int = 120
    delay_s: float = 4.0
    concurrency: int = 4
    quota_per_s: float = 5_000.0
    burst_s: float = 1.0
    fails_after_s: float = 0.05
    outage_s: float = OUTAGE_S
    seed: int = 1


@dataclass(slots=True)
class Stream:
    """
    Lines that come at an even rate; those up to `taken` are in a batch.
    """

    lines_per_s: float
    line_bytes: int
    begun_s: float
    taken: int = 0
    left: int = 0
    delivered: list[tuple[int, int]] = field(default_factory=list)

    def logged(self, now_s: float) -> int:
        return int((now_s - self.begun_s) * self.lines_per_s)


@dataclass(slots=True)
class Batch:
    number: int
    stream: Stream
    first: int
    end: int
    due_s: float = 0.0
    sent_s: float = 0.0


@lru_cache(maxsize=100_000)
def batch_events(waiting: int, line_bytes: int) -> int:
    """
    How many of so many waiting events of one size share the next request, by the product's rule:
    the queue fills a batch up.
    """
    return LIMITS.fit([0] * waiting, [line_bytes] * waiting)


class Quota:
    """
    A bucket of requests that fills at a rate: what is not there when a request comes is throttled.
    """

    def __init__(self, per_s: float, burst: float, now_s: float) -> None:
        self._per_s, self._burst = per_s, burst
        self._left, self._at_s = burst, now_s

    def take(self, now_s: float) -> bool:
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Host:
    """
    One agent: what `shipper.upload` and `shipper.lineup` do, without their threads and store.
    """

    def __init__(self, fleet: Fleet, streams: list[Stream], world: World) -> None:
        self.streams = streams
        self.left = 0
        self.drained_s = math.inf
        self._concurrency = fleet.concurrency
        self._look_s = fleet.delay_s
        self._world = world
        self._brake = Brake(world.random)
        self._brake.put_on(NO_WAY, -fleet.outage_s)  # what is simulated is its end
        self._flush = Every(fleet.delay_s, monotonic=lambda: world.now_s, random=world.random)
        self._due: deque[Stream] = deque()
        self._queued: set[int] = set()
        self._retries: list[Batch] = []
        self._in_flight = 0
        self._try_s = math.inf
        self._tick_s = world.now_s + self._flush.pause_s()
        world.at(self._tick_s, self._tick)

    def requests_needed(self) -> int:
        """
        For what the outage left, at least, before any of it is sent.
        """
        return sum(
            requests_for(stream.left, stream.left * stream.line_bytes) for stream in self.streams
        )

    def _tick(self) -> None:
        """
        Flush if it is time, send what is full, and come back when there may be more.
        """
        if self._tick_s > self._world.now_s:
            return
        self._enqueue(everything=self._flush.is_due(self._slower_s()))
        self._tick_s = self._world.now_s + min(self._look_s, self._flush.pause_s(self._slower_s()))
        self._world.at(self._tick_s, self._tick)

    def _slower_s(self) -> float:
        return self._brake.throttle.flush_s(len(self.streams))

    def _count_waiting(self) -> None:
        now_s, throttle = self._world.now_s, self._brake.throttle
        needed = [
            requests_for(waiting, waiting * stream.line_bytes)
            for stream in self.streams
            if (waiting := stream.logged(now_s) - stream.taken)
        ]
        requests = sum(needed) + len(self._retries)
        if throttle.full_requests and requests == len(needed):
            self._flush.make_due()
        throttle.requests, throttle.full_requests = requests, requests - len(needed)

    def _enqueue(self, *, everything: bool) -> None:
        now_s = self._world.now_s
        self._count_waiting()
        parked = {id(batch.stream) for batch in self._retries}
        for stream in self.streams:
            key = id(stream)
            waiting = stream.logged(now_s) - stream.taken
            if (
                waiting
                and key not in self._queued
                and key not in parked
                and (everything or is_full(waiting, waiting * stream.line_bytes))
            ):
                self._due.append(stream)
                self._queued.add(key)
        self._go()

    def _go(self) -> None:
        """
        Let each free worker send what it may, and look again when there may be more.
        """
        now_s = self._world.now_s
        if self._try_s <= now_s:
            self._try_s = math.inf
        while self._in_flight < self._concurrency and (batch := self._pick(now_s)):
            self._in_flight += 1
            batch.sent_s = now_s
            self._brake.sent(batch.number, now_s)
            self._world.send(self, batch)
        if self._in_flight == self._concurrency or not (self._due or self._retries):
            return
        pause_s = self._brake.pause_s(now_s)
        if pause_s is None:
            return
        if not self._due:
            pause_s = max(pause_s, min(batch.due_s for batch in self._retries) - now_s)
        if now_s + pause_s < self._try_s:
            self._try_s = now_s + pause_s
            self._world.at(self._try_s, self._retry)

    def _retry(self) -> None:
        if self._try_s <= self._world.now_s:  # another may have been put before it
            self._go()

    def _pick(self, now_s: float) -> Batch | None:
        if self._brake.pause_s(now_s) != 0:
            return None
        if self._brake.is_on:
            return self._pick_due(now_s) or self._pick_retry(now_s)
        return self._pick_retry(now_s) or self._pick_due(now_s)

    def _pick_retry(self, now_s: float) -> Batch | None:
        batch = min(self._retries, key=lambda batch: batch.due_s, default=None)
        if batch is None or batch.due_s > now_s:
            return None
        self._retries.remove(batch)
        return batch

    def _pick_due(self, now_s: float) -> Batch | None:
        parked = {id(batch.stream) for batch in self._retries}
        while self._due:
            stream = self._due.popleft()
            self._queued.discard(id(stream))
            waiting = stream.logged(now_s) - stream.taken
            if not waiting or id(stream) in parked:
                continue
            count = batch_events(min(waiting, MAX_BATCH_EVENTS + 1), stream.line_bytes)
            batch = Batch(next(self._world.numbers), stream, stream.taken, stream.taken + count)
            stream.taken += count
            waiting -= count
            if is_full(waiting, waiting * stream.line_bytes):
                self._due.append(stream)
                self._queued.add(id(stream))
            return batch
        return None

    def succeeded(self, batch: Batch) -> None:
        now_s = self._world.now_s
        stream = batch.stream
        stream.delivered.append((batch.first, batch.end))
        of_outage = max(0, min(batch.end, stream.left) - batch.first)
        self.left -= of_outage
        if of_outage and not self.left:
            self.drained_s = now_s
            self._world.undrained -= 1
        was_on = self._brake.take_off(now_s)
        self._brake.throttle.speed_up(now_s)
        self._ended(batch)
        if was_on:
            for retry in self._retries:
                retry.due_s = 0.0
            self._flush.make_due()
        self._count_waiting()
        tick_s = now_s + self._flush.pause_s(self._slower_s())
        if tick_s < self._tick_s:
            self._tick_s = tick_s
            self._world.at(tick_s, self._tick)
        if tick_s > now_s:
            waiting = stream.logged(now_s) - stream.taken
            if id(stream) not in self._queued and is_full(waiting, waiting * stream.line_bytes):
                self._due.append(stream)  # any new line lets it look for these
                self._queued.add(id(stream))
            self._go()

    def failed(self, batch: Batch, error: DeliveryError) -> None:
        now_s = self._world.now_s
        if error.action is Action.SLOW_DOWN:
            self._brake.throttle.slow_down(batch.sent_s, now_s)
            batch.due_s = 0.0
        else:
            self._brake.put_on(error, now_s)
            batch.due_s = now_s + (self._brake.pause_s(now_s) or 0)
        self._retries.append(batch)
        self._ended(batch)
        self._go()

    def _ended(self, batch: Batch) -> None:
        self._in_flight -= 1
        self._brake.ended(batch.number)


class World:
    """
    The clock, the service, and all hosts.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.random = Random(fleet.seed)
        self.now_s = -PROBED_S
        self.numbers = itertools.count()
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._order = itertools.count()
        self._quota = Quota(fleet.quota_per_s, fleet.quota_per_s * fleet.burst_s, 0)
        self.probes = 0
        self.taken_by_s: dict[int, int] = {}
        self.throttled_by_s: dict[int, int] = {}
        self.hosts = [Host(fleet, self._streams(), self) for _ in range(fleet.hosts)]
        for host in self.hosts:
            for stream in host.streams:
                stream.left = stream.logged(0)
            host.left = sum(stream.left for stream in host.streams)
        self.undrained = len(self.hosts)

    def _streams(self) -> list[Stream]:
        fleet, random = self.fleet, self.random
        rate = fleet.lines_per_s
        count = fleet.streams
        if fleet.spread:
            rate = min(fleet.most_lines_per_s, rate * random.lognormvariate(0, fleet.spread))
            count = max(1, min(50, round(count * random.lognormvariate(-0.32, 0.8))))
        shares = [1 / (number + 1) for number in range(count)]
        begun_s = -fleet.outage_s
        return [
            Stream(
                max(rate * share / sum(shares), 1 / fleet.outage_s * 1.001),
                fleet.line_bytes,
                begun_s - random.random(),
            )
            for share in shares
        ]

    def requests_needed(self) -> int:
        """
        For what the outage left, at least.
        """
        return sum(host.requests_needed() for host in self.hosts)

    def at(self, time_s: float, call: Callable[..., None], *arguments: object) -> None:
        heapq.heappush(self._events, (time_s, next(self._order), call, arguments))

    def run(self, *, until_s: float = 3600.0, is_over: Callable[[], bool] | None = None) -> None:
        """
        Go on until all hosts have sent what the outage left, or at most until then.
        """
        over = is_over or (lambda: not self.undrained)
        events = self._events
        while not over() and self.now_s < until_s:
            self.now_s, _, call, arguments = heapq.heappop(events)
            call(*arguments)

    def send(self, host: Host, batch: Batch) -> None:
        """
        A request goes out.
        """
        if self.now_s < 0:
            self.probes += 1
            self.at(self.now_s + self.fleet.fails_after_s, host.failed, batch, NO_WAY)
            return
        one_way_s = LATENCY_S[0] / 2 * math.exp(self.random.gauss(0, LATENCY_S[1]))
        self.at(self.now_s + one_way_s, self._arrive, host, batch, one_way_s)

    def _arrive(self, host: Host, batch: Batch, one_way_s: float) -> None:
        second = int(self.now_s)
        if self._quota.take(self.now_s):
            self.taken_by_s[second] = self.taken_by_s.get(second, 0) + 1
            self.at(self.now_s + one_way_s, host.succeeded, batch)
        else:
            self.throttled_by_s[second] = self.throttled_by_s.get(second, 0) + 1
            self.at(self.now_s + one_way_s, host.failed, batch, THROTTLED)
