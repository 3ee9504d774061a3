"""
What the start page tells, read from the spool.

Comes in: the path of a spool and how far back to look. Goes out: everything on the page, ready to
be written. Always holds: each question reads an index, counters or batches, never all events; what
takes too long all the same is asked of a shorter time, and left out at last.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cli.printable import printable
from cli.standing import COUNTS, standing_of, worst_first
from cli.web_parts.plots import Plot, plots_of
from cli.web_parts.verdict import Finding, findings, is_stuck
from cli.web_parts.words import zone
from spool.errors import TooSlow
from spool.inspection import Inspection
from spool.lock import holder
from spool.timeline import Timeline, timeline
from spool.window import Row
from spool.wording import human_bytes

__all__ = ["WINDOWS", "Overview", "look"]

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

WINDOWS = {
    "15m": (15 * MINUTE_MS, 10_000),
    "1h": (HOUR_MS, 40_000),
    "6h": (6 * HOUR_MS, 4 * MINUTE_MS),
    "24h": (DAY_MS, 15 * MINUTE_MS),
    "7d": (7 * DAY_MS, 2 * HOUR_MS),
    "14d": (14 * DAY_MS, 4 * HOUR_MS),
}
"""How far back the plots go, and the length of their steps."""

USUAL = "24h"
TIMELINE_S = 1.0
COUNTS_S = 2.0

MAX_STREAMS = 20
MAX_NAMES = 500
"""To choose from in the search form."""

REJECTED = """
SELECT *, (SELECT timestamp FROM event WHERE event.id = newest_id) AS newest_ms
FROM (SELECT reason, count(*) AS events, max(id) AS newest_id
      FROM rejection GROUP BY reason ORDER BY events DESC LIMIT 20)
"""

BEGIN = """
SELECT min(coalesce((SELECT created_at FROM batch ORDER BY id LIMIT 1), :now_ms),
           coalesce((SELECT min(first_timestamp) FROM queue), :now_ms)) AS begin_ms
"""


@dataclass(frozen=True, slots=True)
class Overview:
    """
    One look at a spool. `streams` are the worst ones first; `plots` are empty where to read them
    took too long.
    """

    db: Path
    zone: str
    agent: int | None
    size: str
    totals: dict[str, int]
    oldest_unsent: str | None
    is_stuck: bool
    skipped: dict[str, int]
    findings: list[Finding]
    streams: list[Row]
    streams_in_all: int
    groups: list[str]
    names: list[str]
    rejected: list[Row]
    window: str
    plots: list[Plot]
    maybe_twice: int


def look(db: Path, *, window: str | None, now_ms: int) -> Overview:
    """
    Raises `SpoolError`.
    """
    with Inspection(db) as spool:
        with spool.within(COUNTS_S):
            streams = spool.streams()
            rejected = list(spool.query(REJECTED))
            standing = standing_of(spool, streams, holder(db))
            wanted = window if window in WINDOWS else _usual_window(spool, now_ms)
        shown, course = _course(spool, wanted, now_ms)
    return Overview(
        db=db,
        zone=zone(),
        agent=standing["agent"],
        size=human_bytes(standing["bytes"]),
        totals={name: standing[name] for name in COUNTS},
        oldest_unsent=standing["oldest_unsent"],
        is_stuck=is_stuck(standing, now_ms),
        skipped=standing["skipped"],
        findings=findings(db, standing, now_ms),
        streams=sorted(worst_first(streams), key=_is_well)[:MAX_STREAMS],
        streams_in_all=len(streams),
        groups=_to_choose({row["group"] for row in streams}),
        names=_to_choose({row["stream"] for row in streams}),
        rejected=rejected,
        window=shown,
        plots=plots_of(course) if course else [],
        maybe_twice=course.maybe_twice if course else 0,
    )


def _to_choose(names: set[str]) -> list[str]:
    """
    Those that can be offered as they are.
    """
    return sorted(name for name in names if printable(name) == name)[:MAX_NAMES]


def _is_well(row: Row) -> bool:
    """
    Whether all that a stream still has was sent: the page has a column of what was rejected.
    """
    return not (row["unsent"] or row["rejected"])


def _usual_window(spool: Inspection, now_ms: int) -> str:
    """
    The shortest that shows all there is, a day at most.
    """
    begin_ms = next(spool.query(BEGIN, {"now_ms": now_ms}))["begin_ms"]
    for name, (length_ms, _) in WINDOWS.items():
        if now_ms - begin_ms < length_ms or name == USUAL:
            return name
    return USUAL


def _course(spool: Inspection, wanted: str, now_ms: int) -> tuple[str, Timeline | None]:
    """
    The timeline of a window, or of the longest shorter one that can be read in time, and its name.
    """
    names = list(WINDOWS)
    for name in reversed(names[: names.index(wanted) + 1]):
        length_ms, step_ms = WINDOWS[name]
        end_ms = now_ms - now_ms % step_ms + step_ms
        try:
            with spool.within(TIMELINE_S):
                return name, timeline(
                    spool, start_ms=end_ms - length_ms, step_ms=step_ms, now_ms=now_ms
                )
        except TooSlow:
            continue
    return wanted, None
