"""
A strict CloudWatch Logs, on this machine, for tests and benchmarks.

In come real HTTP/1.1 requests, over TLS if asked, from any AWS client. Out go the answers the
service gives, or the faults a test asks for. What always holds: a request the service would refuse
is refused here, and is written down in ``Endpoint.violations``, whoever sent it and why.

Where the service's documents are silent, the stricter reading is taken.

    with Endpoint() as endpoint:
        endpoint.create("group", "stream")
        endpoint.fail_next(CUT_AFTER)
        subprocess.run(command, env={**os.environ, **endpoint.environment()})
        assert endpoint.messages("group", "stream") == expected
        assert endpoint.violations == []

By hand: ``python tests/cloudwatch_endpoint.py --tls --ca-file ca.pem``; ``GET /stats`` tells what
arrived and when, SIGTERM prints the same and ends, SIGUSR1 refuses connections until SIGUSR2.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import email.utils
import errno
import hashlib
import hmac
import ipaddress
import json
import re
import signal
import socket
import ssl
import sys
import tempfile
import threading
import time
import uuid
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from isal import isal_zlib

# --- limits of the service -------------------------------------------------------------------
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
MAX_BATCH_EVENTS = 10_000
MAX_BATCH_BYTES = 1_048_576  # messages as UTF-8 + EVENT_OVERHEAD_BYTES for each
MAX_EVENT_BYTES = 1_048_576  # one message as UTF-8 + EVENT_OVERHEAD_BYTES; 256 KiB before 2025
EVENT_OVERHEAD_BYTES = 26
DAY_MS = 86_400_000
MAX_SPAN_MS = DAY_MS  # between the first and the last valid event of a batch
MAX_AGE_MS = 14 * DAY_MS
MAX_AHEAD_MS = 2 * 3_600_000
MAX_LONG = 2**63 - 1  # a timestamp is a "long"
# .../APIReference/API_CreateLogGroup.html and API_CreateLogStream.html
GROUP_NAME = re.compile(r"[.\-_/#A-Za-z0-9]{1,512}")
STREAM_NAME = re.compile(r"[^:*]{1,512}")
GROUP_CLASSES = ("STANDARD", "INFREQUENT_ACCESS", "ESSENTIALS", "DELIVERY")
MAX_TAGS = 50
MAX_TAG_KEY_CHARACTERS = 128
MAX_TAG_VALUE_CHARACTERS = 256
# .../APIReference/API_PutRetentionPolicy.html
_WEEKS_AND_MONTHS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180)
_YEARS = (365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
RETENTION_DAYS = frozenset((*_WEEKS_AND_MONTHS, *_YEARS))
# .../APIReference/API_DescribeLogGroups.html, API_DescribeLogStreams.html, API_GetLogEvents.html
MAX_DESCRIBED = 50
MAX_GOT_EVENTS = 10_000

# --- limits of our own -----------------------------------------------------------------------
# A full batch of control characters is 6 bytes each as JSON, and 10,000 empty-ish events add 0.5 MB
MAX_BODY_BYTES = 16 * 1_048_576
MAX_HEAD_BYTES = 65_536
READ_BUFFER_BYTES = 65_536
JOIN_TIMEOUT_S = 10.0
WAIT_STEP_S = 0.05

ACCESS_KEY = "AKIDEXAMPLEEXAMPLE00"
SECRET_KEY = "fake/secret/of/the/test/endpoint"
REGION = "us-east-1"
ACCOUNT = "123456789012"
TARGET_PREFIX = "Logs_20140328."
AMZ_JSON = "application/x-amz-json-1.1"
GZIP_WBITS = 31  # zlib's number for "a gzip wrapper, and nothing else"


# --- what is said ----------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Reply:
    """
    One HTTP answer; *outcome* is ``ok`` or the error's code. One that is not of the service has
    no request id.
    """

    status: int
    body: bytes = b""
    outcome: str = "ok"
    content_type: str = AMZ_JSON
    is_of_service: bool = True


class ServiceError(Exception):
    """
    The service refuses a request; *is_violation* if no correct client ever sends such a one.
    """

    def __init__(
        self, code: str, message: str, *, status: int = 400, is_violation: bool = False
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.is_violation = is_violation

    def reply(self) -> Reply:
        """
        As the AWS JSON protocol words it.
        """
        body = orjson.dumps({"__type": self.code, "message": self.message})
        return Reply(self.status, body, self.code)


def invalid(message: str) -> ServiceError:
    """
    The request breaks a limit of the service.
    """
    return ServiceError("InvalidParameterException", message, is_violation=True)


def not_found(thing: str) -> ServiceError:
    """
    *thing* is ``group`` or ``stream``; both are a client's daily bread, not a violation.
    """
    return ServiceError("ResourceNotFoundException", f"The specified log {thing} does not exist.")


def already_there(thing: str) -> ServiceError:
    """
    *thing* is ``group`` or ``stream``; what the loser of a race to create it is told.
    """
    return ServiceError(
        "ResourceAlreadyExistsException", f"The specified log {thing} already exists"
    )


# --- faults ----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Fault:
    """
    What happens to a legal request instead of, or on the way to, its answer.

    In this order: wait *delay_s*; store if *is_stored*; hang if *hangs*; send *reply*, or the true
    answer; *sent* tells how much of it. Whatever is not sent in full ends the connection.
    """

    name: str
    delay_s: float = 0.0
    is_stored: bool = False
    hangs: bool = False
    reply: Reply | None = None
    sent: str = "nothing"  # or "half" or "all"


NO_FAULT = Fault("", is_stored=True, sent="all")
REFUSED = Fault("refused")  # a matter of the listener: only for fail_always
CUT_BEFORE = Fault("cut_before")
CUT_AFTER = Fault("cut_after", is_stored=True)
CUT_MID_ANSWER = Fault("cut_mid_answer", is_stored=True, sent="half")
HANG = Fault("hang", hangs=True)
HANG_AFTER = Fault("hang_after", is_stored=True, hangs=True)

ERROR_STATUSES = {
    "InternalFailure": 500,
    "InternalServerError": 500,
    "ServiceUnavailable": 503,
    "ServiceUnavailableException": 503,
}


def error(code: str, status: int | None = None, message: str = "") -> Fault:
    """
    The service's error of this name; nothing is stored.
    """
    status = ERROR_STATUSES.get(code, 400) if status is None else status
    return Fault(
        code,
        reply=ServiceError(code, message or f"{code}, asked for", status=status).reply(),
        sent="all",
    )


def status(number: int, body: bytes | str = b"<html>asked for</html>") -> Fault:
    """
    A bare HTTP status with a body that is no AWS answer, as a load balancer sends.
    """
    body = body.encode() if isinstance(body, str) else body
    name = f"status_{number}"
    return Fault(
        name, reply=Reply(number, body, name, "text/html", is_of_service=False), sent="all"
    )


def slow(seconds: float) -> Fault:
    """
    The true answer, but later; a heal() ends the wait.
    """
    return Fault("", delay_s=seconds, is_stored=True, sent="all")


THROTTLED = error("ThrottlingException", message="Rate exceeded")


# --- what is asked ---------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Window:
    """
    The valid events of a batch are [first, stop); *rejected* is the answer's rejectedLogEventsInfo.
    """

    first: int
    stop: int
    rejected: dict[str, int]


@dataclass(frozen=True, slots=True)
class Batch:
    """
    The events of one PutLogEvents, as two columns: a million events need no million objects.
    """

    timestamps: list[int]
    messages: list[str]
    window: Window


@dataclass(slots=True)
class Request:
    """
    One request as a decider sees it; filled in as far as it could be read.
    """

    operation: str
    wire_bytes: int = 0
    decoded_bytes: int = 0
    is_gzip: bool = False
    at_s: float = 0.0
    parameters: dict[str, Any] = field(default_factory=dict)
    batch: Batch | None = None

    @property
    def group(self) -> str:
        """
        The group named, or "".
        """
        return self.parameters.get("logGroupName", "")

    @property
    def stream(self) -> str:
        """
        The stream named, or "".
        """
        return self.parameters.get("logStreamName", "")

    @property
    def events(self) -> list[tuple[int, str]]:
        """
        (timestamp in ms, message), in the order sent; empty unless this is a legal PutLogEvents.
        """
        if self.batch is None:
            return []
        return list(zip(self.batch.timestamps, self.batch.messages, strict=True))


@dataclass(frozen=True, slots=True)
class Call:
    """
    The record of one request: *outcome* is ``ok``, an error's code or a fault's name.

    The bytes are those of the body; *at_s* is the monotonic time at which it was read.
    """

    operation: str
    group: str
    stream: str
    event_count: int
    stored_count: int
    wire_bytes: int
    decoded_bytes: int
    is_gzip: bool
    outcome: str
    at_s: float


# --- the rules of PutLogEvents ---------------------------------------------------------------
def read_batch(events: object, *, now_ms: int, retention_days: int | None) -> Batch:
    """
    The batch, after every limit of the service; ServiceError if it breaks one.
    """
    timestamps, messages = read_columns(events)
    check_messages(messages)
    check_timestamps(timestamps)
    window = age_window(timestamps, now_ms=now_ms, retention_days=retention_days)
    check_span(timestamps[window.first : window.stop])
    return Batch(timestamps, messages, window)


def read_columns(events: object) -> tuple[list[int], list[str]]:
    """
    Timestamps and messages of well-formed events.
    """
    if type(events) is not list or not 1 <= len(events) <= MAX_BATCH_EVENTS:
        count = len(events) if type(events) is list else "no list of"
        raise invalid(f"a batch has 1 to {MAX_BATCH_EVENTS} logEvents, this one {count}")
    if set(map(type, events)) != {dict}:
        raise invalid("every member of logEvents is a structure")
    try:
        timestamps = [event["timestamp"] for event in events]
        messages = [event["message"] for event in events]
    except KeyError as missing:
        raise invalid(f"an event lacks its {missing}") from None
    if set(map(len, events)) != {2}:
        raise invalid("an event has members besides timestamp and message")
    return timestamps, messages


def check_messages(messages: list[str]) -> None:
    """
    Non-empty text, within the bytes of an event and of a batch.
    """
    if set(map(type, messages)) != {str}:
        raise invalid("a message is no string")
    if "" in messages:
        raise invalid("a message has at least 1 character")
    # one join and one encode: a tenth of the cost of an encode for every message
    size = len("".join(messages).encode()) + EVENT_OVERHEAD_BYTES * len(messages)
    if size <= min(MAX_BATCH_BYTES, MAX_EVENT_BYTES):
        return
    largest = max(len(message.encode()) for message in messages) + EVENT_OVERHEAD_BYTES
    if largest > MAX_EVENT_BYTES:
        raise invalid(f"Log event too large: {largest} bytes exceeds limit of {MAX_EVENT_BYTES}")
    raise invalid(f"Upload too large: {size} bytes exceeds limit of {MAX_BATCH_BYTES}")


def check_timestamps(timestamps: list[int]) -> None:
    """
    Whole milliseconds since 1970, never going back.
    """
    if set(map(type, timestamps)) != {int}:
        raise invalid("a timestamp is no whole number")
    if timestamps != sorted(timestamps):
        raise invalid("Log events in a single PutLogEvents request must be in chronological order.")
    if timestamps[0] < 0 or timestamps[-1] > MAX_LONG:
        raise invalid(f"a timestamp is not within 0 and {MAX_LONG}")


def age_window(timestamps: list[int], *, now_ms: int, retention_days: int | None) -> Window:
    """
    Which of the sorted *timestamps* are valid at *now_ms*.

    Each index tells of its own rule alone, so the expired may end before or after the too old.
    """
    too_old_end = bisect_left(timestamps, now_ms - MAX_AGE_MS)
    expired_end = bisect_left(timestamps, now_ms - retention_days * DAY_MS) if retention_days else 0
    too_new_start = bisect_right(timestamps, now_ms + MAX_AHEAD_MS)
    rejected = {}
    if too_old_end:
        rejected["tooOldLogEventEndIndex"] = too_old_end
    if expired_end:
        rejected["expiredLogEventEndIndex"] = expired_end
    if too_new_start < len(timestamps):
        rejected["tooNewLogEventStartIndex"] = too_new_start
    return Window(max(too_old_end, expired_end), too_new_start, rejected)


def check_span(valid_timestamps: list[int]) -> None:
    """
    At most 24 hours, counted after the events of a wrong age are gone.
    """
    if valid_timestamps and valid_timestamps[-1] - valid_timestamps[0] > MAX_SPAN_MS:
        raise invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than"
            f" 24 hours: {valid_timestamps[-1] - valid_timestamps[0]} ms."
        )


# --- the rules of every member ---------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Operation:
    """
    Which members an operation has, and the largest *limit* it takes.
    """

    required: frozenset[str]
    optional: frozenset[str] = frozenset()
    max_limit: int = 0


def _operation(required: str, optional: str = "", max_limit: int = 0) -> Operation:
    return Operation(frozenset(required.split()), frozenset(optional.split()), max_limit)


OPERATIONS = {
    "PutLogEvents": _operation("logGroupName logStreamName logEvents", "sequenceToken entity"),
    "CreateLogGroup": _operation(
        "logGroupName", "kmsKeyId tags logGroupClass deletionProtectionEnabled"
    ),
    "CreateLogStream": _operation("logGroupName logStreamName"),
    "PutRetentionPolicy": _operation("logGroupName retentionInDays"),
    "DescribeLogGroups": _operation(
        "", "logGroupNamePrefix logGroupClass limit nextToken", MAX_DESCRIBED
    ),
    "DescribeLogStreams": _operation(
        "logGroupName", "logStreamNamePrefix orderBy descending limit nextToken", MAX_DESCRIBED
    ),
    "GetLogEvents": _operation(
        "logGroupName logStreamName",
        "startTime endTime startFromHead limit nextToken",
        MAX_GOT_EVENTS,
    ),
    "DeleteLogGroup": _operation("logGroupName"),
    "DeleteLogStream": _operation("logGroupName logStreamName"),
}


def _matches(pattern: re.Pattern[str]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_one_of(values: tuple[str, ...]) -> Callable[[object], bool]:
    return lambda value: value in values


def _is_tags(value: object) -> bool:
    return (
        isinstance(value, dict)
        and 1 <= len(value) <= MAX_TAGS
        and all(1 <= len(key) <= MAX_TAG_KEY_CHARACTERS for key in value)
        and all(
            isinstance(text, str) and len(text) <= MAX_TAG_VALUE_CHARACTERS
            for text in value.values()
        )
    )


def _is_time(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_LONG


def _is_token(value: object) -> bool:
    return isinstance(value, str) and value != ""


MEMBER_RULES: dict[str, Callable[[object], bool]] = {
    "logGroupName": _matches(GROUP_NAME),
    "logGroupNamePrefix": _matches(GROUP_NAME),
    "logStreamName": _matches(STREAM_NAME),
    "logStreamNamePrefix": _matches(STREAM_NAME),
    "logGroupClass": _is_one_of(GROUP_CLASSES),
    "retentionInDays": lambda value: type(value) is int and value in RETENTION_DAYS,
    "tags": _is_tags,
    "kmsKeyId": _matches(re.compile(r".{1,256}")),
    "deletionProtectionEnabled": lambda value: type(value) is bool,
    "descending": lambda value: type(value) is bool,
    "startFromHead": lambda value: type(value) is bool,
    "orderBy": _is_one_of(("LogStreamName", "LastEventTime")),
    "startTime": _is_time,
    "endTime": _is_time,
    "nextToken": _is_token,
    "sequenceToken": _is_token,
    "entity": lambda value: isinstance(value, dict),
}


def check_members(operation: str, parameters: dict[str, Any]) -> None:
    """
    All that are required, none that are unknown, each by its rule; not yet the logEvents.
    """
    known = OPERATIONS[operation]
    if missing := known.required - parameters.keys():
        raise invalid(f"{operation} lacks {', '.join(sorted(missing))}")
    if unknown := parameters.keys() - known.required - known.optional:
        raise invalid(f"{operation} has no member {', '.join(sorted(unknown))}")
    for name, value in parameters.items():
        if name in MEMBER_RULES and not MEMBER_RULES[name](value):
            raise invalid(
                f"1 validation error detected: Value {str(value)[:600]!r} at '{name}' failed to"
                " satisfy constraint"
            )
    limit = parameters.get("limit", 1)
    if type(limit) is not int or not 1 <= limit <= max(known.max_limit, 1):
        raise invalid(f"limit of {operation} is 1 to {known.max_limit}, not {limit}")
    if operation == "CreateLogGroup" and parameters["logGroupName"].startswith("aws/"):
        raise invalid("Log group names cannot start with aws/")


# --- what is kept ----------------------------------------------------------------------------
@dataclass(slots=True)
class LogStream:
    """
    A stream and, if events are kept, its events in the order they arrived.
    """

    name: str
    created_ms: int
    timestamps: list[int] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    event_count: int = 0
    first_ms: int | None = None
    last_ms: int | None = None

    def add(self, batch: Batch, *, keep: bool) -> None:
        """
        Takes the valid events of *batch*.
        """
        first, stop = batch.window.first, batch.window.stop
        if first >= stop:
            return
        earliest, latest = batch.timestamps[first], batch.timestamps[stop - 1]
        self.first_ms = earliest if self.first_ms is None else min(self.first_ms, earliest)
        self.last_ms = latest if self.last_ms is None else max(self.last_ms, latest)
        self.event_count += stop - first
        if keep:
            self.timestamps += batch.timestamps[first:stop]
            self.messages += batch.messages[first:stop]


@dataclass(slots=True)
class LogGroup:
    """
    A group and its streams by name.
    """

    name: str
    created_ms: int
    group_class: str = "STANDARD"
    retention_days: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    streams: dict[str, LogStream] = field(default_factory=dict)

    def stream(self, name: str) -> LogStream:
        """
        The stream, or ServiceError.
        """
        if name not in self.streams:
            raise not_found("stream")
        return self.streams[name]


def page(items: list[Any], parameters: dict[str, Any]) -> tuple[list[Any], dict[str, str]]:
    """
    One page of *items*, and the nextToken of the page after it if there is one.
    """
    token = parameters.get("nextToken", "0")
    if not token.isdecimal():
        raise invalid("The specified nextToken is invalid.")
    start = int(token)
    stop = start + parameters.get("limit", MAX_DESCRIBED)
    return items[start:stop], {"nextToken": str(stop)} if stop < len(items) else {}


def event_page(count: int, parameters: dict[str, Any]) -> tuple[int, int]:
    """
    [start, stop) of *count* events: by token, else from the head or, as is the default, the tail.
    """
    limit = parameters.get("limit", MAX_GOT_EVENTS)
    tail = "f/0" if parameters.get("startFromHead") else f"b/{count}"
    token = re.fullmatch(r"([fb])/(\d+)", parameters.get("nextToken", tail))
    if token is None:
        raise invalid("The specified nextToken is invalid.")
    position = min(int(token[2]), count)
    if token[1] == "f":
        return position, min(position + limit, count)
    return max(position - limit, 0), position


class Store:
    """
    Groups, streams and events: the service without its network. Its caller holds the lock.
    """

    def __init__(self, *, keep: bool) -> None:
        self.keep = keep
        self.groups: dict[str, LogGroup] = {}
        self._handlers: dict[str, Callable[[dict[str, Any], int], dict[str, Any] | None]] = {
            "CreateLogGroup": self._create_group,
            "CreateLogStream": self._create_stream,
            "PutRetentionPolicy": self._put_retention,
            "DescribeLogGroups": self._describe_groups,
            "DescribeLogStreams": self._describe_streams,
            "GetLogEvents": self._get_events,
            "DeleteLogGroup": self._delete_group,
            "DeleteLogStream": self._delete_stream,
        }

    def perform(self, request: Request, now_ms: int) -> dict[str, Any] | None:
        """
        Does what a legal *request* asks; the answer's members, or None for an empty body.
        """
        if request.batch is not None:
            return self._put_events(request, request.batch)
        return self._handlers[request.operation](request.parameters, now_ms)

    def group(self, name: str) -> LogGroup:
        """
        The group, or ServiceError.
        """
        if name not in self.groups:
            raise not_found("group")
        return self.groups[name]

    def _put_events(self, request: Request, batch: Batch) -> dict[str, Any]:
        self.group(request.group).stream(request.stream).add(batch, keep=self.keep)
        answer: dict[str, Any] = {"nextSequenceToken": uuid.uuid4().hex}
        if batch.window.rejected:
            answer["rejectedLogEventsInfo"] = batch.window.rejected
        return answer

    def _create_group(self, parameters: dict[str, Any], now_ms: int) -> None:
        name = parameters["logGroupName"]
        if name in self.groups:
            raise already_there("group")
        self.groups[name] = LogGroup(
            name,
            now_ms,
            parameters.get("logGroupClass", "STANDARD"),
            tags=parameters.get("tags", {}),
        )

    def _create_stream(self, parameters: dict[str, Any], now_ms: int) -> None:
        streams = self.group(parameters["logGroupName"]).streams
        name = parameters["logStreamName"]
        if name in streams:
            raise already_there("stream")
        streams[name] = LogStream(name, now_ms)

    def _put_retention(self, parameters: dict[str, Any], _now_ms: int) -> None:
        self.group(parameters["logGroupName"]).retention_days = parameters["retentionInDays"]

    def _delete_group(self, parameters: dict[str, Any], _now_ms: int) -> None:
        del self.groups[self.group(parameters["logGroupName"]).name]

    def _delete_stream(self, parameters: dict[str, Any], _now_ms: int) -> None:
        group = self.group(parameters["logGroupName"])
        del group.streams[group.stream(parameters["logStreamName"]).name]

    def _describe_groups(self, parameters: dict[str, Any], _now_ms: int) -> dict[str, Any]:
        prefix = parameters.get("logGroupNamePrefix", "")
        group_class = parameters.get("logGroupClass")
        found = [
            group
            for name, group in sorted(self.groups.items())
            if name.startswith(prefix) and group_class in {None, group.group_class}
        ]
        shown, token = page(found, parameters)
        return {"logGroups": list(map(group_as_shown, shown)), **token}

    def _describe_streams(self, parameters: dict[str, Any], _now_ms: int) -> dict[str, Any]:
        group = self.group(parameters["logGroupName"])
        prefix = parameters.get("logStreamNamePrefix", "")
        by_time = parameters.get("orderBy") == "LastEventTime"
        if by_time and prefix:
            raise invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
        found = sorted(
            (stream for name, stream in group.streams.items() if name.startswith(prefix)),
            key=lambda stream: (stream.last_ms or 0, stream.name) if by_time else stream.name,
            reverse=parameters.get("descending", False),
        )
        shown, token = page(found, parameters)
        return {
            "logStreams": [stream_as_shown(group.name, stream) for stream in shown],
            **token,
        }

    def _get_events(self, parameters: dict[str, Any], now_ms: int) -> dict[str, Any]:
        if not self.keep:
            raise ServiceError("InvalidOperationException", "this endpoint keeps no events")
        stream = self.group(parameters["logGroupName"]).stream(parameters["logStreamName"])
        first_ms, end_ms = parameters.get("startTime", 0), parameters.get("endTime", MAX_LONG + 1)
        events = sorted(zip(stream.timestamps, stream.messages, strict=True), key=lambda e: e[0])
        events = [event for event in events if first_ms <= event[0] < end_ms]
        start, stop = event_page(len(events), parameters)
        return {
            "events": [
                {"timestamp": timestamp, "message": message, "ingestionTime": now_ms}
                for timestamp, message in events[start:stop]
            ],
            "nextForwardToken": f"f/{stop}",
            "nextBackwardToken": f"b/{start}",
        }


def group_as_shown(group: LogGroup) -> dict[str, Any]:
    """
    A group as DescribeLogGroups tells it.
    """
    arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group.name}"
    shown = {
        "logGroupName": group.name,
        "creationTime": group.created_ms,
        "metricFilterCount": 0,
        "arn": f"{arn}:*",
        "logGroupArn": arn,
        "storedBytes": 0,
        "logGroupClass": group.group_class,
    }
    if group.retention_days is not None:
        shown["retentionInDays"] = group.retention_days
    return shown


def stream_as_shown(group_name: str, stream: LogStream) -> dict[str, Any]:
    """
    A stream as DescribeLogStreams tells it.
    """
    arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group_name}:log-stream:{stream.name}"
    shown = {"logStreamName": stream.name, "creationTime": stream.created_ms, "arn": arn}
    if stream.last_ms is not None:
        shown |= {"firstEventTimestamp": stream.first_ms, "lastEventTimestamp": stream.last_ms}
    return shown


# --- HTTP ------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Received:
    """
    One HTTP request off the wire; header names in lower case.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def malformed(message: str, status: int = 400) -> ServiceError:
    """
    Not even HTTP as an AWS client speaks it.
    """
    return ServiceError("MalformedHttpRequest", message, status=status, is_violation=True)


