"""
How long it takes to look into a large spool: ten streams over a day, all but the last hour sent.

    python -m benchmarks.inspection [--events 10000000] [--keep PATH]

Prints a table: each command as a whole process, its wall seconds and its peak memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from filled import fill

from benchmarks import ROOT

STREAMS = 10
CHUNK_EVENTS = 2_000
DAY_MS = 24 * 3600 * 1000
UNSENT_SHARE = 24
COMMANDS = (
    ("status", ("status", "--json")),
    ("events, the newest of a stream", ("events", "--stream", "stream-3", "-n", "20")),
    ("events, a pattern in an hour", ("events", "--since", "3h", "--until", "2h", "--grep", "77 ")),
    ("events, the rejected", ("events", "--state", "rejected")),
    ("batches, the newest", ("batches", "-n", "20")),
    ("dry run, an hour of a stream", ("replay", "--dry-run", "--stream", "stream-3")),
    ("dry run, everything sent", ("replay", "--dry-run", "--state", "sent")),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--keep", type=Path, help="a file to use, made if it is not there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="spool-bench-") as folder:
        db = options.keep or Path(folder) / "spool.db"
        if not db.exists():
            fill(
                db,
                options.events,
                lambda n: f"line {n} " * 12,
                streams=STREAMS,
                span_ms=DAY_MS,
                unsent=options.events // UNSENT_SHARE,
                chunk_events=CHUNK_EVENTS,
            )
        print(f"{options.events:,} events, {db.stat().st_size / 1e6:,.0f} MB")
        for name, arguments in COMMANDS:
            extra = ("--since", "3h", "--until", "2h") if "an hour of" in name else ()
            first_s, wall_s, peak_mib = timed(db, (*arguments, *extra))
            print(
                f"{name:>32}  first byte {first_s:6.2f} s  end {wall_s:6.2f} s  {peak_mib:4.0f} MiB"
            )


def timed(db: Path, arguments: tuple[str, ...]) -> tuple[float, float, float]:
    """
    Seconds to the first byte of output and to the end, and the peak of memory (MiB).
    """
    begun_s = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", arguments[0], "--db", str(db), *arguments[1:]],
        cwd=ROOT,
        env={**os.environ, "AWS_EC2_METADATA_DISABLED": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout
    process.stdout.read(1)
    first_s = time.perf_counter() - begun_s
    process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{arguments} failed: {os.waitstatus_to_exitcode(status)}")
    return first_s, time.perf_counter() - begun_s, usage.ru_maxrss / 1024


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
