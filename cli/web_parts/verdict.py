"""
What a person should know first, the worst before the rest.

Comes in: how things stand, as `spool status` has it. Goes out: findings, at least one. Always
holds: each says what is, and where something can be done, the command that does it; what is wrong
is what `spool status` calls wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cli.printable import printable
from cli.standing import Standing, Trouble, failures, is_late, lag_s
from cli.web_parts.words import lag, local_time, replay_command
from spool.selection import Selection
from spool.skipped import listed
from spool.wording import counted

__all__ = ["Finding", "findings", "is_stuck"]

MAX_FAILURES = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """
    `level` is `bad`, `warning` or `good`; `detail` may be somebody else's words.
    """

    level: str
    words: str
    detail: str = ""
    command: str = ""


def is_stuck(standing: Standing, now_ms: int) -> bool:
    """
    Whether what is unsent has no good reason to be.
    """
    return standing["unsent"] > 0 and (standing["agent"] is None or is_late(standing, now_ms))


def findings(db: Path, standing: Standing, now_ms: int) -> list[Finding]:
    """
    That no agent runs is told of what waits for one: a spool may be kept to look into it.
    """
    found = [_failing(trouble) for trouble in failures(standing)[:MAX_FAILURES]]
    if is_stuck(standing, now_ms):
        found.append(_stuck(db, standing, now_ms))
    if standing["dropped"]:
        words = f"{counted(standing['dropped'], 'event')} dropped unsent: the spool was full"
        found.append(Finding("bad", words))
    if lost := listed(standing["skipped"], lost=True):
        found.append(Finding("bad", f"Lines may have been lost before they were read: {lost}"))
    if standing["rejected"]:
        words = f"{counted(standing['rejected'], 'event')} rejected for good; they are kept here"
        found.append(Finding("warning", words))
    return found or [_good(standing)]


def _failing(trouble: Trouble) -> Finding:
    """
    Names and paths in it come from elsewhere.
    """
    words = printable(f"{trouble.subject} {trouble.what}".strip())
    if trouble.since:
        words += f", since {local_time(trouble.since, '%m-%d %H:%M')}"
    return Finding("bad", words, detail=trouble.why)


def _stuck(db: Path, standing: Standing, now_ms: int) -> Finding:
    unsent, age = counted(standing["unsent"], "event"), lag(lag_s(standing, now_ms) * 1000)
    if standing["agent"] is not None:
        return Finding("warning", f"{unsent} wait, the oldest for {age}")
    words = f"{unsent} not sent, the oldest {age} old, and no agent is running"
    return Finding("bad", words, command=replay_command(db, Selection()))


def _good(standing: Standing) -> Finding:
    if not standing["collected"]:
        return Finding("good", "Nothing was collected yet")
    if standing["agent"] is None:
        return Finding("good", "All that was collected has been sent; no agent is running")
    return Finding("good", "All is well: what is collected is sent within minutes")
