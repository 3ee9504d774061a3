"""
The files of one log as one endless text, through rotation.

Comes in: a shelf, where the file that is written to stands, and what was rotated away from it,
plain or .gz. Goes out: whole lines, oldest first, and a `Place` behind them. Always holds: a file
is known by its first record (its time makes it unique), as inode numbers come back at once and
compression makes new files; the open descriptor outlives rename and removal.
"""

from __future__ import annotations

import errno
import logging
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from shipper.sources.log_file import LogFile, is_gz

__all__ = ["ContainerFiles", "Place", "Shelf", "is_missing"]

log = logging.getLogger(__name__)

MAX_NEWER_FILES = 8
"""So many files are held behind the one that is read, when the engine rotates faster than that."""


@dataclass(frozen=True, slots=True)
class Place:
    """
    A position in a container's log: `offset` bytes (of text, where it is compressed) into the file
    whose first record has the digest `head`.
    """

    head: str
    offset: int


class Shelf(Protocol):
    """
    Where the files of one log stand, and what they are called there.
    """

    live: Path
    """The file that is written to."""

    def paths(self) -> list[Path]:
        """
        All files that are there, oldest first. Raises OSError where that cannot be said.
        """

    def open(self, path: Path) -> BinaryIO:
        """
        One of them, unbuffered. Raises OSError.
        """

    def is_gone(self) -> bool:
        """
        Whether the log was removed, and no more of it will come.
        """


def is_missing(path: Path) -> bool:
    """
    Whether it is known that there is no such file or folder: one that is out of reach may be there.
    """
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ENOENT
    return False


