"""
A container that talks all the time: what a line costs, and how long it is on its way.
"""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from pathlib import Path

from faults.memory import peak_mib

from benchmarks.live import RATE, live
from benchmarks.processes import Failed, cpu_s, sleep_until
from benchmarks.scenario import Case, Figures, Scenario
from benchmarks.shippers import Shipper

__all__ = ["SCENARIO", "lateness", "percentile"]

WARM_UP_S = 6.0
LEAST_SHARE = 0.9
"""Of the lines written, stored meanwhile; else it fell behind, and nothing was steady."""


def measure(rate: int, seconds: float, shipper: Shipper, _folder: Path, home: Path) -> Figures:
    with live(shipper, home, rate) as now:
        pid = now.shipper.pid
        sleep_until(now.begun_s + WARM_UP_S)
        before, cpu_before_s = now.endpoint.stats(), cpu_s(pid)
        time.sleep(seconds)
        after, cpu_after_s = now.endpoint.stats(), cpu_s(pid)
        now.finish()
        peak = peak_mib(pid)
    late_ms = lateness(after) - lateness(before)
    events = after["events"] - before["events"]
    if events < LEAST_SHARE * rate * seconds:
        raise Failed(f"only {events:,} lines were stored in {seconds:.0f} s")
    return {
        "cpu_us_a_line": (cpu_after_s - cpu_before_s) / events * 1e6,
        "core_percent": (cpu_after_s - cpu_before_s) / seconds * 100,
        "p50_ms": percentile(late_ms, 50),
        "p99_ms": percentile(late_ms, 99),
        "peak_mib": peak,
        "twice": now.facts["twice"],
    }


def lateness(stats: dict) -> Counter[int]:
    """
    Events by the ms that they came after they were written.
    """
    return Counter({int(late_ms): count for late_ms, count in stats["lateness_ms"].items()})


def percentile(histogram: Counter[int], percent: float) -> int:
    """
    The smallest value that so many percent of all are not above.
    """
    due = histogram.total() * percent / 100
    seen = 0
    for value in sorted(histogram):
        seen += histogram[value]
        if seen >= due:
            return value
    raise Failed("nothing was stored")


def cases(is_quick: bool) -> list[Case]:
    seconds = 4 if is_quick else 30
    name = f"{RATE:,} lines a second for {seconds} s"
    return [Case(name, lambda _: None, partial(measure, RATE, float(seconds)))]


SCENARIO = Scenario(
    "steady",
    "Steady",
    "One container writes at an even rate, each line bears the moment it was written. Measured"
    f" after {WARM_UP_S:.0f} s, with a second between two flushes (DELAY=1). Latency is from that"
    " moment to the one at which the endpoint stored the line.",
    cases,
    is_shared=True,
)
