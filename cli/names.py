"""
spool names: what would happen to each container, and why.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click

from cli.options import (
    containers_dir_option,
    db_option,
    format_option,
    pods_dir_option,
    source_option,
)
from cli.output import Shape, write_rows
from cli.printable import tell
from cli.rules import GIVE_THE_SAME, make_chooser, make_namer, other_route
from shipper.ec2 import Metadata
from shipper.roster import Entry, engine_containers, roster
from shipper.route import Route, parse_route

__all__ = ["command"]

COLUMNS = (
    "id",
    "name",
    "collected",
    "reason",
    "source",
    "group",
    "stream",
    "raw_group",
    "raw_stream",
    "error",
)
SHAPE = Shape(("name", "source", "group", "stream", "reason"))


@click.command(name="names")
@click.argument("route", required=False)
@db_option
@source_option
@containers_dir_option
@pods_dir_option
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@format_option()
def command(
    *,
    route: str | None,
    db: Path,
    source: str,
    containers_dir: Path,
    pods_dir: Path,
    as_json: bool,
    output_format: str | None,
) -> None:
    """
    Show for each container whether it is collected, why or why not, by which source, and under
    which group and stream. Takes the route and the environment of `spool run`; changes nothing.

    \b
    Examples:
      spool names
      LOGSPOUT_STREAM='{{.Name}}-{{.ID}}' spool names cloudwatch://us-east-1
      spool names --json
    """
    parsed = parse_route(route, os.environ)
    if doubt := other_route(db, route, os.environ):
        tell(f"spool names: {doubt}; {GIVE_THE_SAME}")
    metadata = Metadata(os.environ, use_ec2=parsed.use_ec2)
    asks_engine = source in ("auto", "api")
    engines = engine_containers() if asks_engine else None
    entries = roster(
        containers_dir,
        pods_dir,
        make_chooser(parsed, source, containers_dir),
        make_namer(parsed, metadata, _region(parsed, metadata)),
        engines=engines,
    )
    if not entries:
        places = [_told(containers_dir), _told(pods_dir)]
        if asks_engine:
            knows = "no Docker Engine answers" if engines is None else "the Docker Engine has none"
            places.append(knows)
        tell(f"spool names: no containers: {'; '.join(places)}; `spool doctor` tells what to do")
    chosen = "json" if as_json else output_format
    is_table = chosen in (None, "table")
    write_rows(
        map(_table_row if is_table else asdict, entries),
        columns=COLUMNS,
        shape=SHAPE,
        output_format=chosen,
        text="{name}  source {source}  group {group}  stream {stream}  {reason}",
    )


def _told(folder: Path) -> str:
    """
    Why there is nothing of a folder.
    """
    try:
        next(folder.iterdir(), None)
    except FileNotFoundError:
        return f"{folder} is not there"
    except OSError as error:
        return f"{folder} cannot be read ({error.strerror})"
    return f"{folder} has none"


def _table_row(entry: Entry) -> dict[str, object]:
    """
    As a row in which one sentence tells it all.
    """
    reason = f"{entry.reason}; {entry.error}" if entry.error else entry.reason
    return {**asdict(entry), "reason": reason}


def _region(route: Route, metadata: Metadata) -> Callable[[], str]:
    def find() -> str:
        configured = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        return route.region or metadata.region() or configured or ""

    return find
