"""
spool put: lines of files or stdin into the spool.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import click

from cli.errors import FAILED, Failure, Full, WrongUsage
from cli.options import db_option, max_size_option
from cli.parameters import Name
from cli.times import parse_own_stamp, parse_stamp
from shipper.naming import legal_group, legal_stream
from shipper.sources.reading import Reading
from shipper.sources.text import TextSource
from spool.budget import Budget, known_limit_bytes
from spool.clock import now_ms
from spool.lock import holder
from spool.store import Store
from spool.wording import counted, human_bytes

__all__ = ["command"]

WAIT_S = 0.2
"""Between two looks whether the agent has made room."""


@click.command(name="put")
@db_option
@click.option("--group", type=Name(), required=True, help="The log group.")
@click.option("--stream", type=Name(), required=True, help="The log stream.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help='Lines are {"timestamp": …, "message": …}, as `spool events --format jsonl` writes them:'
    " with the time in ms since 1970; it may also be ISO 8601.",
)
@click.option(
    "--timestamp-field",
    metavar="NAME",
    help="Lines are JSON objects with their time in this field: ISO 8601, or s, ms, µs or ns since"
    " 1970.",
)
@max_size_option(
    default=None,
    help_text="Store no more in a spool of this size. [default: what the agent was told, or 1GiB]",
)
@click.argument("files", nargs=-1, type=click.Path(allow_dash=True))
def command(
    *,
    db: Path,
    group: str,
    stream: str,
    as_json: bool,
    timestamp_field: str | None,
    max_size_bytes: int | None,
    files: tuple[str, ...],
) -> int:
    """
    Store lines of FILES, or of stdin, as events; they wait for the agent or `spool replay`.

    When the spool is full it waits for a running agent to send; without one it stops, says how many
    events it stored, and exits 75.

    \b
    Examples:
      journalctl -b | spool put --group host --stream journal
      spool put --group app --stream old --timestamp-field time app.log
    """
    _check_name("group", group, legal_group(group))
    _check_name("stream", stream, legal_stream(stream))
    with Store(db) as store:
        logging.getLogger("spool").addHandler(logging.NullHandler())  # it is told here, once
        room = _Room(db, Budget(store, max_size_bytes or known_limit_bytes(store)))
        source = TextSource(
            place=lambda: (store.stream_id(group, stream), store.source_id("put")),
            now_ms=now_ms,
            parse_time=parse_stamp if timestamp_field else parse_own_stamp,
            timestamp_field=timestamp_field or ("timestamp" if as_json else None),
            message_field="message" if as_json else None,
        )
        for name in files or ("-",):
            for reading in _readings(source, name, room):
                if reading.chunks or reading.skipped:
                    room.wait()
                    store.append(reading.chunks, skipped=reading.skipped)
                    room.stored += sum(len(chunk.events) for chunk in reading.chunks)
    if source.odd:
        click.echo(f"spool put: {_about(source.odd)}, with the present time", err=True)
        return FAILED
    return 0


def _about(odd: int) -> str:
    if odd == 1:
        return "1 line has no readable JSON or time; it was stored as it is"
    return f"{odd:,} lines have no readable JSON or time; they were stored as they are"


@dataclass(slots=True)
class _Room:
    """
    Whether there is room for more, and how many events were stored until now.
    """

    db: Path
    budget: Budget
    stored: int = 0
    has_told: bool = False

    def wait(self) -> None:
        """
        Return when there is room. Raises `Full` where nobody makes any.
        """
        while not self.budget.make_room():
            if holder(self.db) is None:
                raise Full(
                    f"the spool is full ({human_bytes(self.budget.max_bytes)}): "
                    f"{counted(self.stored, 'event')} stored, the rest not; send what waits with"
                    " `spool run` or `spool replay`, or give it more room with --max-size"
                )
            if not self.has_told:
                click.echo("spool put: the spool is full; waiting for the agent to send", err=True)
                self.has_told = True
            time.sleep(WAIT_S)


def _check_name(what: str, name: str, legal: str) -> None:
    if name != legal:
        raise WrongUsage(f"CloudWatch takes no {what} named {name!r}; it would take {legal!r}")


def _readings(source: TextSource, name: str, room: _Room) -> Iterator[Reading]:
    """
    Of one file. Raises Failure where that cannot be read.
    """
    try:
        with nullcontext(sys.stdin.buffer) if name == "-" else Path(name).open("rb") as file:
            yield from source.readings(file)
    except OSError as error:
        before = f" (and {counted(room.stored, 'event')} stored before it)" if room.stored else ""
        raise Failure(f"{name}: cannot be read: {error.strerror}{before}") from error
