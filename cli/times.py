"""
Time as people give it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta

from shipper.durations import parse_duration

__all__ = ["parse_duration", "parse_own_stamp", "parse_stamp", "parse_time"]

_EPOCH = re.compile(r"\d{9,13}(?:\.\d{1,9})?", re.ASCII)

_STAMP = re.compile(r"(\d{9,20})(?:\.\d{1,9})?", re.ASCII)
_STAMP_UNITS = ((11, 1e3), (14, 1), (17, 1e-3), (20, 1e-6))
"""(digits, ms): so long a number is s, ms, µs or ns since the epoch, from 1973 to 5138."""

LAST_MS = 253_402_300_799_999
"""The end of the year 9999; what is later cannot be shown as a time."""

EPOCH_MS_DIGITS = 12
"""A number this long is ms since the epoch, a shorter one seconds."""


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


def parse_own_stamp(value: str | float) -> int:
    """
    The same as `parse_stamp`, but a whole number is ms, as `spool events` writes it.

    Raises ValueError.
    """
    if not isinstance(value, int):
        return parse_stamp(value)
    if value > LAST_MS:
        raise ValueError(f"{value} is no time of a record")
    return value


def parse_stamp(value: str | float) -> int:
    """
    The time in a record: ISO 8601, or a number of s, ms, µs or ns since the epoch; in ms since the
    epoch. What names no zone is local time.

    Raises ValueError.
    """
    text = str(value)
    number = _STAMP.fullmatch(text)
    if number:
        unit_ms = next(ms for digits, ms in _STAMP_UNITS if len(number[1]) <= digits)
        return round(float(text) * unit_ms)
    moment = None if text.isdigit() else _iso(text, datetime.now(UTC))
    if moment is None:
        raise ValueError(f"{text!r} is no time of a record")
    return _ms(moment)


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
