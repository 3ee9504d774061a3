"""
What happens to each container of this host, and why: for `spool names`.

Comes in: Docker's containers folder, that of pods, an engine if one answers, the agent's rules.
Goes out: one entry a container. Nothing is stored, sent or read of any log.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from shipper.collecting import Choice, Chooser
from shipper.containers import Container, read_container
from shipper.naming import Namer
from shipper.pods import pod_containers
from shipper.sources.engine_api import Engine
from shipper.sources.engine_wire import ContainerGone, EngineError

__all__ = ["Entry", "engine_containers", "inspected", "roster"]


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One container: collected or not and why, by which source, under which names.

    `raw_group` and `raw_stream` are as the templates gave them, before they were made legal;
    `error` says why a default was taken.
    """

    id: str
    name: str
    collected: bool
    reason: str
    source: str | None
    group: str
    stream: str
    raw_group: str
    raw_stream: str
    error: str | None


def roster(
    folder: Path,
    pods_dir: Path,
    chooser: Chooser,
    namer: Namer,
    *,
    engines: Iterable[Container] | None,
) -> list[Entry]:
    """
    All containers that are known by their folder, by their pod's, or to the engine, by name.

    `engines` are the engine's own containers; None where no engine answers.
    """
    known = {path.name: read_container(path) for path in _folders(folder)}
    on_disk = {key for key in known if os.access(folder / key / f"{key}-json.log", os.F_OK)}
    for container in pod_containers(pods_dir):
        known[container.id] = container
        on_disk.add(container.id)
    for container in engines or ():
        known.setdefault(container.id, container)
    entries = [
        _entry(container, _possible(chooser.choose(container), container, on_disk, engines), namer)
        for container in known.values()
    ]
    return sorted(entries, key=lambda entry: (entry.name, entry.id))


def engine_containers() -> list[Container] | None:
    """
    The containers that the Docker Engine knows; None where none answers.
    """
    engine = Engine()
    try:
        engine.connect()
        return [container for id_ in engine.containers() if (container := inspected(engine, id_))]
    except EngineError:
        return None
    finally:
        engine.close()


def inspected(engine: Engine, container_id: str) -> Container | None:
    """
    A container that the engine has listed; None where it is gone by now.
    """
    try:
        return engine.inspect(container_id).container
    except ContainerGone:
        return None


def _folders(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_dir()]
    except OSError:
        return []


def _possible(
    choice: Choice,
    container: Container,
    on_disk: set[str],
    engines: Iterable[Container] | None,
) -> Choice:
    """
    What comes of a choice here and now.
    """
    if choice.source == "api" and engines is None:
        return Choice(None, f"{choice.reason}, and none answers")
    if choice.source == "files" and container.id not in on_disk:
        return Choice("files", "its json-file log, as soon as it has one")
    return choice


def _entry(container: Container, choice: Choice, namer: Namer) -> Entry:
    named = namer.name(container)
    return Entry(
        id=container.id,
        name=container.name,
        collected=choice.source is not None,
        reason=choice.reason,
        source=choice.source,
        group=named.target.group,
        stream=named.target.stream,
        raw_group=named.raw_group,
        raw_stream=named.raw_stream,
        error=named.error,
    )
