"""
Source: the logs of pods, read where the container runtime writes them for the kubelet.

Comes in: a folder such as /var/log/pods. Goes out: readings, each run of a container (N.log, N
counts its restarts) a log of its own, as the kubelet keeps and removes them apart. Always holds:
nothing outside of that folder is read, whatever symbolic links stand in it: a pod that may write
to the host's /var/log could have put them there.

The kubelet renames a file to N.log.YYYYMMDD-HHMMSS and has the runtime begin a new one; at the
next time it compresses the renamed one, under another name first, so a .gz is always whole.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, cast

from shipper.containers import Container
from shipper.plain_files import open_plain
from shipper.pods import ContainerFolder, container_folders, run_of
from shipper.sources.cri import CriJoiner
from shipper.sources.file_source import FileSource
from shipper.sources.files import is_missing
from shipper.sources.followed import Log
from shipper.sources.intake import Intake
from shipper.sources.lines import Joiner

__all__ = ["PodLog", "PodLogSource"]


class PodLogSource(FileSource):
    """
    Every container of every pod of this node.
    """

    option = "--pods-dir"
    kind = "cri"

    def logs(self) -> list[Log]:
        """
        One for each run of a container that has a file; the runs of one in order.
        """
        return [
            PodLog(self.folder, folder, run)
            for folder in container_folders(self.folder)
            for run in sorted({run_of(name) for name in folder.files()})
        ]


class PodLog:
    """
    The log of one run of a pod's container.
    """

    is_known_to_engine = False

    def __init__(self, pods_dir: Path, folder: ContainerFolder, run: int) -> None:
        self._pods_dir = pods_dir
        self._folder = folder
        self._run = run
        self.live = folder.path / f"{run}.log"
        self.key = f"cri:{folder.uid}/{folder.container}/{run}"
        self.title = str(self.live.relative_to(pods_dir))

    def container(self) -> Container:
        """
        Running, until there is a later run of it.
        """
        return self._folder.describe(running=not self._is_over())

    def version(self) -> Hashable:
        """
        Nothing else changes.
        """
        return self._is_over()

    def joiner(self, intake: Intake, container: Container) -> Joiner:
        """
        Of CRI records.
        """
        return intake.joiner(container, CriJoiner)

    def paths(self) -> list[Path]:
        """
        The rotated files by the time in their names, then the live one. A plain file counts more
        than its .gz, which is there beside it for a moment.
        """
        mine = [name for name in self._folder.files() if run_of(name) == self._run]
        found = {name.removesuffix(".gz"): name for name in sorted(mine, reverse=True)}
        live = found.pop(self.live.name, None)
        rotated = [found[name] for name in sorted(found)]
        return [self._folder.path / name for name in (*rotated, live) if name]

    def open(self, path: Path) -> BinaryIO:
        """
        A plain file, and on the way to it plain folders, from the pods' folder on.
        """

        def opener(_: str, flags: int) -> int:
            return _open_below(self._pods_dir, path.relative_to(self._pods_dir), flags)

        return cast(BinaryIO, open(path, "rb", buffering=0, opener=opener))

    def is_gone(self) -> bool:
        """
        Whether the kubelet has removed the files: with the pod, or as later runs have theirs.
        """
        return is_missing(self.live) and not self.paths() and not is_missing(self._pods_dir)

    def _is_over(self) -> bool:
        return os.access(self.live.with_name(f"{self._run + 1}.log"), os.F_OK)


def _open_below(root: Path, below: Path, flags: int) -> int:
    """
    A descriptor. Raises OSError, also for what is no plain file; it waits for none.
    """
    folder_flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    with ExitStack() as folders:
        folder = os.open(root, folder_flags)
        folders.callback(os.close, folder)
        for part in below.parent.parts:
            folder = os.open(part, folder_flags | os.O_NOFOLLOW, dir_fd=folder)
            folders.callback(os.close, folder)
        return open_plain(below.name, flags | os.O_NOFOLLOW, dir_fd=folder)
