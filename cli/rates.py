"""
How fast events come and go, and how that went on: the arithmetic of `spool top`.

Comes in: readings of counters, with the time. Goes out: events in a second, and small charts.
Always holds: no clock is read here; counters that fell belong to another file, and begin anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Counters", "History", "Meter", "Rate", "chart"]

LEVELS = "▁▂▃▄▅▆▇█"
NOTHING = " "

KEPT_CELLS = 200
"""Wider is no chart."""

Key = tuple[str, str]
"""Group and stream."""


@dataclass(frozen=True, slots=True)
class Counters:
    """
    Events of a stream, ever: stored, and no longer waiting because they were sent.
    """

    stored: int
    sent: int


@dataclass(frozen=True, slots=True)
class Rate:
    """
    Events in a second.
    """

    stored: float
    sent: float


class Meter:
    """
    The rates between the newest reading and the oldest within `window_s`, or the one before.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._readings: deque[tuple[float, object, Mapping[Key, Counters]]] = deque()

    def add(self, at_s: float, file: object, counters: Mapping[Key, Counters]) -> None:
        """
        A reading; `file` tells which file it is of. `at_s` only ever grows.
        """
        if self._readings and self._is_another(file, counters):
            self._readings.clear()
        self._readings.append((at_s, file, counters))
        while len(self._readings) > 2 and at_s - self._readings[0][0] > self._window_s:
            self._readings.popleft()

    def _is_another(self, file: object, counters: Mapping[Key, Counters]) -> bool:
        _, last_file, last = self._readings[-1]
        return file != last_file or any(
            key not in counters or counters[key].stored < before.stored
            for key, before in last.items()
        )

    def rates(self) -> dict[Key, Rate] | None:
        """
        Of each stream; None before the second reading.
        """
        if len(self._readings) < 2:
            return None
        begin_s, _, before = self._readings[0]
        end_s, _, after = self._readings[-1]
        none = Counters(0, 0)
        return {
            key: _rate(before.get(key, none), counters, end_s - begin_s)
            for key, counters in after.items()
        }


def _rate(before: Counters, after: Counters, elapsed_s: float) -> Rate:
    """
    What is sent again was not sent: then that counter falls.
    """
    return Rate(
        stored=(after.stored - before.stored) / elapsed_s,
        sent=max(0, after.sent - before.sent) / elapsed_s,
    )


class History:
    """
    The largest value in each `cell_s` seconds.
    """

    def __init__(self, cell_s: float) -> None:
        self.cell_s = cell_s
        self._cells: deque[tuple[int, float]] = deque(maxlen=KEPT_CELLS)

    def add(self, at_s: float, value: float) -> None:
        """
        Note a value; `at_s` only ever grows.
        """
        number = int(at_s // self.cell_s)
        if self._cells and self._cells[-1][0] == number:
            value = max(value, self._cells.pop()[1])
        self._cells.append((number, value))

    def last(self, count: int) -> list[float | None]:
        """
        The newest cells, the newest last; None where there was no value.
        """
        if not self._cells:
            return [None] * count
        values = dict(self._cells)
        newest = self._cells[-1][0]
        return [values.get(number) for number in range(newest - count + 1, newest + 1)]


def chart(values: Sequence[float | None], *, least: float = 0.0) -> str:
    """
    One character for each value, from nothing at all to the largest of them, or to `least` where
    all are smaller.
    """
    most = max([least, *(value for value in values if value is not None)])
    return "".join(_level(value, most) for value in values)


def _level(value: float | None, most: float) -> str:
    if value is None:
        return NOTHING
    if value <= 0:
        return LEVELS[0]
    step = int(value / most * (len(LEVELS) - 1) + 0.5)
    return LEVELS[max(1, step)]  # what is little is not nothing
