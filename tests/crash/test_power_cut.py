"""
The power is cut: whatever a disk may have kept of what was not synced, the promises hold.

A life of a spool is recorded on a disk (tests/crash/power.py tells what that disk may lose), with
what was promised when each call returned. Then the disk is put back to any moment of that life and
the spool opened: it must be what was promised last, or what the call in progress would have made of
it, and nothing between the two.

A short life is cut behind every operation. A long one of random steps is cut here and there:
SPOOL_POWER_SEEDS=200 makes that 200 lives with many more cuts in each, for as long as it takes.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest
from crash.life import Ledger, Life, Promise, read_ledger, short_life
from crash.power import MODES, Disk, Mode, Operation, Recorder

from spool.audit import audit
from spool.store import Store

SEEDS = int(os.environ.get("SPOOL_POWER_SEEDS", "0"))
SEED = 20_261_122
LONG_STEPS = 120
CUTS = 2_000 if SEEDS else 350
"""In a long life."""

STREAMS = ("web", "worker", "cron")

Cut = tuple[int, Mode, dict[str, bytes]]
"""Behind so many operations; what it leaves; the files."""


def long_life(life: Life, dice: random.Random) -> None:
    """
    Steps as they come, some of them often.
    """
    for _ in range(LONG_STEPS):
        random_step(life, dice)
    life.close()


def random_step(life: Life, dice: random.Random) -> None:
    step = dice.choice("aaaattttttsssssspx.rclno")
    stream = dice.choice(STREAMS)
    batch = dice.choice(life.on_way) if life.on_way else None
    if step == "a":
        some = dice.sample(STREAMS, dice.randint(1, 3))
        life.append(*((name, dice.choice([1, 2, 5, 40])) for name in some))
    elif step == "t":
        life.take(stream)
    elif step == "s" and batch:
        refused = [(0, 1, "too old")] if dice.random() < 0.3 else []
        life.settle(batch, *refused)
    elif step == "x" and batch:
        life.split(batch)
    elif step == "n" and batch:
        life.attempt(batch)
    else:
        rarely = {"p": life.prune, "l": life.look, "o": life.reopen}
        of_stream = {"r": life.replay, "c": life.copy, ".": life.reject_old}
        if step in rarely:
            rarely[step]()
        elif step in of_stream:
            of_stream[step](stream)


def record(path: Path, live: Callable[[Life], None]) -> tuple[list[Operation], list[Promise]]:
    with Recorder() as recorder:
        life = Life(path, lambda: len(recorder.operations))
        live(life)
    return recorder.operations, life.promises


def cuts(operations: list[Operation], chosen: set[int], dice: random.Random) -> Iterator[Cut]:
    """
    What is left after each cut, and what it may be in each way; the same files come once for each
    number of operations.
    """
    disk = Disk()
    for done, operation in enumerate(operations, 1):
        disk.do(operation)
        if done in chosen:
            seen: set[int] = set()
            for mode in MODES:
                files = disk.after_cut(mode, dice)
                key = hash(tuple(sorted(files.items())))
                if key not in seen:
                    seen.add(key)
                    yield done, mode, files


def put_back(folder: Path, files: dict[str, bytes], dice: random.Random) -> Path:
    """
    The folder as it is when the power comes back.
    """
    for path in folder.iterdir():
        path.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    if dice.random() < 0.3:
        (folder / "spool.db-shm").write_bytes(dice.randbytes(32_768))
    return folder / "spool.db"


def hold_promises(path: Path, before: Promise, during: Promise) -> None:
    """
    The spool is sound, and it is what was promised.
    """
    with Store(path) as store:
        assert audit(store) == []
        found = read_ledger(store)
        assert during.allows(found, before.ledger), difference(found, before.ledger, during.ledger)


def difference(found: Ledger, before: Ledger, during: Ledger) -> str:
    """
    What a failure is about.
    """
    return "\n".join(
        f"{name}: position {found.position} for {one.position};"
        f" events {dict(found.events.items() ^ one.events.items())};"
        f" batches {dict(found.batches.items() ^ one.batches.items())}"
        for name, one in (("against what was promised", before), ("against what comes", during))
    )


def check_cuts(
    folder: Path, live: Callable[[Life], None], *, sample: int | None = None, seed: int = SEED
) -> int:
    """
    Live, then cut behind `sample` operations, or behind all; returns how many cuts there were.
    """
    operations, promises = record(folder / "life" / "spool.db", live)
    cutting = random.Random(seed)
    everywhere = range(1, len(operations) + 1)
    chosen = set(
        everywhere if sample is None else cutting.sample(everywhere, min(sample, len(everywhere)))
    )
    after = folder / "after"
    after.mkdir()
    count = 0
    for done, mode, files in cuts(operations, chosen, cutting):
        current = max(i for i, promise in enumerate(promises) if promise.operations <= done)
        during = promises[min(current + 1, len(promises) - 1)]
        try:
            hold_promises(put_back(after, files, cutting), promises[current], during)
        except BaseException as error:
            error.add_note(f"seed {seed}, cut behind operation {done}, {mode} is left")
            raise
        count += 1
    return count


def test_a_cut_behind_any_operation_of_a_short_life_breaks_no_promise(folder: Path) -> None:
    """
    Promises 1, 2 and 4: what a call returned from is there, whole and once; a call that did not
    return has happened or has not. A batch is on record before its request can go out.
    """
    assert check_cuts(folder, short_life) > 1_000


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(SEED, SEED + max(SEEDS, 1)))
def test_a_cut_in_a_long_life_of_random_steps_breaks_no_promise(folder: Path, seed: int) -> None:
    dice = random.Random(seed)
    check_cuts(folder, lambda life: long_life(life, dice), sample=CUTS, seed=seed)


@pytest.mark.parametrize("setting", ["NORMAL", "OFF"])
def test_this_disk_finds_out_a_spool_that_syncs_less(folder: Path, setting: str) -> None:
    """
    What is tested here is the disk: it must be one on which promises can break.
    """

    def live(life: Life) -> None:
        with life.store.idle_writer() as db:
            db.execute(f"PRAGMA synchronous = {setting}")
        short_life(life)

    with pytest.raises((AssertionError, apsw.Error)):
        check_cuts(folder, live)
