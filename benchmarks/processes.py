"""
What the system accounts for a process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Failed", "Measured", "Usage", "cpu_s", "resident_mib", "sleep_until"]

LAUNCHER = (sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py")))
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """
    What was to be measured did not do its work.
    """


@dataclass(frozen=True)
class Usage:
    """
    A process from its start to its end: CPU of all its threads, user and system, and the most
    resident memory.
    """

    cpu_s: float
    peak_mib: float


class Measured:
    """
    A process that is measured, and does not outlive the block; what it says goes to `log`.
    """

    def __init__(
        self, command: Sequence[str | Path], environment: Mapping[str, str], log: Path
    ) -> None:
        self._log = log
        with log.open("ab") as output:
            self._launcher = subprocess.Popen(
                [*LAUNCHER, *map(str, command)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
            )
        assert self._launcher.stdout
        self._told = self._launcher.stdout
        self.pid = int(self._told.readline())

    def is_running(self) -> bool:
        return self._launcher.poll() is None

    def check(self) -> None:
        """
        Failed, with what it said, if it has ended.
        """
        if not self.is_running():
            self.wait()
            raise Failed("it ended before it was told to")

    def wait(self) -> Usage:
        """
        Its usage, when it has ended; Failed if it was not well.
        """
        told = json.loads(self._told.readline())
        self._launcher.wait()
        if told["code"] not in {0, -signal.SIGTERM}:
            end = self._log.read_text(errors="replace").splitlines()[-3:]
            raise Failed(f"it ended with {told['code']}: {' / '.join(end)}")
        return Usage(told["cpu_s"], told["peak_mib"])

    def stop(self) -> Usage:
        """
        SIGTERM, and its usage.
        """
        self._launcher.send_signal(signal.SIGTERM)
        return self.wait()

    def __enter__(self) -> Measured:
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_running():
            os.kill(self.pid, signal.SIGKILL)
            self._launcher.wait()
        self._told.close()


def cpu_s(pid: int) -> float:
    """
    CPU of a process so far, user and system, in steps of 1 / TICKS_A_SECOND.
    """
    # the second field is the command's name in brackets, with whatever is in it
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def resident_mib(pid: int) -> float:
    """
    Memory that a process has now.
    """
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def sleep_until(moment_s: float) -> None:
    """
    Return at `moment_s` of time.time(), or at once.
    """
    time.sleep(max(0.0, moment_s - time.time()))
