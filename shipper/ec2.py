"""
EC2 metadata: the instance's id and its region, asked for by IMDSv2 and only when needed.

The settings in, two short texts out, or None. What always holds:

- Nothing here raises, and no lookup takes longer than `TOTAL_TIMEOUT_S`, also when the far side
  drips one byte at a time. (Where AWS_EC2_METADATA_SERVICE_ENDPOINT has a host name instead of an
  address, the system's resolver takes its own time on top.)
- No proxy is used and no redirect followed; at most `REPLY_LIMIT_BYTES` of a body are read, and
  what does not look like an instance id or a region is thrown away.
- A value that was found is kept for good. After a failure nothing is asked for `FAILURE_KEPT_S`.
- With NOEC2 or AWS_EC2_METADATA_DISABLED=true there is no request at all.

IMDSv1 is tried when the service refuses to give a token (403, 404, 405) and when it accepts the
connection but leaves the request for a token unanswered: with a hop limit of 1 the token cannot
reach a container on a bridge network, while answers of version 1 can. AWS's own clients do the
same. AWS_EC2_METADATA_V1_DISABLED=true turns that off.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
"""

import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Protocol, cast
from urllib.parse import urlsplit

from shipper.errors import RouteError
from shipper.route import Route, is_region
from shipper.timed import TimedBytes, left_s

__all__ = [
    "CONNECT_TIMEOUT_S",
    "FAILURE_KEPT_S",
    "REPLY_LIMIT_BYTES",
    "TOTAL_TIMEOUT_S",
    "Metadata",
    "find_region",
]

CONNECT_TIMEOUT_S = 1.0
TOTAL_TIMEOUT_S = 2.0  # for one lookup: the token and both values; half of it for the token
FAILURE_KEPT_S = 60.0
TOKEN_KEPT_S = 60  # asked of the service; one lookup is all a token is for
REPLY_LIMIT_BYTES = 4096
HEAD_LIMIT_BYTES = 8192

DEFAULT_ENDPOINT = "http://169.254.169.254"

_LOG = logging.getLogger(__name__)

_INSTANCE_ID = "instance-id"
_REGION = "placement/region"
_LEGAL: dict[str, Callable[[str], bool]] = {
    # the two lengths there are, so that a reply cut short is not taken for one
    _INSTANCE_ID: lambda text: re.fullmatch(r"i-(?:[0-9a-f]{8}|[0-9a-f]{17})", text) is not None,
    _REGION: is_region,
}
_TOKEN = re.compile(r"[!-~]{1,1024}")  # it goes back in a header: no blanks, no line breaks

_OK = 200
_NO_TOKENS_HERE = (403, 404, 405)
_UNANSWERED = 0


class Regional(Protocol):
    """
    Whoever can tell the region of this host.
    """

    def region(self) -> str | None:
        """
        Its name, or None when that is not known now.
        """


def find_region(
    route: Route,
    metadata: Regional,
    *,
    environ: Mapping[str, str],
    configured: Callable[[], str | None] = lambda: None,
) -> str:
    """
    The region to send to: the route's, else EC2's, else the environment's, else the configured.

    *configured* is asked last, for the region of the profile in `~/.aws/config`.

    Raises RouteError when no one knows, or when one of the two last has no region's shape.
    """
    if route.region:
        return route.region
    found = metadata.region() if route.use_ec2 else None
    if found:
        return found
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if text := environ.get(name, "").strip():
            return _checked(text, f"{name} in the environment")
    if profiled := configured():
        return _checked(profiled, "the region of the AWS profile")
    raise RouteError(
        "the AWS region is not known; write it into the route, as in cloudwatch://us-east-1,"
        " or set AWS_REGION"
    )


def _checked(text: str, where: str) -> str:
    if not is_region(text):
        raise RouteError(f"{where} is no region; write one such as us-east-1")
    return text


