"""
Fixtures that several folders share.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cloudwatch_endpoint import Endpoint
from hypothesis import HealthCheck, settings

# a machine that others load is no failure, nor is a fixture that all examples of a test share
settings.register_profile("spool", deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("spool")


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """
    CloudWatch Logs, strict. Whatever a test does, no request may have been illegal.
    """
    with Endpoint() as running:
        yield running
        assert running.violations == []


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """
    Where a spool may be made.
    """
    return tmp_path / "spool" / "spool.db"


@pytest.fixture
def containers(tmp_path: Path) -> Path:
    """
    A containers folder, empty.
    """
    folder = tmp_path / "containers"
    folder.mkdir()
    return folder


@pytest.fixture
def pods(tmp_path: Path) -> Path:
    """
    The folder of a node's pods, empty.
    """
    folder = tmp_path / "pods"
    folder.mkdir()
    return folder
