"""
Who rings when files under a folder are opened or written to.

watchdog rings when something happens while all is quiet. As long as lines keep coming it is not
asked for each of them: whoever waits looks at the files every POLL_S, which costs the same however
many lines there are.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    FileModifiedEvent,
    FileOpenedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

__all__ = ["POLL_S", "Bell"]

log = logging.getLogger(__name__)

# it meets a folder twice where two are made one in the other, as for each pod, and watches it once
warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)

POLL_S = 0.1
"""Between two looks at the files while lines come; also how long commits are grouped."""


class Bell(FileSystemEventHandler):
    """
    Rings when a file under a folder is opened (a new one always is) or, while armed, is written to.
    A new folder rings too: what was opened in it before it was watched does not.

    Where the system has no more inotify watches to give it never arms, and the files are looked
    at as often as when lines come.
    """

    def __init__(self, folder: Path, *, on_open: Callable[[str], None]) -> None:
        self._folder = folder
        self._on_open = on_open
        self._rung = threading.Event()
        self._new_file = False
        self._written = False
        self._openings: BaseObserver | None = None
        self._writes: BaseObserver | None = None
        self._failed = False

    def dispatch(self, event: FileSystemEvent) -> None:
        """
        Called by watchdog.
        """
        if isinstance(event, FileOpenedEvent | DirCreatedEvent):
            self._new_file = True
            self._on_open(os.fsdecode(event.src_path))
        else:
            self._written = True
        self.ring()

    def ring(self) -> None:
        """
        End the present wait, or the next one.
        """
        self._rung.set()

    def is_new_file(self) -> bool:
        """
        Whether a file was opened since this was last asked; always, where that cannot be known.
        """
        if self._openings is None:
            self._openings = self._observe(FileOpenedEvent, DirCreatedEvent)
            return True
        seen, self._new_file = self._new_file, False
        return seen

    def is_written(self) -> bool:
        """
        Whether a file was written to while armed, since this was last asked.
        """
        seen, self._written = self._written, False
        return seen

    def is_armed(self) -> bool:
        """
        Whether a write rings.
        """
        return self._writes is not None

    def arm(self) -> bool:
        """
        Ring at the next write; False where that cannot be had.
        """
        if self._writes is None:
            self._writes = self._observe(FileModifiedEvent)
        return self._writes is not None

    def disarm(self) -> None:
        """
        Let writes pass.
        """
        _end(self._writes)
        self._writes = None

    def has_folder(self) -> bool:
        """
        Whether there is anything to watch.
        """
        try:
            return self._folder.is_dir()
        except OSError:  # the way to it is barred
            return False

    def wait(self, timeout_s: float) -> None:
        """
        Until it rings, or for `timeout_s`.
        """
        self._rung.wait(max(0.0, timeout_s))
        self._rung.clear()

    def close(self) -> None:
        """
        Watch no more.
        """
        self.disarm()
        _end(self._openings)
        self._openings = None

    def _observe(self, *kinds: type[FileSystemEvent]) -> BaseObserver | None:
        if self._failed or not self.has_folder():
            return None
        observer = Observer()
        try:
            observer.schedule(self, str(self._folder), recursive=True, event_filter=[*kinds])
            observer.start()
        except OSError as error:
            self._failed = True
            log.warning(
                "cannot watch %s (%s); looking at the files every %g s instead",
                self._folder,
                error.strerror,
                POLL_S,
            )
            return None
        return observer


def _end(observer: BaseObserver | None) -> None:
    if observer is not None:
        observer.stop()
        observer.join()
