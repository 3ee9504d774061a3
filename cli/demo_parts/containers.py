"""
The containers that log: on the Docker Engine where one can be used, else files in its format.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from cli.demo_parts.engine import EngineContainers, EngineUnusable
from cli.demo_parts.files import FileContainers

__all__ = ["Containers", "start_containers"]


class Containers(Protocol):
    """
    Containers that write their scripts, at the latest from `begin` on, until each has written all.
    """

    description: str

    def begin(self) -> None:
        """
        The agent has started: write, if that has not begun.
        """

    def written(self) -> dict[str, int]:
        """
        Lines so far, by the container's name.
        """

    def finish(self) -> None:
        """
        Wait until all have ended, which they do soon after their last lines. Raises Failure where
        one did not write all of its script.
        """

    def close(self) -> None:
        """
        Stop and remove them.
        """


def start_containers(folder: Path, *, use_files: bool) -> tuple[Containers, str]:
    """
    Containers whose logs are below `folder`, and why they are not real, if they are not.
    """
    if use_files:
        return FileContainers(folder), "--files: the Docker Engine is not asked"
    try:
        return EngineContainers(folder), ""
    except EngineUnusable as error:
        return FileContainers(folder), f"not real ones: {error}"
