"""
The disk is full, or fails: once, now and then, or for good, at any write or sync.

A failed call raises `apsw.Error`, and has not happened; what was promised before stays; once the
disk works again the same open store works too.

SQLite passes over what fails while it moves its log into the file, or cuts the log: for its user
nothing has happened. A VFS in Python cannot fail so quietly, so here no truncation of the log
fails, and what fails in a checkpoint is passed over as SQLite does it (tests/crash/life.py).
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import apsw
import pytest
from crash.life import Life, read_ledger, short_life, steps_of_short_life
from crash.power import Operation, Recorder

from spool.audit import audit
from spool.errors import SpoolUnusable
from spool.lock import ShipperLock, holder
from spool.store import Store

SEED = 20_261_122
TRIES = 40
"""Of one step, while the disk fails now and then."""


class FailingDisk:
    """
    Fails at the writes and syncs, numbered from 0, that `fails` names.
    """

    def __init__(self, fails: Callable[[int], bool], error: type[apsw.Error]) -> None:
        self.count = 0
        self.failed = 0
        self.is_healed = False
        self._fails = fails
        self._error = error

    def __call__(self, operation: Operation) -> None:
        if operation.kind not in ("write", "sync") or self.is_healed:
            return
        self.count += 1
        if self._fails(self.count - 1):
            self.failed += 1
            if operation.kind == "sync":
                raise apsw.IOError("disk I/O error")
            raise self._error("asked for")


def start(path: Path, disk: FailingDisk) -> Life:
    """
    Open a spool, again and again if need be; at last with a disk that works.
    """
    for _ in range(TRIES):
        with suppress(SpoolUnusable, apsw.Error):
            return Life(path)
    disk.is_healed = True
    return Life(path)


def do(step: Callable[[Life], None], life: Life, disk: FailingDisk) -> None:
    """
    Take a step until it succeeds; a try that failed has left all as it was.
    """
    for tried in range(TRIES + 1):
        if tried == TRIES:
            disk.is_healed = True
        failed = disk.failed
        try:
            step(life)
        except SpoolUnusable:  # it was closed, and could not be opened again
            assert disk.failed > failed, "a start fails only with the disk"
        except apsw.Error:
            assert disk.failed > failed, "a call fails only with the disk"
            assert_unchanged(life)
        else:
            return


def assert_unchanged(life: Life) -> None:
    found = read_ledger(life.store)
    if found != life.ledger:  # pruning is durable bit by bit
        gone = life.ledger.events.items() - found.events.items()
        assert found.events.items() <= life.ledger.events.items()
        assert {state for _, state in gone} <= {"sent"}
        life.ledger = found
    assert audit(life.store) == []


def live(path: Path, disk: FailingDisk) -> None:
    with Recorder() as recorder:
        recorder.before = disk
        life = start(path, disk)
        for step in steps_of_short_life():
            do(step, life, disk)
        disk.is_healed = True
        life.append(("web", 2))
        life.close()
    with Store(path) as store:
        assert audit(store) == []
        assert read_ledger(store) == life.ledger


def count_operations(path: Path) -> int:
    disk = FailingDisk(lambda _: False, apsw.FullError)
    live(path, disk)
    return disk.count


ERRORS = pytest.mark.parametrize("error", [apsw.FullError, apsw.IOError])


def test_what_fails_while_a_spool_is_made_is_named_and_the_next_start_works(folder: Path) -> None:
    for number in range(20):
        path = folder / f"{number}.db"
        disk = FailingDisk(lambda count, number=number: count == number, apsw.FullError)
        with Recorder() as recorder:
            recorder.before = disk
            with pytest.raises(SpoolUnusable, match=r"asked for|disk I/O error"):
                Store(path)
        with Store(path) as store:
            assert audit(store) == []


@ERRORS
def test_one_failure_anywhere_fails_one_call_and_the_next_works(
    folder: Path, error: type[apsw.Error]
) -> None:
    first = 0 if error is apsw.FullError else 2
    failed = 0
    for number in range(first, count_operations(folder / "whole.db"), 4):
        disk = FailingDisk(lambda count, number=number: count == number, error)
        live(folder / f"{number}.db", disk)
        failed += disk.failed
    assert failed > 80


@ERRORS
def test_a_disk_that_fails_now_and_then_slows_a_spool_and_loses_nothing(
    folder: Path, error: type[apsw.Error]
) -> None:
    for seed in range(SEED, SEED + 15):
        dice = random.Random(seed)
        disk = FailingDisk(lambda _, dice=dice: dice.random() < 0.02, error)
        live(folder / f"{seed}.db", disk)


@ERRORS
@pytest.mark.parametrize("first", [70, 110, 170, 260, 330])
def test_a_disk_that_fails_for_good_keeps_what_was_promised(
    folder: Path, error: type[apsw.Error], first: int
) -> None:
    """
    The files as they are then are what the next process finds. The open store can still be read.
    """
    disk = FailingDisk(lambda count: count >= first, error)
    with Recorder() as recorder:
        recorder.before = disk
        life = Life(folder / "spool.db")
        with pytest.raises((apsw.Error, SpoolUnusable)):
            short_life(life)
        with pytest.raises(apsw.Error):
            life.append(("web", 1))
        assert_unchanged(life)
        left = shutil.copytree(folder, folder / "left")
        life.close()
    with Store(left / "spool.db") as store:
        assert audit(store) == []
        assert life.ledger.events.keys() <= read_ledger(store).events.keys()


@pytest.mark.parametrize("content", [None, b"", b"1", b"12345\n", b"not a number"])
def test_whatever_a_cut_leaves_of_the_lock_file_the_next_shipper_has_the_spool(
    folder: Path, content: bytes | None
) -> None:
    path = folder / "spool.db"
    if content is not None:
        (folder / "spool.db.lock").write_bytes(content)
    assert holder(path) is None
    with ShipperLock(path):
        assert holder(path) == os.getpid()
