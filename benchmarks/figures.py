"""
The names of figures, and what several runs of them come to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

__all__ = ["FIGURES", "Figure", "Summary", "number", "shown", "summary"]


@dataclass(frozen=True)
class Figure:
    title: str
    unit: str
    digits: int


FIGURES = {
    "wall_s": Figure("wall", "s", 2),
    "cpu_s": Figure("CPU", "s", 2),
    "cpu_us_a_line": Figure("CPU a line", "µs", 2),
    "core_percent": Figure("CPU of a core", "%", 2),
    "p50_ms": Figure("latency, p50", "ms", 0),
    "p99_ms": Figure("latency, p99", "ms", 0),
    "caught_up_s": Figure("caught up after", "s", 2),
    "peak_mib": Figure("peak memory", "MiB", 0),
    "resident_mib": Figure("memory", "MiB", 0),
    "refused_mib": Figure("peak, cannot send", "MiB", 0),
    "draining_mib": Figure("peak, draining", "MiB", 0),
    "requests": Figure("PutLogEvents", "", 0),
    "wire_mb": Figure("on the wire", "MB", 1),
    "twice": Figure("delivered twice", "", 0),
}
"""What runs measure, by name; bytes on the wire are those of the requests' bodies."""


@dataclass(frozen=True)
class Summary:
    """
    Of all runs.
    """

    median: float
    least: float
    most: float


def summary(values: Sequence[float]) -> Summary:
    return Summary(median(values), min(values), max(values))


def number(value: float, name: str) -> str:
    """
    A value of figure `name`, without its unit.
    """
    return f"{value:,.{FIGURES[name].digits}f}"


def shown(values: Sequence[float], name: str) -> str:
    """
    The median, and in brackets the least and the most where they differ from it.
    """
    of_all = summary(values)
    middle, least, most = (number(v, name) for v in (of_all.median, of_all.least, of_all.most))
    unit = f" {FIGURES[name].unit}" if FIGURES[name].unit else ""
    return f"{middle}{unit}" + ("" if least == most else f" ({least} to {most})")
