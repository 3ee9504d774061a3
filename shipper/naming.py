"""
From a container to the log group and stream that its lines go to.

Comes in: a container, and what the route says of names. Goes out: names that CloudWatch takes
(https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogStream.html).
Always holds: whatever a container's template does, its lines have a name; two different names that
had to be changed stay two.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from shipper.containers import Container
from shipper.gotemplate import Context, Template, TemplateError, parse

__all__ = [
    "MAX_NAME_LENGTH",
    "NODE_NAME",
    "Named",
    "Namer",
    "Target",
    "host_name",
    "legal_group",
    "legal_stream",
]

MAX_NAME_LENGTH = 512
_NOT_IN_GROUP = re.compile(r"[^A-Za-z0-9._\-/#]|(?<=^aws)/")
"""aws/ at its beginning the service keeps for itself."""

_NOT_IN_STREAM = re.compile(r"[:*\x00-\x1f\x7f]")

HOST_HOSTNAME = Path("/etc/host_hostname")
"""Where logspout's users mount the host's /etc/hostname into its container."""

NODE_NAME = "SPOOL_NODE_NAME"
"""Set from a pod's spec.nodeName: there the name of the host is that of the pod, which changes."""


@dataclass(frozen=True, slots=True)
class Target:
    """
    A log group and a log stream, legal for CloudWatch.
    """

    group: str
    stream: str


@dataclass(frozen=True, slots=True)
class Named:
    """
    A container's target, the names as its templates gave them, and why a default was taken.
    """

    target: Target
    raw_group: str
    raw_stream: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Namer:
    """
    The agent's templates for group and stream, and what they may ask for besides the container.

    A container's own LOGSPOUT_GROUP and LOGSPOUT_STREAM come before them, as in
    logspout-cloudwatch. `instance_id` and `region` are called when a template asks for them.
    """

    group_template: str
    stream_template: str
    host: str
    instance_id: Callable[[], str]
    region: Callable[[], str]

    def name(self, container: Container) -> Named:
        """
        Where a container's lines go: whatever goes wrong, somewhere.
        """
        context = self._context(container)
        group, group_error = _rendered(
            container.env.get("LOGSPOUT_GROUP", self.group_template), context, self.host
        )
        stream, stream_error = _rendered(
            container.env.get("LOGSPOUT_STREAM", self.stream_template), context, container.name
        )
        errors = (
            ("LOGSPOUT_GROUP", group_error),
            ("LOGSPOUT_STREAM", stream_error),
            ("its configuration", container.problem),
        )
        told = "; ".join(f"{what}: {error}" for what, error in errors if error)
        target = Target(group=legal_group(group), stream=legal_stream(stream))
        return Named(target, raw_group=group, raw_stream=stream, error=told or None)

    def target(self, container: Container) -> Target:
        """
        The legal names alone.
        """
        return self.name(container).target

    def _context(self, container: Container) -> Context:
        return Context(
            host=container.hostname,
            env=container.env,
            labels=container.labels,
            name=container.name,
            id=container.id,
            logger_host=self.host,
            instance_id=self.instance_id,
            region=self.region,
        )


def _rendered(text: str, context: Context, default: str) -> tuple[str, str | None]:
    try:
        name = _parsed(text).render(context)
    except TemplateError as error:
        return default, f"{error}; took the default"
    if not name.strip():
        return default, "the template gave nothing; took the default"
    return name, None


@lru_cache(maxsize=1024)
def _parsed(text: str) -> Template:
    return parse(text)


def host_name(environ: Mapping[str, str]) -> str:
    """
    The name of this host, also from inside a pod that is told the node's, or from inside a
    container that has HOST_HOSTNAME mounted.
    """
    if name := environ.get(NODE_NAME, "").strip():
        return name
    try:
        name = HOST_HOSTNAME.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        name = ""
    return name or socket.gethostname()


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
