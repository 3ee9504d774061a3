"""
Options that several commands share.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import click

from cli.times import parse_duration, parse_time
from spool.selection import STATES, Selection

__all__ = [
    "HOST_FOLDER",
    "MAX_PORT",
    "MAX_ROWS",
    "Address",
    "Choice",
    "Duration",
    "Moment",
    "Name",
    "Size",
    "Text",
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

LOOPBACK = "127.0.0.1"
MAX_PORT = 65_535

_ADDRESS = re.compile(
    r"(?:(?:\[(?P<inner>[0-9A-Fa-f:.%a-z]+)\]|(?P<host>[A-Za-z0-9._-]*)):)?(?P<port>[0-9]{1,5})"
)

MIN_SPOOL_BYTES = 8 * 1024**2

_SIZE_UNITS = {
    "": 1,
    "k": 1000,
    "kib": 1024,
    "m": 1000**2,
    "mib": 1024**2,
    "g": 1000**3,
    "gib": 1024**3,
}


PATH = click.Path(path_type=Path, readable=False)
"""click would refuse what cannot be read, and not say what to do; and the engine may do instead."""


class SpoolPath(click.Path):
    """
    Where the spool is, or will be. An empty path is most likely a variable that is not set.
    """

    def __init__(self) -> None:
        super().__init__(path_type=Path, readable=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not os.fspath(value):
            self.fail("the path is empty", param, ctx)
        if not _is_utf_8(str(value)):
            self.fail(
                f"{str(value)!r} is not UTF-8 text, and SQLite opens no such file", param, ctx
            )
        if not Path(value).name:
            self.fail(f"{value}: is a folder; give the path of a file", param, ctx)
        return super().convert(value, param, ctx)


def _is_utf_8(text: str) -> bool:
    return text.isascii() or text == text.encode(errors="replace").decode()


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


class Duration(click.ParamType[int]):
    """
    `24h`, `15m`, `90s`, `7d`; seconds where there is no unit. Converts to ms.
    """

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return value if isinstance(value, int) else parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Moment(click.ParamType[int]):
    """
    A point in time as people give it. Converts to ms since the epoch.
    """

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return value if isinstance(value, int) else parse_time(value, now=datetime.now(UTC))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Size(click.ParamType[int]):
    """
    `512KiB`, `1MiB`, `1000000`. Converts to bytes.
    """

    name = "size"

    def __init__(self, *, at_least: int = 1) -> None:
        self._at_least = at_least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        digits = value.strip().lower().rstrip("kmgib")
        unit = value.strip().lower()[len(digits) :]
        try:
            size_bytes = round(
                float(digits) * _SIZE_UNITS[unit if unit in _SIZE_UNITS else unit.rstrip("b")]
            )
        except (ValueError, KeyError, OverflowError):
            size_bytes = 0
        if size_bytes < 1:
            self.fail(f"{value!r} is no size; write it as 512KiB, 1MiB or 1000000", param, ctx)
        if size_bytes < self._at_least:
            self.fail(f"{value} is too little; it takes {self._at_least:,} bytes", param, ctx)
        return size_bytes


class Address(click.ParamType[tuple[str, int]]):
    """
    `9090`, `:9090`, `10.0.0.5:9090`, `[::1]:9090`. Without a host it is this one's loopback.
    """

    name = "host:port"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        found = _ADDRESS.fullmatch(value.strip())
        port = int(found["port"]) if found else MAX_PORT + 1
        if not found or port > MAX_PORT:
            self.fail(
                f"{value!r} is no address; write it as 9090, 0.0.0.0:9090 or [::1]:9090", param, ctx
            )
        return found["inner"] or found["host"] or LOOPBACK, port


class Text(click.ParamType[str]):
    """
    What SQLite, which has UTF-8 alone, can be asked for.
    """

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if not _is_utf_8(text):
            self.fail(f"{text!r} is not UTF-8 text", param, ctx)
        return text


class Name(Text):
    """
    The name of a group or stream. An empty one is most likely a variable that is not set, and
    must not stand for all of them.
    """

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value == "":
            self.fail("the name is empty", param, ctx)
        return super().convert(value, param, ctx)


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


class States(click.ParamType[tuple[str, ...]]):
    """
    States, separated by commas.
    """

    name = "state"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        states = tuple(part.strip() for part in value.split(","))
        for state in states:
            if state not in STATES:
                self.fail(f"{state!r} is no state; there are {', '.join(STATES)}", param, ctx)
        return states
