"""
What was logged, what was delivered, and what waited, over time.

Comes in: a spool and a stretch of time, cut into steps. Goes out: a number for each step. Always
holds: no event is looked at, only batches and runs of the queue; what is waiting at the end is
what is unsent now.

An event counts as logged at its own timestamp, spread evenly over its batch, and as delivered when
the 200 came. What was replayed would look as if it had waited ever since: it waits from the moment
that its batch was made.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from operator import add

from spool.inspection import Inspection
from spool.schema import RUN_BLOCK
from spool.window import Row

__all__ = ["Timeline", "timeline"]

LATE_MS = 120_000
"""What was delivered sooner after it was logged is no replay that anybody would notice."""

NO_BATCH = 2**63 - 1
"""In place of a batch's id, for what is in none yet: after all that are."""


def _step(column: str) -> str:
    """
    The number of the step in which a time lies; what is before the first has a negative one.
    """
    return (
        f"CASE WHEN {column} < :start_ms THEN -((:start_ms - {column}) / :step_ms) - 1"
        f" ELSE min(:last, ({column} - :start_ms) / :step_ms) END"
    )


COLUMNS = f"""
{_step("first_timestamp")} AS first, {_step("last_timestamp")} AS last,
{_step("created_at")} AS made, {_step("sent_at")} AS sent,
count(*) AS batches, sum(events) AS events, sum(attempts > 1) AS maybe_twice,
max(sent_at - last_timestamp) AS longest_lag_ms,
sum(events * (sent_at - last_timestamp)) AS lags_ms
"""

LOOK = f"""
WITH late AS MATERIALIZED (
    SELECT id, events, first_timestamp, last_timestamp, created_at, sent_at, attempts,
           (SELECT min(first_id) FROM run WHERE run.batch_id = batch.id) AS first_id
    FROM batch
    WHERE state = 'sent' AND sent_at >= :start_ms AND sent_at - last_timestamp > {LATE_MS}
    UNION ALL
    SELECT id, events, first_timestamp, last_timestamp, created_at, NULL, attempts,
           (SELECT min(first_id) FROM run WHERE run.batch_id = batch.id)
    FROM batch WHERE state = 'sending'
    UNION ALL
    SELECT {NO_BATCH}, last_id - first_id + 1, first_timestamp, last_timestamp, :now_ms, NULL, 0,
           first_id
    FROM queue
), sorted AS MATERIALIZED (
    SELECT *, EXISTS (
        SELECT 1 FROM run JOIN batch ON batch.id = run.batch_id
        WHERE run.first_id BETWEEN late.first_id - late.first_id % {RUN_BLOCK} AND late.first_id
          AND run.last_id >= late.first_id AND batch.id < late.id AND batch.state <> 'refused'
    ) AS is_replay
    FROM late
)
SELECT * FROM (SELECT 0 AS is_replay, {COLUMNS} FROM batch
               WHERE state = 'sent' AND sent_at >= :start_ms
                 AND sent_at - last_timestamp <= {LATE_MS}
               GROUP BY first, last, made, sent)
UNION ALL
SELECT * FROM (SELECT is_replay, {COLUMNS} FROM sorted
               GROUP BY is_replay, first, last, made, sent)
"""


@dataclass(slots=True)
class Timeline:
    """
    A stretch of time: `steps` times `step_ms` from `start_ms` on, and in the lists a number each.

    `waiting` is at the end of a step. Lags are ms from a batch's last event to its delivery, None
    where nothing was delivered; replays have none. `maybe_twice` are batches sent more than once.
    """

    start_ms: int
    step_ms: int
    logged: list[float]
    waiting: list[float]
    delivered: list[int]
    replayed: list[int]
    longest_lag_ms: list[int | None]
    mean_lag_ms: list[float | None]
    maybe_twice: int

    @property
    def end_ms(self) -> int:
        """
        When the last step ends.
        """
        return self.start_ms + len(self.logged) * self.step_ms


def timeline(spool: Inspection, *, start_ms: int, step_ms: int, now_ms: int) -> Timeline:
    """
    From `start_ms` to now, of one moment. Raises `SpoolError`.
    """
    steps = max(1, -(-(now_ms - start_ms) // step_ms))
    values = {"start_ms": start_ms, "step_ms": step_ms, "last": steps - 1, "now_ms": now_ms}
    rows = list(spool.query(LOOK, values))
    fresh = [row for row in rows if not row["is_replay"]]
    logged = _Arrivals(steps)
    for row in fresh:
        logged.add(row["first"], row["last"], row)
    returned = _Arrivals(steps)
    for row in rows:
        if row["is_replay"]:
            returned.add(row["made"], row["made"], row)
    delivered = _totals(fresh, "events", steps)
    replayed = _totals([row for row in rows if row["is_replay"]], "events", steps)
    went = list(accumulate(map(add, delivered, replayed)))
    came = map(add, logged.until(), returned.until())
    return Timeline(
        start_ms=start_ms,
        step_ms=step_ms,
        logged=logged.in_steps(),
        waiting=[max(0.0, total - gone) for total, gone in zip(came, went, strict=True)],
        delivered=delivered,
        replayed=replayed,
        longest_lag_ms=_longest(fresh, steps),
        mean_lag_ms=[
            lags / events if events else None
            for lags, events in zip(_totals(fresh, "lags_ms", steps), delivered, strict=True)
        ],
        maybe_twice=sum(row["maybe_twice"] for row in rows),
    )


class _Arrivals:
    """
    Events by step, each amount spread evenly over some steps.
    """

    def __init__(self, steps: int) -> None:
        self._before = 0.0
        self._changes = [0.0] * (steps + 1)

    def add(self, first: int, last: int, row: Row) -> None:
        """
        Count a row's events from the step `first` to `last`, but not after they were sent.
        """
        if row["sent"] is not None:
            first, last = min(first, row["sent"]), min(last, row["sent"])
        last = max(first, last)
        share = row["events"] / (last - first + 1)
        self._before += share * max(0, min(0, last + 1) - first)
        if last >= 0:
            self._changes[max(first, 0)] += share
            self._changes[last + 1] -= share

    def in_steps(self) -> list[float]:
        """
        How many came in each.
        """
        return [max(0.0, amount) for amount in accumulate(self._changes[:-1])]

    def until(self) -> list[float]:
        """
        How many had come at the end of each.
        """
        return [self._before + total for total in accumulate(self.in_steps())]


def _totals(rows: list[Row], column: str, steps: int) -> list[int]:
    totals = [0] * steps
    for row in rows:
        if row["sent"] is not None:
            totals[row["sent"]] += row[column]
    return totals


def _longest(rows: list[Row], steps: int) -> list[int | None]:
    longest: list[int | None] = [None] * steps
    for row in rows:
        if row["sent"] is not None:
            longest[row["sent"]] = max(longest[row["sent"]] or 0, row["longest_lag_ms"])
    return longest
