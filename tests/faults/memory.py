"""
Memory is bounded, whatever waits: millions of unsent events in the file, at start and in a drain.

    python tests/faults/memory.py [--events 10000000] [--drain 1000000]

Prints the peak of resident memory of a `spool run` that cannot send, and when it has drained; exits
1 if one is above the bound.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = map(str, (Path(__file__).parents[1], Path(__file__).parents[2]))

from agent import ROUTE, Agent, wait_until
from cloudwatch_endpoint import Endpoint

from spool.store import Chunk, Store

__all__ = ["BOUND_MIB", "Peaks", "fill", "measure"]

BOUND_MIB = 128
STREAMS = 20
MESSAGE = "x" * 90 + "{:010d}"
CHUNK_EVENTS = 50_000
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


def fill(db: Path, events: int) -> None:
    """
    So many unsent events of 100 bytes, over STREAMS streams; they end now.
    """
    begin_ms = time.time_ns() // 1_000_000 - events // LINES_A_MS
    with Store(db) as store:
        source = store.source_id("test")
        streams = [store.stream_id("group", f"stream-{number}") for number in range(STREAMS)]
        for index, first in enumerate(range(0, events, CHUNK_EVENTS)):
            stream = streams[index % STREAMS]
            numbers = range(first, min(first + CHUNK_EVENTS, events))
            times_ms = (begin_ms + n // LINES_A_MS for n in numbers)
            rows = [
                (stream, at, source, MESSAGE.format(n))
                for at, n in zip(times_ms, numbers, strict=True)
            ]
            store.append([Chunk(stream, rows)])


def measure(folder: Path, *, events: int, drain: int) -> Peaks:
    """
    Fill a spool, start an agent on it that is refused, then let it send `drain` events or more.
    """
    db = folder / "spool" / "spool.db"
    fill(db, events)
    with endpoint() as (url, server):
        server.send_signal(signal.SIGUSR1)
        with Endpoint() as pattern:
            environment = pattern.environment() | {"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": url}
        with Agent(db, folder, environment, route=ROUTE, options=["--source", "none"]) as agent:
            agent.wait_started()
            wait_until(lambda: "takes nothing" in agent.log.read_text(), what="it tries to send")
            time.sleep(WATCHED_S)
            refused_mib = peak_mib(agent.process.pid)
            server.send_signal(signal.SIGUSR2)
            wait_until(
                lambda: arrived(url) >= min(drain, events),
                timeout_s=DRAINED_S,
                what="the events arrive",
            )
            draining_mib = peak_mib(agent.process.pid)
            assert agent.stop() == 0
        return Peaks(refused_mib, draining_mib, arrived(url))


def peak_mib(pid: int) -> float:
    """
    The most resident memory that a process ever had.
    """
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def arrived(url: str) -> int:
    """
    How many events the endpoint has; 0 while it does not listen.
    """
    try:
        with urllib.request.urlopen(f"{url}/stats") as answer:
            return int(json.load(answer)["events"])
    except OSError:
        return 0


@contextmanager
def endpoint() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """
    The strict endpoint as a process of its own; SIGUSR1 refuses, SIGUSR2 accepts.
    """
    command = [
        sys.executable,
        str(Path(__file__).parents[1] / "cloudwatch_endpoint.py"),
        *("--no-keep", "--no-signature"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            yield json.loads(server.stdout.readline())["url"], server
        finally:
            server.terminate()
            server.communicate()


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
