"""
The rules that `spool run` and `spool names` share: whom to collect, and under which names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from shipper.collecting import Chooser, own_container_id
from shipper.ec2 import Metadata
from shipper.naming import Namer, host_name
from shipper.route import Route

__all__ = ["make_chooser", "make_namer"]


def make_chooser(route: Route, source: str, containers_dir: Path) -> Chooser:
    """
    Whom to collect, and from where.
    """
    return Chooser(route, source, containers_dir, own_container_id())


def make_namer(route: Route, metadata: Metadata, region: Callable[[], str]) -> Namer:
    """
    Under which names; `region` is called when a template asks for it.
    """
    return Namer(
        group_template=route.group_template,
        stream_template=route.stream_template,
        host=host_name(),
        instance_id=lambda: metadata.instance_id() or "",
        region=region,
    )
