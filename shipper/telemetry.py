"""
An agent's pages for monitors: /metrics for Prometheus, /healthz for those who would send it work or
somebody to look, /livez for those who would restart it.

Comes in: an address. Goes out: a server there, until the process ends: also while a damaged spool
is rescued, which may take long and must not be cut short. It is imported only where `--metrics`
asks for it: what it takes nobody else pays.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from http import HTTPStatus

from shipper.delivery import Endpoint
from shipper.durations import parse_duration
from shipper.health import Health, Report
from shipper.metrics import CONTENT_TYPE, Metrics
from shipper.pages import Address, Answer, PageServer
from spool.vitals import Vitals

__all__ = ["Telemetry"]

log = logging.getLogger(__name__)

JSON = "application/json"
MAX_LAG = "max_lag"


class Telemetry:
    """
    Answers from the moment it is made; of an agent it tells from `watch` to the next `prepare`.

    Raises `CannotListen`.
    """

    def __init__(self, address: Address) -> None:
        self._server = PageServer(address)
        self._metrics = Metrics()
        self._health: Health | None = None
        self._status = "starting"
        pages = {"/metrics": self._metrics_page, "/healthz": self._health_page}
        self._server.start({**pages, "/livez": self._life_page})
        log.info("metrics on %s/metrics", self._server.url)
        if self._server.is_public:
            log.warning("metrics can be read from other hosts: --metrics says so")

    def measured(self, endpoint: Endpoint) -> Endpoint:
        """
        The same endpoint, whose requests are counted and timed.
        """
        return self._metrics.measured(endpoint)

    def prepare(self, status: str) -> None:
        """
        From now on there is no agent, as `status` says, and it takes as long as it takes. To be
        called before a store that was watched is closed.
        """
        self._health, self._status = None, status
        self._metrics.watch(None)

    def watch(self, vitals: Vitals, health: Health) -> None:
        """
        There is an agent: tell of it from now on.
        """
        self._metrics.watch(vitals)
        self._health = health

    def close(self) -> None:
        """
        Answer no more.
        """
        self._server.close()

    def _metrics_page(self, _: Mapping[str, str]) -> Answer:
        return Answer(HTTPStatus.OK, self._metrics.text(), CONTENT_TYPE)

    def _life_page(self, _: Mapping[str, str]) -> Answer:
        """
        200 where a restart would mend nothing.
        """
        health = self._health
        return _told(Report(health.why_not_running() if health else None))

    def _health_page(self, query: Mapping[str, str]) -> Answer:
        """
        200 where all is well.
        """
        unknown = query.keys() - {MAX_LAG}
        if unknown:
            return Answer(HTTPStatus.BAD_REQUEST, b"the one parameter is max_lag=15m\n")
        try:
            max_lag_ms = parse_duration(query[MAX_LAG]) if MAX_LAG in query else None
        except ValueError as error:
            return Answer(HTTPStatus.BAD_REQUEST, f"max_lag: {error}\n".encode())
        health = self._health
        return _told(health.report(max_lag_ms=max_lag_ms) if health else Report(self._status))


def _told(report: Report) -> Answer:
    """
    503 where there is a reason.
    """
    status = HTTPStatus.SERVICE_UNAVAILABLE if report.reason else HTTPStatus.OK
    fields = {"status": "failing" if report.reason else "ok", **asdict(report)}
    known = {name: value for name, value in fields.items() if value is not None}
    return Answer(status, json.dumps(known).encode() + b"\n", JSON)
