"""
Lengths of time as people give them.
"""

from __future__ import annotations

import re

__all__ = ["parse_duration"]

MAX_DURATION_MS = 36_525 * 86_400_000
"""A hundred years: far beyond that the clocks of computers end."""

_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)\s*(ms|[smhdw])", re.ASCII)


def parse_duration(text: str) -> int:
    """
    `2h`, `1h30m`, `90s`, `1.5d`, or seconds without a unit, in ms.

    Raises ValueError with a line for the user.
    """
    stripped = text.strip().lower()
    if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", stripped, re.ASCII):
        return _bounded(text, float(stripped) * 1000)
    parts = _PART.findall(stripped)
    if not parts or _PART.sub("", stripped).strip():
        raise ValueError(f"{text!r} is no duration; write it as 90s, 15m, 2h, 1h30m or 7d")
    return _bounded(text, sum(float(number) * _UNIT_MS[unit] for number, unit in parts))


def _bounded(text: str, duration_ms: float) -> int:
    if duration_ms > MAX_DURATION_MS:
        raise ValueError(f"{text!r} is longer than a hundred years")
    return round(duration_ms)
