"""
Rows to stdout, in one of five formats.

Comes in: rows as dictionaries, all with the same keys, one by one. Goes out: text as they come,
but for `table` and `json`, which need all of them.
"""

from __future__ import annotations

import csv
import json
import math
import shutil
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import click

from cli.printable import printable, printable_json
from cli.screen import write_lines
from cli.tables import Shape, laid_out

__all__ = ["Shape", "write_rows"]

Row = dict[str, Any]

TIME_COLUMNS = ("time", "created_at", "sent_at", "oldest_unsent", "last_delivery")
"""ISO 8601 in every format but a table, where there is little room."""

LINES_COLUMNS = ("message",)
"""What may be several lines, a stack trace: people see it as such."""

LINE_INDENT = "\n    "
TAB_CELLS = 4
BELOW_LINES = 2


def write_rows(
    rows: Iterable[Row],
    *,
    columns: Sequence[str],
    output_format: str | None,
    text: str | None = None,
    shape: Shape | None = None,
) -> None:
    """
    Write `columns` of `rows`; `text` is the format string of one row as plain text, the cells side
    by side where there is none. A table has its own `shape`, or all columns.

    Without `output_format`: a table on a terminal, else text.
    """
    chosen = output_format or ("table" if sys.stdout.isatty() else "text")
    if chosen == "table":
        _write_table(rows, shape or Shape(tuple(columns)))
    elif chosen == "json":
        click.echo(json.dumps([_picked(row, columns) for row in rows], indent=2, default=repr))
    elif chosen == "jsonl":
        for row in rows:
            line = json.dumps(_picked(row, columns), ensure_ascii=False, default=repr)
            click.echo(printable_json(line))
    elif chosen == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        spell = _spelled if sys.stdout.isatty() else _as_it_is
        writer.writerows([spell(row[column]) for column in columns] for row in rows)
    else:
        shown = _terminal_cell if sys.stdout.isatty() else _line_cell
        for row in rows:
            cells = {key: shown(key, value) for key, value in row.items()}
            click.echo(text.format_map(cells) if text else "  ".join(cells.values()))


def _picked(row: Row, columns: Sequence[str]) -> Row:
    """
    For JSON, which has no number that is infinite.
    """
    values = ((column, row[column]) for column in columns)
    return {
        column: None if isinstance(value, float) and not math.isfinite(value) else value
        for column, value in values
    }


def _write_table(rows: Iterable[Row], shape: Shape) -> None:
    is_terminal = sys.stdout.isatty()
    head, *lines = laid_out(
        list(rows),
        shape,
        width=shutil.get_terminal_size().columns,
        text_of=_table_cell,
        stiff=TIME_COLUMNS,
        below_lines=BELOW_LINES if is_terminal else sys.maxsize,
    )
    write_lines([((head, "bold"),)])
    for line in lines:
        click.echo(line)


def _table_cell(column: str, value: object) -> str:
    """
    As `_cell`, times to the second, in local time: what one compares with the clock on the wall.
    """
    if column in TIME_COLUMNS and isinstance(value, str):
        with suppress(ValueError, OverflowError):  # no time, or at the ends of the calendar
            return datetime.fromisoformat(value).astimezone().strftime("%m-%d %H:%M:%S")
    if column in LINES_COLUMNS and isinstance(value, str):
        return "\n".join(map(printable, value.split("\n"))).expandtabs(TAB_CELLS)
    return _cell(value).expandtabs(TAB_CELLS)


def _terminal_cell(column: str, value: object) -> str:
    """
    As `_cell`, but that who looks sees the lines of a message below each other.
    """
    if column in LINES_COLUMNS and isinstance(value, str):
        return LINE_INDENT.join(map(printable, value.split("\n")))
    return _cell(value)


def _line_cell(_column: str, value: object) -> str:
    return _cell(value)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return printable(value)
    return str(value)


def _spelled(value: object) -> object:
    return printable(value) if isinstance(value, str) else value


def _as_it_is(value: object) -> object:
    return value
