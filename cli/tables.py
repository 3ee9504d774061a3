"""
Rows as a table that fits a terminal.

Comes in: rows as dictionaries, all in memory; their values may be anybody's text. Goes out: lines
of text, the head first. Always holds: each text stays in its column, and none is cut, but below a
row; where there is too little room even for the figures, lines are wider.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cli.fitting import cells, end_of, padded, wrapped

__all__ = ["Shape", "laid_out"]

GAP = "  "
INDENT = "  "
"""Before a text's second line, and those that follow."""

BELOW = "    "
SHORT_CELLS = 8
"""What is no wider is not broken, as a number is not."""

COMFORTABLE_CELLS = 40
"""A text with so much room is read with ease: what is beyond that is left to a column more."""


@dataclass(frozen=True, slots=True)
class Shape:
    """
    What a table shows: columns, of which `spare` ones are left out unless there is room, in that
    order of importance; but `telling` ones are there where rows differ in it. `occasional` ones
    are left out where no row has a value. The value of `below` has lines of its own below the row.
    """

    columns: tuple[str, ...]
    spare: tuple[str, ...] = ()
    telling: tuple[str, ...] = ()
    occasional: tuple[str, ...] = ()
    below: str | None = None


@dataclass(slots=True)
class _Column:
    name: str
    title: str
    texts: list[str]
    is_number: bool
    is_stiff: bool
    width: int = 0

    def __post_init__(self) -> None:
        lines = (line for text in self.texts for line in _lines(text))
        self.width = max(map(cells, (self.title, *lines)))
        self.is_stiff |= self.width <= SHORT_CELLS

    def comfortable(self) -> int:
        """
        What it would like to have.
        """
        return self.width if self.is_stiff else min(self.width, COMFORTABLE_CELLS)


def laid_out(
    rows: Sequence[Mapping[str, Any]],
    shape: Shape,
    *,
    width: int,
    text_of: Callable[[str, Any], str],
    stiff: Sequence[str] = (),
    below_lines: int,
) -> Iterator[str]:
    """
    The head, and the rows. `text_of` a column and a value is what is shown; its newlines break the
    line. The `stiff` columns are not broken for want of room; what is below a row has so many lines
    at most.
    """
    columns = [_column(name, rows, text_of, is_stiff=name in stiff) for name in _named(rows, shape)]
    columns = _that_fit(columns, rows, shape, width)
    _share(columns, width)
    yield _joined([padded(c.title, c.width, right=c.is_number) for c in columns])
    for number, row in enumerate(rows):
        yield from _row([(column, column.texts[number]) for column in columns])
        if shape.below and row.get(shape.below) is not None:
            told = text_of(shape.below, row[shape.below])
            room = max(1, width - len(BELOW))
            yield from (BELOW + line for line in wrapped(told, room, lines=below_lines))


def _named(rows: Sequence[Mapping[str, Any]], shape: Shape) -> list[str]:
    return [
        name
        for name in shape.columns
        if name not in shape.occasional or any(row.get(name) is not None for row in rows)
    ]


def _column(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    text_of: Callable[[str, Any], str],
    *,
    is_stiff: bool,
) -> _Column:
    values = [row.get(name) for row in rows]
    is_number = any(isinstance(value, int) for value in values)
    texts = [text_of(name, value) for value in values]
    return _Column(name, name.replace("_", " "), texts, is_number, is_stiff or is_number)


def _that_fit(
    columns: list[_Column], rows: Sequence[Mapping[str, Any]], shape: Shape, width: int
) -> list[_Column]:
    """
    Without the spare ones for which there is no room.
    """

    def differs(name: str) -> bool:
        return len({row.get(name) for row in rows}) > 1

    kept = {column.name for column in columns if column.name not in shape.spare}
    kept |= {name for name in shape.telling if differs(name)}
    for name in shape.spare:
        wanted = [column for column in columns if column.name in kept | {name}]
        if _room(column.comfortable() for column in wanted) <= width:
            kept.add(name)
    return [column for column in columns if column.name in kept]


def _room(widths: Iterator[int]) -> int:
    return sum(width + len(GAP) for width in widths) - len(GAP)


def _share(columns: list[_Column], width: int) -> None:
    """
    Give the texts what room there is, the last one, which tells most, two shares; who wants less
    than that gets all of it.
    """
    room = width - _room(c.width if c.is_stiff else 0 for c in columns)
    texts = [c for c in columns if not c.is_stiff]
    shares = [1] * (len(texts) - 1) + [2]
    wanting = sorted(zip(texts, shares, strict=False), key=lambda want: want[0].width / want[1])
    for number, (column, share) in enumerate(wanting):
        all_shares = sum(share for _, share in wanting[number:])
        column.width = max(1, min(column.width, room * share // all_shares))
        room -= column.width


def _row(texts: list[tuple[_Column, str]]) -> Iterator[str]:
    broken = [_broken(text, column.width) for column, text in texts]
    for number in range(max(map(len, broken), default=0)):
        yield _joined(
            [
                padded(lines[number] if number < len(lines) else "", c.width, right=c.is_number)
                for (c, _), lines in zip(texts, broken, strict=True)
            ]
        )


def _joined(parts: list[str]) -> str:
    return GAP.join(parts).rstrip()


def _lines(text: str) -> list[str]:
    first, *others = text.split("\n")
    return [first, *(INDENT + line for line in others)]


def _broken(text: str, width: int) -> list[str]:
    return [piece for line in _lines(text) for piece in _pieces(line, width)]


def _pieces(line: str, width: int) -> Iterator[str]:
    """
    Of a line, none wider than that; broken at a space where one is near.
    """
    start, last = 0, len(line.rstrip(" "))
    while (end := end_of(line, start, width)) < last:
        end = max(end, start + 1)  # a letter that is wider than that
        space = line.rfind(" ", start, end) + 1
        is_at_space = line[end : end + 1] == " "
        if not is_at_space and space - start > (end - start) // 2:
            end = space
        yield line[start:end]
        start = end + is_at_space
    yield line[start:end]
