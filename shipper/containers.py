"""
Who a container is, read from the folder that Docker keeps for it.

Comes in: a folder such as /var/lib/docker/containers/ID. Goes out: a `Container`. Always holds: a
missing, empty or damaged config.v2.json costs the name, never the lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import json

from shipper.plain_files import open_plain

__all__ = ["CONTAINER_ID", "Container", "read_container"]

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
    image: str = ""
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
    inner = _table(config.get("Config"))
    name = config.get("Name")
    return Container(
        id=folder.name,
        name=(name.lstrip("/") if isinstance(name, str) else "") or folder.name[:12],
        hostname=str(inner.get("Hostname") or ""),
        image=str(inner.get("Image") or ""),
        labels={str(key): str(value) for key, value in _table(inner.get("Labels")).items()},
        env=_environment(inner.get("Env")),
        tty=inner.get("Tty") is True,
        running=_table(config.get("State")).get("Running") is True,
        log_driver=str(_table(host_config.get("LogConfig")).get("Type") or "json-file"),
        problem=problem,
    )


def _read_json(path: Path) -> tuple[dict[str, Any], str | None]:
    try:
        with open(path, "rb", opener=open_plain) as file:
            return _table(json.decode(file.read(MAX_CONFIG_BYTES))), None
    except FileNotFoundError:
        return {}, f"{path.name} is missing"
    except OSError as error:
        return {}, f"{path.name} cannot be read: {error.strerror}"
    except ValueError:
        return {}, f"{path.name} is damaged"


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _environment(entries: object) -> dict[str, str]:
    """
    Docker's list of `NAME=value`; of entries with one name the last counts, as in a process.
    """
    if not isinstance(entries, list):
        return {}
    pairs = [entry.partition("=") for entry in entries if isinstance(entry, str)]
    return {name: value for name, separator, value in pairs if separator}
