"""
One log that is followed: who writes it, its files, and the joining of their lines.

Comes in: a log, and the agent's rules. Goes out: its next lines, put into a reading with the
position behind them. Always holds: of a log that is not collected no file is held.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable
from time import monotonic
from typing import Protocol

from msgspec import json

from shipper.containers import Container
from shipper.sources.crossing import advance, go_behind, trimmed
from shipper.sources.files import ContainerFiles, Place, Shelf
from shipper.sources.intake import Intake
from shipper.sources.lines import Joiner
from shipper.sources.position import Position
from shipper.sources.reading import Reading, Thrift
from spool.skipped import BLANK, DAMAGED, FILES_LOST
from spool.store import Chunk

__all__ = ["Followed", "Log"]

log = logging.getLogger(__name__)

TRY_AGAIN_S = 10.0
"""After a log could not be opened: to try is to open what can be, and each opening has the folders
looked at."""


class Log(Shelf, Protocol):
    """
    One log: its files, and who writes it.
    """

    key: str
    """Of its checkpoint."""

    is_known_to_engine: bool
    """Whether the source of the Engine API may have read it before, or will go on with it."""

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


class Followed:
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
        self._try_again_s = 0.0
        self.missed: OSError | None = None
        """Why a file of it, though it is to be collected, could not be opened when last tried."""
        saved = json.decode(intake.store.checkpoint(followed.key) or "{}")
        place, marker = saved.get("place"), saved.get("marker")
        if not (place or marker):
            saved = {}  # the other source has come to the end of no message: read from the start
        self._open = saved.get("open", {})
        self._is_from_engine = bool(saved) and not place
        self._is_first_sight = is_older and not saved
        self._position = Position.from_json(saved) if marker else Position()
        self._thrift = Thrift()
        self._saved_head = ""
        self.files = ContainerFiles(followed, place=Place(*place) if place else None)

    def refresh(self) -> None:
        """
        Ask who writes it where that is new or changed, and hold the file where it is collected.
        """
        if monotonic() < self._try_again_s:
            return
        if self._why_not and self.log.version() == self._version_seen:
            return
        if not self.files.hold():  # before anything is asked: it may be gone in a moment
            self._miss()
            return
        self.missed = self.files.unopened
        version = self.log.version()
        if version != self._version_seen:
            self._version_seen = version
            self._configure(self.log.container())
        if self._why_not:
            self.files.close()

    def _miss(self) -> None:
        self.missed = self.files.unopened
        if self.missed:
            self._try_again_s = monotonic() + TRY_AGAIN_S
            if self._intake.takes(self.log.container(), "files"):
                self.missed = None

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
        self._joiner.resume(self._open, trimmed if self._is_from_engine else str)
        target = self._intake.target(container)
        log.info("collecting %s as %s %s", container.name, target.group, target.stream)

    def find_place(self) -> dict[str, str]:
        """
        Leave out what the source of the Engine API has read, and what was there before the agent
        first began, as far as that is not wanted; returns the checkpoint behind it.
        """
        joiner = self._joiner
        if joiner is None or not (self._is_from_engine or self._is_first_sight):
            return {}
        if self._is_from_engine:
            go_behind(self.files, self._position)
        elif not self._intake.backlog:
            self.files.skip_all_but(0)
        elif self._intake.tail is not None:
            self.files.skip_all_but(self._intake.tail)
        self._is_from_engine = self._is_first_sight = False
        return self._checkpoint(joiner)

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
            if self.log.is_known_to_engine:
                advance(self._position, lines)
            chunk = Chunk(joiner.stream_id, joiner.read(lines))
            self._add(reading, joiner, chunk, read_bytes=len(lines))
            return len(lines)
        if joiner.is_open() and ((once and not joiner.open) or self._has_ended(joiner)):
            self._add(reading, joiner, Chunk(joiner.stream_id, joiner.flush()))
        return 0

    def end_into(self, reading: Reading) -> None:
        """
        The log is gone: what is open will not end, and where it was read to is of no use any more.
        """
        if self._joiner and self._joiner.is_open():
            self._add(reading, self._joiner, Chunk(self._joiner.stream_id, self._joiner.flush()))
        if self._joiner:
            reading.checkpoints[self.log.key] = None

    def save_into(self, reading: Reading) -> None:
        """
        Nobody reads on for now: the position goes with it wherever it was not worth storing yet.
        """
        if self._joiner and self._thrift.unsaved_bytes:
            reading.checkpoints |= self._checkpoint(self._joiner)

    def _has_ended(self, joiner: Joiner) -> bool:
        self.refresh()
        return not self._running or monotonic() - self._last_line_s > joiner.patience_s()

    def _add(self, reading: Reading, joiner: Joiner, chunk: Chunk, *, read_bytes: int = 0) -> None:
        if chunk.events:
            reading.chunks.append(chunk)
        if joiner.damaged and not self._has_told_damage:
            self._has_told_damage = True
            log.warning("damaged records in %s are left out", self.log.title)
        counts = {
            BLANK: joiner.blank,
            DAMAGED: joiner.damaged + self.files.torn,
            FILES_LOST: self.files.lost,
        }
        joiner.blank = joiner.damaged = self.files.torn = self.files.lost = 0
        for reason, count in counts.items():
            reading.skip(reason, count)
        reading.bytes += read_bytes
        self._save(reading, joiner, read_bytes, is_due=bool(chunk.events or any(counts.values())))

    def _save(self, reading: Reading, joiner: Joiner, read_bytes: int, *, is_due: bool) -> None:
        place = self.files.place
        if place and place.head != self._saved_head:
            self._saved_head, is_due = place.head, True  # the file before may soon be gone
        for key, position in self._checkpoint(joiner).items():
            if self._thrift.stores(position, read_bytes=read_bytes, is_due=is_due):
                reading.checkpoints[key] = position

    def _checkpoint(self, joiner: Joiner) -> dict[str, str]:
        place = self.files.place
        if place is None:
            return {}
        told = {"place": [place.head, place.offset], "open": joiner.position()}
        if self.log.is_known_to_engine:
            told |= self._position.to_json()
        return {self.log.key: json.encode(told).decode()}
