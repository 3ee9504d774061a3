"""
Unsent -> sent: several batches at a time, and what follows from an answer.

Comes in: what waits in the store. Goes out: legal requests, several at a time. Always holds: a
batch is on record before its request goes out, and its events are sent only once a 200 came back;
until then the very same batch is sent again, also by the next process.

Every `delay_s` all that waits is sent, and a full batch at once. When nothing can succeed (no
network, no credentials) one request probes for all, and once there is a way through all goes at
once; when one stream is refused the others go on.

One lock is held wherever lineup, way or pace are used, also while the lineup takes a batch from the
store; none is during a request, or while an answer is put on record.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Container

import apsw

from shipper.backoff import Pace
from shipper.brake import Brake
from shipper.cloudwatch import Receipt
from shipper.delivery import STORE_RETRY_S, Delivery, Endpoint
from shipper.errors import Action, DeliveryError
from shipper.lineup import Lineup
from shipper.trouble import Trouble
from shipper.way import Way
from spool.clock import now_ms
from spool.store import Batch, Store
from spool.wording import counted

__all__ = ["GIVE_UP_S", "Uploader"]

log = logging.getLogger(__name__)

BUG_RETRY_S = 60.0  # for what nobody has thought of

GIVE_UP_S = 20.0
"""To drain for so long without a success is enough; what is left stays for the next run."""

LOOK_S = 0.05
"""How often a drain looks for what was stored meanwhile."""

TURN_S = 10.0
"""So often it turns at least, however long DELAY is: one that does not is stuck."""


class Uploader:
    """
    Sends what waits in `store`, with up to `concurrency` requests at a time: as many threads ask
    the lineup for the next batch, and tell it and the way what came of it.

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
        self._trouble = trouble or Trouble(
            log, begins="the spool cannot be used now: %s", ends="the spool can be used again"
        )
        self._workers = [
            threading.Thread(target=self._work, name=f"upload-{number}", daemon=True)
            for number in range(concurrency)
        ]
        self._woken = threading.Event()
        self._closed = threading.Event()
        self._delivery = Delivery(store, endpoint, self._trouble, self._closed)
        brake = Brake()
        self._changed = threading.Condition()
        """Whose lock it is for the next three; notified when a batch may go, or has ended."""
        self._pace = pace or Pace()
        self._way = Way(brake)
        self._lineup = Lineup(
            store,
            brake,
            self._pace,
            self._way,
            delay_s=delay_s,
            service_now_ms=endpoint.now_ms,
            only=only,
        )
        self._is_last_flush = False
        self.notes = self._way.notes
        """What is the matter with all streams, for `spool status`."""

    # --- what to do, and until when -----------------------------------------------------------

    def start(self) -> None:
        """
        Begin with the batches that an earlier process left on their way.
        """
        with self._changed:
            left = self._lineup.resume()
        if left:
            log.info("%s may have arrived before the restart: sent again", counted(left, "batch"))
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
            with self._changed:
                pause_s = self._lineup.flush_pause_s()
            self._woken.wait(min(pause_s, TURN_S))
            self._woken.clear()
            with self._changed:
                is_due = self._lineup.is_flush_due()
            self._look(everything=is_due)

    def send_full_batches(self) -> None:
        """
        Send what needs no waiting.
        """
        self._look(everything=False)

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
            is_known = self._look(everything=True)
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
            self._lineup.hurry()
        self._look(everything=True)
        with self._changed:
            while not self._lineup.is_over(deadline_s) and time.monotonic() < deadline_s:
                self._changed.wait(max(0.0, deadline_s - time.monotonic()))
            self._closed.set()
            self._changed.notify_all()
        for worker in self._workers:
            worker.join(max(0.0, deadline_s - time.monotonic()))

    def _look(self, *, everything: bool) -> bool:
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
            self._lineup.note(queues, everything=everything)
            self._changed.notify_all()
        return True

    def _is_idle(self) -> bool:
        with self._changed:
            return self._lineup.is_idle()

    def _vain_s(self, begin_s: float) -> float:
        """
        How long nothing has got through since `begin_s`, though it might have.
        """
        with self._changed:
            since_s = max(begin_s, self._way.last_success_s, self._pace.held_until_s)
            return time.monotonic() - since_s

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
                self._lineup.ended(batch, again)
                self._changed.notify_all()

    def _next(self) -> Batch | None:
        with self._changed:
            while not self._closed.is_set():
                try:
                    batch = self._lineup.next()
                except apsw.Error as error:
                    self._trouble.begin("delivery", error)
                    self._changed.wait(STORE_RETRY_S)
                    continue
                if batch is not None:
                    return batch
                self._changed.wait(self._lineup.pause_s())
        return None

    def _deliver(self, batch: Batch) -> list[tuple[Batch, float]]:
        """
        Send it; returns what is to be sent again, and after how many seconds.
        """
        try:
            receipt = self._delivery.send(batch)
        except DeliveryError as error:
            return self._failed(batch, error)
        try:
            self._succeeded(batch, receipt)
        except Exception:  # it has arrived and is on record: nothing may send it again
            log.exception("batch %d was sent", batch.id)
        return []

    # --- what follows -------------------------------------------------------------------------

    def _succeeded(self, batch: Batch, receipt: Receipt) -> None:
        reasons = ", ".join(f"{end - start:,} {reason}" for start, end, reason in receipt.refused)
        log.debug("batch %d: %d events sent", batch.id, batch.events)
        with self._changed:
            self._pace.ended(is_failure=False)
            self._lineup.note_existing(batch.stream_id)
            if self._way.is_news(batch.stream_id, "refused", is_so=bool(reasons)):
                log.warning(
                    "%s %s: of batch %d CloudWatch refused events: %s",
                    *(batch.group, batch.stream, batch.id, reasons),
                )
            if self._way.succeeded(batch, time.monotonic()):
                self._lineup.go_on()
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
                batch, error, sent_s=self._lineup.sent_s(batch), now_s=time.monotonic()
            )
        if not self._is_last_flush:
            return [(batch, pause_s)]
        if error.is_general:  # it would go the same way for all: they are on record
            with self._changed:
                self._lineup.give_up()
        return []
