"""
The lives of an agent: one, and another after each rescue of a spool that turned out to be damaged.

Comes in: what `spool run` was told. Goes out: whether all was sent. Always holds: the lock is held
from the first look at the spool to the end, also during a rescue, and whoever watches is told what
takes so long.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from shipper.agent import Agent, Settings
from shipper.cloudwatch import CloudWatch
from shipper.delivery import Endpoint
from shipper.health import noting_deaths
from shipper.stopping import stopping_on_signals
from shipper.supervisor import Supervisor
from shipper.trouble import Trouble
from shipper.upload import Uploader
from spool.errors import SpoolUnusable
from spool.lock import ShipperLock
from spool.place import is_open_to_all
from spool.rescue import rescue
from spool.store import Store

if TYPE_CHECKING:
    from shipper.telemetry import Telemetry

__all__ = ["run"]

log = logging.getLogger(__name__)

RESCUE_APART_S = 60.0
"""Sooner after a rescue, the disk is at fault and would damage the next spool too."""

LOOKING = "looking whether the spool is sound, and saving what can be read if it is not"


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
) -> tuple[Agent, bool]:
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
        agent = Agent(settings, store, uploader, stop, trouble, supervisor)
        return agent, agent.run(telemetry, deaths)


def _listen(address: tuple[str, int]) -> Telemetry:
    # what this takes, those who ask for no metrics do not pay
    from shipper.telemetry import Telemetry  # noqa: PLC0415

    return Telemetry(address)


def _allow_many_files() -> None:
    """
    One descriptor a container is held: up to what the system allows.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
