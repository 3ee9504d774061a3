"""
From a container to the log group and stream that its lines go to.

Comes in: a container and this host's name. Goes out: names that CloudWatch takes
(https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogStream.html).
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from shipper.containers import Container

__all__ = ["MAX_NAME_LENGTH", "Target", "host_name", "legal_group", "legal_stream", "name_target"]

MAX_NAME_LENGTH = 512
_NOT_IN_GROUP = re.compile(r"[^A-Za-z0-9._\-/#]")
_NOT_IN_STREAM = re.compile(r"[:*\x00-\x1f\x7f]")

HOST_HOSTNAME = Path("/etc/host_hostname")
"""Where logspout's users mount the host's /etc/hostname into its container."""


@dataclass(frozen=True, slots=True)
class Target:
    """
    A log group and a log stream, legal for CloudWatch.
    """

    group: str
    stream: str


def host_name() -> str:
    """
    The name of this host, also from inside a container that has HOST_HOSTNAME mounted.
    """
    try:
        name = HOST_HOSTNAME.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        name = ""
    return name or socket.gethostname()


def name_target(container: Container, *, host: str) -> Target:
    """
    Where a container's lines go: a group named for the host, a stream named for the container.
    """
    return Target(group=legal_group(host), stream=legal_stream(container.name))


def legal_group(raw: str) -> str:
    """
    `raw` as the name of a log group; one that had to be changed ends in a digest of itself, so
    that two different names stay two.
    """
    return _legal(raw, _NOT_IN_GROUP)


def legal_stream(raw: str) -> str:
    """
    `raw` as the name of a log stream, likewise.
    """
    return _legal(raw, _NOT_IN_STREAM)


def _legal(raw: str, illegal: re.Pattern[str]) -> str:
    cleaned = illegal.sub("_", raw)
    if cleaned == raw and 0 < len(raw) <= MAX_NAME_LENGTH:
        return raw
    digest = sha256(raw.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{cleaned[: MAX_NAME_LENGTH - 9] or 'unnamed'}-{digest}"
