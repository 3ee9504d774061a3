"""
What the demo's containers write, line by line.

Always holds: every line is numbered, so no two are alike, and what arrived can be compared with
what was written, text by text. Among them are lines for stderr, non-ASCII ones, and one that Docker
has to cut into parts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["SCRIPTS", "TICK_S", "TOTAL", "Script", "is_error"]

TICK_S = 0.1
TICKS = 180
"""How often each container writes its `burst`: it goes on for 18 seconds, or a little longer."""

LONG_BYTES = 40 * 1024
LONG_EVERY = 700


@dataclass(frozen=True, slots=True)
class Script:
    """
    A container of this name writes `lines`, so many of them at a time.
    """

    name: str
    burst: int
    lines: tuple[str, ...]


def is_error(line: str) -> bool:
    """
    Whether it goes to stderr.
    """
    return " ERROR " in line


def _web(number: int) -> str:
    return f"GET /items/{number * 7919 % 1000} 200 {number % 90 + 3} ms"


def _worker(number: int) -> str:
    if number % LONG_EVERY == 0:
        return f"job {number} dumped ".ljust(LONG_BYTES - len("worker #00000 "), "x")
    if number % 25 == 0:
        return f"ERROR job {number} timed out, trying again"
    return f"job {number} done in {number % 400} ms"


def _cron(number: int) -> str:
    return f"copied {number} files to {('Oslo', 'Zürich', '東京', 'São Paulo 🚀')[number % 4]}"


def _script(name: str, burst: int, text: Callable[[int], str]) -> Script:
    numbers = range(1, burst * TICKS + 1)
    lines = tuple(f"{name} #{number:05} {text(number)}" for number in numbers)
    return Script(f"spool-demo-{name}", burst, lines)


SCRIPTS = (_script("web", 15, _web), _script("worker", 9, _worker), _script("cron", 3, _cron))
TOTAL = sum(len(script.lines) for script in SCRIPTS)
