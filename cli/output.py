"""
Rows to stdout, in one of five formats. Alone imports rich.

Comes in: rows as dictionaries, all with the same keys, one by one. Goes out: text as they come,
but for `table` and `json`, which need all of them.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

__all__ = ["human_bytes", "printable", "write_rows"]

Row = dict[str, Any]

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code != 9}


def write_rows(
    rows: Iterable[Row],
    *,
    columns: Sequence[str],
    output_format: str | None,
    text: str | None = None,
) -> None:
    """
    Write `columns` of `rows`; `text` is the format string of one row as plain text, the cells side
    by side where there is none.

    Without `output_format`: a table on a terminal, else text.
    """
    chosen = output_format or ("table" if sys.stdout.isatty() else "text")
    if chosen == "table":
        _write_table(rows, columns)
    elif chosen == "json":
        click.echo(json.dumps([_picked(row, columns) for row in rows], indent=2))
    elif chosen == "jsonl":
        for row in rows:
            click.echo(json.dumps(_picked(row, columns), ensure_ascii=False))
    elif chosen == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([row[column] for column in columns] for row in rows)
    else:
        for row in rows:
            cells = {key: _cell(value) for key, value in row.items()}
            click.echo(text.format_map(cells) if text else "  ".join(cells.values()))


def _picked(row: Row, columns: Sequence[str]) -> Row:
    return {column: row[column] for column in columns}


def _write_table(rows: Iterable[Row], columns: Sequence[str]) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - rich takes longer than most commands
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    ready = [[row[column] for column in columns] for row in rows]
    for index, column in enumerate(columns):
        is_number = any(isinstance(row[index], int) for row in ready)
        table.add_column(
            column.replace("_", " "), justify="right" if is_number else "left", overflow="fold"
        )
    for row in ready:
        table.add_row(*(Text(_cell(value)) for value in row))
    Console(highlight=False).print(table)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return printable(value)
    return str(value)


def printable(text: str) -> str:
    """
    Text for a terminal: control characters are spelled out, since a container wrote them.
    """
    return text.translate(_ESCAPES)


def human_bytes(count: int) -> str:
    """
    `1.5 MiB`.
    """
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
