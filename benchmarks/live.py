"""
A container that talks while it is shipped, for the scenarios that need one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agent import LogWriter
from endpoint_process import EndpointProcess

from benchmarks import ROOT
from benchmarks.lines import container_id
from benchmarks.processes import Failed, Measured
from benchmarks.shippers import Shipper

__all__ = ["RATE", "Live", "live"]

RATE = 20_000
"""Lines a second of the scenarios."""

DELAY_S = 1.0
"""Between two flushes of any shipper that runs live."""

TIMEOUT_S = 120.0
MOST_BEHIND_S = 0.5
"""A writer that was later than this at one time did not keep its rate; the run says nothing."""


@dataclass
class Live:
    """
    A shipper, the container that it follows, and where the lines go.
    """

    endpoint: EndpointProcess
    shipper: Measured
    writer: subprocess.Popen[bytes]
    begun_s: float
    rate: int
    facts: dict[str, float] = field(default_factory=dict)

    def written(self, moment_s: float) -> int:
        """
        Lines written at a moment of time.time(), by the writer's rate.
        """
        return int(max(0.0, moment_s - self.begun_s) * self.rate)

    def finish(self) -> None:
        """
        No more lines; wait until all are stored. Failed if one is not, or if one is twice.
        """
        self.writer.terminate()
        assert self.writer.stdout
        told = json.loads(self.writer.stdout.readline())
        self.writer.wait()
        if told["most_behind_s"] > MOST_BEHIND_S:
            raise Failed(f"the writer was {told['most_behind_s']:.1f} s behind its rate")
        self.endpoint.wait_for(told["lines"], timeout_s=TIMEOUT_S, check=self.shipper.check)
        self.facts["written"] = told["lines"]
        self.facts["twice"] = self.endpoint.events() - told["lines"]


@contextmanager
def live(shipper: Shipper, home: Path, rate: int) -> Iterator[Live]:
    """
    A shipper that has begun to follow a container that has begun to write `rate` lines a second.
    """
    containers = home / "containers"
    path = LogWriter(containers, container_id(1), "bench-1").path
    command = [sys.executable, "-m", "benchmarks.writer", str(path), "--rate", str(rate)]
    with (
        EndpointProcess(home, measure_lateness=True) as endpoint,
        shipper.start(containers, home, endpoint, is_live=True) as process,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as writer,
    ):
        try:
            assert writer.stdout
            begun_s = json.loads(writer.stdout.readline())["begun_s"]
            yield Live(endpoint, process, writer, begun_s, rate)
            process.check()
        finally:
            writer.terminate()
