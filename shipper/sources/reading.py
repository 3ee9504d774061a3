"""
What a source hands over.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from spool.store import Chunk

__all__ = ["Reading"]


@dataclass(slots=True)
class Reading:
    """
    What was read, as `Store.append` takes it: events, positions (None of a log that has ended), and
    what did not become events.
    """

    chunks: list[Chunk] = field(default_factory=list)
    checkpoints: dict[str, str | None] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    bytes: int = 0

    def skip(self, reason: str, count: int) -> None:
        """
        Count what did not become an event.
        """
        if count:
            self.skipped[reason] = self.skipped.get(reason, 0) + count
