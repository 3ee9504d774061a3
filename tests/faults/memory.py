"""
Memory is bounded, whatever waits: millions of unsent events in the file, at start and in a drain.

    python tests/faults/memory.py [--events 10000000] [--drain 1000000]

Prints the peak of resident memory of a `spool run` that cannot send, and when it has drained; exits
1 if one is above the bound.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = map(str, (Path(__file__).parents[1], Path(__file__).parents[2]))

from agent import ROUTE, Agent, wait_until
from endpoint_process import EndpointProcess
from filled import fill

__all__ = ["BOUND_MIB", "Peaks", "fill_unsent", "measure", "peak_mib", "watch"]

BOUND_MIB = 128
STREAMS = 20
MESSAGE = "x" * 90 + "{:010d}"
LINES_A_MS = 20
WATCHED_S = 3.0
DRAINED_S = 300.0


@dataclass(frozen=True)
class Peaks:
    """
    The most resident memory (MiB) of an agent so far: when it could not send for a while, and when
    it had sent `drained` events.
    """

    refused_mib: float
    draining_mib: float
    drained: int


def measure(folder: Path, *, events: int, drain: int) -> Peaks:
    """
    Fill a spool and watch an agent on it.
    """
    db = folder / "spool" / "spool.db"
    fill_unsent(db, events)
    return watch(db, folder, drain=min(drain, events))


def fill_unsent(db: Path, events: int) -> None:
    """
    So many unsent events of 100 bytes, over STREAMS streams; they end now.
    """
    fill(db, events, MESSAGE.format, streams=STREAMS, span_ms=events // LINES_A_MS)


def watch(db: Path, folder: Path, *, drain: int) -> Peaks:
    """
    Start an agent on a spool; it is refused first, then it may send `drain` events or more.
    """
    with EndpointProcess(folder) as endpoint:
        endpoint.refuse()
        options = ["--source", "none"]
        with Agent(db, folder, endpoint.environment, route=ROUTE, options=options) as agent:
            agent.wait_started()
            wait_until(lambda: "takes nothing" in agent.log.read_text(), what="it tries to send")
            time.sleep(WATCHED_S)
            refused_mib = peak_mib(agent.process.pid)
            endpoint.accept()
            endpoint.wait_for(drain, timeout_s=DRAINED_S)
            draining_mib = peak_mib(agent.process.pid)
            assert agent.stop() == 0
        return Peaks(refused_mib, draining_mib, endpoint.events())


def peak_mib(pid: int) -> float:
    """
    The most resident memory that a process ever had.
    """
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def main() -> int:
    """
    Measure and tell.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--drain", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="spool-memory-") as folder:
        peaks = measure(Path(folder), events=options.events, drain=options.drain)
    print(f"resident memory of an agent with {options.events:,} unsent events, at most")
    print(f"{'while it cannot send':>24}  {peaks.refused_mib:6.0f} MiB")
    print(f"{f'{peaks.drained:,} drained':>24}  {peaks.draining_mib:6.0f} MiB")
    print(f"{'the bound':>24}  {BOUND_MIB:6} MiB")
    return int(max(peaks.refused_mib, peaks.draining_mib) > BOUND_MIB)


if __name__ == "__main__":
    sys.exit(main())
