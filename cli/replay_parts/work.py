"""
The sending of what a replay has put back: by itself, or by the agent that has the spool.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass, field

import click

from cli.errors import INTERRUPTED, SOME_UNSENT
from cli.printable import tell
from cli.replay_parts.plan import CONCURRENCY
from cli.screen import progress
from shipper.backoff import Pace
from shipper.cloudwatch import CloudWatch
from shipper.ec2 import Metadata, find_region
from shipper.route import Route
from shipper.service import configured_region
from shipper.stopping import Stop
from shipper.upload import GIVE_UP_S, Uploader
from spool import replay
from spool.store import EXPIRED, TOO_NEW, TOO_OLD, Store
from spool.wording import counted

__all__ = ["Work", "send", "stopping_on_damage", "tell_end", "watch"]

WATCH_S = 0.5
FINISH_S = 2.0

REASONS = 3
"""So many are told, the most frequent ones."""


@dataclass(slots=True)
class Work:
    """
    What is to be sent: all that waits in these streams.
    """

    store: Store
    stop: Stop
    streams: set[int]
    total: int = 0
    _span: tuple[int, int] = (0, -1)
    _rejected_before: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.total = self.left()
        self._span = replay.unsent_span(self.store, self.streams)
        self._rejected_before = self._rejected()

    def left(self) -> int:
        return self.store.unsent(self.streams)

    def done(self) -> int:
        return self.total - self.left()

    def rejected(self) -> Counter[str]:
        """
        How many of it were refused meanwhile, by reason.
        """
        return self._rejected() - self._rejected_before

    def _rejected(self) -> Counter[str]:
        return replay.rejections(self.store, self.streams, self._span)


def send(work: Work, route: Route, pace: Pace | None) -> bool:
    """
    Send it from here, as `route` says; False where something is left, as nothing gets through or
    at a stop.
    """
    region = find_region(
        route,
        Metadata(os.environ, use_ec2=route.use_ec2),
        environ=os.environ,
        configured=configured_region,
    )
    uploader = Uploader(
        work.store,
        CloudWatch(region, connections=CONCURRENCY),
        concurrency=CONCURRENCY,
        only=work.streams,
        pace=pace,
    )
    work.stop.wakes(work.store.hurry)
    work.stop.wakes(uploader.wake)
    uploader.start()
    with progress(work.total, "sending", done=work.done) as show:
        is_done = uploader.drain(give_up_s=GIVE_UP_S, stop=work.stop.event, on_progress=show)
        uploader.finish(FINISH_S if work.stop.event.is_set() else 0)
        show()
    return is_done or work.left() == 0


def stopping_on_damage(work: Work) -> list[str]:
    """
    End where the spool turns out to be damaged; what SQLite said of it comes into the list.
    """
    found: list[str] = []

    def stop(reason: str) -> None:
        found.append(reason)
        work.stop.set()

    work.store.on_damage = stop
    return found


def watch(work: Work, agent: int) -> bool:
    """
    Wait until the agent has sent it; False where it makes no progress, or at a stop.
    """
    click.echo(f"the agent (pid {agent}) sends them", err=True)
    least = work.left()
    progress_s = time.monotonic()
    with progress(work.total, "sending", done=work.done) as show:
        while least and time.monotonic() - progress_s < GIVE_UP_S:
            if work.stop.event.wait(WATCH_S):
                return False
            show()
            left = work.left()
            if left < least:
                least, progress_s = left, time.monotonic()
    return least == 0


def tell_end(work: Work, *, is_done: bool, agent: int | None) -> int:
    """
    Say what came of it; returns the exit code.
    """
    left = work.left()
    rejected = work.rejected()
    if is_done:
        sent = max(0, work.total - rejected.total())
        click.echo(f"done: {counted(sent, 'event')} sent, {rejected.total():,} rejected", err=True)
    else:
        goes_on = "the agent goes on" if agent else "run `spool replay` again to go on"
        verb = "is" if left == 1 else "are"
        click.echo(f"{counted(left, 'event')} {verb} still unsent; {goes_on}", err=True)
    if rejected:
        tell(_about_rejected(rejected))
    if is_done:
        return 0
    return INTERRUPTED if work.stop.event.is_set() else SOME_UNSENT


def _about_rejected(rejected: Counter[str]) -> str:
    reasons = [f"{count:,} {reason}" for reason, count in rejected.most_common(REASONS)]
    if len(rejected) > REASONS:
        reasons.append("others for other reasons")
    remedy = (
        "`spool replay --restamp` sends what is too old or too new with the present time"
        if any(reason in rejected for reason in (TOO_OLD, TOO_NEW, EXPIRED))
        else "`spool events --state rejected` shows them"
    )
    return f"rejected: {'; '.join(reasons)}; {remedy}"
