"""
What `spool top` shows at one moment.

Comes in: a spool, looked at again and again, and the times of it. Goes out: a row of figures, or
the lines of a screen. Always holds: a spool that is not there, or is another one than before, ends
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cli.fitting import padded, spelled, wrapped
from cli.panel import (
    LABEL_CELLS,
    Figure,
    agent_fact,
    cropped,
    fact,
    file_fact,
    rest,
    table,
    verdict,
)
from cli.rates import Counters, History, Key, Meter, Rate, chart
from cli.screen import Line
from cli.standing import Standing, is_failing, is_late, lag_s, read_standing, worst_first
from spool.errors import SpoolError
from spool.window import Row
from spool.wording import human_duration

__all__ = ["Moment", "Watch"]

LEAST_LAG_S = 10.0
"""Batches leave every few seconds; less is no lag."""

CHART_CELLS = 36
VALUE_CELLS = 16
MOST_CELLS = 16
LEAST_CHART_CELLS = 8


@dataclass(frozen=True, slots=True)
class Moment:
    """
    A look at a spool: how things stand, or why that cannot be told.
    """

    now_ms: int
    standing: Standing | None = None
    problem: SpoolError | None = None
    rates: Mapping[Key, Rate] | None = None

    @property
    def total(self) -> Rate | None:
        """
        The rates of all streams together.
        """
        if self.rates is None:
            return None
        stored = sum(rate.stored for rate in self.rates.values())
        return Rate(stored, sum(rate.sent for rate in self.rates.values()))

    def row(self) -> dict[str, Any]:
        """
        The figures; there is a standing.
        """
        standing = self.standing or {}
        total = self.total
        troubles = [trouble["text"] for trouble in standing["troubles"]]
        return {
            "time": datetime.fromtimestamp(self.now_ms // 1000, UTC).isoformat()[:19] + "Z",
            "in_per_s": round(total.stored, 1) if total else None,
            "out_per_s": round(total.sent, 1) if total else None,
            "unsent": standing["unsent"],
            "lag_s": round(lag_s(standing, self.now_ms), 1),
            "agent": standing["agent"],
            "bytes": standing["bytes"],
            "trouble": troubles[0] if troubles else None,
        }


@dataclass(slots=True)
class Watch:
    """
    Looks, and remembers what it needs for rates and charts. `interval_s` is the time between two
    looks, `window_s` that over which rates are taken.
    """

    db: Path
    interval_s: float
    window_s: float
    group: str | None = None
    stream: str | None = None
    _meter: Meter = field(init=False)
    _unsent: History = field(init=False)
    _lag: History = field(init=False)

    def __post_init__(self) -> None:
        cell_s = max(5.0, self.interval_s)
        self._meter = Meter(self.window_s)
        self._unsent, self._lag = History(cell_s), History(cell_s)

    def look(self, *, at_s: float, now_ms: int) -> Moment:
        """
        At a time that only ever grows, and by the clock on the wall.
        """
        try:
            standing = read_standing(self.db, group=self.group, stream=self.stream)
            status = self.db.stat()
        except SpoolError as error:
            return Moment(now_ms, problem=error)
        except OSError as error:  # it went away between the two
            return Moment(now_ms, problem=SpoolError(f"{self.db}: {error.strerror}"))
        if not standing["streams"] and (self.group or self.stream):
            return Moment(now_ms, problem=SpoolError(f"{self.db}: no stream of that name is here"))
        counters = {
            (row["group"], row["stream"]): Counters(row["collected"], row["sent"] + row["pruned"])
            for row in standing["streams"]
        }
        self._meter.add(at_s, (status.st_dev, status.st_ino), counters)
        self._unsent.add(at_s, standing["unsent"])
        self._lag.add(at_s, lag_s(standing, now_ms))
        return Moment(now_ms, standing=standing, rates=self._meter.rates())

    def lines(self, moment: Moment, *, width: int, height: int) -> list[Line]:
        """
        A screen of them.
        """
        if moment.standing is None:
            texts = wrapped(spelled(str(moment.problem)), width, lines=max(1, height - 2))
            return [*(((text, "bold red"),) for text in texts), (), self._legend(moment, width)]
        head = [
            *verdict(moment.standing, now_ms=moment.now_ms, width=width),
            (),
            *self._facts(moment, moment.standing, width),
            (),
        ]
        rows = _ordered(moment, moment.standing["streams"])
        lines = [*head, *_streams(moment, rows, width=width, room=height - len(head))]
        return [cropped(line, width) for line in lines[:height]]

    def _facts(self, moment: Moment, standing: Standing, width: int) -> list[Line]:
        total = moment.total
        unsent = _Charted(standing["unsent"], self._unsent, lambda number: f"{number:,.0f}")
        lag = _Charted(lag_s(standing, moment.now_ms), self._lag, _duration, least=LEAST_LAG_S)
        return [
            fact("in", _per_second(total.stored if total else None)),
            fact("out", _per_second(total.sent if total else None)),
            fact("unsent", *unsent.parts(_chart_cells(width))),
            fact("lag", *lag.parts(_chart_cells(width))),
            agent_fact(standing),
            file_fact(standing, self.db, width=width),
            self._legend(moment, width),
        ]

    def _legend(self, moment: Moment, width: int) -> Line:
        clock = datetime.fromtimestamp(moment.now_ms / 1000, UTC).astimezone().strftime("%H:%M:%S")
        text = f"{clock}, every {self.interval_s:g} s; q ends"
        if cells := _chart_cells(width):
            text += f"; the charts show {human_duration(cells * self._lag.cell_s)}"
        return cropped(fact("now", text), width)


def _chart_cells(width: int) -> int:
    room = min(CHART_CELLS, width - LABEL_CELLS - VALUE_CELLS - MOST_CELLS)
    return room if room >= LEAST_CHART_CELLS else 0


@dataclass(frozen=True, slots=True)
class _Charted:
    """
    A value and how it was. What stays below `least` is drawn as little.
    """

    value: float
    history: History
    shown: Callable[[float], str]
    least: float = 0.0

    def parts(self, count: int) -> Line:
        """
        The value, a chart of so many cells, and how large it was at most.
        """
        value = self.shown(self.value)
        if not count:
            return (value,)
        values = self.history.last(count)
        most = max((value for value in values if value is not None), default=0.0)
        drawn = chart(values, least=self.least)
        return (padded(value, VALUE_CELLS), (drawn, "cyan"), f"  at most {self.shown(most)}")


def _duration(seconds: float) -> str:
    return human_duration(seconds) if seconds > 0 else "0 s"


def _per_second(rate: float | None) -> str:
    if rate is None:
        return "-"
    return f"{rate:.1f}/s" if 0 < rate < 10 else f"{rate:,.0f}/s"


def _ordered(moment: Moment, streams: list[Row]) -> list[Row]:
    """
    The worst first; those where all is well by how much comes in.
    """

    def place(row: Row) -> tuple[bool, float]:
        if is_failing(row) or is_late(row, moment.now_ms):
            return (False, 0.0)
        rate = _rate_of(moment, row)
        return (True, -rate.stored if rate else 0.0)

    return sorted(worst_first(streams), key=place)


def _rate_of(moment: Moment, row: Row) -> Rate | None:
    return (moment.rates or {}).get((row["group"], row["stream"]))


def _streams(moment: Moment, rows: list[Row], *, width: int, room: int) -> list[Line]:
    if not rows:
        return []
    shown = rows if len(rows) < room else rows[: max(1, room - 2)]
    lines = table(_figures(moment), shown, width=width)
    return [*lines, rest(rows[len(shown) :], moment.now_ms)] if len(shown) < len(rows) else lines


def _figures(moment: Moment) -> list[Figure]:
    """
    Of a width that stays from one look to the next, as a rule.
    """
    none = Rate(0, 0)

    def rate(row: Row) -> Rate | None:
        return (_rate_of(moment, row) or none) if moment.rates else None

    def lag(row: Row) -> str:
        return _duration(lag_s(row, moment.now_ms)) if row["unsent"] else "-"

    return [
        Figure("unsent", lambda row: f"{row['unsent']:,}", 8),
        Figure("lag", lag, 6),
        Figure("in", lambda row: _per_second(found.stored if (found := rate(row)) else None), 8),
        Figure("out", lambda row: _per_second(found.sent if (found := rate(row)) else None), 8),
    ]
