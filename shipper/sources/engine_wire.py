"""
The wire to an engine: sockets, the heads of answers, and what statuses mean.

Comes in: an address, a status. Goes out: a connected socket, an error. Errors are sorted by what
the caller does next:

    EngineError
    ├── EngineUnavailable           ask again later
    │   └── CertificatesUnusable    and tell whose they are
    ├── ContainerGone               it is over
    │   └── ContainerRemoved        and will never be again
    └── LogsUnreadable              never
"""

from __future__ import annotations

import json
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = [
    "MAX_HEAD_BYTES",
    "TIMEOUT_S",
    "CertificatesUnusable",
    "ContainerGone",
    "ContainerRemoved",
    "EngineError",
    "EngineUnavailable",
    "LogsUnreadable",
    "Opened",
    "dial",
    "error_of",
    "read_head",
]

TIMEOUT_S = 10
"""For an answer to begin, and for each piece of it; the engine answers within ms."""

MAX_HEAD_BYTES = 65_536

NO_SUCH_CONTAINER = "no such container"
"""Docker's words, and Podman's; what stands before an engine may answer 404, too."""


class EngineError(Exception):
    """
    The engine cannot do what was asked.
    """


class EngineUnavailable(EngineError):
    """
    No engine answers, or not as it should: ask again later.
    """


class CertificatesUnusable(EngineUnavailable):
    """
    The environment asks for TLS, and what it names for that is not there or of no use.
    """


class ContainerGone(EngineError):
    """
    The container is removed, or is just being so.
    """


class ContainerRemoved(ContainerGone):
    """
    The engine knows of no such container.
    """


class LogsUnreadable(EngineError):
    """
    The container's log driver keeps nothing that the engine could read.
    """


@dataclass(frozen=True, slots=True)
class Opened:
    """
    A stream that the engine writes to, and its bytes that came with the head of the answer.
    """

    socket: socket.socket
    begun: bytes


def dial(base_url: str, tls: ssl.SSLContext | None) -> socket.socket:
    """
    A connection to the engine at `unix://`, `tcp://`, `http://` or `https://`. Raises OSError.
    """
    url = urlsplit(base_url if "://" in base_url else f"tcp://{base_url}")
    if url.scheme == "unix":
        opened = socket.socket(socket.AF_UNIX)
        opened.settimeout(TIMEOUT_S)
        try:
            opened.connect(url.path or f"/{url.netloc}")
        except BaseException:
            opened.close()
            raise
        return opened
    if url.scheme not in ("tcp", "http", "https"):
        raise EngineUnavailable(f"{base_url}: only unix:// and tcp:// lead to an engine here")
    port = url.port or (2376 if tls else 2375)
    plain = socket.create_connection((url.hostname or "localhost", port), TIMEOUT_S)
    if url.scheme == "https":
        tls = tls or ssl.create_default_context()
    return tls.wrap_socket(plain, server_hostname=url.hostname) if tls else plain


def read_head(opened: socket.socket) -> bytes:
    """
    What came behind the head of an HTTP/1.0 answer.
    """
    data = b""
    while b"\r\n\r\n" not in data:
        more = opened.recv(MAX_HEAD_BYTES)
        if not more or len(data) > MAX_HEAD_BYTES:
            raise EngineUnavailable("the answer ended within its head")
        data += more
    head, _, begun = data.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if status != [b"200"]:
        code = int(status[0]) if status and status[0].isdigit() else 0
        raise error_of(code, begun or opened.recv(MAX_HEAD_BYTES))
    if b"\r\ntransfer-encoding:" in head.lower():
        raise EngineUnavailable("chunks in an answer to HTTP/1.0; is there a proxy before it?")
    return begun


def error_of(status: int, body: bytes) -> EngineError:
    """
    What a status other than 200 means, where a container was named: of its logs and of itself.
    """
    try:
        said = str(json.loads(body)["message"])
    except (ValueError, LookupError, TypeError, RecursionError):
        said = body[:200].decode(errors="replace")
    is_removed = NO_SUCH_CONTAINER in said.lower()
    kinds: dict[int, type[EngineError]] = {
        404: ContainerRemoved if is_removed else ContainerGone,
        409: ContainerGone,
        501: LogsUnreadable,
    }
    return kinds.get(status, EngineUnavailable)(f"{status}: {said}")
