"""
spool events: what is stored, and what became of it.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import click

from cli.options import MAX_ROWS, Choice, db_option, event_options, format_option, selection_of
from cli.output import Shape, write_rows
from cli.parameters import Text
from spool.errors import NotText
from spool.inspection import Inspection
from spool.selection import Selection

__all__ = ["command"]

COLUMNS = (
    "id",
    "log_group",
    "log_stream",
    "timestamp",
    "time",
    "message",
    "state",
    "batch_id",
    "source",
)
SHAPE = Shape(
    ("id", "time", "log_group", "log_stream", "state", "reason", "message"),
    spare=("log_group",),
    telling=("log_group",),
    occasional=("reason",),
)
"""As a table; there it is also told why an event was rejected."""

FOLLOW_S = 0.5

LATE_S = 5
"""So long after they were logged lines may yet be stored: some are parts of an event until then."""

AROUND = 10


class Pattern(Text):
    """
    A regular expression.
    """

    name = "pattern"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = super().convert(value, param, ctx)
        try:
            re.compile(text)
        except re.error as error:
            self.fail(f"{text!r} is no regular expression: {error}", param, ctx)
        return text


@click.command(name="events")
@db_option
@event_options
@click.option("--grep", type=Pattern(), help="Only messages in which this pattern is found.")
@click.option("-n", "newest", type=click.IntRange(0, MAX_ROWS), help="Only the newest N.")
@click.option(
    "--around",
    type=click.IntRange(1, MAX_ROWS),
    metavar="ID",
    help="This event and N before and after it in its stream. [default N: 10]",
)
@click.option(
    "-f",
    "--follow",
    is_flag=True,
    help=f"Go on with what is stored from now on; with --until, to {LATE_S} s after that moment.",
)
@format_option()
def command(
    *,
    db: Path,
    grep: str | None,
    newest: int | None,
    around: int | None,
    follow: bool,
    output_format: str | None,
    **choice: Unpack[Choice],
) -> None:
    """
    Show events, in the order in which they were stored, and what became of each.

    \b
    Examples:
      spool events --stream web -n 20
      spool events --since 2h --grep 'timeout|refused'
      spool events --state rejected --format jsonl
      spool events --around 4711 -n 5
    """
    selection = replace(selection_of(choice), pattern=grep)
    if follow and output_format in ("json", "table"):
        raise click.UsageError(
            f"--follow shows rows as they come, and {output_format} needs all of them"
        )
    if around is not None and (follow or selection != Selection()):
        raise click.UsageError("--around goes with no other choice of events")
    with Inspection(db) as spool:
        if around is None:
            rows = spool.events(selection, newest=newest)
        else:
            rows = spool.around(around, AROUND if newest is None else newest)
        if follow:
            rows = _following(spool, selection, rows)
            output_format = output_format or "text"
        if output_format in (None, "table"):
            rows = spool.with_reasons(rows)
        write_rows(
            rows,
            columns=COLUMNS,
            shape=SHAPE,
            output_format=output_format,
            text="{time} {log_group} {log_stream} {state} {message}",
        )
        if spool.is_mended:
            raise NotText(db)


def _following(
    spool: Inspection, selection: Selection, rows: Iterator[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    last = next((row["id"] for row in spool.events(Selection(), newest=1)), 0)
    while True:
        is_over = _is_over(selection.until_ms)
        for row in rows:
            last = max(last, row["id"])
            yield row
        if is_over or spool.is_mended:
            return
        sys.stdout.flush()
        time.sleep(FOLLOW_S)
        rows = spool.events(replace(selection, after_id=last))


def _is_over(until_ms: int | None) -> bool:
    """
    Whether what is stored from now on is from later.
    """
    return until_ms is not None and time.time() * 1000 > until_ms + LATE_S * 1000
