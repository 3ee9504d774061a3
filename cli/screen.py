"""
Lines with styles, bars and whole screens on a terminal. Alone imports rich, once it is needed.

Always holds: what moves is shown on a terminal only; elsewhere there are plain lines.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from cli.printable import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

__all__ = [
    "Line",
    "Screen",
    "Styled",
    "can_draw",
    "drawing",
    "progress",
    "screen",
    "write_check",
    "write_lines",
]

Styled = str | tuple[str, str]
"""Text, or text and its style: `bold red`."""

Line = Sequence[Styled]

STATE_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}
STATE_WIDTH, CHECK_WIDTH = 9, 13

BAR_STYLES = ("cyan", "blue", "yellow", "green")


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
