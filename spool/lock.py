"""
One shipper per spool.

Comes in: the path of a spool. Goes out: the sole right to ship from it, or who has it. Always
holds: the right ends with the process, however it ends, because the kernel takes the lock back.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

from spool.errors import SpoolHeld, SpoolUnusable
from spool.place import make_folder, open_file, who_may

__all__ = ["ShipperLock", "holder"]

LOOK_S = 0.5
"""How long to wait for a lock that no shipper seems to have: one who looks has it for a moment."""


def _lock_path(spool: Path) -> Path:
    return spool.with_name(spool.name + ".lock")


class ShipperLock:
    """
    The right to ship from a spool, until `release` or the end of the process.

    `was_released` tells whether the one before ended in order: it then took its pid out of the lock
    file. One that knows of damage clears `is_in_order`, and leaves it there.

    Raises `SpoolHeld` with the other's pid, or `SpoolUnusable` where no lock file can be made.
    """

    def __init__(self, spool: Path) -> None:
        try:
            make_folder(spool.parent)
            self._descriptor = open_file(_lock_path(spool))
        except OSError as error:
            raise _unwritable(spool, error) from error
        try:
            _lock(self._descriptor, spool)
            self.is_in_order = True
            self.was_released = not os.pread(self._descriptor, 1, 0)
            length = os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)
            os.ftruncate(self._descriptor, length)
        except OSError as error:
            os.close(self._descriptor)
            raise _unwritable(spool, error) from error
        except SpoolHeld:
            os.close(self._descriptor)
            raise

    def release(self) -> None:
        """
        Let another shipper have it. The lock file stays: removing it would race.
        """
        if self.is_in_order:
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def __enter__(self) -> ShipperLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.is_in_order = False
        self.release()


def holder(spool: Path) -> int | None:
    """
    The pid of the process that ships from this spool, in its own pid namespace; None if none does.
    """
    try:
        descriptor = os.open(_lock_path(spool), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text, _, _ = os.pread(descriptor, 32, 0).partition(b"\n")
        return int(text) if text.isdigit() else None
    else:
        return None
    finally:
        os.close(descriptor)


def _lock(descriptor: int, spool: Path) -> None:
    deadline_s = time.monotonic() + LOOK_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = holder(spool)
            if pid is not None or time.monotonic() >= deadline_s:
                raise SpoolHeld(str(spool), pid) from error
            time.sleep(0.01)
        else:
            return


def _unwritable(spool: Path, error: OSError) -> SpoolUnusable:
    return SpoolUnusable(
        f"{spool}: its folder cannot be written ({error.strerror}); {who_may(spool)},"
        " or give another path with --db"
    )
