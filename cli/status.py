"""
spool status: what is here, what was sent, what is wrong.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import click

from cli.errors import FAILED
from cli.options import db_option, format_option
from cli.output import write_rows
from cli.panel import Figure, agent_fact, cropped, fact, file_fact, rest, table, verdict
from cli.parameters import Duration
from cli.screen import Line, write_lines
from cli.standing import Standing, lag_s, read_standing, since_s, waiting, worst_first
from spool.clock import now_ms
from spool.skipped import listed
from spool.window import Row
from spool.wording import counted, human_duration

__all__ = ["command"]

COLUMNS = (
    "group",
    "stream",
    "unsent",
    "sent",
    "rejected",
    "collected",
    "pruned",
    "dropped",
    "oldest_unsent",
    "last_delivery",
    "last_error",
    "last_error_at",
    "failing_since",
)
TEXT = (
    "{group} {stream}  unsent {unsent}  sent {sent}  rejected {rejected}"
    "  oldest unsent {oldest_unsent}  last delivery {last_delivery}  last error {last_error}"
)


@click.command(name="status")
@db_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object, as --format json.")
@format_option()
@click.option("--all", "show_all", is_flag=True, help="All streams, also on a small terminal.")
@click.option(
    "--max-lag",
    "max_lag_ms",
    type=Duration(),
    help="Exit 1 if something has waited longer, 15m say: a health check.",
)
def command(
    *,
    db: Path,
    as_json: bool,
    output_format: str | None,
    show_all: bool,
    max_lag_ms: int | None,
) -> int:
    """
    Show what is here, what was sent, and what is wrong, the worst first. On a terminal it is one
    screen; elsewhere it has a line for each stream, with nothing cut.

    \b
    Examples:
      spool status
      spool status --json
      spool status --max-lag 15m
    """
    standing = read_standing(db)
    at_ms = now_ms()
    _write(db, standing, "json" if as_json else output_format, at_ms, show_all=show_all)
    old_s = lag_s(standing, at_ms)
    if max_lag_ms is not None and old_s * 1000 > max_lag_ms:
        click.echo(f"spool status: the oldest unsent event is {old_s:.0f} s old", err=True)
        return FAILED
    return 0


def _write(
    db: Path, standing: Standing, output_format: str | None, now_ms: int, *, show_all: bool
) -> None:
    is_terminal = sys.stdout.isatty()
    chosen = output_format or ("table" if is_terminal else "text")
    rows = worst_first(standing["streams"])
    if chosen == "json":
        click.echo(json.dumps(standing, indent=2))
        return
    if chosen == "table":
        size = shutil.get_terminal_size() if is_terminal else None
        width, height = (size.columns, size.lines) if size else (None, None)
        head = _head(db, standing, now_ms, width=width)
        room = None if show_all or height is None else height - len(head)
        write_lines([*head, *_streams(rows, now_ms, width=width, room=room)])
        return
    if chosen == "text":
        write_lines(_head(db, standing, now_ms, width=None))
    write_rows(rows, columns=COLUMNS, output_format=chosen, text=TEXT)


def _head(db: Path, standing: Standing, now_ms: int, *, width: int | None) -> list[Line]:
    lines = [
        *verdict(standing, now_ms=now_ms, width=width),
        (),
        agent_fact(standing),
        fact("waiting", waiting(standing["streams"], now_ms)),
        *_counts(standing),
        file_fact(standing, db, width=width),
    ]
    return [cropped(line, width) for line in lines]


def _counts(standing: Standing) -> list[Line]:
    """
    What became of all other events, and of what became no event.
    """
    kept = f"{counted(standing['sent'], 'event')} still here"
    lines = [fact("sent", f"{kept}, {standing['pruned']:,} pruned" if standing["pruned"] else kept)]
    if standing["rejected"]:
        events = counted(standing["rejected"], "event")
        lines.append(
            fact("rejected", f"{events}; `spool events --state rejected` shows which, and why")
        )
    if standing["dropped"]:
        lines.append(fact("dropped", f"{counted(standing['dropped'], 'event')}, never sent"))
    if lost := listed(standing["skipped"], lost=True):
        lines.append(fact("lost", ("perhaps lines", "bold red"), f": {lost}"))
    if left_out := listed(standing["skipped"], lost=False):
        lines.append(fact("left out", left_out))
    return lines


def _streams(rows: list[Row], now_ms: int, *, width: int | None, room: int | None) -> list[Line]:
    """
    As many as there is room for, of which the prompt takes a line.
    """
    if not rows:
        return []
    shown = rows
    if room is not None and len(rows) > room - len(((), "head", "prompt")):
        shown = rows[: max(1, room - 4)]
    lines = [(), *table(_figures(rows, now_ms), shown, width=width)]
    return [*lines, rest(rows[len(shown) :], now_ms)] if len(shown) < len(rows) else lines


def _figures(rows: list[Row], now_ms: int) -> list[Figure]:
    def ago(moment: str | None, suffix: str = "") -> str:
        age_s = since_s(moment, now_ms)
        return "-" if age_s is None else human_duration(age_s) + suffix

    figures = [
        Figure("unsent", lambda row: f"{row['unsent']:,}"),
        Figure("oldest", lambda row: ago(row["oldest_unsent"])),
        Figure("last sent", lambda row: ago(row["last_delivery"], " ago")),
        Figure("sent", lambda row: f"{row['sent'] + row['pruned']:,}"),
    ]
    if any(row["rejected"] for row in rows):
        figures.append(Figure("rejected", lambda row: f"{row['rejected']:,}"))
    return figures
