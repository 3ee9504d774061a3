"""
Time as people give it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta

__all__ = ["parse_duration", "parse_time"]

_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)\s*(ms|[smhdw])", re.ASCII)
_EPOCH = re.compile(r"\d{9,13}(?:\.\d{1,9})?", re.ASCII)

EPOCH_MS_DIGITS = 12
"""A number this long is ms since the epoch, a shorter one seconds."""


def parse_duration(text: str) -> int:
    """
    `2h`, `1h30m`, `90s`, `1.5d`, or seconds without a unit, in ms.

    Raises ValueError with a line for the user.
    """
    stripped = text.strip().lower()
    if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", stripped, re.ASCII):
        return round(float(stripped) * 1000)
    parts = _PART.findall(stripped)
    if not parts or _PART.sub("", stripped).strip():
        raise ValueError(f"{text!r} is no duration; write it as 90s, 15m, 2h, 1h30m or 7d")
    return round(sum(float(number) * _UNIT_MS[unit] for number, unit in parts))


def parse_time(text: str, *, now: datetime) -> int:
    """
    A duration before `now`, `now`, `14:00`, `yesterday [14:00]`, ISO 8601, or seconds or ms since
    the epoch; in ms since the epoch. What names no zone is local time.

    Raises ValueError with a line for the user.
    """
    stripped = text.strip()
    if stripped.lower() == "now":
        return _ms(now)
    if _EPOCH.fullmatch(stripped):
        digits = len(stripped.partition(".")[0])
        return round(float(stripped) * (1 if digits >= EPOCH_MS_DIGITS else 1000))
    for reading in (_ago, _day_and_time, _iso):
        moment = reading(stripped, now)
        if moment is not None:
            return _ms(moment)
    raise ValueError(
        f"{text!r} is no time; write it as 2h, 14:00, 'yesterday 14:00', 2026-11-22T10:00Z "
        "or seconds since the epoch"
    )


def _ago(text: str, now: datetime) -> datetime | None:
    if text.isascii() and text.isdigit():
        return None  # a year, a day, an hour? it does not say
    try:
        return now - timedelta(milliseconds=parse_duration(text.lower().removesuffix("ago")))
    except (ValueError, OverflowError):
        return None


def _day_and_time(text: str, now: datetime) -> datetime | None:
    day, _, clock = text.lower().partition(" ")
    if day not in ("today", "yesterday"):
        day, clock = "today", text
    elif not clock:
        clock = "00:00"
    try:
        hour = time.fromisoformat(clock.strip().zfill(5))
    except ValueError:
        return None
    date = now.astimezone().date() - timedelta(days=day == "yesterday")
    return datetime.combine(date, hour).astimezone()


def _iso(text: str, _: datetime) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):  # the latter at the ends of the calendar
        return None


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
