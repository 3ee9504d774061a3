"""
The rules that `spool run` has, and `spool names` and `spool doctor` tell of: whom to collect, and
under which names.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from shipper.collecting import Chooser, own_container_id, own_pod_uid
from shipper.ec2 import Metadata
from shipper.naming import Namer, host_name
from shipper.route import Route
from spool.lock import holder

__all__ = ["GIVE_THE_SAME", "POD_UID", "make_chooser", "make_namer", "other_route"]

POD_UID = "SPOOL_POD_UID"
"""Set from the metadata.uid of the agent's own pod, whose logs it must not collect."""

GIVE_THE_SAME = "give the same, as ROUTE or in ROUTE_URIS"


def make_chooser(route: Route, source: str, containers_dir: Path) -> Chooser:
    """
    Whom to collect, and from where.
    """
    return Chooser(route, source, containers_dir, own_container_id(), _own_pod(os.environ))


def _own_pod(environ: Mapping[str, str]) -> str | None:
    """
    The uid of the pod that this process runs in, as it was told, or as its mounts tell.
    """
    return environ.get(POD_UID, "").strip() or own_pod_uid()


def make_namer(route: Route, metadata: Metadata, region: Callable[[], str]) -> Namer:
    """
    Under which names; `region` is called when a template asks for it.
    """
    return Namer(
        group_template=route.group_template,
        stream_template=route.stream_template,
        host=host_name(os.environ),
        instance_id=lambda: metadata.instance_id() or "",
        region=region,
    )


def other_route(db: Path, route: str | None, environ: Mapping[str, str]) -> str | None:
    """
    What to say where no route is known here, and an agent runs that may have been given one.
    """
    if route or environ.get("ROUTE_URIS", "").strip():
        return None
    pid = holder(db)
    return f"no route is given, and the agent that runs (pid {pid}) may have one" if pid else None
