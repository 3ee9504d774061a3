"""
spool batches: the requests, and what came of them.
"""

from __future__ import annotations

from pathlib import Path

import click

from cli.options import MAX_ROWS, db_option, format_option
from cli.output import Shape, write_rows
from cli.parameters import Name
from spool.errors import NotText
from spool.inspection import Inspection

__all__ = ["command"]

COLUMNS = (
    "id",
    "log_group",
    "log_stream",
    "events",
    "bytes",
    "first_timestamp",
    "last_timestamp",
    "state",
    "attempts",
    "created_at",
    "sent_at",
    "request_id",
    "error",
)
SHAPE = Shape(
    (
        *("id", "log_group", "log_stream", "events", "bytes", "state", "attempts"),
        *("created_at", "sent_at", "request_id"),
    ),
    spare=("log_group", "request_id", "sent_at"),
    telling=("log_group",),
    occasional=("request_id", "sent_at"),
    below="error",
)


@click.command(name="batches")
@db_option
@click.option("--group", type=Name(), help="Only this log group.")
@click.option("--stream", type=Name(), help="Only this log stream.")
@click.option("--state", type=click.Choice(["sending", "sent", "refused"]))
@click.option(
    "--event",
    type=click.IntRange(1, MAX_ROWS),
    metavar="ID",
    help="Only those that carried this event.",
)
@click.option("--twice", is_flag=True, help="Only those that may have arrived twice.")
@click.option("-n", "newest", type=click.IntRange(0, MAX_ROWS), help="Only the newest N.")
@format_option()
def command(
    *,
    db: Path,
    group: str | None,
    stream: str | None,
    state: str | None,
    event: int | None,
    twice: bool,
    newest: int | None,
    output_format: str | None,
) -> None:
    """
    Show the PutLogEvents requests, oldest first. One with several attempts may have arrived twice.

    \b
    Examples:
      spool batches -n 10
      spool batches --state sending
      spool batches --event 4711 --format json
      spool batches --twice
    """
    with Inspection(db) as spool:
        write_rows(
            spool.batches(
                group=group,
                stream=stream,
                state=state,
                event_id=event,
                only_twice=twice,
                newest=newest,
            ),
            columns=COLUMNS,
            shape=SHAPE,
            output_format=output_format,
            text="{id} {created_at} {log_group} {log_stream} {state} {events} events "
            "{bytes} bytes attempts {attempts} {request_id} {error}",
        )
        if spool.is_mended:
            raise NotText(db)
