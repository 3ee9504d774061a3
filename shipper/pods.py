"""
Who a pod's container is, read from the names that the kubelet gives its folders.

Comes in: a folder such as /var/log/pods, in which NAMESPACE_POD_UID/CONTAINER/N.log is the log of
a container since its Nth restart. Goes out: a `Container`. Always holds: what does not have the
form of Kubernetes' names is no pod's; no symbolic link is followed.

Nobody is asked: neither the API server, which would need a permission for each node, nor the
runtime, whose socket is root. So environment, labels and annotations are not known, but for the
four labels that Docker's containers of pods have.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shipper.containers import Container

__all__ = [
    "CRI",
    "POD_UID_LABEL",
    "ContainerFolder",
    "container_folders",
    "pod_containers",
    "run_of",
]

CRI = "cri"
"""In place of the name of a log driver of Docker."""

POD_UID_LABEL = "io.kubernetes.pod.uid"

NAME = r"[A-Za-z0-9](?:[A-Za-z0-9.\-]{0,252})"
"""https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ has no `_` in any."""

POD_FOLDER = re.compile(rf"({NAME})_({NAME})_({NAME})")
CONTAINER_FOLDER = re.compile(NAME)
LOG_FILE = re.compile(r"(0|[1-9][0-9]{0,8})\.log(?:\.[0-9]{8}-[0-9]{6}(?:\.gz)?)?")


@dataclass(frozen=True, slots=True)
class ContainerFolder:
    """
    Where the logs of all runs of one container are, and whose they are.
    """

    path: Path
    namespace: str
    pod: str
    uid: str
    container: str

    def describe(self, *, running: bool = True) -> Container:
        """
        The container, named NAMESPACE_POD_CONTAINER. A pod's name is the name of its host.
        """
        return Container(
            id=f"{self.uid}/{self.container}",
            name=f"{self.namespace}_{self.pod}_{self.container}",
            hostname=self.pod,
            labels={
                "io.kubernetes.pod.namespace": self.namespace,
                "io.kubernetes.pod.name": self.pod,
                "io.kubernetes.container.name": self.container,
                POD_UID_LABEL: self.uid,
            },
            running=running,
            log_driver=CRI,
        )

    def files(self) -> list[str]:
        """
        The names of all log files in it, of all runs; none where it is gone.
        """
        return [name for name in _names(self.path, is_folder=False) if LOG_FILE.fullmatch(name)]


def run_of(file_name: str) -> int:
    """
    Which run of a container wrote this one of `ContainerFolder.files`.
    """
    return int(file_name.partition(".")[0])


def container_folders(pods_dir: Path) -> Iterator[ContainerFolder]:
    """
    Those of all pods.

    Raises OSError where `pods_dir` cannot be listed.
    """
    with os.scandir(pods_dir) as entries:
        pods = [
            (entry.name, match)
            for entry in entries
            if (match := POD_FOLDER.fullmatch(entry.name)) and entry.is_dir(follow_symlinks=False)
        ]
    for folder, match in pods:
        for name in _names(pods_dir / folder, is_folder=True):
            if CONTAINER_FOLDER.fullmatch(name):
                namespace, pod, uid = match.groups()
                yield ContainerFolder(pods_dir / folder / name, namespace, pod, uid, name)


def pod_containers(pods_dir: Path) -> list[Container]:
    """
    All containers that have a log file there; none where that folder cannot be listed.
    """
    try:
        return [one.describe() for one in container_folders(pods_dir) if one.files()]
    except OSError:
        return []


def _names(folder: Path, *, is_folder: bool) -> list[str]:
    """
    Of the folders, or else of the plain files, in a folder.
    """
    try:
        with os.scandir(folder) as entries:
            return [
                entry.name
                for entry in entries
                if (entry.is_dir if is_folder else entry.is_file)(follow_symlinks=False)
            ]
    except OSError:
        return []
