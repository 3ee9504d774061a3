"""
The host's clock, as events and records have it.
"""

from __future__ import annotations

import time

__all__ = ["now_ms"]


def now_ms() -> int:
    """
    The present, in ms since the epoch.
    """
    return time.time_ns() // 1_000_000
