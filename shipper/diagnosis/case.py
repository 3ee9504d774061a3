"""
The host under examination: what was asked, and what the checks so far have found.

A check may lean on what one before it found; where that found nothing, it says so and skips itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shipper.collecting import Chooser
from shipper.diagnosis.probe import Probe
from shipper.ec2 import Metadata
from shipper.naming import Namer
from shipper.route import Route

__all__ = ["Case"]


@dataclass(slots=True, kw_only=True)
class Case:
    """
    `group` and `stream` are None where they were not chosen; `writes` asks for a real event.
    """

    route: Route
    environ: Mapping[str, str]
    db: Path
    max_size_bytes: int
    source: str
    containers_dir: Path
    pods_dir: Path
    chooser: Chooser
    namer: Namer
    metadata: Metadata
    group: str | None
    stream: str | None
    writes: bool
    retention_days: int | None
    group_class: str | None

    containers: int = 0
    groups: Counter[str] = field(default_factory=Counter)
    """How many of this host's containers go to each group."""

    region: str | None = None
    probe: Probe | None = None
    has_keys: bool = False
    is_reached: bool = False
    clock_offset_ms: int | None = None
    """By how much the endpoint's clock is ahead of this host's."""