class ContainerFiles:
    """
    What one container has logged, read from `place` on, or from its oldest file.

    `lost` counts the times that files may have gone unread, rotated away by the engine or
    truncated; `torn` counts records that were cut off at the end of a file.
    """

    def __init__(self, shelf: Shelf, *, place: Place | None = None) -> None:
        self.shelf = shelf
        self.lost = 0
        self.torn = 0
        self.unopened: OSError | None = None
        """Why its files could not be opened when that was last tried, though they are there."""
        self.place = place
        self._current: LogFile | None = None
        self._newer: list[LogFile] = []
        self._lock = threading.Lock()  # guards these two: hold_newer comes from another thread

    def close(self) -> None:
        """
        Give the descriptors back.
        """
        with self._lock:
            for file in [self._current, *self._newer]:
                if file:
                    file.close()
            self._current = None
            self._newer.clear()

    def hold(self) -> bool:
        """
        Hold a file open, so that what is in it can be read whatever becomes of its name.
        """
        with self._lock:
            if not self._current:
                self._current = self._open_first()
            return self._current is not None

    def hold_newer(self) -> None:
        """
        Hold the files that followed, too, before the next rotations remove them: the engine can
        rotate faster than lines are stored. May be called from any thread.
        """
        with self._lock:
            newest = self._newer[-1] if self._newer else self._current
            if newest is None or len(self._newer) >= MAX_NEWER_FILES:
                return
            if self._is_rotated(newest):
                following = self._following(newest)
                room = MAX_NEWER_FILES - len(self._newer)
                self._newer += following[:room]
                for other in following[room:]:
                    other.close()

    def read_lines(self) -> bytes:
        """
        The next whole lines; empty where there are none yet. `place` is behind them on return.
        """
        if not self._current and not self.hold():
            return b""
        for _ in range(1000):  # files; so many never are, but names may change under us
            file = cast(LogFile, self._current)
            if file.was_replaced():
                self._start_over(file)
            lines = file.read_lines()
            if not lines and (self._newer or self._is_rotated(file)):
                lines = file.read_lines()  # written between the first look and the rename
                if not lines and not self._go_on(file):
                    return b""
            elif not lines:
                return b""
            if lines:
                self.place = Place(file.head, file.offset)
                return lines
        return b""

    def skip_all_but(self, count: int) -> None:
        """
        Read on before the last `count` lines that there are now.
        """
        sizes: list[int] = []
        while lines := self.read_lines():
            sizes.append(lines.count(b"\n"))
        surplus = sum(sizes) - count
        self.rewind()
        while surplus > 0 and (lines := self.read_lines()):
            surplus -= lines.count(b"\n")
            if surplus < 0:
                self.step_back(lines, -surplus)

    def rewind(self) -> None:
        """
        Read all from the start.
        """
        self.close()
        self.place = None

    def step_back(self, lines: bytes, count: int) -> None:
        """
        Read the last `count` of these lines, just read, again.
        """
        place = cast(Place, self.place)
        start = len(lines)
        for _ in range(count + 1):
            start = lines.rfind(b"\n", 0, start)
        self.close()
        self.place = Place(place.head, place.offset - (len(lines) - start - 1))

    def _start_over(self, file: LogFile) -> None:
        log.warning("%s was truncated; reading it from its start", file.path)
        self.lost += 1
        file.seek(0)

    def _is_rotated(self, file: LogFile) -> bool:
        try:
            return _identity(self.shelf.live) != file.identity
        except OSError:  # between rename and creation, or removed
            return self._is_older(file)

    def _is_older(self, file: LogFile) -> bool:
        try:
            return any(_identity(path) != file.identity for path in self.shelf.paths()[-1:])
        except OSError:
            return False

    def _go_on(self, file: LogFile) -> bool:
        """
        Read the file that followed `file`; False where it cannot be had yet.
        """
        self.hold_newer()
        with self._lock:
            if not self._newer:
                return False
            if file.has_rest():
                self.torn += 1
            file.close()
            self._current = self._newer.pop(0)
            return True

    def _following(self, file: LogFile) -> list[LogFile]:
        """
        All files behind `file`, oldest first.
        """
        files = self._open_all()
        head = file.learn_head()
        same = [n for n, other in enumerate(files) if other.identity == file.identity]
        compressed = [n for n, other in enumerate(files) if is_gz(other.path)]
        known = same or [n for n in compressed if head and files[n].head == head]
        wanted = known[-1] + 1 if known else 0
        if files and not known:
            log.warning("%s was rotated away; lines behind it may be lost", file.path)
            self.lost += 1
        for other in files[:wanted]:
            other.close()
        return files[wanted:]

    def _open_first(self) -> LogFile | None:
        files = self._open_all()
        if not files:
            return None
        place = self.place
        if place is None:
            return _keep(files, 0)
        for index, file in enumerate(files):
            if file.head == place.head and (is_gz(file.path) or place.offset <= file.size()):
                file.seek(place.offset)
                return _keep(files, index)
        log.warning("%s: what was read last is gone; lines behind it may be lost", self.shelf.live)
        self.lost += 1
        return _keep(files, 0)

    def _open_all(self) -> list[LogFile]:
        """
        All files, oldest first, opened while no rotation moved their names; none where one of them
        cannot be opened.
        """
        for _ in range(100):
            files: list[LogFile] = []
            with ExitStack() as opened:
                try:
                    for path in self.shelf.paths():
                        files.append(LogFile(path, self.shelf.open(path)))
                        opened.callback(files[-1].close)
                    if [_identity(path) for path in self.shelf.paths()] == [
                        file.identity for file in files
                    ]:
                        opened.pop_all()
                        self.unopened = None
                        return files
                except FileNotFoundError:
                    pass
                except OSError as error:
                    self.unopened = error.with_traceback(None)
                    return []
        return []


def _keep(files: list[LogFile], wanted: int) -> LogFile | None:
    """
    The file at index `wanted`, if there is one; the others are closed.
    """
    for index, file in enumerate(files):
        if index != wanted:
            file.close()
    return files[wanted] if wanted < len(files) else None


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return (status.st_dev, status.st_ino)
