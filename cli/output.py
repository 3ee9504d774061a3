"""
Rows to stdout, in one of five formats; progress on a terminal. Alone imports rich.

Comes in: rows as dictionaries, all with the same keys, one by one. Goes out: text as they come,
but for `table` and `json`, which need all of them. What moves is shown on a terminal only;
elsewhere there are plain lines.
"""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from cli.tables import Shape, laid_out

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

__all__ = [
    "Line",
    "Screen",
    "Shape",
    "Styled",
    "can_draw",
    "drawing",
    "printable",
    "progress",
    "screen",
    "tell",
    "write_check",
    "write_lines",
    "write_rows",
]

Row = dict[str, Any]

Styled = str | tuple[str, str]
"""Text, or text and its style: `bold red`."""

Line = Sequence[Styled]

TIME_COLUMNS = ("time", "created_at", "sent_at", "oldest_unsent", "last_delivery")
"""ISO 8601 in every format but a table, where there is little room."""

LINES_COLUMNS = ("message",)
"""What may be several lines, a stack trace: people see it as such."""

LINE_INDENT = "\n    "
TAB_CELLS = 4
BELOW_LINES = 2

STATE_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}
STATE_WIDTH, CHECK_WIDTH = 9, 13

BAR_STYLES = ("cyan", "blue", "yellow", "green")

_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))
_TURNS = (0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
"""What ends a line, or turns the text around it, so that it reads as something else."""

_ESCAPES = {code: f"\\x{code:02x}" for code in _CONTROLS if code != 9}
_ESCAPES |= {code: f"\\u{code:04x}" for code in _TURNS}
_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in (*_CONTROLS[0x20:], *_TURNS)}
"""For JSON with its letters left as they are; it spells out those below 0x20 itself."""


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
            click.echo(line.translate(_JSON_ESCAPES))
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


def write_lines(lines: Iterable[Line]) -> None:
    """
    Write lines that are as long as they should be; their styles are for a terminal.
    """
    if not sys.stdout.isatty():
        for line in lines:
            click.echo("".join(part if isinstance(part, str) else part[0] for part in line))
        return
    from rich.console import Console  # noqa: PLC0415 - only on a terminal
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    for line in lines:
        console.print(Text.assemble(*line), soft_wrap=True)


def can_draw() -> bool:
    """
    Whether stdout is a terminal on which one can write anywhere.
    """
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")


@contextmanager
def drawing() -> Iterator[Callable[[Sequence[Line]], None]]:
    """
    A function that fills the terminal with lines, in place of those before; at the end it is as it
    was.
    """
    from rich.console import Console, Group  # noqa: PLC0415 - as above
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False, force_terminal=True)
    with Live(console=console, screen=True, auto_refresh=False, redirect_stderr=False) as live:

        def draw(lines: Sequence[Line]) -> None:
            texts = (Text.assemble(*line, no_wrap=True, overflow="crop") for line in lines)
            live.update(Group(*texts), refresh=True)

        yield draw


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


def printable(text: str) -> str:
    """
    Text for a terminal: control characters are spelled out, since a container wrote them.
    """
    return text.translate(_ESCAPES)


def tell(text: str) -> None:
    """
    One line on stderr, which may quote what steers a terminal, or ends a line.
    """
    click.echo(printable(text), err=True)


def write_check(state: str, check: str, found: str, remedy: str | None) -> None:
    """
    One line, and below it the remedy; on a terminal in colours, and broken between words.
    """
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    head = f"{state:<{STATE_WIDTH}}{check:<{CHECK_WIDTH}}"
    width = console.width if sys.stdout.isatty() else sys.maxsize
    lines = _broken(printable(found), width, indent=len(head))
    parts: list[Styled] = [
        (head[:STATE_WIDTH], STATE_STYLES.get(state, "")),
        (head[STATE_WIDTH:], "bold"),
        lines.lstrip(),
    ]
    if remedy:
        parts += ["\n", (_broken(f"-> {remedy}", width, indent=STATE_WIDTH), "cyan")]
    console.print(Text.assemble(*parts), soft_wrap=True)
    sys.stdout.flush()


def _broken(text: str, width: int, *, indent: int) -> str:
    """
    The text in lines of `width` at most, all indented; what cannot be broken stays.
    """
    return "\n".join(
        textwrap.fill(
            printable(line),
            width,
            initial_indent=" " * indent,
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
            drop_whitespace=bool(line.strip()),
        )
        for line in text.split("\n")
    )


@contextmanager
def progress(total: int, label: str, *, done: Callable[[], int]) -> Iterator[Callable[[], None]]:
    """
    A function to be called now and then: it shows how many of `total` are done, as a bar on
    stderr. Where that is no terminal it does nothing, and `done` is not asked.
    """
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich import progress as rich_progress  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415 - only on a terminal

    with rich_progress.Progress(
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(bar_width=None),
        rich_progress.TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
        rich_progress.TextColumn("{task.fields[rate]}"),
        rich_progress.TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        number = bar.add_task(label, total=total, rate="")

        def show() -> None:
            speed = bar.tasks[0].speed
            bar.update(number, completed=done(), rate=f"{speed:,.0f}/s" if speed else "")

        yield show


@contextmanager
def screen() -> Iterator[Screen]:
    """
    Stdout for a command that goes on for a while.
    """
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.live import Live  # noqa: PLC0415

    console = Console(highlight=False)
    if not (sys.stdout.isatty() and console.is_terminal):
        yield Screen(console)
        return
    with Live(console=console, transient=True, refresh_per_second=12) as live:
        yield Screen(console, live)


def _harmless(part: Styled) -> Styled:
    return printable(part) if isinstance(part, str) else (printable(part[0]), part[1])


class Screen:
    """
    Lines that stay and, on a terminal, bars below them that move.
    """

    def __init__(self, console: Console, live: Live | None = None) -> None:
        self._console = console
        self._live = live

    def say(self, *parts: Styled) -> None:
        """
        One line, which stays.
        """
        from rich.text import Text  # noqa: PLC0415

        self._console.print(Text.assemble(*map(_harmless, parts)), soft_wrap=True)
        sys.stdout.flush()

    def show(self, values: Mapping[str, int], total: int) -> None:
        """
        A bar for each value, in place of those before; none for no values.
        """
        if self._live is None:
            return
        from rich.progress_bar import ProgressBar  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415

        grid = Table.grid(padding=(0, 2))
        for (label, value), style in zip(values.items(), BAR_STYLES, strict=False):
            bar = ProgressBar(total, value, width=40, complete_style=style, finished_style=style)
            grid.add_row(f"   {label}", bar, f"{value:>6,}")
        self._live.update(grid, refresh=True)
