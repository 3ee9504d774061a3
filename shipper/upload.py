"""
Unsent events -> batch -> PutLogEvents -> settled.

Comes in: what waits in the store. Goes out: legal requests, several at a time. Always holds: a
batch is on record before its request goes out, and its events are sent only once a 200 came back;
until then the very same batch is sent again, also by the next process.

Every `delay_s` all that waits is sent, and a full batch at once. When nothing can succeed (no
network, no credentials) one request probes for all; when one stream is refused the others go on.
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

from shipper.backoff import Backoff, Every, Pace
from shipper.batch import LIMITS, acceptable_ms, is_full
from shipper.cloudwatch import Action, DeliveryError, Receipt
from shipper.trouble import Trouble
from spool.store import Batch, Store

__all__ = ["Endpoint", "Uploader"]

log = logging.getLogger(__name__)

OUTAGE_FIRST_S = 0.2
OUTAGE_CAP_S = 2.0
"""One host sends one request so often while there is no way through: cheap, and soon noticed."""

STREAM_FIRST_S = 1.0
STREAM_CAP_S = 60.0
"""For a stream that somebody has to mend."""

STORE_RETRY_S = 1.0


class Endpoint(Protocol):
    """
    Where batches go.
    """

    def put(self, group: str, stream: str, log_events: str, *, events: int) -> Receipt: ...

    def create(self, group: str, stream: str) -> None: ...

    def renew(self) -> None: ...


@dataclass(order=True, slots=True)
class _Retry:
    due_s: float
    number: int
    batch: Batch = field(compare=False)


def now_ms() -> int:
    """
    The present, in ms since the epoch.
    """
    return time.time_ns() // 1_000_000


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
        self._delay_s = delay_s
        self._only = only
        self._pace = pace
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
        self._in_flight: set[int] = set()
        self._probe: int | None = None
        self._outage = Backoff(OUTAGE_FIRST_S, OUTAGE_CAP_S)
        self._outage_until_s: float | None = None
        self._troubled: dict[int, Backoff] = {}
        self._last_success_s = time.monotonic()
        self._is_last_flush = False
        self._is_closed = False

    # --- what to do, and until when -----------------------------------------------------------

    def start(self) -> None:
        """
        Begin with the batches that an earlier process left on their way.
        """
        for batch in self._store.unsettled():
            if self._only is not None and batch.stream_id not in self._only:
                continue
            log.info("sending batch %d again: it may have arrived before the restart", batch.id)
            self._retry(batch, 0)
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
        flush = Every(self._delay_s)
        while not stop.is_set():
            self._woken.wait(flush.pause_s())
            self._woken.clear()
            self._enqueue(everything=flush.is_due())

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
        a stop.
        """
        self._last_success_s = time.monotonic()
        while not stop.is_set() and time.monotonic() - self._last_success_s < give_up_s:
            is_known = self._enqueue(everything=True)
            on_progress()
            if is_known and self._is_idle():
                return True
            with self._changed:
                self._changed.wait(0.05)
        return self._is_idle()

    def finish(self, budget_s: float) -> None:
        """
        One last try for all that waits, for at most `budget_s`; then nothing more is sent.
        """
        deadline_s = time.monotonic() + budget_s
        with self._changed:
            self._is_last_flush = True
            if self._outage_until_s is not None:
                self._outage_until_s = 0.0
            self._retry_now(lambda _: True)
        self._enqueue(everything=True)
        with self._changed:
            while not self._is_idle() and time.monotonic() < deadline_s:
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
            waiting = set(self._due) | self._parked()
            self._due.extend(
                queue.stream_id
                for queue in queues
                if queue.stream_id not in waiting
                and (self._only is None or queue.stream_id in self._only)
                and (everything or is_full(queue.events, queue.message_bytes))
            )
            self._changed.notify_all()
        return True

    def _is_idle(self) -> bool:
        with self._changed:
            return not (self._due or self._retries or self._in_flight)

    def _parked(self) -> set[int]:
        """
        Streams with a batch that failed: what came later waits behind it.
        """
        return {retry.batch.stream_id for retry in self._retries}

    # --- one worker ---------------------------------------------------------------------------

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            try:
                self._deliver(batch)
                self._trouble.end("delivery")
            except apsw.Error as error:
                self._trouble.begin("delivery", error)
                self._retry(batch, STORE_RETRY_S)
            except Exception:  # whatever it is, the batch waits and the others go on
                log.exception("batch %d was not sent", batch.id)
                self._retry(batch, STREAM_CAP_S)
            finally:
                with self._changed:
                    self._in_flight.discard(batch.id)
                    if self._probe == batch.id:
                        self._probe = None
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
                    self._in_flight.add(batch.id)
                    self._probe = batch.id if self._outage_until_s is not None else None
                    return batch
                self._changed.wait(self._pause_s(time.monotonic()))
        return None

    def _pick(self, now_s: float) -> Batch | None:
        """
        The next batch to send, on record; None if there is none now.
        """
        if self._outage_until_s is not None and (self._probe or now_s < self._outage_until_s):
            return None
        if self._retries and self._retries[0].due_s <= now_s:
            batch = heapq.heappop(self._retries).batch
            try:
                self._store.note_attempt(batch)
            except apsw.Error:
                self._retry(batch, STORE_RETRY_S)
                raise
            return replace(batch, attempts=batch.attempts + 1)
        parked = self._parked()
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
        now = now_ms()
        oldest_ms, newest_ms = acceptable_ms(now)
        rejected = self._store.reject_outside(stream_id, oldest_ms=oldest_ms, newest_ms=newest_ms)
        if rejected:
            log.warning("stream %d: %d events rejected, too old or too new", stream_id, rejected)
        events, size = self._store.waiting(stream_id)  # once it is taken, nothing may fail
        batch = self._store.take(stream_id, LIMITS, now_ms=now)
        if batch is not None and is_full(events - batch.events, size - batch.bytes):
            self._due.append(stream_id)  # another worker may send the next one meanwhile
        return batch

    def _pause_s(self, now_s: float) -> float | None:
        """
        How long until there may be something to pick; None if that takes a notification.
        """
        times = [retry.due_s for retry in self._retries[:1]]
        if self._outage_until_s is not None:
            is_open = not self._probe and (times or self._due)
            times = [max([self._outage_until_s, *times])] if is_open else []
        return max(0.0, min(times) - now_s) if times else None

    def _deliver(self, batch: Batch) -> None:
        try:
            receipt = self._put(batch)
        except DeliveryError as error:
            self._failed(batch, error)
        else:
            self._settle(batch, receipt)
            self._succeeded(batch, receipt)

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
        if self._pace:
            self._pace.wait(batch.bytes)
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
        for start, end, reason in receipt.refused:
            log.warning("batch %d: CloudWatch refused %d events: %s", batch.id, end - start, reason)
        log.debug("batch %d: %d events sent", batch.id, batch.events)
        with self._changed:
            self._last_success_s = time.monotonic()
            if self._outage_until_s is not None:
                log.info("CloudWatch Logs takes lines again")
                self._outage_until_s = None
                self._outage.reset()
                self._retry_now(lambda batch: batch.stream_id not in self._troubled)
            if self._troubled.pop(batch.stream_id, None):
                log.info("%s %s is delivered again", batch.group, batch.stream)

    def _failed(self, batch: Batch, error: DeliveryError) -> None:
        now = now_ms()
        if error.action is Action.REFUSE:
            parts = self._store.split(batch, str(error), now_ms=now)
            if not parts:
                log.warning("%s %s: one event rejected: %s", batch.group, batch.stream, error)
            for part in parts:
                self._retry(part, 0)
            return
        self._store.note_failure(batch, str(error), now_ms=now)
        if error.action is Action.RENEW:
            self._endpoint.renew()
        pause_s = self._brake(batch, error)
        if not self._is_last_flush:
            self._retry(batch, pause_s)
        elif error.is_general:  # it would go the same way for all: they are on record
            with self._changed:
                self._due.clear()
                self._retries.clear()

    def _brake(self, batch: Batch, error: DeliveryError) -> float:
        """
        Seconds until this batch may be sent again; says so when trouble begins.
        """
        with self._changed:
            if error.is_general:
                if self._outage_until_s is None:
                    log.warning("CloudWatch Logs takes nothing now, lines are kept: %s", error)
                pause_s = self._outage.next_s()
                self._outage_until_s = time.monotonic() + pause_s
                return pause_s
            if batch.stream_id not in self._troubled:
                log.warning("%s %s is not delivered: %s", batch.group, batch.stream, error)
                self._troubled[batch.stream_id] = Backoff(STREAM_FIRST_S, STREAM_CAP_S)
            return self._troubled[batch.stream_id].next_s()

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
