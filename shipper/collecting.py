"""
Which containers are collected and from where, by logspout's rules, and why the others are not.

Comes in: a container, the route's filters, what `--source` says. Goes out: a `Choice`. Names and
labels come from containers: no pattern is made of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from shipper.containers import Container
from shipper.pods import CRI, POD_UID_LABEL
from shipper.route import Route

__all__ = ["Choice", "Chooser", "own_container_id", "own_pod_uid", "path_match"]

MOUNTINFO = Path("/proc/self/mountinfo")
_OWN_MOUNTS = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf")
_ID_IN_PATH = re.compile(r"/containers/([0-9a-f]{64})/")
_OWN_POD_MOUNTS = ("/etc/hosts", "/dev/termination-log")
_POD_IN_PATH = re.compile(r"/pods/([0-9A-Za-z-]+)/(?:etc-hosts$|containers/)")

_MEMBER = r"(?:\\.|[^\\\]-])"
_RANGE = re.compile(rf"({_MEMBER})(?:-({_MEMBER}))?", re.DOTALL)
_TOKEN = re.compile(
    rf"\*+|\?|\\(.)|\[(\^?+)((?:{_MEMBER}(?:-{_MEMBER})?)+)\]|([^*?\\\[])", re.DOTALL
)
"""Of a pattern: a star or several, `?`, a quoted character, brackets, any other character."""


@dataclass(frozen=True, slots=True)
class Choice:
    """
    The source that collects a container, None where none does, and the reason in plain words.
    """

    source: Literal["files", "api"] | None
    reason: str


@dataclass(frozen=True, slots=True)
class Chooser:
    """
    The rules of one agent: its route's filters, its `--source`, where it finds Docker's files, its
    own container, the uid of its own pod.
    """

    route: Route
    source: str
    containers_dir: Path
    own_id: str | None
    own_pod: str | None = None

    def choose(self, container: Container) -> Choice:
        """
        Where a container's lines come from, if anywhere.
        """
        if self.source == "none":
            return Choice(None, "nothing is collected with --source none")
        why_not = self._why_own(container) or _why_not(container, self.route)
        if why_not:
            return Choice(None, why_not)
        if container.log_driver == CRI:
            return self._of_pod()
        return self._by_driver(container, container.log_driver)

    def _by_driver(self, container: Container, driver: str) -> Choice:
        if driver == "none":
            return Choice(None, "its log driver is none: there is nothing to read")
        if self.source == "api":
            return Choice("api", "through the Engine API, as --source says")
        if driver != "json-file" and self.source == "files":
            reads = "--source auto reads it through the Engine API"
            return Choice(None, f"its log driver is {driver}, which leaves no json-file; {reads}")
        if driver != "json-file":
            return Choice("api", f"its log driver is {driver}: through the Engine API")
        if self.source == "files" or self._is_readable(container):
            return Choice("files", "its json-file log on disk")
        return Choice("api", "its json-file log cannot be read here: through the Engine API")

    def _why_own(self, container: Container) -> str | None:
        if container.id == self.own_id:
            return "it is this agent's own container"
        if self.own_pod and container.labels.get(POD_UID_LABEL) == self.own_pod:
            return "it is in this agent's own pod"
        return None

    def _of_pod(self) -> Choice:
        if self.source == "api":
            return Choice(None, "it is a pod's, and --source api reads Docker's containers alone")
        return Choice("files", "its pod's log on disk")

    def _is_readable(self, container: Container) -> bool:
        """
        Whether the container's log is in a folder that is there and may be read, or will be.
        """
        folder = self.containers_dir / container.id
        log = folder / f"{container.id}-json.log"
        if os.access(log, os.F_OK):
            return os.access(log, os.R_OK)
        return os.access(folder, os.R_OK | os.X_OK)


def _why_not(container: Container, route: Route) -> str | None:
    if container.tty and not route.allow_tty:
        return "it has a terminal; set ALLOW_TTY=true to collect it"
    if container.env.get("LOGSPOUT", "").lower() == "ignore":
        return "its environment has LOGSPOUT=ignore"
    for label, value in route.exclude_labels:
        if container.labels.get(label, "\0").lower() == value.lower():
            return f"its label {label} has the value that EXCLUDE_LABEL names"
    return _why_filtered(container, route)


def _why_filtered(container: Container, route: Route) -> str | None:
    if route.filter_id and not container.id.startswith(route.filter_id):
        return f"its id does not begin with {route.filter_id} (filter.id)"
    if route.filter_name and not path_match(route.filter_name, container.name):
        return f"its name does not match {route.filter_name} (filter.name)"
    for entry in route.filter_labels:
        label, _, pattern = entry.partition(":")
        if pattern and not path_match(pattern, container.labels.get(label, "")):
            return f"its label {label} does not match {pattern} (filter.labels)"
    return None


def path_match(pattern: str, text: str) -> bool:
    """
    Go's path.Match: `*` and `?` stop at a slash, `[^a]` negates, a backslash quotes; in brackets
    `-` has to be quoted where it makes no range.

    A pattern that is none matches nothing, as there.
    """
    expression = _compiled(pattern)
    return expression is not None and expression.fullmatch(text) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    parts: list[list[str]] = [[]]  # between stars
    position = 0
    while position < len(pattern):
        match = _TOKEN.match(pattern, position)
        if match is None:
            return None
        if match[0][0] == "*":
            parts.append([])
        else:
            parts[-1].append(_translated(match))
        position = match.end()
    return re.compile(_joined(*map("".join, parts)), re.DOTALL)


def _joined(first: str, *more: str) -> str:
    """
    With stars between: what follows one is taken where it is found first and, as in Go, for good.
    To try the others, too, would take a power of the text's length: a label may be of any.
    """
    if not more:
        return first
    between = [f"(?>[^/]*?{part})" for part in more[:-1]]
    return "".join([first, *between, "[^/]*", more[-1]])


def _translated(match: re.Match[str]) -> str:
    quoted, negation, members, plain = match.groups()
    if members is not None:
        return _class_of(_RANGE.findall(members), negation)
    return "[^/]" if match[0] == "?" else re.escape(quoted or plain)


def _class_of(ranges: Sequence[tuple[str, str]], negation: str) -> str:
    """
    A range that goes backwards has no character in it.
    """
    ends = [(first[-1], (last or first)[-1]) for first, last in ranges]
    inside = "".join(f"{re.escape(a)}-{re.escape(b)}" for a, b in ends if a <= b)
    if inside:
        return f"[{negation}{inside}]"
    return "." if negation else "(?!)"


def own_container_id() -> str | None:
    """
    The id of the container that this process runs in; None outside of Docker.

    Docker mounts a container's own files over these three; other containers' ids may stand in other
    lines where their folders are mounted.
    """
    return _found_in_mounts(_OWN_MOUNTS, _ID_IN_PATH)


def own_pod_uid() -> str | None:
    """
    The uid of the pod that this process runs in; None outside of Kubernetes.

    The kubelet mounts files of the pod's folder over these two, the second in every container.
    """
    return _found_in_mounts(_OWN_POD_MOUNTS, _POD_IN_PATH)


def _found_in_mounts(points: tuple[str, ...], pattern: re.Pattern[str]) -> str | None:
    """
    What `pattern` finds in the path, on its own file system, of what is mounted at one of `points`.
    """
    try:
        lines = MOUNTINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for fields in (line.split() for line in lines):
        if len(fields) > 4 and fields[4] in points:
            found = pattern.search(fields[3])
            if found:
                return found[1]
    return None
