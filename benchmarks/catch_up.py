"""
An outage while a container talks on: how long after it the backlog is gone.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from faults.memory import peak_mib

from benchmarks.live import DELAY_S, RATE, Live, live
from benchmarks.processes import Failed, sleep_until
from benchmarks.scenario import Case, Figures, Scenario
from benchmarks.shippers import Shipper

__all__ = ["SCENARIO"]

BEFORE_S = 5.0
LEVEL_S = DELAY_S + 0.5
"""Caught up is who has stored all that was written until this long ago, as on ordinary days."""

STEP_S = 0.02
TIMEOUT_S = 120.0


def measure(rate: int, outage_s: float, shipper: Shipper, _folder: Path, home: Path) -> Figures:
    with live(shipper, home, rate) as now:
        sleep_until(now.begun_s + BEFORE_S)
        now.endpoint.refuse()
        time.sleep(outage_s)
        now.endpoint.accept()
        caught_up_s = until_caught_up(now)
        now.finish()
        peak = peak_mib(now.shipper.pid)
    return {"caught_up_s": caught_up_s, "peak_mib": peak, "twice": now.facts["twice"]}


def until_caught_up(now: Live) -> float:
    """
    Seconds from here.
    """
    begun_s = time.time()
    while time.time() < begun_s + TIMEOUT_S:
        stored = now.endpoint.events()
        moment_s = time.time()
        if stored >= now.written(moment_s - LEVEL_S):
            return moment_s - begun_s
        time.sleep(STEP_S)
    raise Failed(f"not caught up within {TIMEOUT_S:.0f} s")


def cases(is_quick: bool) -> list[Case]:
    seconds = 4 if is_quick else 20
    name = f"{seconds} s outage at {RATE:,} lines a second"
    return [Case(name, lambda _: None, partial(measure, RATE, float(seconds)))]


SCENARIO = Scenario(
    "catch-up",
    "Catch-up",
    "The endpoint refuses connections for a while, the container goes on. Seconds from its return"
    f" until all that was written up to {LEVEL_S} s before is stored.",
    cases,
    is_shared=True,
)
