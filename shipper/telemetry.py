"""
An agent's pages for monitors: /metrics for Prometheus, /healthz for those who would restart it.

Comes in: an address. Goes out: a server there, from before the agent starts until it has stopped.
It is imported only where `--metrics` asks for it: what it takes nobody else pays.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from http import HTTPStatus

from shipper.durations import parse_duration
from shipper.health import Health
from shipper.metrics import CONTENT_TYPE, Metrics
from shipper.pages import Address, Answer, PageServer
from shipper.upload import Endpoint
from spool.vitals import Vitals

__all__ = ["Telemetry"]

log = logging.getLogger(__name__)

JSON = "application/json"
MAX_LAG = "max_lag"


class Telemetry:
    """
    Listens from the moment it is made. `close` it before the store is closed.

    Raises `CannotListen`.
    """

    def __init__(self, address: Address) -> None:
        self._server = PageServer(address)
        self._metrics = Metrics()

    def measured(self, endpoint: Endpoint) -> Endpoint:
        """
        The same endpoint, whose requests are counted and timed.
        """
        return self._metrics.measured(endpoint)

    def start(self, vitals: Vitals, health: Health) -> None:
        """
        Answer from now on.
        """
        self._metrics.watch(vitals)
        self._server.start({"/metrics": self._show_metrics, "/healthz": _HealthPage(health)})
        log.info("metrics on %s/metrics", self._server.url)
        if self._server.is_public:
            log.warning("metrics can be read from other hosts: --metrics says so")

    def close(self) -> None:
        """
        Answer no more; may be called twice.
        """
        self._server.close()

    def _show_metrics(self, _: Mapping[str, str]) -> Answer:
        return Answer(HTTPStatus.OK, self._metrics.text(), CONTENT_TYPE)


class _HealthPage:
    """
    200 where the agent is well, else 503 with the reason.
    """

    def __init__(self, health: Health) -> None:
        self._health = health

    def __call__(self, query: Mapping[str, str]) -> Answer:
        unknown = query.keys() - {MAX_LAG}
        if unknown:
            return Answer(HTTPStatus.BAD_REQUEST, b"the one parameter is max_lag=15m\n")
        try:
            max_lag_ms = parse_duration(query[MAX_LAG]) if MAX_LAG in query else None
        except ValueError as error:
            return Answer(HTTPStatus.BAD_REQUEST, f"max_lag: {error}\n".encode())
        report = self._health.report(max_lag_ms=max_lag_ms)
        status = HTTPStatus.SERVICE_UNAVAILABLE if report.reason else HTTPStatus.OK
        fields = {"status": "failing" if report.reason else "ok", **asdict(report)}
        told = {name: value for name, value in fields.items() if value is not None}
        return Answer(status, json.dumps(told).encode() + b"\n", JSON)
