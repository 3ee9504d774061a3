"""
Many containers that say nothing.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from endpoint_process import EndpointProcess

from benchmarks.lines import write_container
from benchmarks.processes import cpu_s, resident_mib
from benchmarks.scenario import Case, Figures, Scenario
from benchmarks.shippers import Shipper

__all__ = ["SCENARIO"]

CONTAINERS = 200
LINES_EACH = 20
SETTLED_S = 8.0
"""After the last line is stored: what starting up leaves to do is done by then."""

TIMEOUT_S = 60.0


def prepare(folder: Path) -> None:
    for number in range(CONTAINERS):
        write_container(folder / "containers", number, LINES_EACH, is_running=True)


def measure(seconds: float, shipper: Shipper, folder: Path, home: Path) -> Figures:
    with (
        EndpointProcess(home) as endpoint,
        shipper.start(folder / "containers", home, endpoint, is_live=True) as process,
    ):
        endpoint.wait_for(CONTAINERS * LINES_EACH, timeout_s=TIMEOUT_S, check=process.check)
        time.sleep(SETTLED_S)
        before_s = cpu_s(process.pid)
        time.sleep(seconds)
        spent_s = cpu_s(process.pid) - before_s
        resident = resident_mib(process.pid)
        process.stop()
    return {"core_percent": spent_s / seconds * 100, "resident_mib": resident}


def cases(is_quick: bool) -> list[Case]:
    seconds = 4 if is_quick else 30
    name = f"{CONTAINERS} quiet containers, {seconds} s"
    return [Case(name, prepare, partial(measure, float(seconds)))]


SCENARIO = Scenario(
    "idle",
    "Idle",
    f"{CONTAINERS} running containers whose few lines are long delivered. CPU as a share of one"
    f" core, {SETTLED_S:.0f} s after the last line.",
    cases,
    is_shared=True,
)
