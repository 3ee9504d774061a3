"""
CloudWatch Logs as a server: where it is, who we are to it, and one request at a time.

Comes in: an operation and its body, JSON ready made. Goes out: what the service answered, or a
`DeliveryError` that says what to do next. Alone imports boto3. Always holds: an error's text has
no message, credential or environment value in it; an answer that is not whole is none.

boto3 finds credentials, endpoint, proxies and CAs, and its connections carry what is sent. But its
own way of a call takes 0.86 ms of CPU whatever the call is, and would check and write every event
in Python; so a request is put together and signed here, in 0.33 ms with all the rest.
"""

from __future__ import annotations

import gc
import threading
import time
from dataclasses import dataclass
from http.client import responses
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    IncompleteReadError,
    InvalidEndpointConfigurationError,
    NoCredentialsError,
)
from botocore.parsers import ResponseParserError
from msgspec import DecodeError, json

from shipper.answers import Translated, clock_offset_ms
from shipper.errors import Action, DeliveryError
from shipper.signature import authorization
from spool import __version__
from spool.clock import now_ms

__all__ = ["Answer", "Service", "configured_region"]

USER_AGENT = f"spool/{__version__} boto3/{boto3.__version__} botocore/{botocore.__version__}"

TARGET = "Logs_20140328"
CONTENT_TYPE = "application/x-amz-json-1.1"
"""How the service names itself, and its protocol, in botocore's description of it."""

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 20
"""A request that was not answered by then is sent again, and may arrive twice."""

CLOCK_TOLERANCE_MS = 60_000
"""A clock that is wrong by less is taken for right: an answer takes a while, too."""

