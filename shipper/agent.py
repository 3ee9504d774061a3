"""
The agent: source -> capture -> store -> upload, joined here and nowhere else.

On a stop these end in that order, so that what was read is stored, and what is stored has one more
chance to be sent.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from shipper.batch import OVERHEAD_BYTES
from shipper.capture import Source, capture
from shipper.collecting import Chooser
from shipper.errors import ShipperError
from shipper.folders import Folders
from shipper.health import Health
from shipper.naming import Namer
from shipper.pulse import Pulse
from shipper.sources.chosen import make_sources
from shipper.sources.intake import Intake
from shipper.sources.multiline import MultilineRule
from shipper.stopping import Stop
from shipper.supervisor import Supervisor
from shipper.trouble import Trouble
from shipper.upkeep import Notes, keep_up
from shipper.upload import GIVE_UP_S, Uploader
from spool.budget import Budget, WhenFull
from spool.store import Store
from spool.vitals import Vitals

if TYPE_CHECKING:
    from shipper.telemetry import Telemetry

__all__ = ["Agent", "Settings"]

log = logging.getLogger(__name__)

STOP_BUDGET_S = 8.0
"""For storing what was read and one last flush; Docker kills after 10."""


@dataclass(frozen=True, slots=True)
class Settings:
    """
    What `spool run` was told.
    """

    db: Path
    region: str
    source: str
    containers_dir: Path
    pods_dir: Path
    delay_s: float
    keep_ms: int
    max_size_bytes: int
    when_full: WhenFull
    concurrency: int
    use_gzip: bool
    retention_days: int | None
    group_class: str | None
    once: bool
    chooser: Chooser
    namer: Namer
    multiline: MultilineRule | None
    keep_blank: bool
    max_event_bytes: int
    metrics: tuple[str, int] | None
    """Host and port of the pages for monitors."""


class Agent:
    """
    One agent, on a store that is open. Where its spool turns out to be damaged it ends by itself,
    and `damage` says why.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        uploader: Uploader,
        stop: Stop,
        trouble: Trouble,
        supervisor: Supervisor,
    ) -> None:
        self._settings = settings
        self._store = store
        self._trouble = trouble
        self._budget = Budget(store, settings.max_size_bytes, settings.when_full)
        self._uploader = uploader
        self._stop = stop
        self._supervisor = supervisor
        self.damage: str | None = None
        self.was_told_to_stop = False
        """Whether that was before there was any damage."""
        store.on_damage = self._end_damaged
        files, engine = make_sources(
            settings.source,
            _make_intake(settings, store),
            containers_dir=settings.containers_dir,
            pods_dir=settings.pods_dir,
        )
        self._sources: list[Source] = [*files, *([engine] if engine else [])]
        self._folders = Folders(files, engine)
        self._failed = False
        self._is_collected = False
        stop.wakes(store.hurry)
        stop.wakes(uploader.wake)
        for source in self._sources:
            stop.wakes(source.wake)

    def run(self, telemetry: Telemetry | None, deaths: Sequence[str]) -> bool:
        """
        Until a stop, or until the spool turns out to be damaged; returns whether all that was to be
        sent is sent. Raises `ShipperError`.
        """
        try:
            return self._run(telemetry, deaths)
        except apsw.Error:
            if self.damage is None:
                raise
            return False

    def _run(self, telemetry: Telemetry | None, deaths: Sequence[str]) -> bool:
        self._uploader.start()
        pulses = [Pulse("capture", self._stop.event) for _ in self._sources]
        captures = [
            threading.Thread(target=self._capture, args=job, name="capture", daemon=True)
            for job in zip(self._sources, pulses, strict=True)
        ]
        upkeep = threading.Thread(target=self._keep_up, name="upkeep", daemon=True)
        upload_pulse = Pulse("upload", self._stop.event)
        vitals = Vitals(self._store)
        health = Health(
            vitals,
            self._stop.event,
            # with `once` capturing ends, and nothing turns for ever
            threads=[upkeep] if self._settings.once else [upkeep, *captures],
            deaths=deaths,
            pulses=[] if self._settings.once else [*pulses, upload_pulse],
        )
        if telemetry:
            telemetry.watch(vitals, health)
        log.info("started")
        for thread in (upkeep, *captures):
            thread.start()
        self._supervisor.watch(health, lambda: health.summary(self._notes()))
        delivered = self._ship_once(captures) if self._settings.once else self._ship(upload_pulse)
        is_told = self._stop.event.is_set()
        if self.damage is None or self.was_told_to_stop:
            self._supervisor.stopping()
        self._stop.set()
        deadline_s = time.monotonic() + STOP_BUDGET_S
        for thread in captures:
            thread.join(max(0.0, deadline_s - STOP_BUDGET_S / 2 - time.monotonic()))
        # what is under way when time is up will be sent again, and may arrive twice
        left_s = deadline_s - time.monotonic()
        self._uploader.finish(left_s if is_told and self.damage is None else 0)
        log.info("stopped")
        if self.damage is not None:
            return False
        if self._failed:
            raise ShipperError("collecting failed; see the log")
        if self._is_collected and (reason := self._folders.why_not()):
            raise ShipperError(reason)
        return delivered or (self._is_collected and self._store.unsent() == 0)

    def _end_damaged(self, reason: str) -> None:
        """
        Called by whichever thread meets the damage.
        """
        if self.damage is None:
            self.damage = reason
            self.was_told_to_stop = self._stop.event.is_set()
            log.error("the spool is damaged: %s", reason)
            self._stop.set()

    def _notes(self) -> Notes:
        """
        What is the matter now, by name.
        """
        notes = {"trouble": self._trouble.reason, "folders": self._folders.reason}
        notes |= {**self._budget.notes, **self._uploader.notes}
        del notes["max_size"]
        return notes

    def _ship(self, stop: threading.Event) -> bool:
        self._uploader.run(stop)
        return True

    def _ship_once(self, captures: list[threading.Thread]) -> bool:
        for thread in captures:
            while thread.is_alive() and not self._stop.event.is_set():
                if self._budget.is_blocked and not self._drain_for_room():
                    return False
                self._uploader.send_full_batches()
                thread.join(0.05)
        if self._stop.event.is_set():
            return False
        self._is_collected = True
        return self._uploader.drain(give_up_s=GIVE_UP_S, stop=self._stop.event)

    def _drain_for_room(self) -> bool:
        """
        With `--once` and a full spool: send all that is in it; whether that made room.
        """
        deadline_s = time.monotonic() + GIVE_UP_S
        while self._budget.is_blocked and time.monotonic() < deadline_s:
            if self._store.unsent():  # also what was stored while there was room for a moment
                if not self._uploader.drain(give_up_s=GIVE_UP_S, stop=self._stop.event):
                    return False
                deadline_s = time.monotonic() + GIVE_UP_S
            if self._stop.event.wait(0.05):
                break
        return not self._budget.is_blocked

    def _capture(self, source: Source, stop: threading.Event) -> None:
        try:
            capture(
                source,
                self._store,
                stop,
                once=self._settings.once,
                make_room=self._budget.make_room,
                trouble=self._trouble,
                on_stored=self._uploader.wake,
            )
        except Exception:
            log.exception("collecting failed")
            self._failed = True
            self._stop.set()

    def _keep_up(self) -> None:
        keep_up(
            self._store,
            self._budget,
            self._stop.event,
            keep_ms=self._settings.keep_ms,
            trouble=self._trouble,
            notes=lambda: {**self._uploader.notes, "folders": self._folders.look()},
        )


def _make_intake(settings: Settings, store: Store) -> Intake:
    route = settings.chooser.route
    return Intake(
        store,
        settings.chooser,
        settings.namer,
        multiline=settings.multiline,
        keep_blank=settings.keep_blank,
        max_message_bytes=settings.max_event_bytes - OVERHEAD_BYTES,
        backlog=route.backlog,
        tail=route.tail,
    )
