"""
What Prometheus is told of an agent. Alone imports prometheus_client.

Comes in: the spool's totals at each scrape, and the requests as they end. Goes out: text. Always
holds: nothing is counted for each line, and no label comes from a container or from an answer: the
number of series is the same on every host. Per stream, `spool status --json` tells.

A counter never falls. `collected`, `dropped` and `skipped` are kept in the file and go on after a
restart. What is sent may be queued again by a replay, so `sent` is counted by the answers that this
process got, and begins at 0 with it; `rejected` and `unsent` are what is there now, and may fall.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Info,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from shipper.cloudwatch import Receipt
from shipper.delivery import Endpoint
from shipper.errors import DeliveryError
from spool import __version__
from spool.clock import now_ms
from spool.errors import SpoolUnusable
from spool.vitals import Totals, Vitals

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)
"""From a request to the next room to one that is given up (READ_TIMEOUT_S of service.py)."""

OUTCOMES = (
    "ok, or what the error asks for: wait (no way through, 5xx), slow_down (throttled), create (no"
    " such group or stream yet), renew (credentials have expired), operator (not allowed, for"
    " example), refuse (the batch is not taken as it is), bug"
)


class Metrics:
    """
    The metrics of one agent.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        Info("spool_build", "What runs.", registry=self._registry).info({"version": __version__})
        self._sent = Counter(
            "spool_sent_events",
            "Events that CloudWatch Logs has taken since this process began; an event that is sent"
            " again counts again.",
            registry=self._registry,
        )
        self._requests = Counter(
            "spool_requests",
            f"Requests that have ended since this process began, by outcome: {OUTCOMES}.",
            ["operation", "outcome"],
            registry=self._registry,
        )
        self._durations = Histogram(
            "spool_request_duration_seconds",
            "How long a PutLogEvents took to its answer, or to its failure, by the same outcomes.",
            ["outcome"],
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self._spool = _SpoolCollector()
        self._registry.register(self._spool)
        self._requests.labels("put", "ok")  # there from the start, so that its first one shows
        self._durations.labels("ok")

    def watch(self, vitals: Vitals | None) -> None:
        """
        Tell of this spool, too; of none as long as it is not open.
        """
        self._spool.vitals = vitals

    def measured(self, endpoint: Endpoint) -> Endpoint:
        """
        The same endpoint, whose requests are counted and timed.
        """
        return cast(Endpoint, _Measured(endpoint, self))

    def text(self) -> bytes:
        """
        All metrics as Prometheus reads them.
        """
        return generate_latest(self._registry)

    def note_request(self, operation: str, outcome: str, seconds: float) -> None:
        """
        A request has ended.
        """
        self._requests.labels(operation, outcome).inc()
        if operation == "put":
            self._durations.labels(outcome).observe(seconds)

    def note_sent(self, events: int, receipt: Receipt) -> None:
        """
        A batch of so many events was taken, but for what the receipt says.
        """
        self._sent.inc(events - sum(end - start for start, end, _ in receipt.refused))


class _Measured:
    """
    An endpoint with a clock; what it does not know it passes on.
    """

    def __init__(self, endpoint: Endpoint, metrics: Metrics) -> None:
        self._endpoint = endpoint
        self._metrics = metrics

    def __getattr__(self, name: str) -> Any:
        return getattr(self._endpoint, name)

    def put(self, *batch: str, events: int) -> Receipt:
        with _Timing(self._metrics, "put"):
            receipt = self._endpoint.put(*batch, events=events)
        self._metrics.note_sent(events, receipt)
        return receipt

    def create(self, *names: Any, **settings: Any) -> None:
        with _Timing(self._metrics, "create"):
            self._endpoint.create(*names, **settings)


class _Timing:
    """
    Around one request.
    """

    def __init__(self, metrics: Metrics, operation: str) -> None:
        self._metrics = metrics
        self._operation = operation

    def __enter__(self) -> None:
        self._begun_s = time.perf_counter()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        seconds = time.perf_counter() - self._begun_s
        self._metrics.note_request(self._operation, _outcome(error), seconds)


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    return error.action.name.lower() if isinstance(error, DeliveryError) else "bug"


class _SpoolCollector(Collector):
    """
    The spool's own counts, read when they are asked for.
    """

    def __init__(self) -> None:
        self.vitals: Vitals | None = None

    def collect(self) -> Iterator[Metric]:
        vitals = self.vitals
        totals = _totals(vitals) if vitals else None
        if vitals and totals:
            yield from _counters(totals)
            yield from _gauges(totals, now_ms())
        is_up = totals is not None
        yield GaugeMetricFamily("spool_up", "1 where the spool can be read, else 0.", is_up)
        sizes = GaugeMetricFamily("spool_file_bytes", "The spool's size on disk.", labels=["part"])
        for part, size_bytes in vitals.sizes().items() if vitals else ():
            sizes.add_metric([part], size_bytes)
        yield sizes


def _totals(vitals: Vitals) -> Totals | None:
    try:
        return vitals.totals()
    except SpoolUnusable:
        return None


def _counters(totals: Totals) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "spool_collected_events", "Events stored, ever.", value=totals.collected
    )
    yield CounterMetricFamily(
        "spool_dropped_events",
        "Unsent events deleted to stay below --max-size, ever.",
        value=totals.dropped,
    )
    skipped = CounterMetricFamily(
        "spool_skipped_records", "What never became an event, ever.", labels=["reason"]
    )
    for reason, count in totals.skipped.items():
        skipped.add_metric([reason], count)
    yield skipped


def _gauges(totals: Totals, now_ms: int) -> Iterator[Metric]:
    for name, meaning, value in (
        (
            "rejected_events",
            "Events kept because CloudWatch Logs refused them for good; a replay may queue them"
            " again.",
            totals.rejected,
        ),
        ("unsent_events", "Events that wait or are on their way.", totals.unsent),
        ("unsent_bytes", "The bytes of their messages.", totals.unsent_bytes),
        (
            "oldest_unsent_age_seconds",
            "How long ago the oldest of them happened, 0 where there is none.",
            totals.oldest_unsent_age_s(now_ms),
        ),
    ):
        yield GaugeMetricFamily(f"spool_{name}", meaning, value=value)
