"""
The folder of a spool is there for good before anything in it is promised.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from spool.lock import ShipperLock
from spool.store import Store


@pytest.mark.parametrize("make", [Store, ShipperLock])
def test_whoever_makes_the_folder_syncs_the_way_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Store | ShipperLock]
) -> None:
    synced = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    for _ in range(2):
        with make(tmp_path / "new" / "deep" / "spool.db"):
            pass
    assert sorted(synced) == [tmp_path, tmp_path / "new"]
