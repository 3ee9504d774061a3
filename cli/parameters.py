"""
What options and arguments take, and what becomes of it: types for click.

Comes in: what somebody typed. Goes out: ms, bytes, text that can be asked for. Always holds: what
cannot be meant is wrong usage, told in one line.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from cli.times import parse_duration, parse_time
from spool.selection import STATES

__all__ = [
    "MAX_PORT",
    "PATH",
    "Address",
    "Duration",
    "Moment",
    "Name",
    "Size",
    "SpoolPath",
    "States",
    "Text",
]

LOOPBACK = "127.0.0.1"
MAX_PORT = 65_535

_ADDRESS = re.compile(
    r"(?:(?:\[(?P<inner>[0-9A-Fa-f:.%a-z]+)\]|(?P<host>[A-Za-z0-9._-]*)):)?(?P<port>[0-9]{1,5})"
)

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
