"""
spool status: what is here, what was sent, what is wrong.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from cli.errors import FAILED
from cli.options import Duration, db_option
from cli.output import human_bytes, printable, write_rows
from spool.inspection import Inspection
from spool.lock import holder

__all__ = ["command"]

COUNTS = ("unsent", "sent", "rejected", "collected", "pruned", "dropped")
COLUMNS = ("group", "stream", "unsent", "sent", "rejected", "oldest_unsent", "last_delivery")


@click.command(name="status")
@db_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option(
    "--max-lag",
    "max_lag_ms",
    type=Duration(),
    help="Exit 1 if something has waited longer, 15m say: a health check.",
)
def command(*, db: Path, as_json: bool, max_lag_ms: int | None) -> int:
    """
    Show what is here, what was sent, and what is wrong: the streams with the most waiting first.

    \b
    Examples:
      spool status
      spool status --json
      spool status --max-lag 15m
    """
    status = _read(db)
    if as_json:
        click.echo(json.dumps(status, indent=2))
    else:
        _show(db, status)
    if max_lag_ms is None:
        return 0
    lag_ms = _lag_ms(status["oldest_unsent"])
    if lag_ms > max_lag_ms:
        click.echo(f"spool status: the oldest unsent event is {lag_ms / 1000:.0f} s old", err=True)
        return FAILED
    return 0


def _read(db: Path) -> dict[str, Any]:
    with Inspection(db) as spool:
        streams = spool.streams()
        skipped = spool.skipped()
        sizes = {"bytes": spool.size_bytes(), "wal_bytes": spool.log_bytes()}
        notes = spool.notes()
    agent = holder(db)
    limit = notes.pop("max_size", None)
    if agent is None:
        notes.clear()  # it ended without taking them back
    totals = {name: sum(stream[name] for stream in streams) for name in COUNTS}
    oldest = [stream["oldest_unsent"] for stream in streams if stream["oldest_unsent"]]
    return {
        **totals,
        "oldest_unsent": min(oldest, default=None),
        **sizes,
        "agent": agent,
        "max_size": int(limit["text"]) if limit else None,
        "full": "full" in notes,
        "warnings": list(notes.values()),
        "skipped": skipped,
        "streams": sorted(streams, key=lambda stream: (-stream["unsent"], stream["group"])),
    }


def _lag_ms(oldest: str | None) -> float:
    if oldest is None:
        return 0
    return (datetime.now(UTC) - datetime.fromisoformat(oldest)).total_seconds() * 1000


def _show(db: Path, status: dict[str, Any]) -> None:
    agent = f"running, pid {status['agent']}" if status["agent"] else "not running"
    size = human_bytes(status["bytes"])
    if status["max_size"]:
        size += f" of {human_bytes(status['max_size'])}"
    click.echo(f"{db}  {size}  agent {agent}")
    for warning in status["warnings"]:
        click.echo(f"since {warning['since']}: {warning['text']}")
    click.echo("  ".join(f"{status[name]:,} {name}" for name in COUNTS))
    lost = "  ".join(f"{count:,} {reason}" for reason, count in status["skipped"].items())
    if lost:
        click.echo(f"not events: {lost}")
    if status["streams"]:
        write_rows(
            status["streams"],
            columns=COLUMNS,
            output_format=None,
            text="{group} {stream}  unsent {unsent}  sent {sent}  rejected {rejected}"
            "  oldest unsent {oldest_unsent}  last delivery {last_delivery}",
        )
    for row in status["streams"]:
        if row["last_error"]:
            click.echo(printable(f"{row['group']} {row['stream']}: {row['last_error']}"))
