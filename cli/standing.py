"""
How things stand with a spool: what `status`, `top`, the start page and the health check look at.

Comes in: a path. Goes out: the object that `spool status --json` shows, and what is wrong in plain
words, worst first. Always holds: only counters are read, no events, so that it takes as long for
ten events as for ten million.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from spool.inspection import Inspection
from spool.lock import holder
from spool.window import Row
from spool.wording import counted, human_duration

__all__ = [
    "COUNTS",
    "Standing",
    "Trouble",
    "failures",
    "is_failing",
    "is_late",
    "lag_s",
    "read_standing",
    "since_s",
    "standing_of",
    "summary",
    "troubles",
    "waiting",
    "worst_first",
]

COUNTS = ("unsent", "sent", "rejected", "collected", "pruned", "dropped")

LATE_S = 60.0
"""Events wait for some seconds where all is well."""

Standing = dict[str, Any]
"""What `spool status --json` shows; times in it are ISO 8601 in UTC."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """
    Something that somebody should know. `subject` is a name, `what` goes on from there; `since` and
    `tried`, the last attempt, are ISO 8601.
    """

    what: str
    subject: str = ""
    why: str = ""
    since: str | None = None
    tried: str | None = None

    @property
    def text(self) -> str:
        """
        In one sentence, without the times.
        """
        what = f"{self.subject} {self.what}" if self.subject else self.what
        return f"{what}: {self.why}" if self.why else what


def read_standing(db: Path, *, group: str | None = None, stream: str | None = None) -> Standing:
    """
    Of all streams, or of those with that name.

    Raises `SpoolError`.
    """
    with Inspection(db) as spool:
        streams = [
            row
            for row in spool.streams()
            if group in (None, row["group"]) and stream in (None, row["stream"])
        ]
        return standing_of(spool, streams, holder(db))


def standing_of(spool: Inspection, streams: Sequence[Row], agent: int | None) -> Standing:
    """
    Of these streams, which were read before, with the pid of the agent.
    """
    notes = spool.notes()
    limit = notes.pop("max_size", None)
    if agent is None:
        notes.clear()  # it ended without taking them back
    oldest = [row["oldest_unsent"] for row in streams if row["oldest_unsent"]]
    standing = {
        **{name: sum(row[name] for row in streams) for name in COUNTS},
        "oldest_unsent": min(oldest, default=None),
        "bytes": spool.size_bytes(),
        "wal_bytes": spool.log_bytes(),
        "agent": agent,
        "max_size": int(limit["text"]) if limit else None,
        "full": "full" in notes,
        "warnings": list(notes.values()),
        "skipped": spool.skipped(),
        "streams": sorted(streams, key=lambda row: (-row["unsent"], row["group"])),
    }
    told = [{"text": trouble.text, "since": trouble.since} for trouble in troubles(standing)]
    return {**standing, "troubles": told}


def troubles(standing: Standing) -> list[Trouble]:
    """
    What is wrong, worst first.
    """
    if standing["agent"] is None:
        return [Trouble("no agent runs: nothing is being collected"), *failures(standing)]
    return failures(standing)


def failures(standing: Standing) -> list[Trouble]:
    """
    What the agent reports, and what is not delivered; worst first.
    """
    reported = [Trouble(note["text"], since=note["since"]) for note in standing["warnings"]]
    general = " ".join(trouble.what for trouble in reported)
    others = _not_delivered(standing["streams"])
    return [*reported, *(one for one in others if one.why not in general)]


def _not_delivered(streams: Iterable[Row]) -> list[Trouble]:
    """
    One trouble for streams that fail with the same code; that with the oldest event stands for all.
    """
    alike: dict[str, list[Row]] = {}
    for row in worst_first(streams):
        if is_failing(row):
            alike.setdefault(_code(row["last_error"]), []).append(row)
    return [
        Trouble(
            "is not delivered"
            if len(rows) == 1
            else f"and {counted(len(rows) - 1, 'stream')} more are not delivered",
            subject=f"{rows[0]['group']} {rows[0]['stream']}",
            why=rows[0]["last_error"],
            since=min((row["failing_since"] for row in rows if row["failing_since"]), default=None),
            tried=max((row["last_error_at"] for row in rows if row["last_error_at"]), default=None),
        )
        for rows in alike.values()
    ]


def _code(error: str) -> str:
    """
    `PutLogEvents: AccessDeniedException` without what the service says of this very stream.
    """
    return ":".join(error.split(":", 2)[:2])


def is_failing(row: Row) -> bool:
    """
    Whether events of a stream wait because of an error.
    """
    return bool(row["last_error"] and row["unsent"])


def worst_first(streams: Iterable[Row]) -> list[Row]:
    """
    Those with errors, then those with the oldest unsent event; what was all sent by name.
    """
    return sorted(
        streams,
        key=lambda row: (
            not is_failing(row),
            row["oldest_unsent"] or "~",  # after every date
            not row["last_error"],
            row["group"],
            row["stream"],
        ),
    )


def summary(standing: Standing, now_ms: int) -> str:
    """
    How things stand where nothing is wrong.
    """
    if standing["unsent"]:
        return waiting(standing["streams"], now_ms)
    if not standing["collected"]:
        return "nothing was collected yet"
    if standing["rejected"]:
        return f"all sent but {counted(standing['rejected'], 'event')} that CloudWatch rejected"
    return "all sent"


def waiting(streams: Sequence[Row], now_ms: int) -> str:
    """
    `12,345 events of 3 streams wait, the oldest for 14 min`.
    """
    rows = [row for row in streams if row["unsent"]]
    unsent = sum(row["unsent"] for row in rows)
    if not unsent:
        return "nothing waits"
    verb = "waits" if unsent == 1 else "wait"
    age = human_duration(max(lag_s(row, now_ms) for row in rows))
    return (
        f"{counted(unsent, 'event')} of {counted(len(rows), 'stream')} {verb}, the oldest for {age}"
    )


def lag_s(row: Row, now_ms: int) -> float:
    """
    How old the oldest unsent event is, of one stream or of all.
    """
    return max(0.0, since_s(row["oldest_unsent"], now_ms) or 0.0)


def is_late(row: Row, now_ms: int) -> bool:
    """
    Whether the oldest unsent event has waited for longer than it does where all is well.
    """
    return lag_s(row, now_ms) >= LATE_S


def since_s(moment: str | None, now_ms: int) -> float | None:
    """
    Seconds since a moment in ISO 8601.
    """
    if moment is None:
        return None
    return now_ms / 1000 - datetime.fromisoformat(moment).timestamp()
