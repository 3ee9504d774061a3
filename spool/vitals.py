"""
What a monitor asks of a spool that this process has open.

Comes in: an open store. Goes out: totals of one moment, sizes on disk, and whether the file can be
written. Always holds: a reader waits for no writer, a test of writing waits PROBE_S at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import apsw

from spool.connection import select
from spool.errors import SpoolUnusable
from spool.schema import VERSION
from spool.store import Store

__all__ = ["Totals", "Vitals"]

PROBE_S = 2.0
"""Our own transactions last milliseconds; who holds the file for longer keeps lines from it."""

TOTALS = """
SELECT coalesce(sum(collected), 0), coalesce(sum(rejected), 0), coalesce(sum(dropped), 0),
       coalesce(sum(queued), 0) + max(sending.events),
       coalesce(sum(queued_bytes), 0) + max(sending.bytes),
       min((SELECT min(first_timestamp) FROM queue WHERE stream_id = stream.id)),
       max(sending.oldest)
FROM (SELECT coalesce(sum(events), 0) AS events, coalesce(sum(bytes), 0) AS bytes,
             min(first_timestamp) AS oldest
      FROM batch WHERE state = 'sending') AS sending
LEFT JOIN stream ON true
"""


@dataclass(frozen=True, slots=True)
class Totals:
    """
    Events of all streams at one moment; `oldest_unsent_ms` is a timestamp, None where all was sent.
    """

    collected: int
    rejected: int
    dropped: int
    unsent: int
    unsent_bytes: int
    oldest_unsent_ms: int | None
    skipped: dict[str, int]

    def oldest_unsent_age_s(self, now_ms: int) -> float:
        """
        0 where all was sent; also where a container's clock is ahead.
        """
        if self.oldest_unsent_ms is None:
            return 0.0
        return max(0.0, (now_ms - self.oldest_unsent_ms) / 1000)


class Vitals:
    """
    The questions; from any thread, as long as the store is open.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._identity = _identity(store.path)

    def totals(self) -> Totals:
        """
        Raises `SpoolUnusable`.
        """
        try:
            with self._store.reading() as db:
                row = select(db, TOTALS)[0]
                skipped = dict(select(db, "SELECT reason, count FROM skipped ORDER BY reason"))
        except apsw.Error as error:
            raise SpoolUnusable(f"{self._store.path} cannot be read: {error}") from error
        collected, rejected, dropped, unsent, unsent_bytes, *times = row
        return Totals(
            collected=collected,
            rejected=rejected,
            dropped=dropped,
            unsent=unsent,
            unsent_bytes=unsent_bytes,
            oldest_unsent_ms=min((at_ms for at_ms in times if at_ms is not None), default=None),
            skipped=skipped,
        )

    def sizes(self) -> dict[str, int]:
        """
        Bytes on disk of the file and of its write-ahead log.
        """
        parts = {"db": self._store.path, "wal": _beside(self._store.path, "-wal")}
        return {name: path.stat().st_size for name, path in parts.items() if path.exists()}

    def why_not_writable(self) -> str | None:
        """
        What keeps lines from being stored, in plain words; None where nothing does.

        It is tried: the format's number is written once more, which needs the lock and the disk.
        """
        path = self._store.path
        if _identity(path) != self._identity:
            return f"{path} was removed or replaced under the running agent"
        try:
            db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
            try:
                db.set_busy_timeout(round(PROBE_S * 1000))
                db.wal_autocheckpoint(0)  # that is the writer's
                db.execute(f"BEGIN IMMEDIATE; PRAGMA user_version = {VERSION}; COMMIT")
            finally:
                db.close()
        except apsw.BusyError:
            return f"{path} cannot be written: another process holds its lock"
        except apsw.Error as error:
            return f"{path} cannot be written: {error}"
        return None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
