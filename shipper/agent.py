"""
The agent: source -> capture -> store -> upload, joined here and nowhere else.

On a stop these end in that order, so that what was read is stored, and what is stored has one more
chance to be sent.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from shipper.batch import OVERHEAD_BYTES
from shipper.capture import Source, capture
from shipper.cloudwatch import CloudWatch
from shipper.collecting import Chooser
from shipper.delivery import Endpoint
from shipper.errors import ShipperError
from shipper.folders import Folders
from shipper.health import Health, noting_deaths
from shipper.naming import Namer
from shipper.pulse import Pulse
from shipper.sources.docker_logs import JsonFileSource
from shipper.sources.file_source import FileSource
from shipper.sources.intake import Intake
from shipper.sources.multiline import MultilineRule
from shipper.sources.pod_logs import PodLogSource
from shipper.stopping import Stop, stopping_on_signals
from shipper.supervisor import Supervisor
from shipper.trouble import Trouble
from shipper.upkeep import Notes, keep_up
from shipper.upload import Uploader
from spool.budget import Budget, WhenFull
from spool.errors import SpoolUnusable
from spool.lock import ShipperLock
from spool.place import is_open_to_all
from spool.rescue import rescue
from spool.store import Store
from spool.vitals import Vitals

if TYPE_CHECKING:
    from shipper.sources.engine_source import EngineSource
    from shipper.telemetry import Telemetry

__all__ = ["Settings", "run"]

log = logging.getLogger(__name__)

STOP_BUDGET_S = 8.0
"""For storing what was read and one last flush; Docker kills after 10."""

GIVE_UP_S = 20.0
"""With `--once`, after so long without a success what is left stays for the next run."""

RESCUE_APART_S = 60.0
"""Sooner after a rescue, the disk is at fault and would damage the next spool too."""


LOOKING = "looking whether the spool is sound, and saving what can be read if it is not"


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


def run(settings: Settings) -> bool:
    """
    Collect and ship until SIGTERM or SIGINT, or with `once` until what is there was shipped.

    Returns False where events are left that were to be sent. Raises `SpoolError`, `ShipperError`.
    """
    _allow_many_files()
    gc.freeze()  # what was imported stays: who looks for cycles need not look at it
    with ExitStack() as parts:
        supervisor = parts.enter_context(Supervisor(os.environ))
        lock = parts.enter_context(ShipperLock(settings.db))
        telemetry = _listen(settings.metrics) if settings.metrics else None
        if telemetry:
            parts.callback(telemetry.close)
        damage = None
        while True:
            supervisor.prepare(LOOKING)
            if telemetry:
                telemetry.prepare(LOOKING)
            facts = rescue(settings.db, is_thorough=not lock.was_released, damage=damage)
            for fact in facts:
                log.warning("%s", fact)
            begun_s = time.monotonic()
            agent, delivered = _live(settings, supervisor, telemetry)
            damage = agent.damage
            lock.is_in_order = damage is None
            if damage is None or agent.was_told_to_stop:
                return delivered
            if facts and time.monotonic() - begun_s < RESCUE_APART_S:
                raise SpoolUnusable(
                    f"{settings.db}: damaged again soon after it was rescued; check the disk"
                )


def _live(
    settings: Settings, supervisor: Supervisor, telemetry: Telemetry | None
) -> tuple[_Agent, bool]:
    """
    One agent, until a stop or until its spool turns out to be damaged, and whether all is sent.
    """
    with ExitStack() as parts:
        store = parts.enter_context(Store(settings.db))
        if telemetry:
            parts.callback(telemetry.prepare, "the agent has ended")
        if is_open_to_all(settings.db):
            log.warning("%s can be read or written by every user of this host", settings.db)
        stop = parts.enter_context(stopping_on_signals())
        deaths = parts.enter_context(noting_deaths())
        endpoint: Endpoint = CloudWatch(
            settings.region,
            connections=settings.concurrency,
            use_gzip=settings.use_gzip,
            retention_days=settings.retention_days,
            group_class=settings.group_class,
        )
        if telemetry:
            endpoint = telemetry.measured(endpoint)
        trouble = Trouble(
            log,
            begins=f"{settings.db}: cannot be used now (%s); lines wait in Docker's files until"
            " it can",
            ends=f"{settings.db}: can be used again",
        )
        uploader = Uploader(
            store,
            endpoint,
            delay_s=settings.delay_s,
            concurrency=settings.concurrency,
            trouble=trouble,
        )
        agent = _Agent(settings, store, uploader, stop, trouble, supervisor)
        return agent, agent.run(telemetry, deaths)


class _Agent:
    """
    The parts of a running agent.
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
        store.on_damage = self._end_damaged
        self._sources, self._folders = _make_sources(settings, store)
        self._failed = False
        self._is_collected = False
        stop.wakes(store.hurry)
        stop.wakes(uploader.wake)
        for source in self._sources:
            stop.wakes(source.wake)

    def run(self, telemetry: Telemetry | None, deaths: Sequence[str]) -> bool:
        """
        Until a stop, or until the spool turns out to be damaged.
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


def _listen(address: tuple[str, int]) -> Telemetry:
    # what this takes, those who ask for no metrics do not pay
    from shipper.telemetry import Telemetry  # noqa: PLC0415

    return Telemetry(address)


def _make_sources(settings: Settings, store: Store) -> tuple[list[Source], Folders]:
    """
    The sources that `--source` names, each takes the containers that the rules give it; and whether
    they can see what they are to collect.
    """
    intake = Intake(
        store,
        settings.chooser,
        settings.namer,
        multiline=settings.multiline,
        keep_blank=settings.keep_blank,
        max_message_bytes=settings.max_event_bytes - OVERHEAD_BYTES,
        backlog=settings.chooser.route.backlog,
        tail=settings.chooser.route.tail,
    )
    files: list[FileSource] = []
    if settings.source in ("files", "auto"):
        files.append(JsonFileSource(settings.containers_dir, intake))
        files.append(PodLogSource(settings.pods_dir, intake))
    engine = _make_engine_source(intake) if settings.source in ("api", "auto") else None
    return [*files, *([engine] if engine else [])], Folders(files, engine)


def _make_engine_source(intake: Intake) -> EngineSource:
    # Docker's client takes memory and time that reading files does not need
    from shipper.sources.engine_source import EngineSource  # noqa: PLC0415

    return EngineSource(
        intake.store,
        intake.target,
        joiner=intake.joiner,
        wanted=lambda container: intake.takes(container, "api") is None,
        backlog=intake.backlog,
        tail=intake.tail,
    )


def _allow_many_files() -> None:
    """
    One descriptor a container is held: up to what the system allows.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
