"""
The search: what the form says, what was found, and how to send that again.

Comes in: the form's fields, as typed. Goes out: events and commands, or what is wrong with a field.
Always holds: it ends in a moment; nothing is sent from here, a person types the command.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from cli.options import MAX_ROWS
from cli.times import parse_time
from cli.web_parts.words import replay_command
from spool.inspection import Inspection
from spool.search import Found, find_newest
from spool.selection import STATES, Selection
from spool.window import Row

__all__ = ["FIELDS", "Answer", "find"]

FIELDS = ("group", "stream", "since", "until", "text", "state", "batch", "before")

MAX_TEXT = 1_000
MAX_DIGITS = len(str(MAX_ROWS))
NEWEST = 200
SEARCH_S = 1.5
MAX_COMMANDS = 5


@dataclass(slots=True)
class Answer:
    """
    `fields` are as typed; where `wrong` says something, nothing was looked for.
    """

    fields: dict[str, str]
    wrong: str = ""
    rows: list[Row] = field(default_factory=list)
    older_id: int | None = None
    commands: list[str] = field(default_factory=list)
    is_narrowed: bool = False


def find(db: Path, typed: Mapping[str, str]) -> Answer:
    """
    Raises `SpoolError`.
    """
    answer = Answer({name: (typed.get(name) or "")[:MAX_TEXT] for name in FIELDS})
    try:
        selection = _selection(answer.fields)
    except ValueError as error:
        answer.wrong = str(error)
        return answer
    with Inspection(db) as spool:
        found = find_newest(
            spool, selection, text=answer.fields["text"], newest=NEWEST, limit_s=SEARCH_S
        )
    answer.rows, answer.older_id = found.rows, found.older_id
    chosen = replace(selection, last_id=None)
    answer.is_narrowed = bool(answer.fields["text"]) or chosen == Selection()
    answer.commands = _commands(db, chosen, found, is_narrowed=answer.is_narrowed)
    return answer


def _selection(fields: Mapping[str, str]) -> Selection:
    now = datetime.now(UTC)
    state = fields["state"]
    if state and state not in STATES:
        raise ValueError(f"{state!r} is no state; there are {', '.join(STATES)}")
    return Selection(
        group=fields["group"] or None,
        stream=fields["stream"] or None,
        since_ms=parse_time(fields["since"], now=now) if fields["since"] else None,
        until_ms=parse_time(fields["until"], now=now) if fields["until"] else None,
        batch_id=_number("batch", fields["batch"]),
        states=(state,) if state else (),
        last_id=_number("before", fields["before"]),
    )


def _number(name: str, text: str) -> int | None:
    if not text:
        return None
    is_short = len(text) <= MAX_DIGITS  # Python reads no number of thousands of digits
    if not (is_short and text.isascii() and text.isdigit() and int(text) <= MAX_ROWS):
        raise ValueError(f"{name}: {text!r} is no number")
    return int(text)


def _commands(db: Path, chosen: Selection, found: Found, *, is_narrowed: bool) -> list[str]:
    """
    For exactly what the form chose; a replay chooses by stream and time, so where a text was looked
    for, or nothing was chosen, for what was found and all between.
    """
    if not found.rows:
        return []
    if not is_narrowed:
        return [replay_command(db, chosen)]
    spans: dict[tuple[str, str], list[int]] = {}
    for row in found.rows:
        spans.setdefault((row["log_group"], row["log_stream"]), []).append(row["timestamp"])
    return [
        replay_command(
            db,
            replace(
                chosen, group=group, stream=stream, since_ms=min(times), until_ms=max(times) + 1
            ),
        )
        for (group, stream), times in list(spans.items())[:MAX_COMMANDS]
    ]
