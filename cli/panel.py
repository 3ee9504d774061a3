"""
A standing as lines of text: what `status` shows once, and `top` again and again.

Comes in: a standing, the present, the room there is. Goes out: lines with styles. Always holds: no
line is wider than the room, whatever streams are called; without a width nothing is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cli.fitting import cells, head, padded, shared, shortened, spelled, wrapped
from cli.screen import Line, Styled
from cli.standing import (
    Standing,
    Trouble,
    is_failing,
    is_late,
    since_s,
    summary,
    troubles,
    waiting,
)
from spool.window import Row
from spool.wording import counted, human_bytes, human_duration

__all__ = [
    "Figure",
    "agent_fact",
    "cropped",
    "fact",
    "file_fact",
    "rest",
    "table",
    "told",
    "verdict",
]

TROUBLE_LINES = 9
"""So many at most tell on a terminal what is wrong,"""

ONE_TROUBLE_LINES = 6
"""so many of one thing: what AWS says of a denied request takes five."""

SUBJECT_CELLS = 40
LABEL_CELLS = 10

NAMES_CELLS = 24
"""Where group and stream would have less room, a figure is left out."""

GAP = "  "


@dataclass(frozen=True, slots=True)
class Figure:
    """
    A column before the names, so many cells wide or more.
    """

    title: str
    cell: Callable[[Row], str]
    cells: int = 0


def verdict(standing: Standing, *, now_ms: int, width: int | None) -> list[Line]:
    """
    How things stand: what is wrong, worst first, else one line.
    """
    found = troubles(standing)
    if not found:
        style = "bold yellow" if is_late(standing, now_ms) else "bold green"
        return [((summary(standing, now_ms), style),)]
    lines: list[Line] = []
    for count, trouble in enumerate(found):
        room = TROUBLE_LINES - len(lines)
        if width is not None and room < 1:
            return [*lines, (f"… and {counted(len(found) - count, 'other error')}",)]
        lines += told(trouble, now_ms, width, lines=min(room, ONE_TROUBLE_LINES))
    return lines


def told(trouble: Trouble, now_ms: int, width: int | None, *, lines: int) -> list[Line]:
    """
    One trouble, and how long it has lasted; in one line where there is no width.
    """
    subject = spelled(trouble.subject)
    if width is not None:
        subject = shortened(subject, SUBJECT_CELLS)
    text = f"{subject} {trouble.what}" if subject else trouble.what
    if trouble.since:
        text += f" since {_clock(trouble.since, now_ms)}"
    if trouble.tried:
        text += f", tried {_ago(trouble.tried, now_ms)}"
    if trouble.why:
        text += f": {spelled(trouble.why)}"
    if width is None:
        return [((text, "bold red"),)]
    first, *more = wrapped(text, max(1, width - 2), lines=lines)
    return [((first, "bold red"),), *(((f"  {line}", "red"),) for line in more)]


def _clock(moment: str, now_ms: int) -> str:
    """
    The time of day here, with the date where that is another.
    """
    local = datetime.fromisoformat(moment).astimezone()
    today = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone().date()
    return local.strftime("%H:%M" if local.date() == today else "%Y-%m-%d %H:%M")


def _ago(moment: str | None, now_ms: int) -> str:
    age_s = since_s(moment, now_ms)
    return "-" if age_s is None else f"{human_duration(age_s)} ago"


def fact(label: str, *parts: Styled) -> Line:
    """
    `waiting   12,345 events`.
    """
    return ((f"{label:<{LABEL_CELLS}}", "dim"), *parts)


def agent_fact(standing: Standing) -> Line:
    """
    Whether one runs.
    """
    return fact("agent", f"runs, pid {standing['agent']}" if standing["agent"] else "none runs")


def file_fact(standing: Standing, db: Path, *, width: int | None) -> Line:
    """
    Its size and its path.
    """
    size = human_bytes(standing["bytes"])
    if standing["max_size"]:
        size += f" of {human_bytes(standing['max_size'])}"
    size += ", "
    if standing["wal_bytes"]:
        size += f"of it {human_bytes(standing['wal_bytes'])} write-ahead log, "
    path = spelled(str(db))
    if width is not None:
        path = shortened(path, max(1, width - LABEL_CELLS - cells(size)))
    return fact("file", size, path)


def table(figures: Sequence[Figure], rows: Sequence[Row], *, width: int | None) -> list[Line]:
    """
    A head and one line for each stream. The names come last, so that none of them, however wide a
    terminal draws it, moves a figure.
    """
    names = [
        ("group", "stream"),
        *((spelled(row["group"]), spelled(row["stream"])) for row in rows),
    ]
    texts = [[figure.title for figure in figures]]
    texts += [[figure.cell(row) for figure in figures] for row in rows]
    widths = [
        max(figure.cells, *map(cells, column))
        for figure, column in zip(figures, zip(*texts, strict=True), strict=True)
    ]
    if width is not None:
        widths = _that_fit(widths, width)
        names = _fitted(names, width - _room_of(widths))
    group_cells = max(cells(group) for group, _ in names)
    lines = []
    for row_texts, (group, stream) in zip(texts, names, strict=True):
        parts = [padded(text, n, right=True) for text, n in zip(row_texts, widths, strict=False)]
        lines.append(GAP.join([*parts, padded(group, group_cells), stream]))
    head, *others = lines
    return [
        ((f"  {head}", "bold"),),
        *(
            ((f"! {line}", "red"),) if is_failing(row) else (f"  {line}",)
            for row, line in zip(rows, others, strict=True)
        ),
    ]


def _that_fit(widths: list[int], width: int) -> list[int]:
    """
    The first figures, as many as leave room for names; one is always there.
    """
    kept = widths
    while len(kept) > 1 and width - _room_of(kept) < NAMES_CELLS:
        kept = kept[:-1]
    return kept


def _room_of(widths: Sequence[int]) -> int:
    """
    Of the mark and the figures, and what parts them from the names.
    """
    return len(GAP) + sum(widths) + len(GAP) * len(widths)


def _fitted(names: Sequence[tuple[str, str]], width: int) -> list[tuple[str, str]]:
    groups, streams = (max(map(cells, column)) for column in zip(*names, strict=True))
    group_cells, stream_cells = shared(max(2, width - len(GAP)), groups, streams)
    return [
        (shortened(group, group_cells), shortened(stream, stream_cells)) for group, stream in names
    ]


def cropped(line: Line, width: int | None) -> Line:
    """
    A line without what is beyond that.
    """
    if width is None:
        return line
    room = width
    parts: list[Styled] = []
    for part in line:
        text, style = (part, "") if isinstance(part, str) else part
        kept = text if cells(text) <= room else head(text, max(0, room - 1)) + "…"
        parts.append((kept, style))
        room -= cells(kept)
        if kept != text:
            break
    return parts


def rest(rows: Sequence[Row], now_ms: int) -> Line:
    """
    What is said of the streams there was no room for.
    """
    waits = sum(row["unsent"] > 0 for row in rows)
    text = f"… and {counted(len(rows), 'stream')} more"
    return ((f"{text}: {waiting(rows, now_ms)}" if waits else f"{text}, all sent", "dim"),)
