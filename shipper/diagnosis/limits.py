"""
What the system allows: open files, and the inotify watches that tell of new lines.

Comes in: how many containers there are. Always holds: only numbers of /proc are read.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

from shipper.diagnosis.case import Case
from shipper.diagnosis.finding import Finding, ok, skipped, warning

__all__ = ["limits"]

INOTIFY = Path("/proc/sys/fs/inotify")

FILES_APIECE = 3
"""A container's log, the one that was rotated from it, and a connection to the engine."""

FILES_BESIDE = 100

FOLDERS_APIECE = 4
"""Docker makes a few in a container's folder; each is watched twice, for new files and lines."""

INSTANCES = 2


def limits(case: Case) -> Iterator[Finding]:
    """
    Findings `files`, `inotify`.
    """
    yield _files(case.containers)
    if case.source in ("auto", "files"):
        yield _inotify(case.containers)
    else:
        yield skipped("inotify", f"not needed with --source {case.source}")


def _files(containers: int) -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = FILES_APIECE * containers + FILES_BESIDE
    if hard == resource.RLIM_INFINITY:
        return ok("files", "any number may be open")
    if hard < needed:
        return warning(
            "files",
            f"{hard:,} may be open; {containers:,} containers may take {needed:,}",
            "raise the limit: LimitNOFILE=65536 in the unit, --ulimit nofile=65536 for a container",
        )
    return ok("files", f"{hard:,} may be open, enough for {containers:,} containers")


def _inotify(containers: int) -> Finding:
    watches, instances = _number("max_user_watches"), _number("max_user_instances")
    if watches is None or instances is None:
        return skipped("inotify", "its limits cannot be read here")
    needed = 2 * FOLDERS_APIECE * containers + INSTANCES
    found = f"{watches:,} watches, {instances:,} instances for each user"
    if watches < needed or instances < INSTANCES:
        return warning(
            "inotify",
            f"{found}; {containers:,} containers may take {needed:,} watches. Without them the"
            " files are looked at ten times a second",
            "on the host: sysctl fs.inotify.max_user_watches=524288"
            " fs.inotify.max_user_instances=1024",
        )
    return ok("inotify", found)


def _number(name: str) -> int | None:
    try:
        return int((INOTIFY / name).read_text())
    except (OSError, ValueError):
        return None
