"""
Who is measured: Spool, and what stands beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from agent import SPOOL, clean_environment
from endpoint_process import EndpointProcess

from benchmarks.processes import Measured
from spool import __version__

__all__ = ["Shipper", "Spool"]


class Shipper(Protocol):
    """
    A program that carries the lines of containers to the endpoint.
    """

    name: str
    ends_by_itself: bool
    """Whether it ends when all is delivered, unless it is started live."""

    def version(self) -> str:
        """
        As it tells it itself.
        """
        ...

    def start(
        self, containers: Path, home: Path, endpoint: EndpointProcess, *, is_live: bool
    ) -> Measured:
        """
        Begin with the first line of the containers' files; what it keeps, it keeps in `home`.
        """
        ...


class Spool:
    """
    This tree's own. Live it is a `run` with DELAY=1, else a `run --once`.
    """

    name = "spool"
    ends_by_itself = True

    def version(self) -> str:
        return __version__

    def start(
        self, containers: Path, home: Path, endpoint: EndpointProcess, *, is_live: bool
    ) -> Measured:
        delay = ["--delay", "1"] if is_live else ["--once"]
        return spool(
            *("run", "cloudwatch://us-east-1?NOEC2", "--db", str(home / "spool" / "spool.db")),
            *("--source", "files", "--containers-dir", str(containers), "--max-size", "16GiB"),
            *delay,
            endpoint=endpoint,
            log=home / "spool.log",
        )


def spool(*arguments: str, endpoint: EndpointProcess, log: Path) -> Measured:
    """
    The command as a process; what it says goes to `log`.
    """
    return Measured([*SPOOL, *arguments], clean_environment(endpoint.environment), log)
