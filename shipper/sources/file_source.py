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
from collections.abc import Generator, Hashable, Iterable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import ClassVar, Protocol

from msgspec import json

from shipper.containers import Container
from shipper.sources.bell import POLL_S, Bell
from shipper.sources.files import ContainerFiles, Place, Shelf
from shipper.sources.intake import Intake
from shipper.sources.lines import Joiner
from shipper.sources.log_file import READ_BYTES
from shipper.sources.reading import Reading
from spool.skipped import BLANK, DAMAGED, FILES_LOST
from spool.store import Chunk

__all__ = ["FileSource", "Log"]

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


class Log(Shelf, Protocol):
    """
    One log: its files, and who writes it.
    """

    key: str
    """Of its checkpoint."""

    title: str
    """What it is called in the agent's own log."""

    def container(self) -> Container:
        """
        Who writes it, as far as is known now.
        """

    def version(self) -> Hashable:
        """
        Something that differs where `container` has changed.
        """

    def joiner(self, intake: Intake, container: Container) -> Joiner:
        """
        What makes events of its lines.
        """


class FileSource(ABC):
    """
    Every log under `folder` that `intake` takes from files.
    """

    option: ClassVar[str]
    """Of the command line, which names the folder."""

    def __init__(self, folder: Path, intake: Intake) -> None:
        self.folder = folder
        self.unlisted: OSError | None = None
        """Why the folder could not be listed when it was last tried."""
        self.unopened: dict[Path, OSError] = {}
        """The logs that it is to collect and could not open when it last tried, and why."""
        self._intake = intake
        self._is_first_scan = True
        self._scan_until_s = 0.0
        self._logs: dict[str, _Followed] = {}
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
        self.unopened = {
            one.log.live: reason for one in self._logs.values() if (reason := one.why_missed())
        }
        self._is_first_scan = False

    def _begin(self, logs: list[Log]) -> None:
        for one in logs:
            followed = _Followed(one, self._intake, is_older=self._is_first_scan)
            followed.refresh()
            self._logs[str(one.live)] = followed

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
                if size := followed.read_into(reading, once=once):
                    most_bytes = max(most_bytes, size)
                elif followed.log.is_gone():
                    followed.finish_into(reading)
                    self._logs.pop(key).files.close()
                if reading.bytes >= READING_BYTES:
                    yield reading
                    reading = Reading()
            if most_bytes < MUCH_BYTES or not 0 < reading.bytes < READING_BYTES - READ_BYTES:
                break
        if reading.chunks or reading.checkpoints or reading.skipped:
            yield reading
        return most_bytes

    def _close(self) -> None:
        self._bell.close()
        for followed in self._logs.values():
            followed.files.close()
        self._logs.clear()


class _Followed:
    """
    One log: who writes it, its files, and the joining of their lines.
    """

    def __init__(self, followed: Log, intake: Intake, *, is_older: bool) -> None:
        self.log = followed
        self._intake = intake
        self._version_seen: Hashable = None
        self._joiner: Joiner | None = None
        self._running = True
        self._last_line_s = monotonic()
        self._has_told_damage = False
        self._why_not: str | None = None
        saved = json.decode(intake.store.checkpoint(followed.key) or "null")
        self._resume = saved["open"] if saved else {}
        self._is_first_sight = is_older and not saved
        self.files = ContainerFiles(followed, place=Place(*saved["place"]) if saved else None)

    def refresh(self) -> None:
        """
        Ask who writes it where that is new or changed, and hold the file.
        """
        if not self.files.hold():
            return
        version = self.log.version()
        if version != self._version_seen:
            self._version_seen = version
            self._configure(self.log.container())

    def why_missed(self) -> OSError | None:
        """
        Why a file of it, which is to be collected, cannot be opened.
        """
        error = self.files.unopened
        return None if error and self._intake.takes(self.log.container(), "files") else error

    def _configure(self, container: Container) -> None:
        if self._joiner and container.problem:
            return  # `docker rm` takes the configuration first; its last lines keep their stream
        self._running = container.running
        why_not = self._intake.takes(container, "files")
        if why_not != self._why_not:
            self._why_not = why_not
            log.info("not collecting %s: %s", container.name, why_not)
        if self._joiner:
            self._joiner.stream_id = self._intake.stream_id(container)
        elif not why_not:
            self._begin(container)

    def _begin(self, container: Container) -> None:
        if container.problem:
            log.warning("container %.12s: %s; its id is its name", container.id, container.problem)
        self._joiner = self.log.joiner(self._intake, container)
        self._joiner.resume(self._resume)
        if self._is_first_sight and not self._intake.backlog:
            self.files.skip_all_but(0)
        elif self._is_first_sight and self._intake.tail is not None:
            self.files.skip_all_but(self._intake.tail)
        target = self._intake.target(container)
        log.info("collecting %s as %s %s", container.name, target.group, target.stream)

    def read_into(self, reading: Reading, *, once: bool) -> int:
        """
        Add the next lines to `reading`; returns how many bytes of them there were.
        """
        joiner = self._joiner
        if joiner is None or self._why_not:
            return 0
        lines = self.files.read_lines()
        if lines:
            self._last_line_s = monotonic()
            self._add(reading, joiner, Chunk(joiner.stream_id, joiner.read(lines)))
            reading.bytes += len(lines)
            return len(lines)
        if joiner.is_open() and ((once and not joiner.open) or self._has_ended(joiner)):
            self._add(reading, joiner, Chunk(joiner.stream_id, joiner.flush()))
        return 0

    def finish_into(self, reading: Reading) -> None:
        """
        The container is gone: what is open will not end.
        """
        if self._joiner and self._joiner.is_open():
            self._add(reading, self._joiner, Chunk(self._joiner.stream_id, self._joiner.flush()))

    def _has_ended(self, joiner: Joiner) -> bool:
        self.refresh()
        return not self._running or monotonic() - self._last_line_s > joiner.patience_s()

    def _add(self, reading: Reading, joiner: Joiner, chunk: Chunk) -> None:
        if chunk.events:
            reading.chunks.append(chunk)
        if self.files.place:
            place = self.files.place
            reading.checkpoints[self.log.key] = json.encode(
                {"place": [place.head, place.offset], "open": joiner.position()}
            ).decode()
        if joiner.damaged and not self._has_told_damage:
            self._has_told_damage = True
            log.warning("damaged records in %s are left out", self.log.title)
        reading.skip(BLANK, joiner.blank)
        reading.skip(DAMAGED, joiner.damaged + self.files.torn)
        reading.skip(FILES_LOST, self.files.lost)
        joiner.blank = joiner.damaged = self.files.torn = self.files.lost = 0
