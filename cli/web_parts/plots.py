"""
Plots as numbers that a template draws: paths in a box of WIDTH by HEIGHT, stretched to the page.

Comes in: a timeline. Goes out: plots. Always holds: the ticks of an axis are equally far from each
other, so that they can be written beside the box, where nothing stretches them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import log10

from cli.web_parts.words import compact, lag, local_time
from spool.timeline import Timeline

__all__ = ["Curve", "Plot", "Step", "plots_of"]

WIDTH = 960
HEIGHT = 160

LAG_TICKS_MS = (
    (0, "0"),
    (1_000, "1 s"),
    (10_000, "10 s"),
    (60_000, "1 min"),
    (600_000, "10 min"),
    (3_600_000, "1 h"),
    (6 * 3_600_000, "6 h"),
    (86_400_000, "1 d"),
    (7 * 86_400_000, "7 d"),
    (60 * 86_400_000, "60 d"),
    (3_650 * 86_400_000, "10 y"),
)
"""From a second to weeks: on an even axis every ordinary day would lie on the ground."""


@dataclass(frozen=True, slots=True)
class Curve:
    """
    One path; `kind` is `area`, `bars` or `line`, `name` chooses its colour.
    """

    name: str
    label: str
    kind: str
    path: str


@dataclass(frozen=True, slots=True)
class Step:
    """
    A step of the timeline, as the pointer finds it.
    """

    x: float
    width: float
    words: str


@dataclass(frozen=True, slots=True)
class Plot:
    """
    `ticks` from the top down, `times` from left to right.
    """

    title: str
    note: str
    ticks: list[str]
    times: list[str]
    curves: list[Curve]
    steps: list[Step] = field(default_factory=list)


def plots_of(course: Timeline) -> list[Plot]:
    """
    What waited, what came and went, and how late it was.
    """
    return [_waiting(course), _traffic(course), _lag(course)]


def _waiting(course: Timeline) -> Plot:
    top = _round_up(max(course.waiting))
    heights = [value / top for value in course.waiting]
    return Plot(
        title="Backlog",
        note="events logged and not yet delivered",
        ticks=_even_ticks(top),
        times=_times(course),
        curves=[Curve("waiting", "waiting", "area", _area(heights))],
        steps=_steps(course, [f"{value:,.0f} waiting" for value in course.waiting]),
    )


def _traffic(course: Timeline) -> Plot:
    sums = [fresh + again for fresh, again in zip(course.delivered, course.replayed, strict=True)]
    top = _round_up(max(*course.logged, *sums))
    curves = [
        Curve("delivered", "delivered", "bars", _bars([value / top for value in course.delivered]))
    ]
    if any(course.replayed):
        parts = zip(course.delivered, sums, strict=True)
        again = [(fresh / top, both / top) for fresh, both in parts]
        curves.append(Curve("replayed", "replayed", "bars", _stacked(again)))
    curves.append(Curve("logged", "logged", "line", _line([v / top for v in course.logged])))
    rows = zip(course.logged, course.delivered, course.replayed, strict=True)
    words = [
        f"{logged:,.0f} logged, {delivered:,} delivered"
        + (f", {replayed:,} replayed" if replayed else "")
        for logged, delivered, replayed in rows
    ]
    return Plot(
        title="Logged and delivered",
        note=f"events in {lag(course.step_ms)}; logged by their own time",
        ticks=_even_ticks(top),
        times=_times(course),
        curves=curves,
        steps=_steps(course, words),
    )


def _lag(course: Timeline) -> Plot:
    known = [value for value in course.longest_lag_ms if value is not None]
    highest = max(known, default=0)
    count = next(
        (index for index, (tick, _) in enumerate(LAG_TICKS_MS) if tick >= highest and index > 1),
        len(LAG_TICKS_MS) - 1,
    )
    scale = LAG_TICKS_MS[: count + 1]
    rows = zip(course.longest_lag_ms, course.mean_lag_ms, strict=True)
    words = [
        "nothing delivered"
        if longest is None or mean is None
        else f"longest {lag(longest)}, mean {lag(mean)}"
        for longest, mean in rows
    ]
    return Plot(
        title="Lag",
        note="from the last event of a batch to its delivery",
        ticks=[label for _, label in reversed(scale)],
        times=_times(course),
        curves=[
            Curve("longest", "longest", "line", _line(_on_scale(course.longest_lag_ms, scale))),
            Curve("mean", "mean", "line", _line(_on_scale(course.mean_lag_ms, scale))),
        ],
        steps=_steps(course, words),
    )


def _round_up(value: float) -> float:
    """
    The next round number, at least 2, of which half is a whole one.
    """
    size = 1.0
    while True:
        for top in (size * 2, size * 3, size * 4, size * 5, size * 6, size * 8, size * 10):
            if value <= top and top % 2 == 0:
                return top
        size *= 10


def _even_ticks(top: float) -> list[str]:
    return [compact(top), compact(top / 2), "0"]


def _on_scale(
    values: Sequence[float | None], scale: Sequence[tuple[int, str]]
) -> list[float | None]:
    """
    Heights between 0 and 1: each step from tick to tick is as high as the others.
    """
    return [None if value is None else _height(max(0.0, value), scale) for value in values]


def _height(value: float, scale: Sequence[tuple[int, str]]) -> float:
    for index, ((low, _), (high, _)) in enumerate(pairwise(scale)):
        if value <= high:
            part = log10(max(value, low) / low) / log10(high / low) if low else value / high
            return (index + part) / (len(scale) - 1)
    return 1.0


def _times(course: Timeline) -> list[str]:
    length_ms = course.end_ms - course.start_ms
    layout = "%H:%M:%S" if length_ms < 3_600_000 else "%H:%M"
    if length_ms > 25 * 3_600_000:
        layout = "%m-%d %H:%M"
    middle_ms = course.start_ms + length_ms // 2
    return [local_time(at_ms, layout) for at_ms in (course.start_ms, middle_ms, course.end_ms)]


def _steps(course: Timeline, words: Sequence[str]) -> list[Step]:
    width = WIDTH / len(words)
    return [
        Step(
            x=round(index * width, 2),
            width=round(width, 2),
            words=f"{local_time(course.start_ms + index * course.step_ms)}: {text}",
        )
        for index, text in enumerate(words)
    ]


def _area(heights: Sequence[float]) -> str:
    """
    From the ground over all heights, each reached at the end of its step.
    """
    width = WIDTH / len(heights)
    points = [f"L{(index + 1) * width:.1f} {_y(height)}" for index, height in enumerate(heights)]
    return f"M0 {HEIGHT}L0 {_y(heights[0])}{''.join(points)}V{HEIGHT}Z"


def _bars(heights: Sequence[float]) -> str:
    return _stacked([(0, height) for height in heights])


def _stacked(pairs: Sequence[tuple[float, float]]) -> str:
    width = WIDTH / len(pairs)
    return "".join(
        f"M{index * width:.1f} {_y(low)}V{_y(high)}H{(index + 1) * width:.1f}V{_y(low)}Z"
        for index, (low, high) in enumerate(pairs)
        if high > low
    )


def _line(heights: Sequence[float | None]) -> str:
    """
    A level stretch for each step, joined where neighbours are known.
    """
    width = WIDTH / len(heights)
    path = ""
    before = None
    for index, height in enumerate(heights):
        if height is not None:
            move = f"M{index * width:.1f} {_y(height)}" if before is None else f"V{_y(height)}"
            path += f"{move}H{(index + 1) * width:.1f}"
        before = height
    return path


def _y(height: float) -> str:
    return f"{HEIGHT - height * HEIGHT:.1f}"
