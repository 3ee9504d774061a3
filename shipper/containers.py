"""
Who a container is, by the folder that Docker keeps for it or by what the Engine API tells of it.

Comes in: a folder such as /var/lib/docker/containers/ID, or an inspection. Goes out: a `Container`.
Always holds: a missing, empty or damaged config.v2.json costs the name, never the lines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import json

from shipper.plain_files import open_plain

__all__ = ["CONTAINER_ID", "Container", "container_from_inspect", "read_container", "table"]

CONTAINER_ID = re.compile(r"[0-9a-f]{64}")

MAX_CONFIG_BYTES = 8 * 1024 * 1024
"""Far above what Docker accepts for a container's environment and labels."""


@dataclass(frozen=True, slots=True)
class Container:
    """
    What is known about a container, as a rule by Docker. `name` is without Docker's leading slash;
    it is the id's first twelve digits where the name cannot be read.
    """

    id: str
    name: str
    hostname: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict, repr=False)
    tty: bool = False
    running: bool = False
    log_driver: str = "json-file"
    problem: str | None = None

    @property
    def short_id(self) -> str:
        """
        Docker's own short form of an id; that of a pod's container has none.
        """
        return self.id[:12] if CONTAINER_ID.fullmatch(self.id) else self.id


def read_container(folder: Path) -> Container:
    """
    The container whose folder this is.
    """
    config, problem = _read_json(folder / "config.v2.json")
    host_config, _ = _read_json(folder / "hostconfig.json")
    return _container(folder.name, config, host_config, problem=problem)


def container_from_inspect(data: Mapping[str, Any]) -> Container:
    """
    The container that `GET /containers/ID/json` tells of. Raises KeyError where it tells no id.
    """
    return _container(str(data["Id"]), data, table(data.get("HostConfig")))


def table(value: object) -> dict[str, Any]:
    """
    What should be an object of JSON; an empty one where it is something else.
    """
    return value if isinstance(value, dict) else {}


def _container(
    container_id: str,
    config: Mapping[str, Any],
    host_config: Mapping[str, Any],
    *,
    problem: str | None = None,
) -> Container:
    """
    The engine's files and its answers have the same form, but for where the host's part is.
    """
    inner = table(config.get("Config"))
    name = config.get("Name")
    return Container(
        id=container_id,
        name=(name.lstrip("/") if isinstance(name, str) else "") or container_id[:12],
        hostname=str(inner.get("Hostname") or ""),
        labels={str(key): str(value) for key, value in table(inner.get("Labels")).items()},
        env=_environment(inner.get("Env")),
        tty=inner.get("Tty") is True,
        running=table(config.get("State")).get("Running") is True,
        log_driver=str(table(host_config.get("LogConfig")).get("Type") or "json-file"),
        problem=problem,
    )


def _read_json(path: Path) -> tuple[dict[str, Any], str | None]:
    try:
        with open(path, "rb", opener=open_plain) as file:
            return table(json.decode(file.read(MAX_CONFIG_BYTES))), None
    except FileNotFoundError:
        return {}, f"{path.name} is missing"
    except OSError as error:
        return {}, f"{path.name} cannot be read: {error.strerror}"
    except ValueError:
        return {}, f"{path.name} is damaged"


def _environment(entries: object) -> dict[str, str]:
    """
    Docker's list of `NAME=value`; of entries with one name the last counts, as in a process.
    """
    if not isinstance(entries, list):
        return {}
    pairs = [entry.partition("=") for entry in entries if isinstance(entry, str)]
    return {name: value for name, separator, value in pairs if separator}
