"""
On what kind of disk a folder lies, and who else may keep a process from it.
"""

from __future__ import annotations

import os
from pathlib import Path

from shipper.collecting import MOUNTINFO, own_container_id
from shipper.diagnosis.finding import Finding, ok, skipped, warning

__all__ = ["disk_finding", "is_in_container", "selinux_hint"]

SELINUX = Path("/sys/fs/selinux/enforce")
DOCKER_MARK = Path("/.dockerenv")

IN_MEMORY = ("tmpfs", "ramfs", "devtmpfs")
FROM_AFAR = ("9p", "afs", "ceph", "cifs", "ncpfs", "nfs", "nfs4", "smb3", "smbfs", "virtiofs")

VOLUME = "in a container, mount a volume: -v spool:/var/lib/spool"


def disk_finding(folder: Path) -> Finding:
    """
    Finding `disk`: whether a write-ahead log works there, and what is there stays there.
    """
    kind = _file_system(folder)
    if kind is None:
        return skipped("disk", "its kind cannot be told here")
    if kind in IN_MEMORY:
        return warning(
            "disk",
            f"{kind}: the spool is gone when the host or the container restarts",
            f"put it on a disk, with --db or SPOOL_DB; {VOLUME}",
        )
    if kind == "overlay":
        return warning(
            "disk",
            "overlay, a container's own layer: the spool is gone with the container",
            VOLUME,
        )
    if kind in FROM_AFAR or kind.startswith("fuse"):
        return warning(
            "disk",
            f"{kind}: SQLite's write-ahead log is only safe on a local disk",
            f"put the spool on a local disk, with --db or SPOOL_DB; {VOLUME}",
        )
    return ok("disk", f"{kind}, local")


def selinux_hint() -> str:
    """
    To be put behind the remedy for a permission that is missing; empty without SELinux.
    """
    try:
        is_enforcing = SELINUX.read_text().strip() == "1"
    except OSError:
        is_enforcing = False
    hint = "; SELinux is on: for a container also --security-opt label=disable"
    return hint if is_enforcing else ""


def is_in_container() -> bool:
    """
    Whether this process runs in one of Docker's.
    """
    return DOCKER_MARK.exists() or own_container_id() is not None


def _file_system(folder: Path) -> str | None:
    """
    Such as ext4: that of the longest mount point above the folder, the last where there are two.
    """
    real = os.path.realpath(folder)
    found: tuple[int, str] | None = None
    try:
        lines = MOUNTINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4].replace("\\040", " ")
        is_above = real == point or real.startswith(point.rstrip("/") + "/")
        if is_above and (found is None or len(point) >= found[0]):
            found = (len(point), after.split(" ")[0])
    return found[1] if found else None
