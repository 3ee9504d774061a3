"""
Options that several commands share.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import click

from cli.parameters import PATH, Moment, Name, Size, SpoolPath, States
from spool.selection import Selection

__all__ = [
    "HOST_FOLDER",
    "MAX_ROWS",
    "Choice",
    "containers_dir_option",
    "db_option",
    "default_db",
    "event_options",
    "format_option",
    "max_size_option",
    "pods_dir_option",
    "selection_of",
    "source_option",
]

Function = TypeVar("Function", bound=Callable[..., Any])

FORMATS = ("text", "table", "json", "jsonl", "csv")

MAX_ROWS = 2**63 - 1
"""What SQLite can count to: the largest id, and the most rows."""

MIN_SPOOL_BYTES = 8 * 1024**2

HOST_FOLDER = Path("/var/lib/spool")
"""Of the spool of a host's agent."""


def default_db() -> Path:
    """
    HOST_FOLDER/spool.db where that can be written, else below $XDG_STATE_HOME.
    """
    if os.access(HOST_FOLDER if HOST_FOLDER.exists() else HOST_FOLDER.parent, os.W_OK):
        return HOST_FOLDER / "spool.db"
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local/state") / "spool" / "spool.db"


db_option = click.option(
    "--db",
    envvar="SPOOL_DB",
    type=SpoolPath(),
    default=default_db,
    show_default="/var/lib/spool/spool.db",
    help="The spool: one SQLite file. [env: SPOOL_DB]",
)


source_option = click.option(
    "--source",
    envvar="SPOOL_SOURCE",
    type=click.Choice(["auto", "files", "api", "none"]),
    default="auto",
    show_default=True,
    help="Where lines come from: files (Docker's json-file logs, and those of pods), the Engine"
    " API, the one or the other for each container, or nowhere (ship only).",
)

containers_dir_option = click.option(
    "--containers-dir",
    envvar="SPOOL_CONTAINERS_DIR",
    type=PATH,
    default=Path("/var/lib/docker/containers"),
    show_default=True,
    help="Where Docker keeps its containers.",
)

pods_dir_option = click.option(
    "--pods-dir",
    envvar="SPOOL_PODS_DIR",
    type=PATH,
    default=Path("/var/log/pods"),
    show_default=True,
    help="Where the logs of Kubernetes' pods are, on a node that has such.",
)


def format_option(default: str | None = None) -> Callable[[Function], Function]:
    """
    `--format`; without a default, a table on a terminal and text elsewhere.
    """
    return click.option(
        "--format",
        "output_format",
        type=click.Choice(FORMATS),
        default=default,
        help="How to write the rows; a table on a terminal, text elsewhere.",
    )


def max_size_option(*, default: str | None, help_text: str) -> Callable[[Function], Function]:
    """
    `--max-size`; at least what an empty spool and a reading or two take.
    """
    return click.option(
        "--max-size",
        "max_size_bytes",
        envvar="SPOOL_MAX_SIZE",
        type=Size(at_least=MIN_SPOOL_BYTES),
        default=default,
        show_default=default is not None,
        help=help_text,
    )


def event_options(command: Function) -> Function:
    """
    The options that choose events.
    """
    for option in reversed(
        (
            click.option("--group", type=Name(), help="Only this log group."),
            click.option("--stream", type=Name(), help="Only this log stream."),
            click.option(
                "--since",
                type=Moment(),
                help="From then on: 2h, 14:00, 2026-11-22T10:00Z. Without an offset it is local"
                " time on this host; in the image, UTC.",
            ),
            click.option("--until", type=Moment(), help="Before then, in the same forms."),
            click.option(
                "--batch",
                type=click.IntRange(1, MAX_ROWS),
                metavar="ID",
                help="Only what this batch carried.",
            ),
            click.option("--state", type=States(), help="unsent, sent, rejected, or several: a,b."),
        )
    ):
        command = option(command)
    return command


class Choice(TypedDict):
    """
    What the options that choose events give.
    """

    group: str | None
    stream: str | None
    since: int | None
    until: int | None
    batch: int | None
    state: tuple[str, ...] | None


def selection_of(choice: Choice) -> Selection:
    """
    The events that were chosen.

    Raises click.UsageError where it ends before it begins.
    """
    since, until = choice["since"], choice["until"]
    if since is not None and until is not None and since > until:
        raise click.UsageError(
            f"--since {_local(since)} is later than --until {_local(until)};"
            " there is nothing between them"
        )
    return Selection(
        group=choice["group"],
        stream=choice["stream"],
        since_ms=choice["since"],
        until_ms=choice["until"],
        batch_id=choice["batch"],
        states=choice["state"] or (),
    )


def _local(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    with suppress(OverflowError, ValueError):  # at the ends of the calendar
        moment = moment.astimezone()
    return moment.isoformat(" ")
