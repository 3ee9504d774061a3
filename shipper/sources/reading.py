"""
What a source hands over.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from spool.store import Chunk

__all__ = ["Reading", "Thrift"]


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


class Thrift:
    """
    Which positions are worth storing. What is open of a message is in them, and that may grow for
    hours, line by line: where nothing else makes it due, a position is stored once as much was read
    again as there is to store. A restart reads that again, and comes to the same.
    """

    def __init__(self) -> None:
        self.unsaved_bytes = 0
        """Read since the last one was stored."""

    def stores(self, position: str, *, read_bytes: int, is_due: bool) -> bool:
        """
        Whether to store this position, after so many bytes more.
        """
        self.unsaved_bytes += read_bytes
        if not is_due and self.unsaved_bytes < len(position):
            return False
        self.unsaved_bytes = 0
        return True