def receive(incoming: BinaryIO, connection: socket.socket) -> Received | None:
    """
    The next request, or None if the client is gone, be it in the middle of one.
    """
    line = incoming.readline(MAX_HEAD_BYTES)
    if not line.endswith(b"\n"):
        return None
    words = line.decode("latin-1").split()
    if len(words) != 3 or words[2] != "HTTP/1.1":
        raise malformed(f"no request line of HTTP/1.1: {line[:200]!r}")
    headers = receive_headers(incoming)
    if headers is None:
        return None
    size = body_size(headers)
    if headers.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = incoming.read(size)
    if len(body) < size:
        return None
    return Received(words[0], words[1], headers, body)


def receive_headers(incoming: BinaryIO) -> dict[str, str] | None:
    """
    Headers by lower-case name, or None if the client went away among them.
    """
    headers: dict[str, str] = {}
    seen_bytes = 0
    while (line := incoming.readline(MAX_HEAD_BYTES)) not in {b"\r\n", b"\n"}:
        seen_bytes += len(line)
        if not line.endswith(b"\n"):
            return None
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or name.lower() in headers or seen_bytes > MAX_HEAD_BYTES:
            raise malformed(f"a header is unreadable, twice there or too long: {line[:200]!r}")
        headers[name.lower()] = value.strip()
    return headers


