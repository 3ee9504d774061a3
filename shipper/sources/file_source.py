"""
Source: logs that an engine writes to files of its own, followed from the folder they are in.

Comes in: a folder, and what the logs in it are (docker_logs.py, pod_logs.py). Goes out: readings,
each the events of some logs and their positions behind them. Always holds: an event is in one
reading, the reading after which its log's position is past it.

A slow re-scan stands behind the bell, for what a full inotify queue swallowed.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import ClassVar

from shipper.sources.bell import POLL_S, Bell
from shipper.sources.followed import Followed, Log
from shipper.sources.intake import Intake
from shipper.sources.log_file import READ_BYTES
from shipper.sources.reading import Reading

__all__ = ["FileSource"]

log = logging.getLogger(__name__)

MIN_POLL_S = 0.02
"""However often it rings: new files are not waited for, nor looked at in a tight loop."""

QUIET_S = 5.0
"""After so long without a line the source waits to be woken."""

ABSENT_S = 1.0
"""Between two looks for a folder that is not there."""

RESCAN_S = 10.0
READING_BYTES = 2_000_000
"""A reading is stored when it has so many bytes of lines, or when no file has much more."""

MUCH_BYTES = 500_000
"""A file that gave so many bytes of lines at one look has more; the next look follows at once."""

SCAN_ON_S = 2.0
"""So long after a file was opened the folders are looked at each time."""


class FileSource(ABC):
    """
    Every log under `folder` that `intake` takes from files.
    """

    option: ClassVar[str]
    """Of the command line, which names the folder."""

    kind: ClassVar[str]
    """Of its logs, as checkpoints have it."""

    def __init__(self, folder: Path, intake: Intake) -> None:
        self.folder = folder
        self.unlisted: OSError | None = None
        """Why the folder could not be listed when it was last tried."""
        self.unopened: dict[Path, OSError] = {}
        """The logs that it is to collect and could not open when it last tried, and why."""
        self._intake = intake
        self._begun_key = f"{self.kind}:begun"
        self._is_first_scan = True
        self._scan_until_s = 0.0
        self._logs: dict[str, Followed] = {}
        self._bell = Bell(folder, on_open=self._hold_newer)

    @abstractmethod
    def logs(self) -> Iterable[Log]:
        """
        Those that there are now. Raises OSError where the folder cannot be listed.
        """

    def readings(self, stop: threading.Event, *, once: bool = False) -> Iterator[Reading]:
        """
        Readings without end, until `stop` is set and all files were looked at once more; with
        `once`, until all that is there was read.
        """
        active_s = scanned_s = -RESCAN_S
        try:
            while True:
                stopping = stop.is_set()
                if once or monotonic() - scanned_s >= RESCAN_S or self._is_scan_due():
                    self._scan()
                    scanned_s = monotonic()
                begun_s = monotonic()
                most_bytes = yield from self._read_all(once=once)
                if stopping or (once and not most_bytes):
                    yield from self._save_all()
                    return
                if once or most_bytes >= MUCH_BYTES:
                    continue
                if most_bytes or self._bell.is_written():
                    active_s = monotonic()
                self._wait(begun_s, is_quiet=monotonic() - active_s >= QUIET_S)
        finally:
            self._close()

    def wake(self) -> None:
        """
        End the present wait; called from other threads.
        """
        self._bell.ring()

    def _wait(self, begun_s: float, *, is_quiet: bool) -> None:
        if not is_quiet:
            self._bell.disarm()
            sleep(MIN_POLL_S)
            self._bell.wait(begun_s + POLL_S - monotonic())
        elif self._bell.is_armed():
            self._bell.wait(RESCAN_S)
        elif not self._bell.has_folder():
            self._bell.wait(ABSENT_S)
        elif not self._bell.arm():
            self._bell.wait(POLL_S)
        # freshly armed, it does not wait: a line may have come just before

    def _is_scan_due(self) -> bool:
        """
        Whether a file was opened lately. Docker opens a log some time after its folder is made, and
        replaces a configuration by a rename some ms after it opened the new one.
        """
        now_s = monotonic()
        if self._bell.is_new_file():
            self._scan_until_s = now_s + SCAN_ON_S
        return now_s < self._scan_until_s

    def _scan(self) -> None:
        """
        Hold the files of new logs; learn of renames and ends.
        """
        try:
            new = [one for one in self.logs() if str(one.live) not in self._logs]
        except OSError as error:
            if self.unlisted is None or error.errno != self.unlisted.errno:
                log.debug("cannot list %s: %s", self.folder, error.strerror)
            self.unlisted = error.with_traceback(None)
            return
        self.unlisted = None
        for followed in list(self._logs.values()):
            followed.refresh()
        if new:
            with self._intake.store.transaction():  # one for the names of all of them
                self._begin(new)
        self._find_places()
        self.unopened = {one.log.live: one.missed for one in self._logs.values() if one.missed}
        self._is_first_scan = False

    def _begin(self, logs: list[Log]) -> None:
        is_first = self._is_first_scan and not self._intake.store.checkpoint(self._begun_key)
        for one in logs:
            followed = Followed(one, self._intake, is_older=is_first)
            followed.refresh()
            self._logs[str(one.live)] = followed

    def _find_places(self) -> None:
        """
        Where new logs begin is on record, and so is that there was a first start, if that skips
        something: whatever is written from then on is read, also after a restart.
        """
        checkpoints: dict[str, str] = {}
        for followed in self._logs.values():
            checkpoints |= followed.find_place()
        skips = not self._intake.backlog or self._intake.tail is not None
        if skips and self._is_first_scan:
            checkpoints[self._begun_key] = "true"
        if checkpoints:
            self._intake.store.append([], checkpoints=checkpoints)

    def _hold_newer(self, path: str) -> None:
        """
        A log file was opened, maybe as the first one was rotated away. Called by watchdog.
        """
        followed = self._logs.get(path)
        if followed:
            followed.files.hold_newer()

    def _read_all(self, *, once: bool) -> Generator[Reading, None, int]:
        """
        One turn for each log, or several up to a full reading. Returns the most bytes of lines that
        one of them had in the last.
        """
        reading = Reading()
        while True:
            most_bytes = 0
            for key, followed in list(self._logs.items()):
                size = followed.read_into(reading, once=once)
                if not size and followed.log.is_gone():
                    size = followed.read_into(reading, once=once)  # written just before it went
                    if not size:
                        followed.end_into(reading)
                        self._logs.pop(key).files.close()
                most_bytes = max(most_bytes, size)
                if reading.bytes >= READING_BYTES:
                    yield reading
                    reading = Reading()
            if most_bytes < MUCH_BYTES or not 0 < reading.bytes < READING_BYTES - READ_BYTES:
                break
        if reading.chunks or reading.checkpoints or reading.skipped:
            yield reading
        return most_bytes

    def _save_all(self) -> Iterator[Reading]:
        reading = Reading()
        for followed in self._logs.values():
            followed.save_into(reading)
        if reading.checkpoints:
            yield reading

    def _close(self) -> None:
        self._bell.close()
        for followed in self._logs.values():
            followed.files.close()
        self._logs.clear()
