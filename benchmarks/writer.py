"""
A container that talks: lines at an even rate into a json-file, each with the time it is written.

    python -m benchmarks.writer FILE --rate 20000

Until SIGTERM. Prints two lines of JSON: when it begins (`begun_s`), and what it wrote (`lines`, and
`most_behind_s`: how late a line was at most). A process of its own, with little to do.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.lines import record_blocks

__all__ = ["TICK_S", "write"]

TICK_S = 0.005
BLOCKS = 1_000
STAMP = b"2000-01-01T00:00:00.000000000Z"
"""Stands in the ready-made lines where the time goes."""


def write(path: Path, rate: int) -> None:
    """
    Write `rate` lines a second until told to end; what was begun is written whole.
    """
    lines_a_block = round(rate * TICK_S)
    blocks = record_blocks(BLOCKS, lines_a_block, STAMP)
    is_told = []
    signal.signal(signal.SIGTERM, lambda *_: is_told.append(True))
    begun_s = time.time()
    print(json.dumps({"begun_s": begun_s}), flush=True)
    written, most_behind_s = 0, 0.0
    with path.open("ab", buffering=0) as file:
        while not is_told:
            due_s = begun_s + written * TICK_S
            time.sleep(max(0.0, due_s - time.time()))
            now_ns = time.time_ns()
            file.write(blocks[written % BLOCKS].replace(STAMP, _engine_time(now_ns)))
            most_behind_s = max(most_behind_s, now_ns / 1e9 - due_s)
            written += 1
    told = {"lines": written * lines_a_block, "most_behind_s": most_behind_s}
    print(json.dumps(told), flush=True)


def _engine_time(now_ns: int) -> bytes:
    moment = datetime.fromtimestamp(now_ns // 10**9, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{now_ns % 10**9:09d}Z".encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--rate", type=int, default=20_000)
    options = parser.parse_args()
    write(options.file, options.rate)


if __name__ == "__main__":
    sys.exit(main())
