"""
Unsent events -> batch -> PutLogEvents -> settled.

Comes in: what waits in the store. Goes out: legal requests, several at a time. Always holds: a
batch is on record before its request goes out, and its events are sent only once a 200 came back;
until then the very same batch is sent again, also by the next process.

Every `delay_s` all that waits is sent, and a full batch at once. When nothing can succeed (no
network, no credentials) one request probes for all, and once there is a way through all goes at
once; when one stream is refused the others go on.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Container
from dataclasses import dataclass, field, replace
from typing import Protocol

import apsw

from shipper.backoff import Every, Pace
from shipper.batch import LIMITS, acceptable_ms, is_full, requests_for
from shipper.brake import Brake
from shipper.clock import now_ms
from shipper.cloudwatch import Receipt
from shipper.errors import Action, DeliveryError
from shipper.trouble import Trouble
from shipper.way import Way
from spool.store import Batch, Store
from spool.wording import counted

__all__ = ["Endpoint", "Uploader"]

log = logging.getLogger(__name__)

STORE_RETRY_S = 1.0
BUG_RETRY_S = 60.0  # for what nobody has thought of

LOOK_S = 0.05
"""How often a drain looks for what was stored meanwhile."""

TURN_S = 10.0
"""So often it turns at least, however long DELAY is: one that does not is stuck."""


class Endpoint(Protocol):
    """
    Where batches go.
    """

    def put(self, group: str, stream: str, log_events: str, *, events: int) -> Receipt: ...

    def create(self, group: str, stream: str) -> None: ...

    def tend(self, group: str) -> None: ...

    def now_ms(self) -> int: ...


@dataclass(order=True, slots=True)
class _Retry:
    due_s: float
    number: int
    batch: Batch = field(compare=False)


class Uploader:
    """
    Sends what waits in `store`, with up to `concurrency` requests at a time.

    `only` restricts it to some stream ids, `pace` to some bytes a second. `start` it, then `run`
    until a stop or `drain` until nothing is left, and `finish` it.
    """

    def __init__(
        self,
        store: Store,
        endpoint: Endpoint,
        *,
        delay_s: float = 1.0,
        concurrency: int,
        only: Container[int] | None = None,
        pace: Pace | None = None,
        trouble: Trouble | None = None,
    ) -> None:
        self._store = store
        self._endpoint = endpoint
        self._flush = Every(delay_s)
        self._only = only
        self._pace = pace or Pace()
        self._trouble = trouble or Trouble(
            log, begins="the spool cannot be used now: %s", ends="the spool can be used again"
        )
        self._workers = [
            threading.Thread(target=self._work, name=f"upload-{number}", daemon=True)
            for number in range(concurrency)
        ]
        self._changed = threading.Condition()
        self._woken = threading.Event()
        self._due: deque[int] = deque()
        self._retries: list[_Retry] = []
        self._numbers = itertools.count()
        self._in_flight: dict[int, float] = {}
        self._known: set[int] = set()
        self._first: dict[int, bool] = {}
        self._brake = Brake()
        self._way = Way(self._brake)
        self.notes = self._way.notes
        """What is the matter with all streams, for `spool status`."""
        self._names: dict[int, str] = {}
        self._is_last_flush = False
        self._is_closed = False

    # --- what to do, and until when -----------------------------------------------------------

    def start(self) -> None:
        """
        Begin with the batches that an earlier process left on their way.
        """
        left = [
            batch
            for batch in self._store.unsettled()
            if self._only is None or batch.stream_id in self._only
        ]
        for batch in left:
            self._retry(batch, 0)
        if left:
            batches = counted(len(left), "batch")
            log.info("%s may have arrived before the restart: sent again", batches)
        for worker in self._workers:
            worker.start()

    def wake(self) -> None:
        """
        Something was stored: look whether it fills a batch.
        """
        self._woken.set()

    def run(self, stop: threading.Event) -> None:
        """
        Send every `delay_s`, and full batches at once, until `stop` is set.
        """
        while not stop.is_set():
            self._woken.wait(min(self._flush.pause_s(self._flush_s()), TURN_S))
            self._woken.clear()
            self._enqueue(everything=self._flush.is_due(self._flush_s()))

    def _flush_s(self) -> float:
        """
        At least so many seconds between two flushes: more where requests are throttled.
        """
        return self._brake.throttle.flush_s(len(self._names))

    def send_full_batches(self) -> None:
        """
        Send what needs no waiting.
        """
        self._enqueue(everything=False)

    def drain(
        self,
        *,
        give_up_s: float,
        stop: threading.Event,
        on_progress: Callable[[], None] = lambda: None,
    ) -> bool:
        """
        Send all that waits; False if something is left after `give_up_s` without a success, or at
        a stop. That the pace holds it up is no failure.
        """
        begin_s = time.monotonic()
        while not stop.is_set() and self._vain_s(begin_s) < give_up_s:
            is_known = self._enqueue(everything=True)
            on_progress()
            if not is_known:
                stop.wait(LOOK_S)
            elif self._is_idle():
                return True
            else:
                with self._changed:
                    self._changed.wait_for(self._is_idle, LOOK_S)
        return self._is_idle()

    def finish(self, budget_s: float) -> None:
        """
        One last try for all that waits, for at most `budget_s`; then nothing more is sent.
        """
        deadline_s = time.monotonic() + budget_s
        with self._changed:
            self._is_last_flush = True
            self._brake.let_go()
            self._retry_now(lambda _: True)
        self._enqueue(everything=True)
        with self._changed:
            while not self._is_over(deadline_s) and time.monotonic() < deadline_s:
                self._changed.wait(max(0.0, deadline_s - time.monotonic()))
            self._is_closed = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join(max(0.0, deadline_s - time.monotonic()))

    def _enqueue(self, *, everything: bool) -> bool:
        """
        Note what waits; False where the spool cannot be read.
        """
        try:
            queues = self._store.queues()
        except apsw.Error as error:
            self._trouble.begin("the queue", error)
            return False
        self._trouble.end("the queue")
        with self._changed:
            self._names = {queue.stream_id: f"{queue.group} {queue.stream}" for queue in queues}
            requests = sum(requests_for(q.events, q.message_bytes) for q in queues)
            self._note_waiting(requests + len(self._retries), not_full=len(queues))
            waiting = set(self._due) | self._parked()
            due = [
                queue.stream_id
                for queue in queues
                if queue.stream_id not in waiting
                and (self._only is None or queue.stream_id in self._only)
                and (everything or is_full(queue.events, queue.message_bytes))
            ]
            self._first.update((stream_id, True) for stream_id in due if stream_id in self._first)
            self._due.extend(stream_id for stream_id in due if stream_id not in self._first)
            self._changed.notify_all()
        return True

    def _note_waiting(self, requests: int, *, not_full: int) -> None:
        throttle = self._brake.throttle
        if throttle.full_requests and requests == not_full:
            self._flush.make_due()  # the rest of what waited long
        throttle.requests, throttle.full_requests = requests, requests - not_full

    def _is_idle(self) -> bool:
        with self._changed:
            return not (self._due or self._retries or self._in_flight)

    def _is_over(self, deadline_s: float) -> bool:
        """
        Whether nothing more can be sent before the deadline.
        """
        is_held = self._pace.free_s > deadline_s and not self._in_flight
        return is_held or self._is_idle()

    def _vain_s(self, begin_s: float) -> float:
        """
        How long nothing has got through since `begin_s`, though it might have.
        """
        with self._changed:
            since_s = max(begin_s, self._way.last_success_s, self._pace.held_until_s)
            return time.monotonic() - since_s

    def _parked(self) -> set[int]:
        """
        Streams with a batch that failed: what came later waits behind it.
        """
        return {retry.batch.stream_id for retry in self._retries}

    # --- one worker ---------------------------------------------------------------------------

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            try:
                again = self._deliver(batch)
                self._trouble.end("delivery")
            except apsw.Error as error:
                self._trouble.begin("delivery", error)
                again = [(batch, STORE_RETRY_S)]
            except Exception:  # whatever it is, the batch waits and the others go on
                log.exception("batch %d was not sent", batch.id)
                again = [(batch, BUG_RETRY_S)]
            with self._changed:
                del self._in_flight[batch.id]
                self._brake.ended(batch.id)
                if self._first.pop(batch.stream_id, False):
                    self._due.append(batch.stream_id)
                for part, pause_s in again:
                    self._retry(part, pause_s)
                self._changed.notify_all()

    def _next(self) -> Batch | None:
        with self._changed:
            while not self._is_closed:
                try:
                    batch = self._pick(time.monotonic())
                except apsw.Error as error:
                    self._trouble.begin("delivery", error)
                    self._changed.wait(STORE_RETRY_S)
                    continue
                if batch is not None:
                    self._note_sent(batch, time.monotonic())
                    return batch
                self._changed.wait(self._pause_s(time.monotonic()))
        return None

    def _note_sent(self, batch: Batch, now_s: float) -> None:
        self._in_flight[batch.id] = now_s
        self._brake.sent(batch.id, now_s)
        self._pace.sent(batch.bytes, now_s)

    def _pick(self, now_s: float) -> Batch | None:
        """
        The next batch to send, on record; None if there is none now.

        What failed goes first, but not while the brake is on: perhaps that one stream has put it
        on, and another gets through.
        """
        if self._may_send_s(now_s) != 0:
            return None
        if self._brake.is_on:
            return self._pick_due() or self._pick_retry(now_s)
        return self._pick_retry(now_s) or self._pick_due()

    def _pick_retry(self, now_s: float) -> Batch | None:
        if not self._retries or self._retries[0].due_s > now_s:
            return None
        batch = self._retries[0].batch
        self._store.note_attempt(batch)
        heapq.heappop(self._retries)
        return replace(batch, attempts=batch.attempts + 1)

    def _pick_due(self) -> Batch | None:
        parked = self._parked() | self._first.keys()
        while self._due:
            stream_id = self._due.popleft()
            try:
                taken = self._take(stream_id) if stream_id not in parked else None
            except apsw.Error:
                self._due.append(stream_id)
                raise
            if taken is not None:
                return taken
        return None

    def _take(self, stream_id: int) -> Batch | None:
        # a wrong clock, ours or one that some proxy shows, must reject nothing: the service will
        clocks = (now_ms(), self._endpoint.now_ms())
        oldest_ms, newest_ms = acceptable_ms(min(clocks))[0], acceptable_ms(max(clocks))[1]
        rejected = self._store.reject_outside(stream_id, oldest_ms=oldest_ms, newest_ms=newest_ms)
        if self._way.is_news(stream_id, "age", is_so=rejected > 0):
            name = self._names.get(stream_id, stream_id)
            told = counted(rejected, "event")
            log.warning("%s: %s rejected, too old or too new", name, told)
        events, size = self._store.waiting(stream_id)  # once it is taken, nothing may fail
        batch = self._store.take(stream_id, LIMITS, now_ms=now_ms())
        if batch is None:
            return None
        has_more = is_full(events - batch.events, size - batch.bytes)
        if stream_id not in self._known:
            self._first[stream_id] = has_more  # if there is no such stream, one request finds out
        elif has_more:
            self._due.append(stream_id)  # another worker may send the next one meanwhile
        return batch

    def _pause_s(self, now_s: float) -> float | None:
        """
        How long until there may be something to pick; None if that takes a notification.
        """
        may_send_s = self._may_send_s(now_s)
        if may_send_s is None or not (self._due or self._retries):
            return None
        if self._due:
            return may_send_s
        return max(may_send_s, self._retries[0].due_s - now_s)

    def _may_send_s(self, now_s: float) -> float | None:
        """
        How long until brake and pace let a request go; None if that takes a notification.
        """
        brake_s = self._brake.pause_s(now_s)
        return None if brake_s is None else max(brake_s, self._pace.pause_s(now_s))

    def _deliver(self, batch: Batch) -> list[tuple[Batch, float]]:
        """
        Send it; returns what is to be sent again, and after how many seconds.
        """
        try:
            receipt = self._put(batch)
        except DeliveryError as error:
            return self._failed(batch, error)
        self._settle(batch, receipt)
        try:
            self._succeeded(batch, receipt)
        except Exception:  # it has arrived and is on record: nothing may send it again
            log.exception("batch %d was sent", batch.id)
        return []

    def _settle(self, batch: Batch, receipt: Receipt) -> None:
        """
        Put on record what has arrived; a full disk is waited for, since to send it again would be
        to send it twice.
        """
        while True:
            try:
                self._store.settle(
                    batch, request_id=receipt.request_id, now_ms=now_ms(), refused=receipt.refused
                )
            except apsw.Error as error:
                if self._is_closed:
                    raise
                self._trouble.begin("delivery", error)
                time.sleep(STORE_RETRY_S)
            else:
                return

    def _put(self, batch: Batch) -> Receipt:
        text = self._store.log_events(batch)
        try:
            return self._endpoint.put(batch.group, batch.stream, text, events=batch.events)
        except DeliveryError as error:
            if error.action is not Action.CREATE:
                raise
        self._endpoint.create(batch.group, batch.stream)
        return self._endpoint.put(batch.group, batch.stream, text, events=batch.events)

    # --- what follows -------------------------------------------------------------------------

    def _succeeded(self, batch: Batch, receipt: Receipt) -> None:
        reasons = ", ".join(f"{end - start:,} {reason}" for start, end, reason in receipt.refused)
        log.debug("batch %d: %d events sent", batch.id, batch.events)
        with self._changed:
            self._pace.ended(is_failure=False)
            self._known.add(batch.stream_id)
            if self._way.is_news(batch.stream_id, "refused", is_so=bool(reasons)):
                log.warning(
                    "%s %s: of batch %d CloudWatch refused events: %s",
                    *(batch.group, batch.stream, batch.id, reasons),
                )
            if self._way.succeeded(batch, time.monotonic()):
                self._retry_now(lambda batch: not self._way.is_troubled(batch.stream_id))
                self._flush.make_due()
                self._woken.set()
        self._endpoint.tend(batch.group)

    def _failed(self, batch: Batch, error: DeliveryError) -> list[tuple[Batch, float]]:
        now = now_ms()
        with self._changed:
            self._pace.ended(is_failure=error.action is not Action.REFUSE)
        if error.action is Action.REFUSE:
            parts = self._store.split(batch, str(error), now_ms=now)
            if not parts:
                log.warning("%s %s: one event rejected: %s", batch.group, batch.stream, error)
            return [(part, 0.0) for part in parts]
        self._store.note_failure(batch, str(error), now_ms=now)
        with self._changed:
            pause_s = self._way.failed(
                batch, error, sent_s=self._in_flight[batch.id], now_s=time.monotonic()
            )
        if not self._is_last_flush:
            return [(batch, pause_s)]
        if error.is_general:  # it would go the same way for all: they are on record
            with self._changed:
                self._due.clear()
                self._retries.clear()
        return []

    def _retry(self, batch: Batch, pause_s: float) -> None:
        with self._changed:
            due_s = time.monotonic() + pause_s if pause_s else 0.0
            heapq.heappush(self._retries, _Retry(due_s, next(self._numbers), batch))
            self._changed.notify_all()

    def _retry_now(self, condition: Callable[[Batch], bool]) -> None:
        for retry in self._retries:
            if condition(retry.batch):
                retry.due_s = 0.0
        heapq.heapify(self._retries)
