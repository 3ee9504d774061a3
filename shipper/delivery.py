"""
One batch -> PutLogEvents -> settled.

Comes in: a batch on record. Goes out: what CloudWatch answered, on record as well. Always holds:
the events are sent only once a 200 came back, and what has arrived is not sent again because that
cannot be put on record now.
"""

from __future__ import annotations

import threading
from typing import Protocol

import apsw

from shipper.cloudwatch import Receipt
from shipper.errors import Action, DeliveryError
from shipper.trouble import Trouble
from spool.clock import now_ms
from spool.store import Batch, Store

__all__ = ["STORE_RETRY_S", "Delivery", "Endpoint"]

STORE_RETRY_S = 1.0


class Endpoint(Protocol):
    """
    Where batches go.
    """

    def put(self, group: str, stream: str, log_events: str, *, events: int) -> Receipt: ...

    def create(self, group: str, stream: str) -> None: ...

    def tend(self, group: str) -> None: ...

    def now_ms(self) -> int: ...


class Delivery:
    """
    Sends batches of `store` to `endpoint`, from any thread. Once `closed` is set it waits for
    nothing.
    """

    def __init__(
        self, store: Store, endpoint: Endpoint, trouble: Trouble, closed: threading.Event
    ) -> None:
        self._store = store
        self._endpoint = endpoint
        self._trouble = trouble
        self._closed = closed

    def send(self, batch: Batch) -> Receipt:
        """
        Send it, to a stream that is made if it is missing; on return it is durably settled.

        Raises `DeliveryError` where CloudWatch did not take it, and apsw.Error.
        """
        receipt = self._put(batch)
        self._settle(batch, receipt)
        return receipt

    def _put(self, batch: Batch) -> Receipt:
        text = self._store.log_events(batch)
        try:
            return self._endpoint.put(batch.group, batch.stream, text, events=batch.events)
        except DeliveryError as error:
            if error.action is not Action.CREATE:
                raise
        self._endpoint.create(batch.group, batch.stream)
        return self._endpoint.put(batch.group, batch.stream, text, events=batch.events)

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
                if self._closed.is_set():
                    raise
                self._trouble.begin("delivery", error)
                self._closed.wait(STORE_RETRY_S)
            else:
                return
