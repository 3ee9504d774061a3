"""
Which batch goes next, and when.

Comes in: which streams have events waiting, what failed, what has ended. Goes out: one batch at a
time, on record before it leaves. Always holds: brake and pace are kept to; what came later waits
behind a batch of its stream that failed; a stream that may not exist has one request out, which
finds out.

Not safe to call from several threads at a time: whoever owns it holds a lock, also while a batch is
taken from the store.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Container, Sequence
from dataclasses import replace

import apsw

from shipper.backoff import Every, Pace
from shipper.batch import LIMITS, acceptable_ms, is_full, requests_for
from shipper.brake import Brake
from shipper.retries import AT_ONCE, Retries
from shipper.way import Way
from spool.clock import now_ms
from spool.store import Batch, Store, Waiting
from spool.wording import counted

__all__ = ["Lineup"]

log = logging.getLogger(__name__)


class Lineup:
    """
    What of `store` is due, in the order in which it goes.

    It keeps to `brake` and `pace` and tells them what goes out; how that ends, they are told by
    others. `way` knows which streams fail by themselves. `service_now_ms` is the present as the
    service sees it. `only` restricts it to some stream ids.
    """

    def __init__(
        self,
        store: Store,
        brake: Brake,
        pace: Pace,
        way: Way,
        *,
        delay_s: float,
        service_now_ms: Callable[[], int],
        only: Container[int] | None,
    ) -> None:
        self._store = store
        self._brake = brake
        self._pace = pace
        self._way = way
        self._flush = Every(delay_s)
        self._service_now_ms = service_now_ms
        self._only = only
        self._due: deque[int] = deque()
        self._retries = Retries()
        self._in_flight: dict[int, float] = {}
        """When the requests went out, by batch."""
        self._existing: set[int] = set()
        self._first: dict[int, bool] = {}
        """Streams that may not exist and have a request out; whether they have more to send."""
        self._names: dict[int, str] = {}

    # --- what waits ---------------------------------------------------------------------------

    def resume(self) -> int:
        """
        Begin with the batches that an earlier process left on their way; returns how many.
        """
        left = [batch for batch in self._store.unsettled() if self._is_wanted(batch.stream_id)]
        for batch in left:
            self._retries.add(batch, due_s=AT_ONCE)
        return len(left)

    def flush_pause_s(self) -> float:
        """
        Seconds until the next flush.
        """
        return self._flush.pause_s(self._flush_s())

    def is_flush_due(self) -> bool:
        """
        Whether all that waits is due now; then the next flush is a period from now.
        """
        return self._flush.is_due(self._flush_s())

    def _flush_s(self) -> float:
        """
        At least so many seconds between two flushes: more where requests are throttled.
        """
        return self._brake.throttle.flush_s(len(self._names))

    def note(self, queues: Sequence[Waiting], *, everything: bool) -> None:
        """
        These wait in the store, all there are: full batches are due, and with `everything` the
        others, too.
        """
        self._names = {queue.stream_id: f"{queue.group} {queue.stream}" for queue in queues}
        requests = sum(requests_for(q.events, q.message_bytes) for q in queues)
        self._note_requests(requests + len(self._retries), not_full=len(queues))
        waiting = self._retries.stream_ids().union(self._due)
        due = [
            queue.stream_id
            for queue in queues
            if queue.stream_id not in waiting
            and self._is_wanted(queue.stream_id)
            and (everything or is_full(queue.events, queue.message_bytes))
        ]
        self._first.update((stream_id, True) for stream_id in due if stream_id in self._first)
        self._due.extend(stream_id for stream_id in due if stream_id not in self._first)

    def _note_requests(self, requests: int, *, not_full: int) -> None:
        throttle = self._brake.throttle
        if throttle.full_requests and requests == not_full:
            self._flush.make_due()  # the rest of what waited long
        throttle.requests, throttle.full_requests = requests, requests - not_full

    def _is_wanted(self, stream_id: int) -> bool:
        return self._only is None or stream_id in self._only

    # --- what goes ----------------------------------------------------------------------------

    def next(self) -> Batch | None:
        """
        The batch to send now, on return durably on record with this attempt; None if there is none.
        Where the store raises apsw.Error it stays in the lineup.
        """
        batch = self._pick(time.monotonic())
        if batch is not None:
            now_s = time.monotonic()
            self._in_flight[batch.id] = now_s
            self._brake.sent(batch.id, now_s)
            self._pace.sent(batch.bytes, now_s)
        return batch

    def pause_s(self) -> float | None:
        """
        How long until there may be a next one; None if something has to happen first.
        """
        now_s = time.monotonic()
        may_send_s = self._may_send_s(now_s)
        if may_send_s is None or not (self._due or self._retries):
            return None
        if self._due:
            return may_send_s
        return max(may_send_s, self._retries.due_s - now_s)

    def _may_send_s(self, now_s: float) -> float | None:
        """
        How long until brake and pace let a request go; None while only the end of one decides.
        """
        brake_s = self._brake.pause_s(now_s)
        return None if brake_s is None else max(brake_s, self._pace.pause_s(now_s))

    def _pick(self, now_s: float) -> Batch | None:
        """
        What failed goes first, but not while the brake is on: perhaps that one stream has put it
        on, and another gets through.
        """
        if self._may_send_s(now_s) != 0:
            return None
        if self._brake.is_on:
            return self._pick_due() or self._pick_retry(now_s)
        return self._pick_retry(now_s) or self._pick_due()

    def _pick_retry(self, now_s: float) -> Batch | None:
        batch = self._retries.first(now_s)
        if batch is None:
            return None
        self._store.note_attempt(batch)
        self._retries.remove_first()
        return replace(batch, attempts=batch.attempts + 1)

    def _pick_due(self) -> Batch | None:
        held_up = self._retries.stream_ids() | self._first.keys()
        while self._due:
            stream_id = self._due.popleft()
            try:
                batch = self._take(stream_id) if stream_id not in held_up else None
            except apsw.Error:
                self._due.append(stream_id)
                raise
            if batch is not None:
                return batch
        return None

    def _take(self, stream_id: int) -> Batch | None:
        self._reject_outside(stream_id)
        events, size = self._store.waiting(stream_id)  # once it is taken, nothing may fail
        batch = self._store.take(stream_id, LIMITS, now_ms=now_ms())
        if batch is None:
            return None
        has_more = is_full(events - batch.events, size - batch.bytes)
        if stream_id not in self._existing:
            self._first[stream_id] = has_more
        elif has_more:
            self._due.append(stream_id)  # another worker may send the next one meanwhile
        return batch

    def _reject_outside(self, stream_id: int) -> None:
        # a wrong clock, ours or one that some proxy shows, must reject nothing: the service will
        clocks = (now_ms(), self._service_now_ms())
        oldest_ms, newest_ms = acceptable_ms(min(clocks))[0], acceptable_ms(max(clocks))[1]
        rejected = self._store.reject_outside(stream_id, oldest_ms=oldest_ms, newest_ms=newest_ms)
        if self._way.is_news(stream_id, "age", is_so=rejected > 0):
            name = self._names.get(stream_id, stream_id)
            told = counted(rejected, "event")
            log.warning("%s: %s rejected, too old or too new", name, told)

    # --- what became of it --------------------------------------------------------------------

    def sent_s(self, batch: Batch) -> float:
        """
        When the request that is out for this batch went out.
        """
        return self._in_flight[batch.id]

    def note_existing(self, stream_id: int) -> None:
        """
        CloudWatch has the stream: from now on several of its requests may be out.
        """
        self._existing.add(stream_id)

    def ended(self, batch: Batch, again: Sequence[tuple[Batch, float]]) -> None:
        """
        A request ended, however it did; what of its batch goes again, after so many seconds each.
        """
        del self._in_flight[batch.id]
        self._brake.ended(batch.id)
        if self._first.pop(batch.stream_id, False):
            self._due.append(batch.stream_id)
        for part, pause_s in again:
            due_s = time.monotonic() + pause_s if pause_s else AT_ONCE
            self._retries.add(part, due_s=due_s)

    def go_on(self) -> None:
        """
        There is a way again: all may go at once, but what fails by itself.
        """
        self._retries.hasten(lambda batch: not self._way.is_troubled(batch.stream_id))
        self._flush.make_due()

    def hurry(self) -> None:
        """
        All that failed is to be tried at once, whatever it waits for.
        """
        self._brake.let_go()
        self._retries.hasten(lambda _: True)

    def give_up(self) -> None:
        """
        Nothing more goes, but for what is noted later; all of it stays in the store.
        """
        self._due.clear()
        self._retries.clear()

    def is_idle(self) -> bool:
        """
        Whether nothing waits to go, and nothing is out.
        """
        return not (self._due or self._retries or self._in_flight)

    def is_over(self, deadline_s: float) -> bool:
        """
        Whether nothing more can go before the deadline, and nothing is out.
        """
        return self.is_idle() or (self._pace.free_s > deadline_s and not self._in_flight)
