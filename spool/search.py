"""
Events that hold a text, the newest first, as far back as a moment's time goes.

Comes in: a selection and a text. Goes out: rows of the view `events`, long messages cut. Always
holds: it ends in about the time given, in a spool of any size, and says how far it looked; between
two blocks of ids no transaction is open.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from spool.inspection import Inspection
from spool.schema import BLOCK_IDS
from spool.selection import Selection
from spool.window import Row

__all__ = ["Found", "find_newest"]

SHOWN_CHARACTERS = 2_000

COLUMNS = f"""
id, log_group, log_stream, timestamp, time, substr(message, 1, {SHOWN_CHARACTERS}) AS message,
length(message) AS characters, state, batch_id, source
"""


@dataclass(frozen=True, slots=True)
class Found:
    """
    Rows in the order stored. Older ones may be found up to the id `older_id`; None where there is
    nothing more.
    """

    rows: list[Row]
    older_id: int | None


def find_newest(
    spool: Inspection, selection: Selection, *, text: str, newest: int, limit_s: float
) -> Found:
    """
    The newest events of a selection whose message holds `text`, capital or small (ASCII) alike.

    Raises `SpoolError`.
    """
    deadline_s = time.monotonic() + limit_s
    condition, values = selection.extents_sql()
    blocks = spool.query(
        f"SELECT DISTINCT block FROM extent WHERE {condition} ORDER BY block DESC", values
    )
    found: list[Row] = []
    is_late = False
    for block in [row["block"] for row in blocks]:
        if is_late:
            return Found(found[::-1], block * BLOCK_IDS + BLOCK_IDS - 1)
        found += _in_block(spool, selection, block, text, newest - len(found))
        if len(found) >= newest:
            return Found(found[::-1], found[-1]["id"] - 1)
        is_late = time.monotonic() > deadline_s  # after one block: the next look must go on
    return Found(found[::-1], None)


def _in_block(
    spool: Inspection, selection: Selection, block: int, text: str, newest: int
) -> list[Row]:
    condition, values = selection.sql()
    if text:
        condition += r" AND message LIKE :like ESCAPE '\'"
    return list(
        spool.query(
            f"SELECT {COLUMNS} FROM events WHERE id BETWEEN :from_id AND :to_id AND {condition}"
            f" ORDER BY id DESC LIMIT {newest:d}",
            {
                **values,
                **({"like": f"%{_literally(text)}%"} if text else {}),
                "from_id": block * BLOCK_IDS,
                "to_id": block * BLOCK_IDS + BLOCK_IDS - 1,
            },
        )
    )


def _literally(text: str) -> str:
    """
    A text in which no character has a meaning for LIKE.
    """
    return "".join(f"\\{char}" if char in "\\%_" else char for char in text)
