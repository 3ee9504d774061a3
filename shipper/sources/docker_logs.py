"""
Source: Docker's json-file logs, read where the engine writes them.

Comes in: a folder such as /var/lib/docker/containers, in which each container has one of its own
with ID-json.log, and what was rotated away from it: .1, .2, …, plain or .gz.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import BinaryIO, cast

from shipper.containers import Container, read_container
from shipper.plain_files import open_plain
from shipper.sources.crossing import checkpoint_key
from shipper.sources.file_source import FileSource
from shipper.sources.files import is_missing
from shipper.sources.followed import Log
from shipper.sources.intake import Intake
from shipper.sources.lines import Joiner

__all__ = ["DockerLog", "JsonFileSource"]


class JsonFileSource(FileSource):
    """
    Every container under Docker's folder that has a json-file log, or may get one.
    """

    option = "--containers-dir"
    kind = "json-file"

    def logs(self) -> list[Log]:
        """
        One for each folder.
        """
        return [DockerLog(path) for path in self.folder.iterdir() if path.is_dir()]


class DockerLog:
    """
    The json-file log of one container, whose folder is `folder`.
    """

    is_known_to_engine = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.live = folder / f"{folder.name}-json.log"
        self.key = checkpoint_key(folder.name)
        self.title = self.live.name

    def container(self) -> Container:
        """
        As its configuration has it.
        """
        return read_container(self._folder)

    def version(self) -> Hashable:
        """
        The configuration is replaced by a new file.
        """
        try:
            status = (self._folder / "config.v2.json").stat()
        except OSError:
            return (0, 0)
        return (status.st_ino, status.st_mtime_ns)

    def joiner(self, intake: Intake, container: Container) -> Joiner:
        """
        Of JSON records.
        """
        return intake.joiner(container)

    def paths(self) -> list[Path]:
        """
        The live file and the numbered ones, the highest number first.
        """
        pattern = re.compile(re.escape(self.live.name) + r"(?:\.(\d{1,6}))?(\.gz)?")
        found: dict[int, Path] = {}
        try:
            names = sorted((path.name for path in self._folder.iterdir()), reverse=True)
        except FileNotFoundError:
            return []
        for name in names:  # a plain file comes after its .gz, and is the complete one
            match = pattern.fullmatch(name)
            if match and (match[1] or not match[2]):
                found[int(match[1] or 0)] = self._folder / name
        return [found[number] for number in sorted(found, reverse=True)]

    def open(self, path: Path) -> BinaryIO:
        """
        Nobody but the engine writes in that folder.
        """
        return cast(BinaryIO, open(path, "rb", buffering=0, opener=open_plain))

    def is_gone(self) -> bool:
        """
        Whether Docker has removed the container, folder and all.
        """
        return is_missing(self._folder) and not is_missing(self._folder.parent)
