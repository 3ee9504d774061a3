"""
Text into so many cells of a terminal.

Comes in: any text, also names and errors that others chose. Goes out: text of a known width. Always
holds: what comes out of `spelled` has no character that moves the cursor, turns the text around it
or joins with its neighbours.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

__all__ = ["cells", "end_of", "head", "padded", "shared", "shortened", "spelled", "wrapped"]

ELLIPSIS = "…"

VARIATIONS = range(0xFE00, 0xFE10)
"""They choose how a character looks; terminals disagree how wide it is then."""


def spelled(text: str) -> str:
    """
    Text in which all that is not seen is written as its code.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(ord(char)) if _is_unseen(char) else char for char in text)


def _is_unseen(char: str) -> bool:
    return not char.isprintable() or ord(char) in VARIATIONS


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def cells(text: str) -> int:
    """
    How wide it is.
    """
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def _cells_of(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def padded(text: str, width: int, *, right: bool = False) -> str:
    """
    With spaces after it, or `right` before it.
    """
    spaces = " " * (width - cells(text))
    return spaces + text if right else text + spaces


def shortened(text: str, width: int) -> str:
    """
    What is too wide loses its middle: names differ at both ends.
    """
    if cells(text) <= width:
        return text
    if width < 2:
        return ELLIPSIS[:width]
    tail_cells = (width - 1) // 2
    tail = head(text[::-1], tail_cells)[::-1]
    return head(text, width - 1 - tail_cells) + ELLIPSIS + tail


def head(text: str, width: int) -> str:
    """
    As much of it as there is room for.
    """
    return text[: end_of(text, 0, width)]


def end_of(text: str, start: int, width: int) -> int:
    """
    Where ends what there is room for, from there on; of a long text this looks at no more.
    """
    if text.isascii():
        return min(len(text), start + width)
    used = 0
    for index in range(start, len(text)):
        used += _cells_of(text[index])
        if used > width:
            return index
    return len(text)


def shared(width: int, first: int, second: int) -> tuple[int, int]:
    """
    Room for two texts that want so much: who wants less than half gets all of it.
    """
    if first + second <= width:
        return first, second
    half = width // 2
    if first <= half:
        return first, width - first
    if second <= width - half:
        return width - second, second
    return half, width - half


def wrapped(text: str, width: int, *, lines: int) -> list[str]:
    """
    At spaces where there are some, into so many lines at most; the last one tells what is cut.
    """
    made = [""]
    for part in _parts(text, width):
        joined = f"{made[-1]} {part}" if made[-1] else part
        if cells(joined) <= width:
            made[-1] = joined
        else:
            made.append(part)
    if len(made) > lines:
        made[lines - 1 :] = [head(made[lines - 1], width - 1) + ELLIPSIS]
    return made


def _parts(text: str, width: int) -> Iterator[str]:
    """
    Its words, none of them wider than that.
    """
    for word in text.split():
        start = 0
        while (end := end_of(word, start, width)) < len(word):
            end = max(end, start + 1)  # a letter that is wider than that
            yield word[start:end]
            start = end
        yield word[start:]
