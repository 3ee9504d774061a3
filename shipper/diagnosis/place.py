"""
The spool's place: its folder, disk and file, who ships from it, and how that goes.

Comes in: the path. Always holds: nothing is made, changed or locked; a folder is tried by a file
without a name, which is gone when it is closed.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shipper.diagnosis.case import Case
from shipper.diagnosis.finding import Finding, failed, ok, told, warning
from shipper.diagnosis.mounts import disk_finding, selinux_hint
from spool.errors import SpoolError, SpoolUnusable
from spool.inspection import Inspection
from spool.lock import holder
from spool.place import is_open_to_all
from spool.wording import human_bytes

__all__ = ["place"]

LEAST_FREE_BYTES = 16 << 20
"""Less than this fills while one looks; a write-ahead log alone takes as much."""

QUICK_BYTES = 64 << 20
"""A file of up to this is read in full."""

ELSEWHERE = "give another path with --db or SPOOL_DB"


def place(case: Case) -> Iterator[Finding]:
    """
    Findings `folder`, `disk`, `space`, and of a file that is there `file`, `agent`, `delivery`.
    """
    folder = case.db.parent
    there = _nearest(folder)
    yield _folder(folder, there)
    if not there.is_dir():
        return
    yield disk_finding(there)
    yield _space(there, case)
    yield from _file(case.db)


def _nearest(folder: Path) -> Path:
    """
    The folder, or what is there of the way to it.
    """
    return next((path for path in (folder, *folder.parents) if os.path.lexists(path)), folder)


def _folder(folder: Path, there: Path) -> Finding:
    if not there.is_dir():
        return failed("folder", f"{there} is no folder", ELSEWHERE)
    status = there.stat()
    facts = f"{there}, of {_user(status.st_uid)}, mode {stat.S_IMODE(status.st_mode):04o}"
    reason = _why_not_writable(there)
    if reason:
        me = os.geteuid()
        return failed(
            "folder",
            f"{facts}: {_user(me)} cannot write there ({reason})",
            f"chown {me} {there}, or run as its owner, or {ELSEWHERE}{selinux_hint()}",
        )
    if there != folder:
        return ok("folder", f"{folder} is not there yet; `spool run` makes it")
    if status.st_mode & 0o002:
        return warning("folder", f"{facts}: every user may write there", f"chmod 700 {there}")
    return ok("folder", facts)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"


def _why_not_writable(folder: Path) -> str | None:
    """
    In the system's words; None where a file can be made.
    """
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600))
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT):  # no such files here
            return None if os.access(folder, os.W_OK | os.X_OK) else "Permission denied"
        return error.strerror
    return None


def _space(folder: Path, case: Case) -> Finding:
    numbers = os.statvfs(folder)
    free_bytes = numbers.f_bavail * numbers.f_frsize
    taken_bytes = case.db.stat().st_size if _is_readable_file(case.db) else 0
    wanted_bytes = max(0, case.max_size_bytes - taken_bytes)
    found = f"{human_bytes(free_bytes)} free; the spool may grow by {human_bytes(wanted_bytes)}"
    remedy = "make room, or set a --max-size that fits, or put the spool on a larger disk"
    if free_bytes < LEAST_FREE_BYTES:
        return failed("space", found, remedy)
    if free_bytes < wanted_bytes:
        return warning("space", found, remedy)
    return ok("space", found)


def _is_readable_file(path: Path) -> bool:
    return path.is_file() if os.access(path.parent, os.X_OK) else False


def _file(db: Path) -> Iterator[Finding]:
    try:
        owner = _user(db.lstat().st_uid)
    except FileNotFoundError:
        yield ok("file", "none yet; `spool run` makes it")
        return
    except OSError as error:
        found = f"{db} cannot be looked at ({error.strerror})"
        yield failed("file", found, f"mend its folder first, as said above{selinux_hint()}")
        return
    if not os.access(db, os.R_OK | os.W_OK):
        me = os.geteuid()
        yield failed(
            "file",
            f"{db} is {owner}'s, and {_user(me)} cannot read and write it",
            f"run as {owner}, or chown {me} {db}*{selinux_hint()}",
        )
        return
    yield from _content(db)


def _content(db: Path) -> Iterator[Finding]:
    try:
        with Inspection(db) as spool:
            streams = spool.streams()
            problem = _damage(spool)
            size_bytes = spool.size_bytes()
    except SpoolUnusable as error:
        yield told("file", error)
        return
    except SpoolError as error:
        problem, streams, size_bytes = str(error), [], 0
    if problem:
        yield failed(
            "file",
            f"it is damaged: {problem}",
            "start `spool run` anew: it saves what can be read, and keeps the damaged file",
        )
        return
    yield _health(db, streams, size_bytes)
    pid = holder(db)
    yield ok("agent", f"runs, pid {pid}" if pid else "none ships from this spool now")
    yield _delivery(streams, pid)


def _damage(spool: Inspection) -> str | None:
    """
    What a quick look shows, in SQLite's words.
    """
    if spool.size_bytes() > QUICK_BYTES:
        return None
    found = str(next(iter(next(spool.query("PRAGMA quick_check(1)")).values())))
    return None if found == "ok" else found


def _health(db: Path, streams: list[dict[str, Any]], size_bytes: int) -> Finding:
    if is_open_to_all(db):
        return warning("file", f"every user may read or write {db}", f"chmod 600 {db}*")
    counts = ", ".join(
        f"{sum(row[state] for row in streams):,} {state}"
        for state in ("unsent", "sent", "rejected")
    )
    looked = "sound" if size_bytes <= QUICK_BYTES else "opens (`spool check` reads it in full)"
    return ok("file", f"{looked}, {human_bytes(size_bytes)}: {counts}")


def _delivery(streams: list[dict[str, Any]], pid: int | None) -> Finding:
    unsent = sum(row["unsent"] for row in streams)
    newest = max((row["last_delivery"] for row in streams if row["last_delivery"]), default=None)
    last = f"the last one was at {newest}" if newest else "none so far"
    errors = [row["last_error"] for row in streams if row["last_error"] and row["unsent"]]
    if errors:
        return warning(
            "delivery",
            f"{last}; {unsent:,} events wait. The last error: {errors[0]}",
            "mend what failed below, if anything; `spool status` tells it for each stream",
        )
    if unsent and not pid:
        return warning(
            "delivery",
            f"{last}; {unsent:,} events wait, and no agent runs",
            "start `spool run`, or send them with `spool replay`",
        )
    return ok("delivery", last)
