"""
What was sent is sent again.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from endpoint_process import EndpointProcess
from filled import fill

from benchmarks.drain import delivered
from benchmarks.lines import message
from benchmarks.scenario import Case, Figures, Scenario
from benchmarks.shippers import Shipper, spool
from benchmarks.spools import copy

__all__ = ["SCENARIO"]

SPAN_MS = 3_600_000


def prepare(events: int, folder: Path) -> None:
    fill(folder / "spool.db", events, message, streams=1, span_ms=SPAN_MS, unsent=0)


def measure(events: int, _shipper: Shipper, folder: Path, home: Path) -> Figures:
    db = copy(folder, home)
    with EndpointProcess(home) as endpoint:
        begun_s = time.time()
        command = ("replay", "--db", str(db), "--state", "sent", "cloudwatch://us-east-1?NOEC2")
        with spool(*command, endpoint=endpoint, log=home / "spool.log") as process:
            usage = process.wait()
        return delivered(endpoint, usage, events=events, begun_s=begun_s)


def cases(is_quick: bool) -> list[Case]:
    events = 50_000 if is_quick else 1_000_000
    return [Case(f"{events:,} sent events", partial(prepare, events), partial(measure, events))]


SCENARIO = Scenario(
    "replay",
    "Replay",
    "`spool replay` of events that were all delivered within the last hour, without an agent beside"
    " it.",
    cases,
    is_shared=False,
)
