"""
A value that was given for a setting, and what it stands for: text in, a checked value out.

Always holds: an error shows what was written in the route, and of the environment only the values
of DELAY, TAIL, BACKLOG and ALLOW_TTY.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shipper.errors import RouteError

__all__ = ["MAX_DELAY_S", "SHOWN_CHARS", "Given", "parse_delay_s", "quoted"]

MAX_DELAY_S = 3600.0  # an hour: whoever asks for more has most likely written milliseconds
SHOWN_CHARS = 60
_YES = frozenset({"true", "1", "yes", "on"})
_NO = frozenset({"false", "0", "no", "off"})

_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?|\.[0-9]{1,9}")
_LINES = re.compile(r"[0-9]{1,9}")
_CONTAINER_ID = re.compile(r"[0-9a-f]{1,64}")


@dataclass(frozen=True, slots=True)
class Given:
    """
    One value: its name, the place, the text as it was written there, and what that stands for.

    What reads it raises RouteError for what cannot be meant.
    """

    name: str
    where: str
    text: str
    value: str

    def __str__(self) -> str:
        return f"{self.name} in the {self.where}"

    def as_text(self) -> str:
        """
        As it is.
        """
        return self.value

    def as_delay_s(self) -> float:
        """
        Seconds above 0, at most `MAX_DELAY_S`.
        """
        return parse_delay_s(self.value, f"in the {self.where}", shown=self.text)

    def as_lines(self) -> int | None:
        """
        A number of lines; None for all.
        """
        count = self.value.strip()
        if count.lower() == "all":
            return None
        if _LINES.fullmatch(count):
            return int(count)
        raise RouteError(f"{self} is {quoted(self.text)}; write all or a number of lines")

    def is_off(self) -> bool:
        """
        Whether a switch that says it all by being there is given as not given.
        """
        return self._word() in _NO

    def as_truth(self) -> bool:
        """
        True or false, in any of the usual words.
        """
        word = self._word()
        if word in _YES or word in _NO:
            return word in _YES
        raise RouteError(f"{self} is {quoted(self.text)}; write true or false")

    def as_container_id(self) -> str:
        """
        The beginning of one.
        """
        if _CONTAINER_ID.fullmatch(self.value):
            return self.value
        raise RouteError(f"{self} is not the beginning of an id; for a name use filter.name")

    def as_sources(self) -> tuple[str, ...]:
        """
        `stdout`, `stderr` or both.
        """
        sources = self._entries(",")
        if sources and set(sources) <= {"stdout", "stderr"}:
            return sources
        raise RouteError(f"{self} is {quoted(self.text)}; write stdout or stderr")

    def as_label_patterns(self) -> tuple[str, ...]:
        """
        `label:pattern` each.
        """
        patterns = self._entries(",")
        # without a colon logspout takes no notice, and everything is collected
        if patterns and all(pattern.find(":") > 0 for pattern in patterns):
            return patterns
        raise RouteError(f"{self} is {quoted(self.text)}; write label:pattern for each")

    def as_labels(self) -> tuple[tuple[str, str], ...]:
        """
        (label, value) each; the value is true where none is given.
        """
        return tuple(self._label(entry) for entry in self._entries(";"))

    def _label(self, entry: str) -> tuple[str, str]:
        key, colon, value = entry.partition(":")
        if not key:
            raise RouteError(f"{self} has an entry without a label; write label or label:value")
        return key, value if colon else "true"

    def _word(self) -> str:
        return self.value.strip().lower()

    def _entries(self, separator: str) -> tuple[str, ...]:
        return tuple(entry.strip() for entry in self.value.split(separator) if entry.strip())


def parse_delay_s(text: str, where: str, *, shown: str | None = None) -> float:
    """
    Seconds above 0, at most `MAX_DELAY_S`; *where* tells the reader of an error, "in the route",
    and *shown* what was written there, where that is not *text*.

    Raises RouteError for anything else.
    """
    number = text.strip()
    delay_s = float(number) if _SECONDS.fullmatch(number) else 0.0
    if 0 < delay_s <= MAX_DELAY_S:
        return delay_s
    raise RouteError(
        f"DELAY {quoted(text if shown is None else shown)} {where} is no number of seconds above 0"
        f" and at most {MAX_DELAY_S:.0f}; write one such as 4"
    )


def quoted(text: str) -> str:
    """
    *text* in quotes, on one line, cut when it is long.
    """
    return repr(text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…")
