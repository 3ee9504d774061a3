"""
Why a line never became an event; how many did not is counted by these words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["BLANK", "CONTAINERS_LOST", "DAMAGED", "FILES_LOST", "RECORDS_LOST", "listed"]

BLANK = "blank lines"
DAMAGED = "damaged records"

FILES_LOST = "files rotated away or truncated unread"
RECORDS_LOST = "records rotated away unread"
CONTAINERS_LOST = "containers removed before all was read"
"""How many lines were in these nobody knows; perhaps none."""

PLURAL = re.compile(r"s\b")

LOSSES = frozenset({FILES_LOST, RECORDS_LOST, CONTAINERS_LOST})


def listed(skipped: Mapping[str, int], *, lost: bool) -> str:
    """
    `3 files rotated away or truncated unread`: what may have held lines that were lost before they
    were read, or all else; empty where there is nothing.
    """
    chosen = (why for why in skipped if (why in LOSSES) is lost)
    return ", ".join(_counted(skipped[why], why) for why in chosen)


def _counted(count: int, why: str) -> str:
    """
    `2 blank lines`, `1 blank line`: the first plural is what is counted.
    """
    return f"{count:,} {PLURAL.sub('', why, count=1) if count == 1 else why}"
