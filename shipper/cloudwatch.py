"""
Amazon CloudWatch Logs, as far as we need it: PutLogEvents, and what it takes to get there.

Comes in: a batch as JSON text. Goes out: a receipt, or a `DeliveryError` that says what to do
next. Always holds: of an event nothing is looked at here; the text is compressed and sent.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from isal import igzip
from msgspec import json

from shipper.errors import Action, DeliveryError
from shipper.service import Answer, Service
from spool.store import EXPIRED, TOO_NEW, TOO_OLD

__all__ = ["GROUP_CLASSES", "RETENTION_DAYS", "CloudWatch", "Receipt"]

log = logging.getLogger(__name__)

GZIP_LEVEL = 1

RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827),
    *(2192, 2557, 2922, 3288, 3653),
)
"""https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html"""

GROUP_CLASSES = ("STANDARD", "INFREQUENT_ACCESS", "DELIVERY", "ESSENTIALS")
"""https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html"""

RETENTION_RETRY_S = 600.0
"""PutRetentionPolicy may be called five times a second, by all hosts of an account together."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """
    CloudWatch has answered 200: it has the batch, but for the ranges (first index, end index,
    reason) in `refused`.
    """

    request_id: str
    refused: tuple[tuple[int, int, str], ...]


class CloudWatch:
    """
    The service in one region. Its methods may be called from any thread.
    """

    def __init__(
        self,
        region: str,
        *,
        connections: int,
        use_gzip: bool = True,
        retention_days: int | None = None,
        group_class: str | None = None,
    ) -> None:
        self._service = Service(region, connections=connections)
        self._use_gzip = use_gzip
        self._retention_days = retention_days
        self._group_options = {} if group_class is None else {"logGroupClass": group_class}
        self._tended_until_s: dict[str, float] = {}

    def put(self, group: str, stream: str, log_events: str, *, events: int) -> Receipt:
        """
        One PutLogEvents; `log_events` is the JSON array of its `events` events.

        Raises `DeliveryError`.
        """
        body = b'{"logGroupName":%b,"logStreamName":%b,"logEvents":%b}' % (
            json.encode(group),
            json.encode(stream),
            log_events.encode(),
        )
        if self._use_gzip:
            body = igzip.compress(body, GZIP_LEVEL)
        answer = self._service.call("PutLogEvents", body, is_gzip=self._use_gzip)
        refused = _refused(answer.fields.get("rejectedLogEventsInfo") or {}, events)
        return Receipt(answer.request_id, refused)

    def create(self, group: str, stream: str) -> None:
        """
        Make the stream, and the group if that is missing too; both may be there already.

        Raises `DeliveryError`.
        """
        try:
            self._ask("CreateLogStream", logGroupName=group, logStreamName=stream)
        except DeliveryError as error:
            if error.action is not Action.CREATE:
                raise
            made = self._ask("CreateLogGroup", logGroupName=group, **self._group_options)
            if not made.was_there:
                log.info("created log group %s", group)
            self._tended_until_s.pop(group, None)
            self._ask("CreateLogStream", logGroupName=group, logStreamName=stream)

    def tend(self, group: str) -> None:
        """
        See that the group keeps its events for `retention_days`, where these were asked for; once
        a group. What goes wrong is logged, and tried again after ten minutes.
        """
        if self._retention_days is None or time.monotonic() < self._tended_until_s.get(group, 0):
            return
        self._tended_until_s[group] = time.monotonic() + RETENTION_RETRY_S
        try:
            if self._retention_of(group) != self._retention_days:
                days = self._retention_days
                self._ask("PutRetentionPolicy", logGroupName=group, retentionInDays=days)
                log.info("%s keeps events for %d days now", group, self._retention_days)
        except DeliveryError as error:
            log.warning("%s: its retention is not set: %s", group, error)
        else:
            self._tended_until_s[group] = float("inf")

    def now_ms(self) -> int:
        """
        The present as the service sees it, in ms since the epoch.
        """
        return self._service.now_ms()

    def _retention_of(self, group: str) -> int | None:
        """
        The group's days; None where it has none, or where nobody lets us look.
        """
        try:
            answer = self._ask("DescribeLogGroups", logGroupNamePrefix=group, limit=1)
        except DeliveryError as error:
            if error.action is not Action.OPERATOR:
                raise
            return None
        # in the order of names, so the group itself comes before those that begin like it
        found = answer.fields.get("logGroups") or []
        return next(
            (known.get("retentionInDays") for known in found if known.get("logGroupName") == group),
            None,
        )

    def _ask(self, operation: str, **parameters: str | int) -> Answer:
        return self._service.call(operation, json.encode(parameters))


def _refused(info: dict[str, int], events: int) -> tuple[tuple[int, int, str], ...]:
    """
    The ranges of a batch that were not taken
    (https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_RejectedLogEventsInfo.html):
    ends are exclusive, the start is inclusive.
    """
    too_old = min(info.get("tooOldLogEventEndIndex", 0), events)
    expired = min(info.get("expiredLogEventEndIndex", 0), events)
    too_new = max(info.get("tooNewLogEventStartIndex", events), too_old, expired)
    ranges = (
        (0, too_old, TOO_OLD),
        (too_old, expired, EXPIRED),
        (too_new, events, TOO_NEW),
    )
    return tuple(part for part in ranges if part[0] < part[1])
