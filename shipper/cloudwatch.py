"""
Amazon CloudWatch Logs, as far as we need it: PutLogEvents, and what it takes to get there.

Comes in: a batch as JSON text. Goes out: a receipt, or a `DeliveryError` that says what to do
next. Alone imports boto3. Always holds: an error's text has no message, credential or
environment value in it.

boto3 would check and write every event in Python. It is given the body ready made instead, just
before it signs the request; its credentials, endpoints, proxies and signing stay.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any

import boto3
import botocore
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, IncompleteReadError
from botocore.parsers import ResponseParserError
from isal import igzip
from msgspec import DecodeError, json

from shipper.answers import Translated, clock_offset_ms
from shipper.errors import Action, DeliveryError
from spool import __version__
from spool.store import EXPIRED, TOO_NEW, TOO_OLD

__all__ = ["GROUP_CLASSES", "RETENTION_DAYS", "CloudWatch", "Receipt", "configured_region"]

log = logging.getLogger(__name__)

USER_AGENT = f"spool/{__version__} boto3/{boto3.__version__} botocore/{botocore.__version__}"

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 20
"""A request that was not answered by then is sent again, and may arrive twice."""

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

CLOCK_TOLERANCE_MS = 60_000
"""A clock that is wrong by less is taken for right: an answer takes a while, too."""


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
        self._region = region
        self._use_gzip = use_gzip
        self._retention_days = retention_days
        self._group_options = {} if group_class is None else {"logGroupClass": group_class}
        self._config = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"total_max_attempts": 1},  # the uploader retries, and counts
            max_pool_connections=connections,
            parameter_validation=False,
            tcp_keepalive=True,
            user_agent=USER_AGENT,  # given, it is not put together anew for each request
        )
        self._body = threading.local()
        self._client: Any = None
        self._client_lock = threading.Lock()
        self._tended_until_s: dict[str, float] = {}
        self._clock_offset_ms = 0

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
        self._body.value = igzip.compress(body, GZIP_LEVEL) if self._use_gzip else body
        answer = self._call("PutLogEvents", logGroupName=group, logStreamName=stream, logEvents=[])
        return Receipt(
            request_id=answer["ResponseMetadata"].get("RequestId", ""),
            refused=_refused(answer.get("rejectedLogEventsInfo") or {}, events),
        )

    def create(self, group: str, stream: str) -> None:
        """
        Make the stream, and the group if that is missing too; both may be there already.

        Raises `DeliveryError`.
        """
        try:
            self._call("CreateLogStream", logGroupName=group, logStreamName=stream)
        except DeliveryError as error:
            if error.action is not Action.CREATE:
                raise
            if self._call("CreateLogGroup", logGroupName=group, **self._group_options) is not None:
                log.info("created log group %s", group)
            self._tended_until_s.pop(group, None)
            self._call("CreateLogStream", logGroupName=group, logStreamName=stream)

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
                self._call(
                    "PutRetentionPolicy",
                    logGroupName=group,
                    retentionInDays=self._retention_days,
                )
                log.info("%s keeps events for %d days now", group, self._retention_days)
        except DeliveryError as error:
            log.warning("%s: its retention is not set: %s", group, error)
        else:
            self._tended_until_s[group] = float("inf")

    def now_ms(self) -> int:
        """
        The present as the service sees it, in ms since the epoch: this host's, until an answer
        shows that its clock is wrong.
        """
        return time.time_ns() // 1_000_000 + self._clock_offset_ms

    def _retention_of(self, group: str) -> int | None:
        """
        The group's days; None where it has none, or where nobody lets us look.
        """
        try:
            answer = self._call("DescribeLogGroups", logGroupNamePrefix=group, limit=1)
        except DeliveryError as error:
            if error.action is not Action.OPERATOR:
                raise
            return None
        # in the order of names, so the group itself comes before those that begin like it
        found = [known for known in answer["logGroups"] if known["logGroupName"] == group]
        return found[0].get("retentionInDays") if found else None

    def _call(self, operation: str, **parameters: Any) -> Any:
        """
        The answer; None where something was to be made that is there already.

        Raises `DeliveryError`.
        """
        client = None
        try:
            with Translated(operation):
                client = self._connected()
                try:
                    return getattr(client, xform_name(operation))(**parameters)
                except ClientError as error:
                    if error.response["Error"].get("Code") != "ResourceAlreadyExistsException":
                        raise
                    return None
        except DeliveryError as error:
            if error.action is Action.RENEW or (
                error.action is Action.OPERATOR and error.is_general
            ):
                self._forget(client)
            raise

    def _forget(self, client: Any) -> None:
        """
        Forget session and credentials of the client that failed; the next request looks for them
        anew.
        """
        with self._client_lock:
            if self._client is client:
                self._client = None

    def _connected(self) -> Any:
        with self._client_lock:
            if self._client is None:
                client = boto3.Session(region_name=self._region).client("logs", config=self._config)
                events = client.meta.events
                events.register("before-call.cloudwatch-logs.PutLogEvents", self._set_body)
                events.register("before-parse.cloudwatch-logs", self._look_at_clock)
                events.register("before-parse.cloudwatch-logs", _check_length)
                events.register("before-parse.cloudwatch-logs.PutLogEvents", _check_body)
                self._client = client
            return self._client

    def _set_body(self, params: dict[str, Any], **_: object) -> None:
        params["body"] = self._body.value
        if self._use_gzip:
            params["headers"]["Content-Encoding"] = "gzip"

    def _look_at_clock(self, response_dict: dict[str, Any], **_: object) -> None:
        offset_ms = clock_offset_ms(response_dict["headers"])
        if offset_ms is not None:
            is_wrong = abs(offset_ms) > CLOCK_TOLERANCE_MS
            self._clock_offset_ms = offset_ms if is_wrong else 0


def configured_region() -> str | None:
    """
    The region of the AWS configuration: environment, then profile.
    """
    try:
        region: str | None = boto3.Session().region_name
    except BotoCoreError:
        return None
    return region


def _check_length(response_dict: dict[str, Any], **_: object) -> None:
    """
    An answer that was cut off is no answer: botocore would take half of a 200 for success, and
    what it says of rejected events would be lost.
    """
    announced = response_dict["headers"].get("content-length")
    actual = len(response_dict["body"])
    if announced is not None and int(announced) != actual:
        raise IncompleteReadError(actual_bytes=actual, expected_bytes=int(announced))


def _check_body(response_dict: dict[str, Any], **_: object) -> None:
    """
    Nor is a 200 that somebody else gave, or one of which half is missing: botocore takes what it
    cannot parse for empty. (The other operations answer with an empty body.)
    """
    if response_dict["status_code"] != 200:
        return
    try:
        is_whole = isinstance(json.decode(response_dict["body"]), dict)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        is_whole = False
    if not is_whole or "x-amzn-requestid" not in response_dict["headers"]:
        raise ResponseParserError("a 200 that is not the service's: a proxy or a portal between?")


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
