"""
The limits of PutLogEvents, and nothing else: which events may share a request, and which may be
sent at all.

Comes in: timestamps and lengths. Goes out: counts and bounds. Always holds: what fits is legal by
the service's own rules
(https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html).
"""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from math import ceil

from spool.queue import Limits
from spool.run import Run

__all__ = [
    "LIMITS",
    "MAX_AGE_MS",
    "MAX_AHEAD_MS",
    "MAX_BATCH_BYTES",
    "MAX_BATCH_EVENTS",
    "MAX_BATCH_SPAN_MS",
    "MAX_MESSAGE_BYTES",
    "OVERHEAD_BYTES",
    "acceptable_ms",
    "fit",
    "is_full",
    "pack",
    "requests_for",
]

MAX_BATCH_EVENTS = 10_000
MAX_BATCH_BYTES = 1_048_576
"""UTF-8 bytes of the messages, and `OVERHEAD_BYTES` for each event."""

OVERHEAD_BYTES = 26
MAX_MESSAGE_BYTES = MAX_BATCH_BYTES - OVERHEAD_BYTES
"""The longest message that a batch of one event can hold."""

MAX_BATCH_SPAN_MS = 24 * 3600 * 1000 - 1
"""From the first to the last event; one less than a day, as the day's own edge is not defined."""

MAX_AGE_MS = 14 * 24 * 3600 * 1000
MAX_AHEAD_MS = 2 * 3600 * 1000
"""The service refuses events older, or further ahead of its clock, one by one."""


def fit(timestamps: Sequence[int], sizes: Sequence[int]) -> int:
    """
    How many of the first events make one legal batch.

    `timestamps` are in ms, ascending; `sizes` are the messages' UTF-8 bytes, each at most
    `MAX_MESSAGE_BYTES`. At least one where there is one.
    """
    filled = list(accumulate([size + OVERHEAD_BYTES for size in sizes[:MAX_BATCH_EVENTS]]))
    in_size = bisect_right(filled, MAX_BATCH_BYTES)
    in_span = bisect_left(timestamps, timestamps[0] + MAX_BATCH_SPAN_MS + 1) if timestamps else 0
    return min(in_size, in_span)


def pack(runs: Sequence[Run]) -> int:
    """
    How many of the first runs make one legal batch, each of them whole; maybe none.
    """
    events = size = 0
    first, last = sys.maxsize, 0
    for count, run in enumerate(runs):
        events += run.events
        size += run.bytes + run.events * OVERHEAD_BYTES
        first, last = min(first, run.first_timestamp), max(last, run.last_timestamp)
        if events > MAX_BATCH_EVENTS or size > MAX_BATCH_BYTES or last - first > MAX_BATCH_SPAN_MS:
            return count
    return len(runs)


LIMITS = Limits(pack=pack, fit=fit)


def acceptable_ms(now_ms: int) -> tuple[int, int]:
    """
    The oldest and the newest timestamp (ms) that the service takes at that moment.
    """
    return (now_ms - MAX_AGE_MS, now_ms + MAX_AHEAD_MS)


def requests_for(events: int, message_bytes: int) -> int:
    """
    How many requests so many events of one stream take at least.
    """
    size = message_bytes + events * OVERHEAD_BYTES
    return max(ceil(events / MAX_BATCH_EVENTS), ceil(size / MAX_BATCH_BYTES))


def is_full(events: int, message_bytes: int) -> bool:
    """
    Whether so many waiting events fill a batch, so that there is nothing to wait for.
    """
    return events >= MAX_BATCH_EVENTS or message_bytes + events * OVERHEAD_BYTES >= MAX_BATCH_BYTES
