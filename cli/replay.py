"""
spool replay: send again.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import click

from cli.errors import INTERRUPTED
from cli.logs import set_up_logs
from cli.options import Choice, db_option, event_options, selection_of
from cli.parameters import Name, Size
from cli.printable import tell
from cli.replay_parts.plan import make_plan
from cli.replay_parts.work import Work, send, stopping_on_damage, tell_end, watch
from shipper.backoff import Pace
from shipper.naming import legal_group, legal_stream
from shipper.route import parse_route
from shipper.stopping import stopping_on_signals
from spool import replay
from spool.errors import SpoolDamaged, SpoolHeld
from spool.lock import ShipperLock
from spool.opening import unfinished_rescues
from spool.rescue import rescue
from spool.selection import Selection
from spool.store import Store

__all__ = ["command"]

NOTHING = "nothing to send"


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
        plan = make_plan(store, selection, restamp=restamp, to_group=to_group, to_stream=to_stream)
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
        work = Work(store, stop, streams)
        if work.total == 0:
            click.echo(NOTHING, err=True)
            return 0
        if agent is not None:
            is_done = watch(work, agent)
        else:
            damage = stopping_on_damage(work)
            is_done = send(work, parsed, Pace(rate) if rate else None)
            if damage and lock:
                lock.is_in_order = False  # the next one is to look at everything
                raise SpoolDamaged(db, damage[0])
        return tell_end(work, is_done=is_done, agent=agent)


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


def _check_target(group: str | None, stream: str | None) -> None:
    for what, name, legal in (("group", group, legal_group), ("stream", stream, legal_stream)):
        if name is not None and legal(name) != name:
            raise click.BadParameter(
                f"CloudWatch takes no {what} named {name!r}; it would take {legal(name)!r}",
                param_hint=f"--to-{what}",
            )
