"""
A folder that is quick, for thousands of spools one after the other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """
    In memory where that can be had: thousands of starts on a disk take their time, and what syncs
    are worth is told by the recorder.
    """
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with TemporaryDirectory(dir=memory, prefix="spool-power-") as path:
        yield Path(path)