class Metadata:
    """
    What the EC2 metadata service says of this instance. Safe to share between threads.

    Args:
        environ: for the AWS_EC2_METADATA_* settings; read now and never again.
        use_ec2: False, for NOEC2, answers None without asking.
        timeout_s: for one lookup in all.
        clock: seconds that never go back.

    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        use_ec2: bool,
        timeout_s: float = TOTAL_TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._enabled = use_ec2 and not _is_true(environ, "AWS_EC2_METADATA_DISABLED")
        self._v1_allowed = not _is_true(environ, "AWS_EC2_METADATA_V1_DISABLED")
        self._endpoint = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or DEFAULT_ENDPOINT
        self._timeout_s = timeout_s
        self._clock = clock
        self._lock = threading.Lock()  # held through a lookup: one at a time, the others wait
        self._found: dict[str, str] = {}
        self._silent_until_s: float | None = None
        self._has_told = False

    def instance_id(self) -> str | None:
        """
        Such as i-0123456789abcdef0, or None when it is not known now.
        """
        return self._get(_INSTANCE_ID)

    def region(self) -> str | None:
        """
        Such as eu-central-1, or None when it is not known now.
        """
        return self._get(_REGION)

    def _get(self, path: str) -> str | None:
        if self._enabled and path not in self._found:
            with self._lock:
                if path not in self._found and not self._is_silent():
                    self._look_up()
        return self._found.get(path)

    def _is_silent(self) -> bool:
        return self._silent_until_s is not None and self._clock() < self._silent_until_s

    def _look_up(self) -> None:
        """
        Fetch what is missing: both values in one go, as a host without EC2 should wait but once.
        """
        problem = "answers were not usable"
        try:
            self._fetch(_Service(self._endpoint, self._timeout_s))
        except (OSError, HTTPException, ValueError) as exc:
            problem = type(exc).__name__
        if len(self._found) < len(_LEGAL):
            self._silent_until_s = self._clock() + FAILURE_KEPT_S
            if not self._has_told:
                _LOG.warning("EC2 metadata not found (%s); outside EC2 set NOEC2", problem)
            self._has_told = True

    def _fetch(self, service: "_Service") -> None:
        token = service.token(v1_allowed=self._v1_allowed)
        if token is None:
            return
        for path in [path for path in _LEGAL if path not in self._found]:
            text = service.value(path, token)
            if _LEGAL[path](text):
                self._found[path] = text


class _Service:
    """
    One lookup at the service, from now until its time is up.

    Raises OSError (TimeoutError among them), HTTPException or ValueError for all that goes wrong.
    """

    def __init__(self, endpoint: str, timeout_s: float) -> None:
        url = urlsplit(endpoint.strip())
        if url.scheme != "http" or not url.hostname:
            raise ValueError("the endpoint is no http:// address")
        self._host = url.hostname
        self._port = url.port or 80
        self._base = url.path.rstrip("/") + "/latest/"
        self._token_deadline_s = time.monotonic() + timeout_s / 2
        self._deadline_s = time.monotonic() + timeout_s

    def token(self, *, v1_allowed: bool) -> str | None:
        """
        The token of a session; empty to go on without one, None to go no further.
        """
        lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_KEPT_S)}
        status, text = self._ask_for_token(lifetime)
        if status == _OK and _TOKEN.fullmatch(text):
            return text
        return "" if v1_allowed and status in (_UNANSWERED, *_NO_TOKENS_HERE) else None

    def value(self, path: str, token: str) -> str:
        """
        The text at *path*, unchecked, or an empty one.
        """
        headers = {"X-aws-ec2-metadata-token": token} if token else {}
        url = f"{self._base}meta-data/{path}"
        status, text = self._ask("GET", url, headers=headers, deadline_s=self._deadline_s)
        return text if status == _OK else ""

    def _ask_for_token(self, headers: Mapping[str, str]) -> tuple[int, str]:
        url = self._base + "api/token"
        try:
            return self._ask("PUT", url, headers=headers, deadline_s=self._token_deadline_s)
        except TimeoutError:
            return _UNANSWERED, ""

    def _ask(
        self, method: str, url: str, *, headers: Mapping[str, str], deadline_s: float
    ) -> tuple[int, str]:
        """
        The status and the body of one reply. ConnectionError if nobody is there to give one.
        """
        connect_s = min(CONNECT_TIMEOUT_S, left_s(deadline_s))
        connection = HTTPConnection(self._host, self._port, timeout=connect_s)
        try:
            _connect(connection)
            connection.request(method, url, headers={**headers, "Connection": "close"})
            return _read(connection.sock, method, deadline_s=deadline_s)
        finally:
            connection.close()


def _connect(connection: HTTPConnection) -> None:
    """
    Raises ConnectionError also for a timeout, which then means an unanswered request only.
    """
    try:
        connection.connect()
    except TimeoutError as exc:
        raise ConnectionError("no connection in time") from exc


def _read(sock: socket.socket, method: str, *, deadline_s: float) -> tuple[int, str]:
    # as much as a decent reply has
    timed = TimedBytes(sock, deadline_s, most_bytes=HEAD_LIMIT_BYTES + REPLY_LIMIT_BYTES)
    with HTTPResponse(cast(socket.socket, timed), method=method) as reply:
        reply.begin()
        if reply.status != _OK:
            return reply.status, ""
        body = reply.read(REPLY_LIMIT_BYTES + 1)
        if len(body) > REPLY_LIMIT_BYTES or reply.length:
            raise ValueError("the reply is too long, or cut short")
    return _OK, body.decode("ascii").strip()


def _is_true(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").strip().lower() == "true"
