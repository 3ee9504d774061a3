"""
What the kubelet and the container runtime do with the log of a pod's container, one step at a time.
"""

from __future__ import annotations

import gzip
import os
import shutil
import time
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

__all__ = ["POD_UID", "PodWriter", "cri_time"]

POD_UID = "0f5e1c1c-8f0e-4c6b-9d5e-3c1a6f1f0a11"

_rotations = count()


def cri_time(zone: str = "Z") -> str:
    """
    The present as containerd writes it (Z), or CRI-O (+00:00): always nine digits.
    """
    now_ns = time.time_ns()
    moment = datetime.fromtimestamp(now_ns // 10**9, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{now_ns % 10**9:09d}{zone}"


class PodWriter:
    """
    The log of one container. The runtime appends a record with one write.
    """

    def __init__(
        self,
        pods_dir: Path,
        pod: str = "web-0",
        container: str = "app",
        *,
        namespace: str = "shop",
        uid: str = POD_UID,
    ) -> None:
        self.name = f"{namespace}_{pod}_{container}"
        self.pod_folder = pods_dir / f"{namespace}_{pod}_{uid}"
        self.folder = self.pod_folder / container
        self.folder.mkdir(parents=True)
        self.run = 0
        self._descriptor: int | None = None
        self.reopen()

    def __del__(self) -> None:
        self.close()

    @property
    def live(self) -> Path:
        return self.folder / f"{self.run}.log"

    def reopen(self) -> None:
        """
        ReopenContainerLog: the runtime opens the file of that name, or makes it.
        """
        before = self._descriptor
        self._descriptor = os.open(self.live, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        if before is not None:
            os.close(before)

    def close(self) -> None:
        """
        The container has ended.
        """
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def write(self, *messages: str, stream: str = "stdout", tag: str = "F") -> None:
        for message in messages:
            self.write_bytes(f"{cri_time()} {stream} {tag} {message}\n".encode())

    def write_bytes(self, data: bytes) -> None:
        assert self._descriptor is not None
        os.write(self._descriptor, data)

    def rotated(self) -> list[Path]:
        """
        Oldest first.
        """
        return sorted(self.folder.glob(f"{self.run}.log.*"))

    def compress(self) -> None:
        """
        All that was rotated and is plain: a temporary file, renamed, then the plain one away.
        """
        for path in self.rotated():
            if path.suffix not in (".gz", ".tmp"):
                temporary = path.with_name(path.name + ".tmp")
                temporary.write_bytes(gzip.compress(path.read_bytes()))
                temporary.rename(path.with_name(path.name + ".gz"))
                path.unlink()

    def rename(self) -> Path:
        """
        The first half of a rotation.
        """
        moment = datetime.fromtimestamp(1_795_000_000 + 10 * next(_rotations), UTC)
        to = self.folder / f"{self.live.name}.{moment:%Y%m%d-%H%M%S}"
        self.live.rename(to)
        return to

    def rotate(self, *, keep: int = 5) -> None:
        """
        As kuberuntime's log manager does every ten seconds, with containerLogMaxFiles `keep`.
        """
        old = self.rotated()
        for path in old[: max(0, len(old) - (keep - 2))]:
            path.unlink()
        self.compress()
        self.rename()
        self.reopen()

    def restart(self) -> None:
        """
        The container's next run writes a file of its own; of the dead ones the last stays.
        """
        self.close()
        for path in self.folder.glob(f"{self.run - 1}.log*"):
            path.unlink()
        self.run += 1
        self.reopen()

    def remove(self) -> None:
        """
        The pod was deleted.
        """
        self.close()
        shutil.rmtree(self.pod_folder)
