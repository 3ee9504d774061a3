"""
What a person should know first, the worst before the rest.

Comes in: totals of a spool. Goes out: findings, at least one. Always holds: each says what is, and
where something can be done, the command that does it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cli.web_parts.words import lag, replay_command
from spool.selection import Selection
from spool.skipped import listed
from spool.wording import counted

__all__ = ["Finding", "findings", "is_stuck"]

SLOW_MS = 5 * 60_000
"""An agent that is well sends within seconds."""


@dataclass(frozen=True, slots=True)
class Finding:
    """
    `level` is `bad`, `warning` or `good`; `detail` may be somebody else's words.
    """

    level: str
    words: str
    detail: str = ""
    command: str = ""


def is_stuck(oldest_unsent: str | None, agent: int | None, now_ms: int) -> bool:
    """
    Whether what is unsent has no good reason to be.
    """
    return oldest_unsent is not None and (agent is None or _age_ms(oldest_unsent, now_ms) > SLOW_MS)


def findings(
    db: Path,
    *,
    totals: Mapping[str, int],
    skipped: Mapping[str, int],
    oldest_unsent: str | None,
    agent: int | None,
    warnings: Sequence[str],
    errors: Counter[str],
    now_ms: int,
) -> list[Finding]:
    """
    `warnings` are the agent's own words, `errors` the last ones of the streams, and of how many.
    """
    age_ms = _age_ms(oldest_unsent, now_ms)
    found = [Finding("bad", "The agent says", detail=text) for text in warnings]
    found += [
        Finding("bad", f"{counted(streams, 'stream')} cannot be sent", detail=error)
        for error, streams in errors.most_common(3)
        if not any(error in text for text in warnings)
    ]
    if totals["unsent"] and agent is None:
        words = (
            f"{counted(totals['unsent'], 'event')} not sent, the oldest {lag(age_ms)} old, and no"
            " agent is running"
        )
        found.append(Finding("bad", words, command=replay_command(db, Selection())))
    elif is_stuck(oldest_unsent, agent, now_ms):
        words = f"{counted(totals['unsent'], 'event')} wait, the oldest for {lag(age_ms)}"
        found.append(Finding("warning", words))
    if totals["dropped"]:
        words = f"{counted(totals['dropped'], 'event')} dropped unsent: the spool was full"
        found.append(Finding("bad", words))
    if lost := listed(skipped, lost=True):
        found.append(Finding("bad", f"Lines may have been lost before they were read: {lost}"))
    if totals["rejected"]:
        words = f"{counted(totals['rejected'], 'event')} rejected for good; they are kept here"
        found.append(Finding("warning", words))
    return found or [_good(totals, agent)]


def _good(totals: Mapping[str, int], agent: int | None) -> Finding:
    if not totals["collected"]:
        return Finding("good", "Nothing was collected yet")
    if agent is None:
        return Finding("good", "All that was collected has been sent; no agent is running")
    return Finding("good", "All is well: what is collected is sent within minutes")


def _age_ms(oldest_unsent: str | None, now_ms: int) -> float:
    if oldest_unsent is None:
        return 0.0
    return max(0.0, now_ms - datetime.fromisoformat(oldest_unsent).timestamp() * 1000)
