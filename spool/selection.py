"""
Which events: what `spool events` shows and `spool replay` sends again.
"""

from __future__ import annotations

from dataclasses import dataclass

from spool.schema import BLOCK_IDS

__all__ = ["STATES", "Selection", "Values"]

STATES = ("unsent", "sent", "rejected")

Values = dict[str, str | int]

BLOCKS_OF_STATE = {
    "unsent": f"SELECT first_id / {BLOCK_IDS} FROM queue"
    f" UNION SELECT last_id / {BLOCK_IDS} FROM queue"
    f" UNION SELECT first_id / {BLOCK_IDS} FROM run JOIN batch ON batch.id = batch_id"
    " WHERE batch.state = 'sending'",
    "rejected": f"SELECT id / {BLOCK_IDS} FROM rejection",
}
"""A run of the queue is shorter than a block, and one of a batch lies within one."""


@dataclass(frozen=True, slots=True)
class Selection:
    """
    The events that match every field given.

    Times are ms since the epoch, `until_ms` exclusive. `after_id` is exclusive, `last_id`
    inclusive. `pattern` is a regular expression, for connections that know REGEXP, of bytes too.
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

    def sql(self) -> tuple[str, Values]:
        """
        A condition on the view `events`, and its named values.
        """
        parts, values = self._conditions(
            {
                "since_ms": "timestamp >= :since_ms",
                "until_ms": "timestamp < :until_ms",
                "after_id": "id > :after_id",
                "last_id": "id <= :last_id",
                "group": "log_group = :group",
                "stream": "log_stream = :stream",
                "batch_id": "EXISTS (SELECT 1 FROM run WHERE run.batch_id = :batch_id"
                " AND events.id BETWEEN run.first_id AND run.last_id)",
                "pattern": "CAST(message AS BLOB) REGEXP :pattern",
            }
        )
        if self.states:
            names = {f"state_{number}": state for number, state in enumerate(self.states)}
            parts.append(f"state IN ({', '.join(':' + name for name in names)})")
            values |= names
        return " AND ".join(parts), values

    def extents_sql(self) -> tuple[str, Values]:
        """
        A condition on the table `extent` for those in which such events may lie, and its values.
        """
        parts, values = self._conditions(
            {
                "since_ms": "last_timestamp >= :since_ms",
                "until_ms": "first_timestamp < :until_ms",
                "after_id": "extent.last_id > :after_id",
                "last_id": "extent.first_id <= :last_id",
                "group": "stream_id IN (SELECT id FROM stream WHERE log_group = :group)",
                "stream": "stream_id IN (SELECT id FROM stream WHERE log_stream = :stream)",
                "batch_id": f"block IN (SELECT first_id / {BLOCK_IDS} FROM run"
                " WHERE batch_id = :batch_id)",
            }
        )
        if self.states and "sent" not in self.states:
            blocks = " UNION ".join(BLOCKS_OF_STATE[state] for state in self.states)
            parts.append(f"block IN ({blocks})")
        return " AND ".join(parts), values

    def holds_whole(self, first_timestamp: int, last_timestamp: int) -> bool:
        """
        Whether all between these times is meant, whatever its state, in the streams that are.
        """
        return (
            self.batch_id is None
            and self.pattern is None
            and (self.since_ms is None or self.since_ms <= first_timestamp)
            and (self.until_ms is None or last_timestamp < self.until_ms)
        )

    def _conditions(self, conditions: dict[str, str]) -> tuple[list[str], Values]:
        given = {name: getattr(self, name) for name in conditions}
        values = {name: value for name, value in given.items() if value is not None}
        return ["true", *(conditions[name] for name in values)], values
