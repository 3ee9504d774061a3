"""
spool prune: sent events leave, and nothing else does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from agent import spool, status


def test_sent_events_leave_and_are_counted_while_others_stay(spool_to_change: Any) -> None:
    db = spool_to_change.db
    assert spool("prune", "--db", db, "--keep", "0s").stdout == "pruned 5 events\n"
    left = status(db)
    assert (left["unsent"], left["sent"], left["rejected"], left["pruned"]) == (2, 0, 1, 5)
    assert left["collected"] == len(spool_to_change.all)
    shown = spool("events", "--db", db, "--format", "json").stdout
    assert "GET /one" not in shown
    assert spool_to_change.rejected in shown
    assert spool("check", "--db", db).returncode == 0
    assert spool("prune", "--db", db, "--keep", "0s").stdout == "pruned 0 events\n"


def test_what_was_sent_lately_is_kept_for_replay(spool_to_change: Any) -> None:
    assert spool("prune", "--db", spool_to_change.db).stdout == "pruned 0 events\n"
    assert status(spool_to_change.db)["sent"] == 5


@pytest.mark.parametrize("keep", ["soon", "-1h", ""])
def test_a_time_that_cannot_be_meant_deletes_nothing(spool_to_change: Any, keep: str) -> None:
    done = spool("prune", "--db", spool_to_change.db, "--keep", keep)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert status(spool_to_change.db)["sent"] == 5


def test_without_a_spool_none_is_made(db: Path) -> None:
    done = spool("prune", "--db", db)
    assert done.returncode == 1
    assert "no spool here" in done.stderr
    assert not db.exists()
