"""
Text without what steers a terminal: containers write what they like, and errors quote it.
"""

from __future__ import annotations

import click

__all__ = ["printable", "printable_json", "tell"]

_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))
_TURNS = (0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
"""What ends a line, or turns the text around it, so that it reads as something else."""

_ESCAPES = {code: f"\\x{code:02x}" for code in _CONTROLS if code != 9}
_ESCAPES |= {code: f"\\u{code:04x}" for code in _TURNS}
_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in (*_CONTROLS[0x20:], *_TURNS)}
"""JSON spells out those below 0x20 itself."""


def printable(text: str) -> str:
    """
    Text for a terminal: control characters are spelled out, since a container wrote them.
    """
    return text.translate(_ESCAPES)


def printable_json(text: str) -> str:
    """
    The same for JSON whose letters were left as they are: what it means stays.
    """
    return text.translate(_JSON_ESCAPES)


def tell(text: str) -> None:
    """
    One line on stderr, which may quote what steers a terminal, or ends a line.
    """
    click.echo(printable(text), err=True)