def body_size(headers: dict[str, str]) -> int:
    """
    Bytes of the body to come.
    """
    if "transfer-encoding" in headers:
        raise malformed("a body needs its Content-Length", HTTPStatus.LENGTH_REQUIRED)
    size = headers.get("content-length", "0")
    if not size.isdecimal():
        raise malformed(f"Content-Length is no number: {size!r}")
    if int(size) > MAX_BODY_BYTES:
        raise malformed(f"a body of {size} bytes", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return int(size)


PHRASES = {known.value: known.phrase for known in HTTPStatus}


def wire_form(reply: Reply, now_ms: int) -> tuple[bytes, bytes]:
    """
    Head and body of *reply*.
    """
    date = email.utils.formatdate(now_ms / 1000, usegmt=True)
    request_id = f"x-amzn-RequestId: {uuid.uuid4()}\r\n" if reply.is_of_service else ""
    head = (
        f"HTTP/1.1 {int(reply.status)} {PHRASES.get(reply.status, 'Unknown')}\r\n{request_id}"
        f"Content-Type: {reply.content_type}\r\n"
        f"Content-Length: {len(reply.body)}\r\n"
        f"Date: {date}\r\n\r\n"
    )
    return head.encode("latin-1"), reply.body


def half_of(head: bytes, body: bytes) -> bytes:
    """
    The first half of an answer, cut in its body if it has one.

    Beware of what this shows: botocore compares no lengths (``enforce_content_length=False``), so
    half of a 200 is a success to it, without the rejectedLogEventsInfo that was in the other half.
    """
    return head + body[: len(body) // 2] if body else head[: len(head) // 2]


def decode_body(received: Received) -> bytes:
    """
    The body without its gzip.
    """
    encoding = received.headers.get("content-encoding", "identity")
    if encoding == "identity":
        return received.body
    if encoding != "gzip":
        raise malformed(f"Content-Encoding {encoding!r}", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    unzip = isal_zlib.decompressobj(wbits=GZIP_WBITS)
    try:
        body = unzip.decompress(received.body, MAX_BODY_BYTES + 1)
    except isal_zlib.error as problem:
        raise unreadable(f"the body is no gzip: {problem}") from problem
    if len(body) > MAX_BODY_BYTES:
        raise malformed("a gzip bomb", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    if not unzip.eof or unzip.unused_data:
        # more than one member is legal gzip, and nobody wrote that the service takes it
        raise unreadable("the body is not one whole gzip member")
    return body


def unreadable(message: str) -> ServiceError:
    """
    The body is not what it says it is.
    """
    return ServiceError("SerializationException", message, is_violation=True)


def parse_body(body: bytes) -> dict[str, Any]:
    """
    The JSON object of a request.
    """
    try:
        parameters = orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        if has_lone_surrogate(body):
            raise invalid("a string has half a surrogate pair, which is no character") from problem
        raise unreadable(f"the body is no JSON: {problem}") from problem
    if type(parameters) is not dict:
        raise unreadable("the body is no JSON object")
    return parameters


def has_lone_surrogate(body: bytes) -> bool:
    """
    Whether that is why orjson refused *body*: the standard library lets such strings pass.
    """
    try:
        text = json.dumps(json.loads(body.decode("utf-8", "surrogatepass")), ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError:
        return True
    except ValueError:
        return False
    return False


# --- signatures ------------------------------------------------------------------------------
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<day>\d{8})"
    r"/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, ?SignedHeaders=(?P<names>[^,]+)"
    r", ?Signature=(?P<signature>[0-9a-f]{64})"
)
AMZ_DATE = "%Y%m%dT%H%M%SZ"
MAX_SKEW = datetime.timedelta(minutes=5)
MUST_BE_SIGNED = frozenset(("host", "x-amz-date", "x-amz-target"))


def bad_signature(message: str) -> ServiceError:
    """
    Wrong keys or a body changed after it was signed; an operator's matter, so no violation.
    """
    return ServiceError("InvalidSignatureException", message)


def check_authorization(received: Received, keys: dict[str, str] | None) -> None:
    """
    A complete AWS Signature 4; with *keys* (id to secret), also the right one for the bytes that
    arrived.
    """
    given = received.headers.get("authorization", "")
    if not given.startswith("AWS4-HMAC-SHA256"):
        raise ServiceError(
            "MissingAuthenticationTokenException", "Missing Authentication Token", status=400
        )
    parts = AUTHORIZATION.fullmatch(given)
    if parts is None:
        raise ServiceError("IncompleteSignatureException", f"Cannot read {given[:200]!r}")
    names = set(parts["names"].split(";"))
    if unsigned := (MUST_BE_SIGNED - names) | (names - received.headers.keys()):
        raise bad_signature(f"Headers unsigned or absent: {', '.join(sorted(unsigned))}")
    if keys is not None:
        check_signature(received, parts, keys)


def check_clock(signed_at: str, now_ms: int) -> None:
    """
    A signature is good for five minutes before and after the service's clock.
    """
    signed = datetime.datetime.strptime(signed_at, AMZ_DATE).replace(tzinfo=datetime.UTC)
    now = datetime.datetime.fromtimestamp(now_ms // 1000, datetime.UTC)
    if abs(signed - now) > MAX_SKEW:
        direction, edge = (
            ("expired", now - MAX_SKEW) if signed < now else ("not yet", now + MAX_SKEW)
        )
        comparison = "earlier" if signed < now else "later"
        raise bad_signature(
            f"Signature {direction}: {signed_at} is now {comparison} than {edge:{AMZ_DATE}}"
            f" ({now:{AMZ_DATE}} -/+ 5 min.)"
        )


def is_signed_with(received: Received, keys: Collection[str]) -> bool:
    """
    Whether the request names one of these access keys.
    """
    parts = AUTHORIZATION.fullmatch(received.headers.get("authorization", ""))
    return parts is not None and parts["key"] in keys


def check_signature(received: Received, parts: re.Match[str], keys: dict[str, str]) -> None:
    """
    Signs the request anew from the bytes received, and compares.
    """
    if parts["key"] not in keys:
        raise ServiceError(
            "UnrecognizedClientException", "The security token included in the request is invalid."
        )
    body_hash = hashlib.sha256(received.body).hexdigest()
    if received.headers.get("x-amz-content-sha256", body_hash) != body_hash:
        raise bad_signature("x-amz-content-sha256 is not that of the body.")
    expected = sign_anew(received, parts, body_hash, keys[parts["key"]])
    if parts["service"] != "logs" or not hmac.compare_digest(expected, parts["signature"]):
        raise bad_signature(
            "The request signature we calculated does not match the signature you provided."
            " Check your AWS Secret Access Key and signing method."
        )


def sign_anew(received: Received, parts: re.Match[str], body_hash: str, secret: str) -> str:
    """
    The signature that this request should bear, after the canonical form of Signature 4.
    """
    path, _, query = received.path.partition("?")
    names = parts["names"].split(";")
    lines = [f"{name}:{' '.join(received.headers[name].split())}" for name in names]
    canonical = [received.method, path, query, *lines, "", parts["names"], body_hash]
    signer = SigV4Auth(Credentials(parts["key"], secret), parts["service"], parts["region"])
    request = AWSRequest()
    request.context["timestamp"] = received.headers["x-amz-date"]
    return signer.signature(signer.string_to_sign(request, "\n".join(canonical)), request)


# --- certificates ----------------------------------------------------------------------------
CA_NAME = "Test CA of the CloudWatch endpoint"
# fixed, and wide: a clock that a test has frozen must not spoil them
VALID_FROM = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
VALID_TO = datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)


HOSTS = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))


def make_certificates(folder: Path) -> tuple[Path, Path]:
    """
    Writes a CA, and a server's certificate with its key for 127.0.0.1 and localhost; both paths.
    """
    ca_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca = certificate(CA_NAME, ca_key, ca_key, is_ca=True)
    server = certificate("localhost", server_key, ca_key, is_ca=False)
    ca_file, server_file = folder / "ca.pem", folder / "server.pem"
    ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    server_file.write_bytes(server_pem(server_key, server))
    return ca_file, server_file


def server_pem(key: ec.EllipticCurvePrivateKey, greeting: x509.Certificate) -> bytes:
    """
    A certificate with its key, as a server loads them.
    """
    key_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return key_pem + greeting.public_bytes(serialization.Encoding.PEM)


def certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    ca_key: ec.EllipticCurvePrivateKey,
    *,
    is_ca: bool,
    valid_to: datetime.datetime = VALID_TO,
    hosts: Collection[x509.GeneralName] = HOSTS,
) -> x509.Certificate:
    """
    A certificate for *key*, signed by *ca_key*, complete enough for OpenSSL's strict mode.
    """
    issuer = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(distinguished(name))
        .issuer_name(distinguished(CA_NAME))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(VALID_FROM)
        .not_valid_after(valid_to)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(key_usage(is_ca=is_ca), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False
        )
    )
    if not is_ca:
        builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
    return builder.sign(ca_key, hashes.SHA256())


