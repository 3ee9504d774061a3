"""
Where a spool lies: files and folders that are their owner's alone.

Comes in: a path. Goes out: a folder or a file that is there. Always holds: what is made here is
0700 or 0600 whatever the umask; what was there before keeps its mode, which somebody chose. A
folder is there after a power cut, too: SQLite syncs what is in it, but not the way to it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["is_open_to_all", "make_folder", "open_file", "who_may"]

FOLDER_MODE = 0o700
FILE_MODE = 0o600


def make_folder(path: Path) -> None:
    """
    See that a folder is there, and those above it; durable on return. Raises OSError.
    """
    for folder in (*reversed(path.parents), path):
        if not folder.is_dir():
            _make(folder)


def open_file(path: Path) -> int:
    """
    A descriptor for reading and writing; the file is made where there is none. Raises OSError.
    """
    flags = os.O_RDWR | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, FILE_MODE)
    except FileExistsError:
        return os.open(path, flags | os.O_CREAT, FILE_MODE)
    os.fchmod(descriptor, FILE_MODE)
    return descriptor


def is_open_to_all(path: Path) -> bool:
    """
    Whether every user of the host may read or write a file. (A group may be there on purpose.)
    """
    return bool(path.stat().st_mode & 0o006)


def who_may(path: Path) -> str:
    """
    What to do about a file that this user cannot use, or whose folder it cannot.
    """
    if os.geteuid() and _owner(path) != os.geteuid():
        return "it is another user's: use `sudo spool …`, or check its owner and that of its folder"
    return "check its owner and that of its folder"


def _owner(path: Path) -> int | None:
    """
    The user id of a file, or of the first folder above it that can be seen.
    """
    for place in (path, *path.absolute().parents):
        with suppress(OSError):
            return place.stat().st_uid
    return None


def _make(folder: Path) -> None:
    try:
        folder.mkdir(FOLDER_MODE)
    except FileExistsError:  # by another process, just now?
        if not folder.is_dir():
            raise
    else:
        folder.chmod(FOLDER_MODE)  # a umask may have taken more than it should
        with suppress(OSError):  # some file systems cannot
            _sync(folder.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
