"""
spool replay: send again.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Unpack

import click

from cli.errors import INTERRUPTED, SOME_UNSENT
from cli.logs import set_up_logs
from cli.options import Choice, db_option, event_options, selection_of
from cli.parameters import Name, Size
from cli.printable import tell
from cli.screen import progress
from shipper.backoff import Pace
from shipper.batch import (
    MAX_AGE_MS,
    MAX_AHEAD_MS,
    MAX_MESSAGE_BYTES,
    acceptable_ms,
    requests_for,
)
from shipper.cloudwatch import CloudWatch
from shipper.ec2 import Metadata, find_region
from shipper.naming import legal_group, legal_stream
from shipper.route import Route, parse_route
from shipper.service import configured_region
from shipper.stopping import Stop, stopping_on_signals
from shipper.upload import GIVE_UP_S, Uploader
from spool import replay
from spool.clock import now_ms
from spool.errors import SpoolDamaged, SpoolHeld
from spool.lock import ShipperLock
from spool.opening import unfinished_rescues
from spool.piece import Ages
from spool.rescue import rescue
from spool.selection import Selection
from spool.store import EXPIRED, TOO_NEW, TOO_OLD, Store
from spool.wording import counted, human_bytes, human_duration

__all__ = ["command"]

CONCURRENCY = 4

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

WATCH_S = 0.5
FINISH_S = 2.0
NOTHING = "nothing to send"

REASONS = 3
"""So many are told, the most frequent ones."""

USUAL_REQUEST_S = 0.2
"""How long a request takes, as long as none was sent from this spool."""


@click.command(name="replay")
@click.argument("route", required=False)
@db_option
@event_options
@click.option("--dry-run", is_flag=True, help="Only say how much it would be.")
@click.option("--to-group", type=Name(), help="Send to this log group instead.")
@click.option("--to-stream", type=Name(), help="Send to this log stream instead.")
@click.option(
    "--restamp",
    is_flag=True,
    help="Send also what CloudWatch would refuse for its age, with the present time, and the"
    " original one in front of the message.",
)
@click.option(
    "--rate",
    type=Size(),
    help="At most so many bytes a second: 500k, 1MiB. For a replay without an agent.",
)
def command(
    *,
    route: str | None,
    db: Path,
    dry_run: bool,
    to_group: str | None,
    to_stream: str | None,
    restamp: bool,
    rate: int | None,
    **choice: Unpack[Choice],
) -> int:
    """
    Send events again; without options, drain what is unsent. --restamp alone chooses what was
    rejected.

    Beside a running agent it puts the events back in the queue and watches the agent send them, to
    where that ships; without one it sends them itself, as ROUTE says. Exits 75 if some are still
    unsent.

    \b
    Examples:
      spool replay
      spool replay --since 'yesterday 22:00' --until 06:00 --dry-run
      spool replay --stream web --since 2h
      spool replay --restamp
      spool replay --batch 17 --to-group rescued
    """
    _check_target(to_group, to_stream)
    parsed = parse_route(route, os.environ)
    set_up_logs("text", debug=parsed.debug)
    with ExitStack() as held:
        lock, agent = (None, None) if dry_run else _take_over(db, held)
        store = held.enter_context(Store(db, create=False))
        stop = held.enter_context(stopping_on_signals())
        selection = replace(selection_of(choice), last_id=replay.newest_id(store))
        is_drain = not (set(choice.values()) - {None} or to_group or to_stream or restamp)
        if selection == Selection(last_id=selection.last_id) and (is_drain or restamp):
            selection = replace(selection, states=("rejected",) if restamp else ("unsent",))
        plan = _make_plan(store, selection, restamp=restamp, to_group=to_group, to_stream=to_stream)
        if dry_run:
            plan.tell("would send", rate)
            if not plan.amount.events:
                click.echo(NOTHING, err=True)
            return 0
        if agent is not None:
            _tell_ignored(route, rate)
            rate = None
        plan.tell("sending", rate)
        try:
            streams = plan.queue(stop, is_drain=is_drain)
        except KeyboardInterrupt:
            click.echo("stopped; what waits by now is sent by `spool replay`", err=True)
            return INTERRUPTED
        work = _Work(store, stop, streams)
        if work.total == 0:
            click.echo(NOTHING, err=True)
            return 0
        if agent is not None:
            is_done = _watch(work, agent)
        else:
            damage = _stopping_on_damage(work)
            is_done = _send(work, parsed, Pace(rate) if rate else None)
            if damage and lock:
                lock.is_in_order = False  # the next one is to look at everything
                raise SpoolDamaged(db, damage[0])
        return _tell_end(work, is_done=is_done, agent=agent)


def _take_over(db: Path, held: ExitStack) -> tuple[ShipperLock | None, int | None]:
    """
    Become the shipper, and see that the spool is sound; or the pid of the agent that is it.
    """
    try:
        if not db.is_file() and not unfinished_rescues(db):
            return None, None  # the opening says that there is none, and nothing is made
    except OSError:
        return None, None  # likewise, that it cannot be looked at
    try:
        lock = held.enter_context(ShipperLock(db))
    except SpoolHeld as error:
        return None, error.pid or 0
    for fact in rescue(db, is_thorough=not lock.was_released):
        tell(fact)
    return lock, None


def _tell_ignored(route: str | None, rate: int | None) -> None:
    """
    What the agent does not ask this command for.
    """
    if route:
        click.echo(
            "ROUTE is for a replay without an agent; it is ignored, as the agent sends to where it"
            " ships",
            err=True,
        )
    if rate:
        click.echo("--rate is for a replay without an agent; it is ignored", err=True)


@dataclass(slots=True)
class _Plan:
    """
    What was chosen, and how it is put back into the queue.
    """

    store: Store
    selection: Selection
    ages: Ages
    restamp: replay.Restamp | None
    to_group: str | None
    to_stream: str | None
    amount: replay.Amount

    def tell(self, verb: str, rate: int | None) -> None:
        """
        How much it is, and what stays behind, and why.
        """
        if self.amount.events:
            self._tell_amount(verb, rate)
        if others := self._others():
            click.echo(
                f"and with them {counted(others, 'event')} of the same streams that waited before:"
                " of a stream the oldest go first",
                err=True,
            )
        if self.amount.stale:
            click.echo(self._about_stale(), err=True)

    def _tell_amount(self, verb: str, rate: int | None) -> None:
        requests = sum(requests_for(events, size) for events, size in self.amount.streams.values())
        duration_s = requests * (replay.request_s(self.store) or USUAL_REQUEST_S) / CONCURRENCY
        if rate:
            duration_s = max(duration_s, self.amount.bytes / rate)
        click.echo(
            f"{verb} {counted(self.amount.events, 'event')}"
            f" of {counted(len(self.amount.streams), 'stream')}, {human_bytes(self.amount.bytes)},"
            f" in {counted(requests, 'request')}: about {human_duration(duration_s)}",
            err=True,
        )

    def _others(self) -> int:
        """
        Events that were not chosen and go out all the same, as they wait in the same streams.
        """
        if self.to_group or self.to_stream:
            return 0
        return self.store.unsent(set(self.amount.streams)) - self.amount.unsent

    def _about_stale(self) -> str:
        stale = counted(self.amount.stale, "event")
        if self.restamp:
            return f"{stale} of these with the present time, the original in front of the message"
        return (
            f"not sent: {stale} older than {MAX_AGE_MS // DAY_MS} days, or more than"
            f" {MAX_AHEAD_MS // HOUR_MS} hours ahead, which CloudWatch refuses; --restamp sends"
            " them with the present time"
        )

    def queue(self, stop: Stop, *, is_drain: bool) -> set[int]:
        """
        Put back what is chosen; returns the streams in which it waits.

        Raises KeyboardInterrupt at a stop, when only a part waits.
        """

        def go_on(_done: int, _total: int) -> None:
            if stop.event.is_set():
                raise KeyboardInterrupt

        streams = set(self.amount.streams)
        chosen = (self.store, self.selection, self.ages)
        if self.to_group or self.to_stream:
            targets = replay.targets(self.store, streams, self.to_group, self.to_stream)
            replay.copy(*chosen, targets, restamp=self.restamp, tell=go_on)
            return set(targets.values())
        if not is_drain:
            replay.requeue(*chosen, restamp=self.restamp, tell=go_on)
        return streams


def _make_plan(
    store: Store,
    selection: Selection,
    *,
    restamp: bool,
    to_group: str | None,
    to_stream: str | None,
) -> _Plan:
    now = now_ms()
    ages = Ages(*acceptable_ms(now))
    return _Plan(
        store=store,
        selection=selection,
        ages=ages,
        restamp=replay.Restamp(now, MAX_MESSAGE_BYTES) if restamp else None,
        to_group=to_group,
        to_stream=to_stream,
        amount=replay.survey(store, selection, ages, with_stale=restamp),
    )


@dataclass(slots=True)
class _Work:
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


def _check_target(group: str | None, stream: str | None) -> None:
    for what, name, legal in (("group", group, legal_group), ("stream", stream, legal_stream)):
        if name is not None and legal(name) != name:
            raise click.BadParameter(
                f"CloudWatch takes no {what} named {name!r}; it would take {legal(name)!r}",
                param_hint=f"--to-{what}",
            )


def _send(work: _Work, route: Route, pace: Pace | None) -> bool:
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


def _stopping_on_damage(work: _Work) -> list[str]:
    """
    End where the spool turns out to be damaged; what SQLite said of it comes into the list.
    """
    found: list[str] = []

    def stop(reason: str) -> None:
        found.append(reason)
        work.stop.set()

    work.store.on_damage = stop
    return found


def _watch(work: _Work, agent: int) -> bool:
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


def _tell_end(work: _Work, *, is_done: bool, agent: int | None) -> int:
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
