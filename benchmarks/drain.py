"""
A backlog in the json-files, shipped: from the start of the process to the last line stored.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from endpoint_process import EndpointProcess

from benchmarks.lines import write_container
from benchmarks.processes import Failed, Usage
from benchmarks.scenario import Case, Figures, Scenario
from benchmarks.shippers import Shipper

__all__ = ["SCENARIO", "delivered", "drain", "prepare"]

TIMEOUT_S = 600.0


def prepare(containers: int, lines_each: int, folder: Path) -> None:
    """
    Containers that have ended, and their lines.
    """
    for number in range(containers):
        write_container(folder / "containers", number, lines_each)


def drain(lines: int, shipper: Shipper, folder: Path, home: Path) -> Figures:
    """
    One run over what is prepared in `folder`.
    """
    with EndpointProcess(home) as endpoint:
        begun_s = time.time()
        with shipper.start(folder / "containers", home, endpoint, is_live=False) as process:
            if shipper.ends_by_itself:
                usage = process.wait()
            else:
                endpoint.wait_for(lines, timeout_s=TIMEOUT_S, check=process.check)
                usage = process.stop()
        return delivered(endpoint, usage, events=lines, begun_s=begun_s)


def delivered(endpoint: EndpointProcess, usage: Usage, *, events: int, begun_s: float) -> Figures:
    """
    What it took a process that began at `begun_s` of time.time() to deliver all `events`.

    Raises Failed if the endpoint has not got each of them once.
    """
    stats = endpoint.stats()
    if stats["events"] != events:
        raise Failed(f"the endpoint has {stats['events']:,} of {events:,} lines")
    return {
        "wall_s": stats["last_stored_ms"] / 1e3 - begun_s,
        "cpu_s": usage.cpu_s,
        "cpu_us_a_line": usage.cpu_s / events * 1e6,
        "peak_mib": usage.peak_mib,
        "requests": stats["calls"]["PutLogEvents"],
        "wire_mb": stats["wire_bytes"] / 1e6,
    }


def cases(is_quick: bool) -> list[Case]:
    lines = 50_000 if is_quick else 1_000_000
    return [
        Case(
            f"{lines:,} lines, {count} container{'s' if count > 1 else ''}",
            partial(prepare, count, lines // count),
            partial(drain, lines),
        )
        for count in (1, 50)
    ]


SCENARIO = Scenario(
    "drain",
    "Drain",
    "A backlog that waits in Docker's files, shipped by a process that starts from nothing. Wall is"
    " from its start to the moment the endpoint stored the last line; CPU is that of the whole"
    " process, its start included.",
    cases,
    is_shared=True,
)
