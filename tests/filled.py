"""
Spools that hold what a test or a benchmark needs to find there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from shipper.batch import LIMITS
from spool.store import Chunk, Store

__all__ = ["fill"]

CHUNK_EVENTS = 50_000


def fill(
    db: Path,
    events: int,
    message: Callable[[int], str],
    *,
    streams: int,
    span_ms: int,
    unsent: int | None = None,
    chunk_events: int = CHUNK_EVENTS,
) -> None:
    """
    A spool with `events`, by turns of `chunk_events` over streams `stream-0` … of group `group`, at
    even distances over the last `span_ms`. The last `unsent` of them wait (None: all), the others
    are sent.
    """
    begin_ms = time.time_ns() // 1_000_000 - span_ms
    waiting_from = 0 if unsent is None else events - unsent
    with Store(db) as store:
        source = store.source_id("test")
        ids = [store.stream_id("group", f"stream-{number}") for number in range(streams)]
        for index, first in enumerate(range(0, events, chunk_events)):
            stream = ids[index % streams]
            store.append(
                [
                    Chunk(
                        stream,
                        [
                            (stream, begin_ms + n * span_ms // events, source, message(n))
                            for n in range(first, min(first + chunk_events, events))
                        ],
                    )
                ]
            )
            if first < waiting_from:
                _settle(store, stream)


def _settle(store: Store, stream: int) -> None:
    """
    All that waits in a stream is sent.
    """
    now_ms = time.time_ns() // 1_000_000
    while store.waiting(stream)[0] and (batch := store.take(stream, LIMITS, now_ms=now_ms)):
        store.settle(batch, request_id="test", now_ms=now_ms)
