"""
What a selection names, as pieces: consecutive ids of one stream that share a state.

Comes in: a selection. Goes out: pieces in the order stored, block by block. Always holds: memory
does not grow with what is chosen; where a stream's extent is wholly meant and wholly sent, not one
of its events is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import apsw

from spool.connection import select
from spool.schema import BLOCK_IDS
from spool.selection import Selection
from spool.store import EXPIRED

__all__ = ["Ages", "Piece", "blocks", "pieces"]

EVENTS = """
(SELECT event_state.*, message, log_group, log_stream
 FROM event_state JOIN event ON event.id = event_state.id
 JOIN stream ON stream.id = event.stream_id)
"""

SENT_EVENTS = """
(SELECT event.*, 'sent' AS state, log_group, log_stream
 FROM event JOIN stream ON stream.id = event.stream_id)
"""
"""The same columns where it is known that nothing but sent events is there."""


@dataclass(frozen=True, slots=True)
class Ages:
    """
    What CloudWatch takes: timestamps from `oldest_ms` to `newest_ms`.
    """

    oldest_ms: int
    newest_ms: int

    def hold(self, first_timestamp: int, last_timestamp: int) -> bool:
        """
        Whether both are within.
        """
        return self.oldest_ms <= first_timestamp and last_timestamp <= self.newest_ms


@dataclass(frozen=True, slots=True)
class Piece:
    """
    Consecutive ids of one stream in one state; `bytes` are the UTF-8 bytes of their messages, and
    `is_stale` tells that CloudWatch would refuse them for their age.
    """

    first_id: int
    last_id: int
    stream_id: int
    state: str
    is_stale: bool
    first_timestamp: int
    last_timestamp: int
    bytes: int

    @property
    def events(self) -> int:
        """
        How many.
        """
        return self.last_id - self.first_id + 1


def blocks(db: apsw.Connection, selection: Selection) -> list[int]:
    """
    The blocks of ids in which such events may lie, ascending.
    """
    condition, values = selection.extents_sql()
    sql = f"SELECT DISTINCT block FROM extent WHERE {condition} ORDER BY block"
    return [row[0] for row in db.execute(sql, values)]


def pieces(
    db: apsw.Connection,
    selection: Selection,
    within: Sequence[int],
    ages: Ages,
    *,
    expired_is_stale: bool = False,
) -> Iterator[Piece]:
    """
    What a selection names in these blocks.

    What is outside of `ages` is stale, and with `expired_is_stale` so is what was rejected as
    older than its group's retention.
    """
    condition, values = selection.extents_sql()
    for block in within:
        extents = select(
            db,
            "SELECT first_id, last_id, stream_id, first_timestamp, last_timestamp, events, bytes"
            f" FROM extent WHERE block = :block AND {condition} ORDER BY first_id",
            {**values, "block": block},
        )
        is_sent = _is_all_sent(db, block)
        whole = [
            Piece(first, last, stream, "sent", False, oldest, newest, size)
            for first, last, stream, oldest, newest, events, size in extents
            if is_sent
            and events == last - first + 1
            and selection.holds_whole(oldest, newest)
            and ages.hold(oldest, newest)
            and first > (selection.after_id or 0)
            and (selection.last_id is None or last <= selection.last_id)
        ]
        if len(whole) == len(extents):
            yield from whole if not selection.states or "sent" in selection.states else ()
        else:
            yield from _islands(
                db, selection, block, ages, is_sent=is_sent, expired_is_stale=expired_is_stale
            )


def _is_all_sent(db: apsw.Connection, block: int) -> bool:
    """
    Whether nothing in a block waits, is on its way, or was rejected.
    """
    first, last = block * BLOCK_IDS, block * BLOCK_IDS + BLOCK_IDS - 1
    is_other: bool = db.execute(
        "SELECT EXISTS (SELECT 1 FROM queue WHERE first_id BETWEEN ?1 AND ?2)"
        " OR coalesce((SELECT last_id FROM queue WHERE first_id < ?1"
        "              ORDER BY first_id DESC LIMIT 1), 0) >= ?1"
        " OR EXISTS (SELECT 1 FROM rejection WHERE id BETWEEN ?1 AND ?2)"
        " OR EXISTS (SELECT 1 FROM run JOIN batch ON batch.id = batch_id"
        "            WHERE first_id BETWEEN ?1 AND ?2 AND batch.state <> 'sent')",
        (first, last),
    ).get
    return not is_other


def _islands(
    db: apsw.Connection,
    selection: Selection,
    block: int,
    ages: Ages,
    *,
    is_sent: bool,
    expired_is_stale: bool,
) -> list[Piece]:
    """
    The pieces of a block, from its events.
    """
    condition, values = selection.sql()
    stale = "timestamp NOT BETWEEN :oldest_ms AND :newest_ms"
    if expired_is_stale:
        stale += " OR EXISTS (SELECT 1 FROM rejection WHERE id = events.id AND reason = :expired)"
    rows = db.execute(
        "SELECT min(id), max(id), stream_id, state, is_stale, min(timestamp), max(timestamp),"
        " sum(octet_length(message)) FROM ("
        "  SELECT *, id - row_number() OVER (PARTITION BY stream_id, state, is_stale ORDER BY id)"
        "   AS island"
        f"  FROM (SELECT *, {stale} AS is_stale FROM {SENT_EVENTS if is_sent else EVENTS} AS events"
        f"        WHERE id BETWEEN :first_id_in AND :last_id_in AND {condition}))"
        " GROUP BY stream_id, state, is_stale, island ORDER BY min(id)",
        {
            **values,
            "expired": EXPIRED,
            "oldest_ms": ages.oldest_ms,
            "newest_ms": ages.newest_ms,
            "first_id_in": block * BLOCK_IDS,
            "last_id_in": block * BLOCK_IDS + BLOCK_IDS - 1,
        },
    )
    return [Piece(*row) for row in rows]
