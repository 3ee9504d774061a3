"""
Amazon CloudWatch Logs, as far as we need it: PutLogEvents, and what it takes to get there.

Comes in: a batch as JSON text. Goes out: a receipt, or a `DeliveryError` that says what to do
next. Alone imports boto3. Always holds: an error's text has no message, credential or
environment value in it.

boto3 would check and write every event in Python. It is given the body ready made instead, just
before it signs the request; its credentials, endpoints, proxies and signing stay.
"""

from __future__ import annotations

import enum
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import orjson
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.parsers import ResponseParserError
from isal import igzip

from shipper.errors import ShipperError
from shipper.redaction import redacted

__all__ = ["Action", "CloudWatch", "DeliveryError", "Receipt", "configured_region"]

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 20
"""A request that was not answered by then is sent again, and may arrive twice."""

GZIP_LEVEL = 1


class Action(enum.Enum):
    """
    What to do after an error.
    """

    WAIT = "wait, then send it again"
    CREATE = "create group and stream, then send it again"
    RENEW = "take fresh credentials, then send it again"
    OPERATOR = "send it again now and then: somebody has to act"
    REFUSE = "never send it again unchanged"


ACTIONS = {
    "ResourceNotFoundException": Action.CREATE,
    "InvalidParameterException": Action.REFUSE,
    "InvalidSequenceTokenException": Action.WAIT,
    "DataAlreadyAcceptedException": Action.WAIT,
    "ServiceUnavailableException": Action.WAIT,
    "OperationAbortedException": Action.WAIT,
    "LimitExceededException": Action.OPERATOR,
    "AccessDeniedException": Action.OPERATOR,
    "UnrecognizedClientException": Action.OPERATOR,
    "ExpiredTokenException": Action.RENEW,
    "ExpiredToken": Action.RENEW,
    "RequestExpired": Action.RENEW,
    "InvalidSignatureException": Action.RENEW,
    "SignatureDoesNotMatch": Action.RENEW,
}
"""By error code; what is not here, as throttling and every 5xx, is waited for."""


class DeliveryError(ShipperError):
    """
    A request did not succeed. `action` says what to do; `is_general` that it is not about this
    stream: any other request would have failed as well.
    """

    def __init__(self, text: str, action: Action, *, is_general: bool) -> None:
        super().__init__(text)
        self.action = action
        self.is_general = is_general


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

    def __init__(self, region: str, *, connections: int, use_gzip: bool = True) -> None:
        self._region = region
        self._use_gzip = use_gzip
        self._config = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"total_max_attempts": 1},  # the uploader retries, and counts
            max_pool_connections=connections,
            parameter_validation=False,
            tcp_keepalive=True,
        )
        self._body = threading.local()
        self._client: Any = None
        self._client_lock = threading.Lock()

    def put(self, group: str, stream: str, log_events: str, *, events: int) -> Receipt:
        """
        One PutLogEvents; `log_events` is the JSON array of its `events` events.

        Raises `DeliveryError`.
        """
        body = b'{"logGroupName":%b,"logStreamName":%b,"logEvents":%b}' % (
            orjson.dumps(group),
            orjson.dumps(stream),
            log_events.encode(),
        )
        self._body.value = igzip.compress(body, GZIP_LEVEL) if self._use_gzip else body
        with _translated("PutLogEvents"):
            answer = self._connected().put_log_events(
                logGroupName=group, logStreamName=stream, logEvents=[]
            )
        return Receipt(
            request_id=answer["ResponseMetadata"].get("RequestId", ""),
            refused=_refused(answer.get("rejectedLogEventsInfo") or {}, events),
        )

    def create(self, group: str, stream: str) -> None:
        """
        Make the stream, and the group if that is missing too; both may be there already.

        Raises `DeliveryError`.
        """
        client = self._connected()
        try:
            with _translated("CreateLogStream"):
                _unless_exists(client.create_log_stream, logGroupName=group, logStreamName=stream)
        except DeliveryError as error:
            if error.action is not Action.CREATE:
                raise
            with _translated("CreateLogGroup"):
                if _unless_exists(client.create_log_group, logGroupName=group):
                    log.info("created log group %s", group)
            with _translated("CreateLogStream"):
                _unless_exists(client.create_log_stream, logGroupName=group, logStreamName=stream)

    def renew(self) -> None:
        """
        Forget session and credentials; the next request looks for them anew.
        """
        with self._client_lock:
            self._client = None

    def _connected(self) -> Any:
        with self._client_lock:
            if self._client is None:
                with _translated("the session"):
                    client = boto3.Session(region_name=self._region).client(
                        "logs", config=self._config
                    )
                events = client.meta.events
                events.register("before-call.cloudwatch-logs.PutLogEvents", self._set_body)
                events.register("before-parse.cloudwatch-logs", _check_length)
                events.register("before-parse.cloudwatch-logs.PutLogEvents", _check_body)
                self._client = client
            return self._client

    def _set_body(self, params: dict[str, Any], **_: object) -> None:
        params["body"] = self._body.value
        if self._use_gzip:
            params["headers"]["Content-Encoding"] = "gzip"


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
    Nor is a 200 that somebody else gave. (The other operations answer with an empty body.)
    """
    if response_dict["status_code"] == 200 and not response_dict["body"].startswith(b"{"):
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
        (0, too_old, "too old"),
        (too_old, expired, "older than the group's retention"),
        (too_new, events, "too new"),
    )
    return tuple(part for part in ranges if part[0] < part[1])


def _unless_exists(create: Any, **names: str) -> bool:
    """
    Whether it was made just now.
    """
    try:
        create(**names)
    except ClientError as error:
        if error.response["Error"].get("Code") != "ResourceAlreadyExistsException":
            raise
        return False
    return True


@contextmanager
def _translated(operation: str) -> Iterator[None]:
    """
    Foreign errors become ours, sorted by what to do next.
    """
    try:
        yield
    except ClientError as error:
        raise _from_answer(operation, error) from error
    except (BotoCoreError, HTTPClientError, ResponseParserError, OSError) as error:
        name = type(error).__name__
        is_local = "Credential" in name or "Profile" in name or "Token" in name
        action = Action.OPERATOR if is_local else Action.WAIT
        text = f"{operation}: {name}: {redacted(str(error))}"
        raise DeliveryError(text, action, is_general=True) from error


def _from_answer(operation: str, error: ClientError) -> DeliveryError:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = str(error.response["Error"].get("Code", status))
    text = redacted(str(error.response["Error"].get("Message", "")))
    action = ACTIONS.get(code, Action.WAIT)
    if action is Action.REFUSE and status >= 500:
        action = Action.WAIT
    is_general = action in (Action.WAIT, Action.RENEW) or code == "UnrecognizedClientException"
    return DeliveryError(
        f"{operation}: {redacted(code)}: {text}",
        action,
        is_general=is_general,
    )
