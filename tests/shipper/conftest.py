"""
Fixtures for the shipper's stages, in this process.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cloudwatch_endpoint import Endpoint

from shipper.cloudwatch import CloudWatch
from spool.store import Store


@pytest.fixture
def cloudwatch(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> CloudWatch:
    """
    The service behind the strict endpoint.
    """
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    for name, value in endpoint.environment().items():
        monkeypatch.setenv(name, value)
    return CloudWatch("us-east-1", connections=4)


@pytest.fixture
def store(db: Path) -> Iterator[Store]:
    """
    A new spool.
    """
    with Store(db) as opened:
        yield opened
