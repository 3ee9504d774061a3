"""
spool prune: delete old sent events.
"""

from __future__ import annotations

from pathlib import Path

import click

from cli.options import db_option
from cli.parameters import Duration
from spool.clock import now_ms
from spool.retention import prune, shrink
from spool.store import Store
from spool.wording import counted

__all__ = ["command"]


@click.command(name="prune")
@db_option
@click.option(
    "--keep",
    "keep_ms",
    type=Duration(),
    default="24h",
    show_default=True,
    help="How long sent events stay.",
)
def command(*, db: Path, keep_ms: int) -> None:
    """
    Delete events that were sent longer ago than that, and give their space back. Unsent and
    rejected ones stay.

    \b
    Example:
      spool prune --keep 2h
    """
    with Store(db, create=False) as store:
        count = prune(store, sent_before_ms=now_ms() - keep_ms)
        shrink(store)
    click.echo(f"pruned {counted(count, 'event')}")
