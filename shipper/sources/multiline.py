"""
Messages of several lines: a stack trace becomes one event.

Comes in: the events of one container, line by line. Goes out: events in which lines that belong
together are joined, with the time of the first. Always holds: no event is longer than CloudWatch
takes; what is open is in `position`, which is stored with the source's own.

The settings are logspout's: MULTILINE_MATCH tells what a line that matches the pattern is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from shipper.batch import MAX_MESSAGE_BYTES
from shipper.errors import RouteError
from shipper.settings import AGENT, CONTAINER, Setting
from spool.store import Event

__all__ = ["SETTINGS", "Match", "Multiline", "MultilineRule", "rule_from"]

DEFAULT_PATTERN = r"^\s"
DEFAULT_SEPARATOR = "\n"
DEFAULT_FLUSH_S = 0.5
MAX_MS_DIGITS = 9

SETTINGS = (
    Setting("MULTILINE_PATTERN", (AGENT,), "a regular expression", DEFAULT_PATTERN),
    Setting(
        "MULTILINE_MATCH",
        (AGENT,),
        "what a line that matches is in its event: first, last, nonfirst or nonlast",
        "nonfirst",
    ),
    Setting("MULTILINE_FLUSH_AFTER", (AGENT,), "ms without a line that end an event", "500"),
    Setting("MULTILINE_SEPARATOR", (AGENT,), "what is put between its lines", "a line break"),
    Setting("MULTILINE_ENABLE_DEFAULT", (AGENT,), "false: only where a container says so", "true"),
    Setting("LOGSPOUT_MULTILINE", (CONTAINER,), "true or false, for this container"),
)
"""Any of MULTILINE_* joins lines; where none is given and no --multiline, a line is an event."""

INDENTED = ("\tat main", "    at main")


class Match(Enum):
    """
    What a matching line is in its message.
    """

    FIRST = "first"
    LAST = "last"
    NONFIRST = "nonfirst"
    NONLAST = "nonlast"


@dataclass(frozen=True, slots=True)
class MultilineRule:
    """
    Which lines belong together; `flush_s` without a line end a message.
    """

    pattern: re.Pattern[str]
    match: Match = Match.NONFIRST
    separator: str = DEFAULT_SEPARATOR
    flush_s: float = DEFAULT_FLUSH_S
    by_default: bool = True

    def applies(self, container_setting: str) -> bool:
        """
        Whether a container is meant, from its LOGSPOUT_MULTILINE (`true`, `false` or neither).
        """
        return {"true": True, "false": False}.get(container_setting.lower(), self.by_default)

    def begins(self, line: str) -> bool:
        """
        Whether a line begins a message.
        """
        if self.match is Match.FIRST:
            return self.pattern.search(line) is not None
        return self.match is Match.NONFIRST and self.pattern.search(line) is None

    def ends(self, line: str) -> bool:
        """
        Whether a line ends its message.
        """
        if self.match is Match.LAST:
            return self.pattern.search(line) is not None
        return self.match is Match.NONLAST and self.pattern.search(line) is None


def rule_from(flag: str | None, environ: Mapping[str, str]) -> MultilineRule | None:
    """
    The rule of `--multiline PATTERN` and logspout's MULTILINE_* settings; None where neither is
    given.

    Without MULTILINE_MATCH, a line that matches begins a message, unless the pattern is one that
    finds indented lines, as logspout's own `^\\s` does: then a line that matches continues one.

    Raises RouteError with one line.
    """
    given = {
        name: value for name, value in environ.items() if name.startswith("MULTILINE_") and value
    }
    if flag is None and not given:
        return None
    pattern = _pattern(flag or given.get("MULTILINE_PATTERN", DEFAULT_PATTERN))
    return MultilineRule(
        pattern=pattern,
        match=_match(given.get("MULTILINE_MATCH"), pattern, is_flag=flag is not None),
        separator=given.get("MULTILINE_SEPARATOR", DEFAULT_SEPARATOR),
        flush_s=_flush_s(given.get("MULTILINE_FLUSH_AFTER")),
        by_default=_by_default(given.get("MULTILINE_ENABLE_DEFAULT", "true")),
    )


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise RouteError(
            f"the multiline pattern {text!r} is no regular expression: {error}"
        ) from error


def _match(text: str | None, pattern: re.Pattern[str], *, is_flag: bool) -> Match:
    if text is None:
        is_continuation = any(pattern.search(line) for line in INDENTED)
        return Match.FIRST if is_flag and not is_continuation else Match.NONFIRST
    try:
        return Match(text.lower())
    except ValueError as error:
        raise RouteError(
            f"MULTILINE_MATCH {text!r} is none of first, last, nonfirst, nonlast"
        ) from error


def _flush_s(text: str | None) -> float:
    if text is None:
        return DEFAULT_FLUSH_S
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_MS_DIGITS):
        raise RouteError(f"MULTILINE_FLUSH_AFTER {text!r} is no number of milliseconds")
    return int(text) / 1000


def _by_default(text: str) -> bool:
    known = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in known:
        raise RouteError(f"MULTILINE_ENABLE_DEFAULT {text!r} is neither true nor false")
    return known[text.lower()]


@dataclass(slots=True)
class _Message:
    """
    A message whose end was not seen: the time of its first line, its lines, their UTF-8 bytes.
    """

    timestamp: int
    lines: list[str]
    size_bytes: int


@dataclass(slots=True)
class Multiline:
    """
    Joins the lines of one container, stdout and stderr each for themselves.
    """

    rule: MultilineRule
    max_bytes: int = MAX_MESSAGE_BYTES
    open: dict[int, _Message] = field(default_factory=dict)

    def read(self, events: list[Event]) -> list[Event]:
        """
        The messages that end in these lines.
        """
        joined: list[Event] = []
        for stream_id, timestamp, source_id, line in events:
            size_bytes = len(line.encode()) + len(self.rule.separator.encode())
            message = self.open.pop(source_id, None)
            if message and (self.rule.begins(line) or self._is_full(message, size_bytes)):
                joined.append(self._event(stream_id, source_id, message))
                message = None
            message = message or _Message(timestamp, [], 0)
            message.lines.append(line)
            message.size_bytes += size_bytes
            if self.rule.ends(line):
                joined.append(self._event(stream_id, source_id, message))
            else:
                self.open[source_id] = message
        return joined

    def flush(self, stream_id: int) -> list[Event]:
        """
        What is open, as events: nothing more belongs to it.
        """
        ended = [self._event(stream_id, source, message) for source, message in self.open.items()]
        self.open.clear()
        return ended

    def position(self) -> dict[str, Any]:
        """
        What is open, to be stored; `resume` takes it back.
        """
        return {
            str(source_id): [message.timestamp, message.lines]
            for source_id, message in self.open.items()
        }

    def resume(self, position: Mapping[str, Any]) -> None:
        """
        Go on where `position` was given.
        """
        separator_bytes = len(self.rule.separator.encode())
        self.open = {
            int(source_id): _Message(
                timestamp, lines, sum(len(line.encode()) + separator_bytes for line in lines)
            )
            for source_id, (timestamp, lines) in position.items()
        }

    def _is_full(self, message: _Message, more_bytes: int) -> bool:
        return message.size_bytes + more_bytes > self.max_bytes

    def _event(self, stream_id: int, source_id: int, message: _Message) -> Event:
        text = self.rule.separator.join(message.lines)
        return (stream_id, message.timestamp, source_id, text)
