"""
Which events: what `spool events` shows and `spool replay` sends again.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["STATES", "Selection"]

STATES = ("unsent", "sent", "rejected")


@dataclass(frozen=True, slots=True)
class Selection:
    """
    The events that match every field given.

    Times are ms since the epoch, `until_ms` exclusive. `after_id` is exclusive, `last_id`
    inclusive. `pattern` is a regular expression, for connections that know REGEXP.
    """

    group: str | None = None
    stream: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    batch_id: int | None = None
    states: tuple[str, ...] = ()
    after_id: int | None = None
    last_id: int | None = None
    pattern: str | None = None

    def sql(self) -> tuple[str, dict[str, str | int]]:
        """
        A condition on the view `events`, and its named values.
        """
        values: dict[str, str | int] = {}
        parts = ["true"]
        for name, value, condition in (
            ("log_group", self.group, "log_group = :log_group"),
            ("log_stream", self.stream, "log_stream = :log_stream"),
            ("since_ms", self.since_ms, "timestamp >= :since_ms"),
            ("until_ms", self.until_ms, "timestamp < :until_ms"),
            (
                "batch",
                self.batch_id,
                "EXISTS (SELECT 1 FROM run WHERE run.batch_id = :batch"
                " AND events.id BETWEEN run.first_id AND run.last_id)",
            ),
            ("after_id", self.after_id, "id > :after_id"),
            ("last_id", self.last_id, "id <= :last_id"),
            ("pattern", self.pattern, "message REGEXP :pattern"),
        ):
            if value is not None:
                parts.append(condition)
                values[name] = value
        if self.states:
            names = {f"state_{number}": state for number, state in enumerate(self.states)}
            parts.append(f"state IN ({', '.join(':' + name for name in names)})")
            values |= names
        return " AND ".join(parts), values
