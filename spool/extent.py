"""
Extents: which stream has what among a thousand ids.

Comes in: ids that were just stored, changed or deleted. Goes out: one row for each block of ids and
stream. Always holds: an event lies within the bounds of its stream's extent; `events` and `bytes`
are exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import apsw

from spool.connection import select
from spool.run import Run
from spool.schema import BLOCK_IDS

__all__ = ["add", "rebuild", "remeasure"]

MEASURE = """
SELECT :block, stream_id, min(id), max(id), min(timestamp), max(timestamp), count(*),
       sum(octet_length(message))
FROM event WHERE id BETWEEN :first AND :last
"""


def add(db: apsw.Connection, stream_id: int, runs: Sequence[Run]) -> None:
    """
    Note runs of one stream that were just stored.
    """
    db.executemany(
        "INSERT INTO extent (block, stream_id, first_id, last_id, first_timestamp, last_timestamp,"
        " bytes, events) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (block, stream_id) DO UPDATE SET last_id = excluded.last_id,"
        " first_timestamp = min(first_timestamp, excluded.first_timestamp),"
        " last_timestamp = max(last_timestamp, excluded.last_timestamp),"
        " events = events + excluded.events, bytes = bytes + excluded.bytes",
        [(run.first_id // BLOCK_IDS, stream_id, *run[:-1], run.events) for run in runs],
    )


def remeasure(db: apsw.Connection, stretches: Iterable[tuple[int, int, int]]) -> None:
    """
    Look again where some events were changed or deleted: (stream id, first id, last id).
    """
    touched = {
        (block, stream_id)
        for stream_id, first_id, last_id in stretches
        for block in range(first_id // BLOCK_IDS, last_id // BLOCK_IDS + 1)
    }
    db.executemany("DELETE FROM extent WHERE block = ? AND stream_id = ?", touched)
    db.executemany(
        f"INSERT INTO extent {MEASURE} AND stream_id = :stream GROUP BY stream_id",
        [{**_ids(block), "stream": stream_id} for block, stream_id in sorted(touched)],
    )


def rebuild(db: apsw.Connection) -> None:
    """
    Measure all events anew.
    """
    db.execute("DELETE FROM extent")
    blocks = select(db, f"SELECT DISTINCT id / {BLOCK_IDS} FROM event")
    db.executemany(
        f"INSERT INTO extent {MEASURE} GROUP BY stream_id",
        [_ids(block) for (block,) in blocks],
    )


def _ids(block: int) -> dict[str, int]:
    first = block * BLOCK_IDS
    return {"block": block, "first": first, "last": first + BLOCK_IDS - 1}
