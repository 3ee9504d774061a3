"""
The sources that `--source` names.

Comes in: that word, and the agent's rules. Goes out: sources. Always holds: of those that see a
container, only the one to which the rules give it takes it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shipper.sources.docker_logs import JsonFileSource
from shipper.sources.file_source import FileSource
from shipper.sources.intake import Intake
from shipper.sources.pod_logs import PodLogSource

if TYPE_CHECKING:
    from shipper.sources.engine_source import EngineSource

__all__ = ["make_sources"]


def make_sources(
    source: str, intake: Intake, *, containers_dir: Path, pods_dir: Path
) -> tuple[list[FileSource], EngineSource | None]:
    """
    Those that read files, and the one that asks the engine, for `files`, `api` or `auto`.
    """
    files: list[FileSource] = []
    if source in ("files", "auto"):
        files.append(JsonFileSource(containers_dir, intake))
        files.append(PodLogSource(pods_dir, intake))
    return files, _make_engine_source(intake) if source in ("api", "auto") else None


def _make_engine_source(intake: Intake) -> EngineSource:
    # Docker's client takes memory and time that reading files does not need
    from shipper.sources.engine_source import EngineSource  # noqa: PLC0415

    return EngineSource(
        intake.store,
        intake.target,
        joiner=intake.joiner,
        wanted=lambda container: intake.takes(container, "api") is None,
        backlog=intake.backlog,
        tail=intake.tail,
    )
