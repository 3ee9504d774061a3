"""
spool put: lines of files or stdin into the spool.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import click

from cli.errors import FAILED, Failure, WrongUsage
from cli.options import Name, db_option
from cli.times import parse_time
from shipper.naming import legal_group, legal_stream
from shipper.sources.text import TextSource
from spool.store import Store

__all__ = ["command"]


@click.command(name="put")
@db_option
@click.option("--group", type=Name(), required=True, help="The log group.")
@click.option("--stream", type=Name(), required=True, help="The log stream.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help='Lines are {"timestamp": …, "message": …}, as `spool events --format jsonl` writes them.',
)
@click.option(
    "--timestamp-field",
    metavar="NAME",
    help="Lines are JSON objects with their time in this field (ISO 8601, or s or ms since 1970).",
)
@click.argument("files", nargs=-1, type=click.Path(allow_dash=True))
def command(
    *,
    db: Path,
    group: str,
    stream: str,
    as_json: bool,
    timestamp_field: str | None,
    files: tuple[str, ...],
) -> int:
    """
    Store lines of FILES, or of stdin, as events; they wait for the agent or `spool replay`.

    \b
    Examples:
      journalctl -b | spool put --group host --stream journal
      spool put --group app --stream old --timestamp-field time app.log
    """
    _check_name("group", group, legal_group(group))
    _check_name("stream", stream, legal_stream(stream))
    with Store(db) as store:
        source = TextSource(
            stream_id=store.stream_id(group, stream),
            source_id=store.source_id("put"),
            now_ms=lambda: time.time_ns() // 1_000_000,
            parse_time=lambda text: parse_time(text, now=datetime.now(UTC)),
            timestamp_field=timestamp_field or ("timestamp" if as_json else None),
            message_field="message" if as_json else None,
        )
        for name in files or ("-",):
            with _opened(name) as file:
                for reading in source.readings(file):
                    if reading.chunks:
                        store.append(reading.chunks)
    if source.odd:
        click.echo(
            f"spool put: {source.odd} lines have no readable JSON or time; "
            "they were stored as they are, with the present time",
            err=True,
        )
        return FAILED
    return 0


def _check_name(what: str, name: str, legal: str) -> None:
    if name != legal:
        raise WrongUsage(f"CloudWatch takes no {what} named {name!r}; it would take {legal!r}")


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    try:
        if name == "-":
            yield sys.stdin.buffer
        else:
            with Path(name).open("rb") as file:
                yield file
    except OSError as error:
        raise Failure(f"{name}: cannot be read: {error.strerror}") from error