ALREADY_THERE = "ResourceAlreadyExistsException"
WITHOUT_BODY = frozenset({"CreateLogGroup", "CreateLogStream", "PutRetentionPolicy"})
"""What is answered by a 200 and nothing more."""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What the service said: its id for the request, the fields of its JSON, and whether what was to
    be made is there already.
    """

    request_id: str
    fields: dict[str, Any]
    was_there: bool = False


class Service:
    """
    The service in one region. Its methods may be called from any thread.
    """

    def __init__(self, region: str, *, connections: int) -> None:
        self._region = region
        self._config = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            max_pool_connections=connections,
            tcp_keepalive=True,
        )
        self._access: _Access | None = None
        self._access_lock = threading.Lock()
        self._clock_offset_ms = 0

    def call(self, operation: str, body: bytes, *, is_gzip: bool = False) -> Answer:
        """
        One request, once: who calls sends it again, and counts.

        Raises `DeliveryError`.
        """
        access = None
        try:
            with Translated(operation):
                access = self._connected()
                return self._answer(operation, access.post(operation, body, is_gzip=is_gzip))
        except DeliveryError as error:
            if error.action is Action.RENEW or (
                error.action is Action.OPERATOR and error.is_general
            ):
                self._forget(access)
            raise

    def url(self) -> str:
        """
        Where requests go. Raises `DeliveryError`.
        """
        with Translated("endpoint"):
            return self._connected().url

    def now_ms(self) -> int:
        """
        The present as the service sees it, in ms since the epoch: this host's, until an answer
        shows that its clock is wrong.
        """
        return now_ms() + self._clock_offset_ms

    def _connected(self) -> _Access:
        with self._access_lock:
            if self._access is None:
                self._access = _Access.find(self._region, self._config)
            return self._access

    def _forget(self, access: _Access | None) -> None:
        """
        Forget session and credentials that failed; the next request looks for them anew.
        """
        with self._access_lock:
            if self._access is access:
                self._access = None

    def _answer(self, operation: str, response: Any) -> Answer:
        body, headers = response.content, response.headers
        self._look_at_clock(headers)
        _check_length(headers, body)
        if response.status_code >= 300:
            return _no(operation, response.status_code, headers, body)
        fields = {} if operation in WITHOUT_BODY and not body else _fields(body)
        request_id = headers.get("x-amzn-requestid", "")
        if fields is None or (operation not in WITHOUT_BODY and not request_id):
            # nor one that somebody else gave, or of which half is missing
            raise ResponseParserError(
                "a 200 that is not the service's: a proxy or a portal between?"
            )
        return Answer(request_id, fields)

    def _look_at_clock(self, headers: Any) -> None:
        offset_ms = clock_offset_ms(headers)
        if offset_ms is not None:
            is_wrong = abs(offset_ms) > CLOCK_TOLERANCE_MS
            self._clock_offset_ms = offset_ms if is_wrong else 0


@dataclass(frozen=True, slots=True)
class _Access:
    """
    What boto3 found: the service's endpoint, credentials (which renew themselves where they can),
    and connections with this host's proxies and CAs.
    """

    url: str
    host: str
    path: str
    region: str
    credentials: Any
    connections: Any

    @classmethod
    def find(cls, region: str, config: Config) -> _Access:
        """
        By environment, profile and instance. Raises what boto3 does.
        """
        session = boto3.Session(region_name=region)
        credentials = session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        try:
            client: Any = session.client("logs", config=config)
        except ValueError as error:  # so botocore tells of an endpoint without a scheme
            raise InvalidEndpointConfigurationError(msg=str(error)) from error
        parts = urlsplit(client.meta.endpoint_url)
        default_port = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
        path = parts.path or "/"
        found = cls(
            url=f"{parts.scheme}://{parts.netloc}{path}",
            host=parts.netloc.rpartition("@")[2].removesuffix(default_port),
            path=path,
            region=client.meta.region_name,
            credentials=credentials,
            connections=client._endpoint.http_session,  # nothing public has all the settings
        )
        del client, session
        gc.collect()  # its description of the service is megabytes, held by cycles
        return found

    def post(self, operation: str, body: bytes, *, is_gzip: bool) -> Any:
        """
        Botocore's response, of whatever status. Raises what botocore does.
        """
        keys = self.credentials.get_frozen_credentials()
        headers = {
            "Content-Type": CONTENT_TYPE,
            "Host": self.host,
            "X-Amz-Date": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()),
            "X-Amz-Target": f"{TARGET}.{operation}",
        }
        if is_gzip:
            headers["Content-Encoding"] = "gzip"
        if keys.token:
            headers["X-Amz-Security-Token"] = keys.token
        headers["Authorization"] = authorization(
            *(self.path, headers, body),
            key_id=keys.access_key,
            secret=keys.secret_key,
            region=self.region,
        )
        headers["User-Agent"] = USER_AGENT
        request = AWSPreparedRequest("POST", self.url, headers, body, stream_output=False)
        return self.connections.send(request)


def configured_region() -> str | None:
    """
    The region of the AWS configuration: environment, then profile.
    """
    try:
        region: str | None = boto3.Session().region_name
    except BotoCoreError:
        return None
    return region


def _check_length(headers: Any, body: bytes) -> None:
    """
    An answer that was cut off is no answer: what it says of rejected events would be lost.
    """
    announced = headers.get("content-length")
    if announced is not None and int(announced) != len(body):
        raise IncompleteReadError(actual_bytes=len(body), expected_bytes=int(announced))


def _fields(body: bytes) -> dict[str, Any] | None:
    """
    Those of a JSON object; None where it is none.
    """
    try:
        found = json.decode(body)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _no(operation: str, status: int, headers: Any, body: bytes) -> Answer:
    """
    Raises the error that an answer tells, in botocore's form, unless it is that something is there
    already. What a proxy says in between may be of any form and encoding.
    """
    fields = _fields(body)
    if fields is None:
        text = body.decode(errors="replace").strip()
        fields = {"message": responses.get(status, "") if text.startswith("<") else text}
    named = fields.get("__type")
    # as in com.amazonaws.logs#ThrottlingException:http://…
    code = named.partition(":")[0].rpartition("#")[2] if isinstance(named, str) else str(status)
    request_id = headers.get("x-amzn-requestid", "")
    if code == ALREADY_THERE:
        return Answer(request_id, {}, was_there=True)
    message = str(fields.get("message") or fields.get("Message") or "")
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": headers, "RequestId": request_id}
    told = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}
    raise ClientError(told, operation)
