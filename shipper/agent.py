"""
The agent: source -> capture -> store -> upload, joined here and nowhere else.

On a stop these end in that order, so that what was read is stored, and what is stored has one more
chance to be sent.
"""

from __future__ import annotations

import logging
import resource
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from shipper.batch import OVERHEAD_BYTES
from shipper.capture import Source, capture
from shipper.cloudwatch import CloudWatch
from shipper.collecting import Chooser
from shipper.naming import Namer
from shipper.sources.intake import Intake
from shipper.sources.json_file import JsonFileSource
from shipper.sources.multiline import MultilineRule
from shipper.stopping import Stop, stopping_on_signals
from shipper.trouble import Trouble
from shipper.upkeep import keep_up
from shipper.upload import Uploader
from spool.budget import Budget, WhenFull
from spool.lock import ShipperLock
from spool.store import Store

__all__ = ["Settings", "run"]

log = logging.getLogger(__name__)

STOP_BUDGET_S = 8.0
"""For storing what was read and one last flush; Docker kills after 10."""

GIVE_UP_S = 20.0
"""With `--once`, after so long without a success what is left stays for the next run."""


@dataclass(frozen=True, slots=True)
class Settings:
    """
    What `spool run` was told.
    """

    db: Path
    region: str
    source: str
    containers_dir: Path
    delay_s: float
    keep_ms: int
    max_size_bytes: int
    when_full: WhenFull
    concurrency: int
    use_gzip: bool
    once: bool
    chooser: Chooser
    namer: Namer
    multiline: MultilineRule | None
    keep_blank: bool
    max_event_bytes: int


def run(settings: Settings) -> bool:
    """
    Collect and ship until SIGTERM or SIGINT, or with `once` until what is there was shipped.

    Returns False where events are left that were to be sent. Raises `SpoolError`.
    """
    _allow_many_files()
    with ShipperLock(settings.db), Store(settings.db) as store, stopping_on_signals() as stop:
        cloudwatch = CloudWatch(
            settings.region, connections=settings.concurrency, use_gzip=settings.use_gzip
        )
        trouble = Trouble(
            log,
            begins=f"{settings.db}: cannot be used now (%s); lines wait in Docker's files until"
            " it can",
            ends=f"{settings.db}: can be used again",
        )
        uploader = Uploader(
            store,
            cloudwatch,
            delay_s=settings.delay_s,
            concurrency=settings.concurrency,
            trouble=trouble,
        )
        return _Agent(settings, store, uploader, stop, trouble).run()


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
    ) -> None:
        self._settings = settings
        self._store = store
        self._trouble = trouble
        self._budget = Budget(store, settings.max_size_bytes, settings.when_full)
        self._uploader = uploader
        self._stop = stop
        self._sources = _make_sources(settings, store)
        self._failed = False
        stop.wakes(uploader.wake)
        for source in self._sources:
            stop.wakes(source.wake)

    def run(self) -> bool:
        self._uploader.start()
        captures = [
            threading.Thread(target=self._capture, args=[source], name="capture", daemon=True)
            for source in self._sources
        ]
        threading.Thread(target=self._keep_up, name="upkeep", daemon=True).start()
        for thread in captures:
            thread.start()
        log.info("started")
        delivered = self._ship_once(captures) if self._settings.once else self._ship()
        self._stop.set()
        deadline_s = time.monotonic() + STOP_BUDGET_S / 2
        for thread in captures:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        self._uploader.finish(0 if self._settings.once else STOP_BUDGET_S / 2)
        log.info("stopped")
        if self._failed:
            raise RuntimeError("collecting failed; see the log")
        return delivered

    def _ship(self) -> bool:
        self._uploader.run(self._stop.event)
        return True

    def _ship_once(self, captures: list[threading.Thread]) -> bool:
        for thread in captures:
            while thread.is_alive() and not self._stop.event.is_set():
                if self._budget.is_blocked and not self._drain_for_room():
                    return False
                self._uploader.send_full_batches()
                thread.join(0.05)
        return self._uploader.drain(give_up_s=GIVE_UP_S, stop=self._stop.event)

    def _drain_for_room(self) -> bool:
        """
        With `--once` and a full spool: send all that is in it; whether that made room.
        """
        if not self._uploader.drain(give_up_s=GIVE_UP_S, stop=self._stop.event):
            return False
        deadline_s = time.monotonic() + GIVE_UP_S
        while self._budget.is_blocked and time.monotonic() < deadline_s:
            if self._stop.event.wait(0.05):
                break
        return not self._budget.is_blocked

    def _capture(self, source: Source) -> None:
        try:
            capture(
                source,
                self._store,
                self._stop.event,
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
        )


def _make_sources(settings: Settings, store: Store) -> list[Source]:
    """
    The sources that `--source` names; each takes the containers that the rules give it.
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
    sources: list[Source] = []
    if settings.source in ("files", "auto"):
        sources.append(JsonFileSource(settings.containers_dir, intake))
    if settings.source in ("api", "auto"):
        sources.append(_make_engine_source(intake))
    return sources


def _make_engine_source(intake: Intake) -> Source:
    # Docker's client takes memory and time that reading files does not need
    from shipper.sources.engine_source import EngineSource  # noqa: PLC0415

    return EngineSource(
        intake.store,
        intake.namer.target,
        wanted=lambda container: intake.takes(container, "api") is None,
        backlog=intake.backlog,
        tail=intake.tail,
        joiner=intake.joiner,
    )


def _allow_many_files() -> None:
    """
    One descriptor a container is held: up to what the system allows.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
