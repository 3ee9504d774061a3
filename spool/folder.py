"""
The folder of a spool.

Comes in: its path. Goes out: a folder for its owner only. Always holds: it is there after a power
cut, too. SQLite syncs what is in the folder, but not the way to it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["make_folder"]


def make_folder(folder: Path) -> None:
    """
    Make it, and those above it that are missing; durable on return. Raises `OSError`.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in missing:
        with suppress(OSError):  # some file systems cannot
            _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
