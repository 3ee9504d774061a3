"""
Before a spool is opened: is it there, may it be opened, and who in this process has it open.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Literal

from spool.errors import NoSpool, SpoolDamaged, SpoolUnusable, TwoDrivers
from spool.place import make_folder, open_file, who_may

__all__ = [
    "claim_driver",
    "is_at",
    "prepare_place",
    "refuse_damaged",
    "release_driver",
    "unfinished_rescues",
]

Driver = Literal["apsw", "sqlite3"]

_open_files: dict[tuple[int, int], tuple[Driver, int]] = {}
_open_files_lock = threading.Lock()


def claim_driver(path: Path, driver: Driver) -> tuple[int, int]:
    """
    Note that this process uses `driver` on the file, which exists; returns the claim.

    Raises `TwoDrivers` where the other one has it open: POSIX drops all locks of a process on a
    file when any descriptor of it is closed, and each copy of SQLite knows only its own.
    """
    status = path.stat()
    claim = (status.st_dev, status.st_ino)
    with _open_files_lock:
        holder, count = _open_files.get(claim, (driver, 0))
        if holder != driver:
            raise TwoDrivers(f"{path}: open through {holder} in this process; close it first")
        _open_files[claim] = (driver, count + 1)
    return claim


def is_at(claim: tuple[int, int], path: Path) -> bool:
    """
    Whether the file that was claimed is still the one at `path`.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return claim == (status.st_dev, status.st_ino)


def release_driver(claim: tuple[int, int]) -> None:
    """
    Give back what `claim_driver` returned.
    """
    with _open_files_lock:
        driver, count = _open_files[claim]
        if count > 1:
            _open_files[claim] = (driver, count - 1)
        else:
            del _open_files[claim]


def prepare_place(path: Path, *, create: bool) -> None:
    """
    See that a file is there, made if `create` (file 0600, folder 0700). An existing one is not
    opened here: to close it again would drop the locks that another connection of this process
    holds on it.

    Raises `SpoolUnusable`.
    """
    try:
        if path.is_dir():
            raise SpoolUnusable(f"{path}: is a folder; give the path of a file with --db")
        refuse_damaged(path)
        if create and not path.exists():
            make_folder(path.parent)
            os.close(open_file(path))
        if path.stat().st_size == 0 and not create:
            raise NoSpool(path, "no spool yet, but an empty file")
    except FileNotFoundError as error:
        raise NoSpool(path) from error
    except OSError as error:
        raise _unwritable(path, error.strerror) from error
    if not (os.access(path, os.R_OK | os.W_OK) and os.access(path.parent, os.W_OK)):
        raise _unwritable(path, "no permission")


def unfinished_rescues(path: Path) -> list[Path]:
    """
    Complete copies of what could be read from a damaged spool, that are not in its place yet.
    """
    beginning = f"{path.name}.rescued-"
    if not path.parent.is_dir():
        return []
    return [name for name in path.parent.iterdir() if name.name.startswith(beginning)]


def refuse_damaged(path: Path) -> None:
    """
    Raises `SpoolDamaged` where to open the file would make things worse: SQLite removes the
    write-ahead log of an empty file, and what is written before a rescue is finished is set aside.
    """
    if unfinished_rescues(path):
        raise SpoolDamaged(path, "its rescue is not finished")
    log = path.with_name(path.name + "-wal")
    if path.is_file() and path.stat().st_size == 0 and log.exists() and log.stat().st_size > 0:
        raise SpoolDamaged(path, "it is empty, and its write-ahead log is not")


def _unwritable(path: Path, reason: str | None) -> SpoolUnusable:
    return SpoolUnusable(
        f"{path}: cannot be opened for writing ({reason}); {who_may(path)},"
        " or give another path with --db"
    )
