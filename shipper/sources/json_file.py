"""
Source: Docker's json-file logs, read where the engine writes them.

Comes in: a folder such as /var/lib/docker/containers. Goes out: readings, each the events of some
containers and their positions behind them. Always holds: an event is in one reading, the reading
after which its container's position is past it.

watchdog rings when something happens while all is quiet. As long as lines keep coming it is not
asked for each of them: the files are looked at every POLL_S, which costs the same however many
lines there are. A slow re-scan stands behind both, for what a full inotify queue swallowed.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from time import monotonic, sleep

from msgspec import json
from watchdog.events import (
    DirCreatedEvent,
    FileModifiedEvent,
    FileOpenedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from shipper.containers import Container, read_container
from shipper.sources.files import READ_BYTES, ContainerFiles, Place
from shipper.sources.intake import Intake
from shipper.sources.lines import Joiner
from shipper.sources.reading import Reading
from spool.store import Chunk

__all__ = ["JsonFileSource"]

log = logging.getLogger(__name__)

POLL_S = 0.1
"""Between two looks at the files while lines come; also how long commits are grouped."""

MIN_POLL_S = 0.02
"""However often it rings: new files are not waited for, nor looked at in a tight loop."""

QUIET_S = 5.0
"""After so long without a line the source waits to be woken."""

RESCAN_S = 10.0
READING_BYTES = 4_000_000
"""
A reading is stored when it has so many bytes of lines, or when no file has much more: behind, the
disk is waited for a fourth as often.
"""

MUCH_BYTES = 500_000
"""A file that gave so many bytes of lines at one look has more; the next look follows at once."""

SCAN_ON_S = 2.0
"""So long after a file was opened the folders are looked at each time."""


class JsonFileSource:
    """
    Every container under `folder` that has a json-file log and that `intake` takes from files.
    """

    def __init__(self, folder: Path, intake: Intake) -> None:
        self._folder = folder
        self._intake = intake
        self._is_first_scan = True
        self._unlisted: int | None = None  # why the folder cannot be, as it was told
        self._scan_until_s = 0.0
        self._logs: dict[str, _ContainerLog] = {}
        self._bell = _Bell(folder, on_open=self._hold_newer)

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
        Hold the files of new containers; learn of renames and ends.
        """
        try:
            folders = [path for path in self._folder.iterdir() if path.is_dir()]
        except OSError as error:
            if error.errno != self._unlisted:
                log.debug("cannot list %s: %s", self._folder, error.strerror)
            self._unlisted = error.errno
            return
        self._unlisted = None
        new = [folder for folder in folders if folder.name not in self._logs]
        for container_log in list(self._logs.values()):
            container_log.refresh()
        if new:
            with self._intake.store.transaction():  # one for the names of all of them
                self._begin(new)
        self._is_first_scan = False

    def _begin(self, folders: list[Path]) -> None:
        for folder in folders:
            container_log = _ContainerLog(folder, self._intake, is_older=self._is_first_scan)
            container_log.refresh()
            self._logs[folder.name] = container_log

    def _hold_newer(self, path: str) -> None:
        """
        A log file was opened, maybe as the first one was rotated away. Called by watchdog.
        """
        container_log = self._logs.get(Path(path).parent.name)
        if container_log and path.endswith("-json.log"):
            container_log.files.hold_newer()

    def _read_all(self, *, once: bool) -> Generator[Reading, None, int]:
        """
        One turn for each container, or several up to a full reading. Returns the most bytes of
        lines that one of them had in the last.
        """
        reading = Reading()
        while True:
            most_bytes = 0
            for key, container_log in list(self._logs.items()):
                if size := container_log.read_into(reading, once=once):
                    most_bytes = max(most_bytes, size)
                elif container_log.files.is_gone():
                    container_log.finish_into(reading)
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
        for container_log in self._logs.values():
            container_log.files.close()
        self._logs.clear()


class _ContainerLog:
    """
    One container: who it is, its files, and the joining of their lines.
    """

    def __init__(self, folder: Path, intake: Intake, *, is_older: bool) -> None:
        self.key = f"json-file:{folder.name}"
        self._folder = folder
        self._intake = intake
        self._config_seen: tuple[int, int] | None = None
        self._joiner: Joiner | None = None
        self._running = True
        self._last_line_s = monotonic()
        self._has_told_damage = False
        self._why_not: str | None = None
        saved = json.decode(intake.store.checkpoint(self.key) or "null")
        self._resume = saved["open"] if saved else {}
        self._is_first_sight = is_older and not saved
        self.files = ContainerFiles(folder, place=Place(*saved["place"]) if saved else None)

    def refresh(self) -> None:
        """
        Read the configuration where it is new or changed, and hold the file.
        """
        if not self.files.hold():
            return
        try:
            status = (self._folder / "config.v2.json").stat()
            seen = (status.st_ino, status.st_mtime_ns)
        except OSError:
            seen = (0, 0)
        if seen != self._config_seen:
            self._config_seen = seen
            self._configure(read_container(self._folder))

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
        self._joiner = self._intake.joiner(container)
        self._joiner.resume(self._resume)
        if self._is_first_sight and not self._intake.backlog:
            self.files.skip_all_but(0)
        elif self._is_first_sight and self._intake.tail is not None:
            self.files.skip_all_but(self._intake.tail)
        target = self._intake.namer.target(container)
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
            reading.checkpoints[self.key] = json.encode(
                {"place": [place.head, place.offset], "open": joiner.position()}
            ).decode()
        if joiner.damaged and not self._has_told_damage:
            self._has_told_damage = True
            log.warning("damaged records in %s are left out", self.files.live.name)
        reading.skip("blank lines", joiner.blank)
        reading.skip("damaged records", joiner.damaged + self.files.torn)
        reading.skip("files rotated away or truncated unread", self.files.lost)
        joiner.blank = joiner.damaged = self.files.torn = self.files.lost = 0


class _Bell(FileSystemEventHandler):
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
        _stop(self._writes)
        self._writes = None

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
        _stop(self._openings)
        self._openings = None

    def _observe(self, *kinds: type[FileSystemEvent]) -> BaseObserver | None:
        if self._failed or not self._folder.is_dir():
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


def _stop(observer: BaseObserver | None) -> None:
    if observer is not None:
        observer.stop()
        observer.join()
