"""
spool top: how things stand, live.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import count as count_up
from pathlib import Path
from typing import Any

import click

from cli.frames import Moment, Watch
from cli.keys import ending
from cli.options import MAX_ROWS, db_option, format_option
from cli.output import write_rows
from cli.parameters import Duration, Name
from cli.printable import tell
from cli.screen import Line, can_draw, drawing, write_lines
from spool.clock import now_ms

__all__ = ["command"]

COLUMNS = ("time", "in_per_s", "out_per_s", "unsent", "lag_s", "agent", "bytes", "trouble")
TEXT = (
    "{time}  in {in_per_s}/s  out {out_per_s}/s  unsent {unsent}  lag {lag_s} s"
    "  agent {agent}  bytes {bytes}  trouble {trouble}"
)

LEAST_INTERVAL_MS = 100

WINDOW_S = 10.0
"""Batches leave every few seconds; the rates on a screen should not leap."""


@click.command(name="top")
@db_option
@click.option(
    "--interval",
    "interval_ms",
    type=Duration(),
    default="1s",
    show_default=True,
    help="The time between two looks.",
)
@click.option("-n", "count", type=click.IntRange(1, MAX_ROWS), help="End after so many looks.")
@click.option("--group", type=Name(), help="Only this log group.")
@click.option("--stream", type=Name(), help="Only this log stream.")
@format_option()
def command(
    *,
    db: Path,
    interval_ms: int,
    count: int | None,
    group: str | None,
    stream: str | None,
    output_format: str | None,
) -> None:
    """
    Show what comes in, what goes out, what waits and what is wrong, the worst first, again and
    again; q ends. Where stdout is no terminal, or with --format, it is one line for each look.

    \b
    Examples:
      spool top
      spool top --stream web --interval 5s
      spool top -n 60 --format csv > minute.csv
    """
    if interval_ms < LEAST_INTERVAL_MS:
        raise click.UsageError(f"--interval is {LEAST_INTERVAL_MS} ms at least")
    if count is None and output_format in ("json", "table"):
        raise click.UsageError(f"without -n it never ends, and {output_format} needs all rows")
    interval_s = interval_ms / 1000
    if output_format is None and can_draw():
        _draw(Watch(db, interval_s, max(WINDOW_S, interval_s), group, stream), count)
        return
    watch = Watch(db, interval_s, 0.0, group, stream)
    with suppress(KeyboardInterrupt):
        rows = _rows(watch, count)
        write_rows(rows, columns=COLUMNS, output_format=output_format or "text", text=TEXT)


def _draw(watch: Watch, count: int | None) -> None:
    with ending() as is_over, drawing() as draw:
        moment = _until_over(watch, draw, is_over, count)
    if count is None:
        return
    if moment.problem:
        raise moment.problem
    write_lines(_lines(watch, moment))  # the last one stays


def _until_over(
    watch: Watch,
    draw: Callable[[Sequence[Line]], None],
    is_over: Callable[[float], bool],
    count: int | None,
) -> Moment:
    """
    Draw each look, and again where the wait for the next one ends early: the terminal has another
    size then. The last look.
    """
    for number in count_up(1):
        due_s = time.monotonic() + watch.interval_s
        moment = _look(watch)
        wait_s = watch.interval_s
        while wait_s > 0:
            draw(_lines(watch, moment))
            wait_s = due_s - time.monotonic()
            if number == count or is_over(wait_s):
                return moment
            wait_s = due_s - time.monotonic()
    raise AssertionError  # numbers do not end


def _rows(watch: Watch, count: int | None) -> Iterator[dict[str, Any]]:
    """
    A row for each look at a spool that is there; raises `SpoolError` where the first or the last
    is at none.
    """
    told = ""
    for number in count_up(1):
        due_s = time.monotonic() + watch.interval_s
        moment = _look(watch)
        if moment.problem:
            if number in (1, count):
                raise moment.problem
            if str(moment.problem) != told:
                tell(f"spool top: {moment.problem}")
        else:
            yield moment.row()
            sys.stdout.flush()
        told = str(moment.problem)
        if number == count:
            return
        with suppress(ValueError):  # the look took longer than that
            time.sleep(due_s - time.monotonic())


def _look(watch: Watch) -> Moment:
    return watch.look(at_s=time.monotonic(), now_ms=now_ms())


def _lines(watch: Watch, moment: Moment) -> list[Line]:
    size = shutil.get_terminal_size()
    return watch.lines(moment, width=size.columns, height=size.lines)
