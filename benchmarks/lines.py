"""
Ordinary lines of some 100 bytes, and the json-files that hold them, as the engine writes them.

Always holds: the same number gives the same line, and gzip finds what it would find in a service's
own log (it shrinks a request about five times), but no line that was there before.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from agent import LogWriter

__all__ = ["LINES_A_MS", "container_id", "message", "record_blocks", "write_container"]

LINES_A_MS = 20
VARIETY = 65_521
"""A line's text but for its number comes again after so many: 6 MB, gzip looks back 32 KiB."""

CHUNK_LINES = 10_000
SEED = 6
METHODS = ("GET",) * 6 + ("POST",) * 2 + ("PUT",)
PATHS = (
    "/api/v1/orders",
    "/api/v1/orders/{}",
    "/api/v1/users/{}/cart",
    "/api/v1/search?q={}",
    "/api/v1/payments/{}",
    "/static/app-{}.js",
    "/healthz",
)
STATUSES = ("200",) * 12 + ("304", "404", "500")
AGENTS = ("Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0 (Macintosh; Intel)", "okhttp/4.12.0")


@cache
def _tails() -> list[str]:
    """
    VARIETY lines without their numbers.
    """
    pick = random.Random(SEED)
    hosts = [f"10.{pick.randrange(4)}.0.{pick.randrange(1, 255)}" for _ in range(100)]

    def tail() -> str:
        path = pick.choice(PATHS).format(pick.randrange(1000, 9999))
        return (
            f"{pick.choice(hosts)} {pick.choice(METHODS)} {path} HTTP/1.1 {pick.choice(STATUSES)}"
            f" {pick.randrange(180, 9999)} {pick.randrange(1, 400)}ms {pick.choice(AGENTS)}"
            f" id={pick.getrandbits(24):06x}"
        )

    return [tail() for _ in range(VARIETY)]


def message(number: int) -> str:
    """
    The line of this number, without its end.
    """
    return f"{number:08d} {_tails()[number % VARIETY]}"


def container_id(number: int) -> str:
    """
    64 hexadecimal digits.
    """
    return f"{number:08x}" * 8


def write_container(
    folder: Path, number: int, lines: int, *, is_running: bool = False, end_ms: int | None = None
) -> Path:
    """
    Container `bench-NUMBER` with so many lines, which end at `end_ms` (now); its json-file.
    """
    path = LogWriter(folder, container_id(number), f"bench-{number}", running=is_running).path
    end_ms = time.time_ns() // 1_000_000 if end_ms is None else end_ms
    begin_ms = end_ms - lines // LINES_A_MS
    tails = _tails()
    with path.open("w") as file:
        for first in range(0, lines, CHUNK_LINES):
            file.writelines(
                f'{{"log":"{n:08d} {tails[n % VARIETY]}\\n","stream":"stdout","time":"{stamp}"}}\n'
                for n, stamp in _stamped(first, min(first + CHUNK_LINES, lines), begin_ms)
            )
    return path


def _stamped(first: int, end: int, begin_ms: int) -> Iterator[tuple[int, str]]:
    """
    Numbers of lines, each with its time: LINES_A_MS share a millisecond.
    """
    at_ms, second, prefix = -1, -1, ""
    for number in range(first, end):
        if (now_ms := begin_ms + number // LINES_A_MS) != at_ms:
            at_ms = now_ms
            if at_ms // 1000 != second:
                second = at_ms // 1000
                prefix = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        yield number, f"{prefix}{at_ms % 1000:03}{number % 997:06}Z"


def record_blocks(blocks: int, lines_a_block: int, stamp: bytes) -> list[bytes]:
    """
    Ready-made pieces of a json-file; `stamp` stands where each line's time goes.
    """
    return [
        b"".join(
            b'{"log":"%b\\n","stream":"stdout","time":"%b"}\n' % (message(number).encode(), stamp)
            for number in range(first, first + lines_a_block)
        )
        for first in range(0, blocks * lines_a_block, lines_a_block)
    ]