def distinguished(name: str) -> x509.Name:
    """
    A name of one part.
    """
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def key_usage(*, is_ca: bool) -> x509.KeyUsage:
    """
    A CA signs certificates, a server signs handshakes.
    """
    return x509.KeyUsage(
        digital_signature=not is_ca,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


# --- sockets and threads ---------------------------------------------------------------------
BACKLOG = 128


def bound_socket(port: int) -> socket.socket:
    """
    A socket that owns *port* (0: any that is free), so far without listening.

    The port given by the kernel is bound once more by its number: Linux takes back a port of its
    own choice when the listener is shut down, and keeps one that was asked for.
    """
    with socket.socket() as finder:
        finder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        finder.bind(("127.0.0.1", port))
        owner = socket.socket()
        owner.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        owner.bind(finder.getsockname())
    return owner


def hang_up(connection: socket.socket) -> None:
    """
    Ends a connection that another thread may be reading from.

    The plain socket's method: SSLSocket.shutdown pulls the TLS object away under the reader.
    """
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


class Server:
    """
    A listener with a daemon thread for each connection; it can stop and start at one port.

    While stopped it keeps the port, so that clients are refused and no other program moves in.
    """

    def __init__(
        self,
        serve: Callable[[socket.socket], None],
        *,
        port: int,
        make_context: Callable[[], ssl.SSLContext | None],
    ) -> None:
        self.port = port
        self.is_listening = False
        self._serve = serve
        self._make_context = make_context
        self._context: ssl.SSLContext | None = None
        self._listener: socket.socket | None = None
        self._connections: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._lock = threading.RLock()

    def start(self) -> None:
        """
        Listens; nothing happens if it does already.
        """
        with self._lock:
            if self.is_listening:
                return
            if self._listener is None:
                self._listener = bound_socket(self.port)
                self.port = self._listener.getsockname()[1]
                self._context = self._make_context()
            self._listener.listen(BACKLOG)
            self.is_listening = True
            self._spawn(self._accept, self._listener)

    def present(self, server_file: Path) -> None:
        """
        Greets new connections with this certificate.
        """
        if self._context is None:
            raise RuntimeError("without TLS there is no certificate")
        self._context.load_cert_chain(server_file)

    def stop(self) -> None:
        """
        Ends all connections; on return no thread of theirs runs, unless it is the caller.
        """
        with self._lock:
            if self.is_listening and self._listener is not None:
                self.is_listening = False
                self._listener.shutdown(socket.SHUT_RDWR)
            for connection in self._connections:
                hang_up(connection)
            self._connections.clear()
            threads = set(self._threads)
        # from inside a connection (a decider that refuses): two such would wait for each other
        if threading.current_thread() not in threads:
            for thread in threads:
                thread.join(JOIN_TIMEOUT_S)

    def close(self) -> None:
        """
        Stops, and gives up the port.
        """
        self.stop()
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def has(self, connection: socket.socket) -> bool:
        """
        Whether *connection* was not ended by a stop.
        """
        with self._lock:
            return connection in self._connections

    def _spawn(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=self._run, args=(work, *arguments), daemon=True)
        self._threads.add(thread)
        thread.start()

    def _run(self, work: Callable[..., None], *arguments: object) -> None:
        try:
            work(*arguments)
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError as problem:
                if problem.errno == errno.EINVAL:  # what shutdown() makes of a listener
                    return
                raise
            self._begin(connection)

    def _begin(self, connection: socket.socket) -> None:
        with self._lock, contextlib.ExitStack() as on_failure:
            on_failure.callback(connection.close)
            if not self.is_listening:
                return
            try:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._context is not None:
                    connection = self._context.wrap_socket(
                        connection, server_side=True, do_handshake_on_connect=False
                    )
            except OSError:  # gone already
                return
            on_failure.pop_all()
            self._connections.add(connection)
            self._spawn(self._converse, connection)

    def _converse(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError):
                if isinstance(connection, ssl.SSLSocket):
                    connection.do_handshake()
                self._serve(connection)
        finally:
            with self._lock:
                self._connections.discard(connection)


# --- the endpoint ----------------------------------------------------------------------------
def real_now_ms() -> int:
    """
    Milliseconds since 1970.
    """
    return time.time_ns() // 1_000_000


class Endpoint:
    """
    The service, its network and its faults; one object for the life of a test.

    *keep* False counts events and forgets them; *verify_signature* False spares two hashes of every
    body; *measure_lateness* True counts events by the ms from their timestamps to the moment they
    were stored. These are for benchmarks. *verify_clock* True also refuses requests that were
    signed more than five minutes before or after the service's clock. *now_ms* is that clock and
    may be replaced at any time, as may *decide*, which sees every legal request and gives its fault
    or None, and *keys*, the secrets by access key, and *expired_keys*.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        tls: bool = False,
        keep: bool = True,
        verify_signature: bool = True,
        verify_clock: bool = False,
        measure_lateness: bool = False,
        now_ms: Callable[[], int] = real_now_ms,
    ) -> None:
        self.now_ms = now_ms
        self.decide: Callable[[Request], Fault | None] | None = None
        self.keys = {ACCESS_KEY: SECRET_KEY}
        self.expired_keys: set[str] = set()
        self.violations: list[str] = []
        self.calls: list[Call] = []
        self.ca_file: str | None = None
        self._tls = tls
        self._keep = keep
        self._verify_signature = verify_signature
        self._verify_clock = verify_clock
        self._measure_lateness = measure_lateness
        self._store = Store(keep=keep)
        self._server = Server(self._serve, port=port, make_context=self._make_context)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        # guards all below and the store, and is notified of each call and each release
        self._changed = threading.Condition(threading.RLock())
        self._queued: deque[tuple[Fault, str | None]] = deque()
        self._standing: dict[str | None, Fault] = {}
        self._releases = 0
        self._is_stopping = False
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._totals: Counter[str] = Counter()
        self._lateness_ms: Counter[int] = Counter()
        self._last_stored_ms: int | None = None

    # --- life ---
    def __enter__(self) -> Endpoint:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """
        Listens, at the same port as before if it was stopped; ends refuse(), too.
        """
        with self._changed:
            if self._standing.get(None) is REFUSED:
                del self._standing[None]
        self._is_stopping = False
        self._server.start()

    def stop(self) -> None:
        """
        Refuses and ends all connections; what is stored stays, and so does the port.
        """
        self._is_stopping = True  # before what is held up goes on
        self._release()
        self._server.stop()

    def close(self) -> None:
        """
        Stops for good, gives up the port and the certificates.
        """
        self._release()
        self._server.close()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    @property
    def port(self) -> int:
        """
        The port, known from the first start.
        """
        return self._server.port

    @property
    def url(self) -> str:
        """
        For ``endpoint_url`` and AWS_ENDPOINT_URL_CLOUDWATCH_LOGS.
        """
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """
        What a process needs, beside its own environment, to come here and nowhere else.
        """
        found = {
            "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": self.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            # botocore would ask a proxy of the environment for 127.0.0.1, too
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }
        return found | ({"AWS_CA_BUNDLE": self.ca_file} if self.ca_file else {})

    # --- what a test arranges ---
    def create(
        self,
        group: str,
        stream: str | None = None,
        *,
        retention_days: int | None = None,
        group_class: str = "STANDARD",
    ) -> None:
        """
        Makes a group, and a stream in it, without a call; each only if it is not there.
        """
        with self._changed:
            now_ms = self.now_ms()
            found = self._store.groups.setdefault(group, LogGroup(group, now_ms, group_class))
            if retention_days is not None:
                found.retention_days = retention_days
            if stream is not None:
                found.streams.setdefault(stream, LogStream(stream, now_ms))

    def delete(self, group: str, stream: str | None = None) -> list[LogStream]:
        """
        Deletes the stream, or the whole group, without a call; KeyError if it is not there.
        Returns what is gone.
        """
        with self._changed:
            if stream is None:
                return list(self._store.groups.pop(group).streams.values())
            return [self._store.groups[group].streams.pop(stream)]

    def present(self, server_file: Path) -> None:
        """
        From now on greets with this certificate (PEM, its key beside it); only with *tls*.
        """
        self._server.present(server_file)

    def refuse(self) -> None:
        """
        Refuses connections and ends those there are, until accept() or heal().
        """
        self.fail_always(REFUSED)

    def accept(self) -> None:
        """
        Ends refuse().
        """
        self.start()

    def fail_next(
        self, fault: Fault, times: int = 1, operation: str | None = "PutLogEvents"
    ) -> None:
        """
        Queues *fault* for the next *times* legal requests of *operation* (None: of any).
        """
        if fault is REFUSED:
            raise ValueError("the listener refuses all or none: refuse() and accept()")
        with self._changed:
            self._queued.extend([(fault, operation)] * times)

    def fail_always(self, fault: Fault, operation: str | None = None) -> None:
        """
        *fault* for all legal requests of *operation* (None: of any) that have no other.
        """
        if fault is REFUSED and operation is not None:
            raise ValueError("the listener refuses all operations or none")
        with self._changed:
            self._standing[operation] = fault
        if fault is REFUSED:
            self.stop()

    def heal(self) -> None:
        """
        No faults from now on, and no decider; connections that hang are closed.
        """
        with self._changed:
            is_refusing = self._standing.get(None) is REFUSED
            self._queued.clear()
            self._standing.clear()
            self.decide = None
        self._release()
        if is_refusing:
            self.start()

    # --- what a test sees ---
    def events(self, group: str, stream: str) -> list[tuple[int, str]]:
        """
        (timestamp in ms, message) as they arrived; empty if there is no such stream.
        """
        with self._changed:
            found = self._kept(group, stream)
            return list(zip(found.timestamps, found.messages, strict=True)) if found else []

    def messages(self, group: str, stream: str) -> list[str]:
        """
        The messages as they arrived; empty if there is no such stream.
        """
        with self._changed:
            found = self._kept(group, stream)
            return list(found.messages) if found else []

    def event_count(self, group: str | None = None, stream: str | None = None) -> int:
        """
        Events stored since the start; with names, those in the groups and streams there are.
        """
        with self._changed:
            if group is None and stream is None:
                return self._totals["events"]
            return sum(
                found.event_count
                for owner in self._store.groups.values()
                for found in owner.streams.values()
                if group in {None, owner.name} and stream in {None, found.name}
            )

    def streams(self) -> set[tuple[str, str]]:
        """
        (group, stream) of all streams there are.
        """
        with self._changed:
            return {
                (group.name, name)
                for group in self._store.groups.values()
                for name in group.streams
            }

    def group(self, name: str) -> LogGroup | None:
        """
        The group with its class, retention and tags, or None.
        """
        with self._changed:
            return self._store.groups.get(name)

    def count(self, operation: str, outcome: str | None = None) -> int:
        """
        Requests of *operation* so far, or those of them that ended as *outcome*.
        """
        with self._changed:
            return sum(
                number
                for (name, ended), number in self._outcomes.items()
                if name == operation and outcome in {None, ended}
            )

    def wait_until(self, question: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """
        Returns as soon as *question* is answered by yes, asked anew after each call.

        Raises:
            TimeoutError: it was no for all of *timeout_s*.

        """
        until_s = time.monotonic() + timeout_s
        with self._changed:
            while not question():
                if time.monotonic() > until_s:
                    raise TimeoutError(f"not within {timeout_s} s; calls: {dict(self._outcomes)}")
                self._changed.wait(WAIT_STEP_S)

    def stats(self) -> dict[str, Any]:
        """
        Totals for a benchmark; bytes are those of bodies, without HTTP's and TLS's own.
        """
        with self._changed:
            calls: dict[str, dict[str, int]] = {}
            for (operation, outcome), number in sorted(self._outcomes.items()):
                calls.setdefault(operation, {})[outcome] = number
            return {
                "calls": {operation: sum(ended.values()) for operation, ended in calls.items()},
                "outcomes": calls,
                "events": self._totals["events"],
                "wire_bytes": self._totals["wire_bytes"],
                "decoded_bytes": self._totals["decoded_bytes"],
                "last_stored_ms": self._last_stored_ms,
                "lateness_ms": {str(late_ms): n for late_ms, n in self._lateness_ms.items()},
                "violations": list(self.violations),
                "streams": {
                    group.name: {
                        stream.name: stream.event_count for stream in group.streams.values()
                    }
                    for group in self._store.groups.values()
                },
            }

    # --- one connection ---
    def _serve(self, connection: socket.socket) -> None:
        with connection.makefile("rb", READ_BUFFER_BYTES) as incoming:
            while self._serve_one(incoming, connection):
                pass

    def _serve_one(self, incoming: BinaryIO, connection: socket.socket) -> bool:
        try:
            received = receive(incoming, connection)
        except ServiceError as problem:
            self._record(Request("?"), problem.code, problem=problem)
            self._send(connection, problem.reply())
            return False
        if received is None:
            return False
        if received.method == "GET":
            is_open = self._send(connection, self._page(received.path))
        else:
            is_open = self._respond(received, connection)
        return is_open and received.headers.get("connection", "").lower() != "close"

    def _page(self, path: str) -> Reply:
        if path != "/stats":
            return Reply(HTTPStatus.NOT_FOUND, b"GET /stats", content_type="text/plain")
        return Reply(HTTPStatus.OK, orjson.dumps(self.stats()), content_type="application/json")

    def _respond(self, received: Received, connection: socket.socket) -> bool:
        target = received.headers.get("x-amz-target", "")
        request = Request(
            target.removeprefix(TARGET_PREFIX), len(received.body), at_s=time.monotonic()
        )
        try:
            self._read(received, request)
        except ServiceError as problem:
            self._record(request, problem.code, problem=problem)
            return self._send(connection, problem.reply())
        fault, releases = self._choose_fault(request)
        return self._act(request, connection, fault, releases)

    def _read(self, received: Received, request: Request) -> None:
        """
        Fills in *request*; ServiceError if it is not signed or not legal.
        """
        is_ours = received.headers.get("x-amz-target", "").startswith(TARGET_PREFIX)
        if (received.method, received.path) != ("POST", "/") or not (
            is_ours and request.operation in OPERATIONS
        ):
            raise ServiceError("UnknownOperationException", "", is_violation=True)
        if received.headers.get("content-type", "").partition(";")[0] != AMZ_JSON:
            raise unreadable(f"Content-Type is not {AMZ_JSON}")
        if is_signed_with(received, self.expired_keys):
            raise ServiceError(
                "ExpiredTokenException", "The security token included in the request is expired"
            )
        check_authorization(received, self.keys if self._verify_signature else None)
        if self._verify_clock:
            check_clock(received.headers.get("x-amz-date", ""), self.now_ms())
        request.is_gzip = received.headers.get("content-encoding") == "gzip"
        body = decode_body(received)
        request.decoded_bytes = len(body)
        request.parameters = parse_body(body)
        check_members(request.operation, request.parameters)
        if request.operation == "PutLogEvents":
            group = self.group(request.group)
            request.batch = read_batch(
                request.parameters["logEvents"],
                now_ms=self.now_ms(),
                retention_days=group.retention_days if group else None,
            )

    def _choose_fault(self, request: Request) -> tuple[Fault, int]:
        """
        The fault due, and the releases so far: one that comes after this must not be missed.
        """
        with self._changed:
            releases = self._releases
            for position, (fault, operation) in enumerate(self._queued):
                if operation in {None, request.operation}:
                    del self._queued[position]
                    return fault, releases
            decide = self.decide
        fault = decide(request) if decide else None
        with self._changed:
            standing = self._standing.get(request.operation) or self._standing.get(None)
        return fault or standing or NO_FAULT, releases

    def _act(
        self, request: Request, connection: socket.socket, fault: Fault, releases: int
    ) -> bool:
        if fault.delay_s:
            self._wait_for_release(releases, fault.delay_s)
            if self._is_stopping or not self._server.has(connection):
                self._record(request, "stopped")
                return False
        reply, stored_count = (fault.reply, 0) if not fault.is_stored else self._perform(request)
        outcome = fault.name or (reply.outcome if reply else "")
        self._record(request, outcome, stored_count=stored_count)
        if fault.hangs:
            self._wait_for_release(releases)
        return reply is not None and self._send(connection, reply, fault.sent)

    def _perform(self, request: Request) -> tuple[Reply, int]:
        """
        The true answer, and how many events were stored.
        """
        try:
            with self._changed:
                answer = self._store.perform(request, self.now_ms())
        except ServiceError as problem:
            return problem.reply(), 0
        window = request.batch.window if request.batch else Window(0, 0, {})
        if request.batch is not None and window.first < window.stop:
            self._note_stored(request.batch.timestamps[window.first : window.stop])
        body = b"" if answer is None else orjson.dumps(answer)
        return Reply(HTTPStatus.OK, body), window.stop - window.first

    def _note_stored(self, timestamps: list[int]) -> None:
        """
        When the last event came, and, if that is measured, how late each of these is.
        """
        late_ms = Counter(timestamps) if self._measure_lateness else {}
        with self._changed:
            self._last_stored_ms = now_ms = self.now_ms()
            for timestamp, number in late_ms.items():
                self._lateness_ms[now_ms - timestamp] += number

    def _send(self, connection: socket.socket, reply: Reply, sent: str = "all") -> bool:
        """
        Sends as much as *sent* says; whether the connection is to live on.
        """
        head, body = wire_form(reply, self.now_ms())
        if sent == "all":
            connection.sendall(head + body)
        elif sent == "half":
            connection.sendall(half_of(head, body))
        return sent == "all"

    def _record(
        self,
        request: Request,
        outcome: str,
        *,
        stored_count: int = 0,
        problem: ServiceError | None = None,
    ) -> None:
        """
        Counts a call before its answer leaves: who has the answer finds the record.
        """
        events = request.parameters.get("logEvents", ())
        call = Call(
            operation=request.operation,
            group=request.group,
            stream=request.stream,
            event_count=len(events) if isinstance(events, list) else 0,
            stored_count=stored_count,
            wire_bytes=request.wire_bytes,
            decoded_bytes=request.decoded_bytes,
            is_gzip=request.is_gzip,
            outcome=outcome,
            at_s=request.at_s,
        )
        with self._changed:
            if self._keep:
                self.calls.append(call)
            if problem is not None and problem.is_violation:
                self.violations.append(
                    f"{call.operation} {call.group} {call.stream}: {problem.code}: {problem}"
                )
            self._outcomes[request.operation, outcome] += 1
            self._totals["events"] += stored_count
            self._totals["wire_bytes"] += request.wire_bytes
            self._totals["decoded_bytes"] += request.decoded_bytes
            self._changed.notify_all()

    def _wait_for_release(self, releases: int, timeout_s: float | None = None) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._releases != releases, timeout_s)

    def _release(self) -> None:
        with self._changed:
            self._releases += 1
            self._changed.notify_all()

    def _kept(self, group: str, stream: str) -> LogStream | None:
        if not self._keep:
            raise RuntimeError("this endpoint keeps no events: event_count()")
        owner = self._store.groups.get(group)
        return owner.streams.get(stream) if owner else None

    def _make_context(self) -> ssl.SSLContext | None:
        if not self._tls:
            return None
        self._folder = tempfile.TemporaryDirectory(prefix="cloudwatch-endpoint-")
        ca_file, server_file = make_certificates(Path(self._folder.name))
        self.ca_file = str(ca_file)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server_file)
        return context


# --- by hand ---------------------------------------------------------------------------------
SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2}


def say(facts: dict[str, Any]) -> None:
    """
    One line of JSON on standard output.
    """
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def parse_arguments() -> argparse.Namespace:
    """
    The options of the command line.
    """
    parser = argparse.ArgumentParser(description="A strict CloudWatch Logs endpoint for tests.")
    parser.add_argument("--port", type=int, default=0, help="default: any that is free")
    parser.add_argument("--tls", action="store_true", help="with a certificate of its own CA")
    parser.add_argument("--ca-file", type=Path, help="writes the CA here, for AWS_CA_BUNDLE")
    parser.add_argument("--no-keep", action="store_true", help="count events, do not keep them")
    parser.add_argument("--no-signature", action="store_true", help="do not verify signatures")
    parser.add_argument("--lateness", action="store_true", help="count events by their lateness")
    return parser.parse_args()


def main() -> None:
    """
    Serves until SIGTERM or SIGINT; SIGUSR1 refuses connections, SIGUSR2 accepts them again.
    """
    options = parse_arguments()
    # before any thread: they inherit it, and sigwait below gets them all
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    with Endpoint(
        port=options.port,
        tls=options.tls,
        keep=not options.no_keep,
        verify_signature=not options.no_signature,
        measure_lateness=options.lateness,
    ) as endpoint:
        if options.ca_file and endpoint.ca_file:
            options.ca_file.write_bytes(Path(endpoint.ca_file).read_bytes())
        ca_file = str(options.ca_file or endpoint.ca_file) if options.tls else None
        say({"url": endpoint.url, "ca_file": ca_file})
        while (caught := signal.sigwait(SIGNALS)) not in {signal.SIGTERM, signal.SIGINT}:
            if caught == signal.SIGUSR1:
                endpoint.refuse()
            else:
                endpoint.accept()
        endpoint.stop()
        say(endpoint.stats())


if __name__ == "__main__":
    main()
