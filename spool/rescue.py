"""
A damaged spool is set aside, and a new one with everything that can be read takes its place.

Comes in: a path, by the one who holds its `ShipperLock` and has it open nowhere. Goes out: what was
done, one line for each fact. Always holds, whenever the process is killed: either the old files are
where they were, or they are set aside and the new spool is complete.

    spool.db.rescuing           the new spool while it is made; a later start begins anew
    spool.db.rescued-TIME       the new spool, complete and on the disk: from here on the old one is
                                no longer written to, and a later start finishes the renaming
    spool.db.damaged-TIME       the old one, and its write-ahead log beside it as SQLite wants it
"""

from __future__ import annotations

import fcntl
import itertools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import apsw

from spool.accounts import LOST_GROUP, Outcome, settle
from spool.connection import select
from spool.damage import find_damage
from spool.errors import SpoolUnusable
from spool.opening import unfinished_rescues
from spool.pages import Pages, opened
from spool.place import who_may
from spool.salvage import salvage, salvage_checkpoints
from spool.schema import FOR_GOOD, create_tables

__all__ = ["rescue"]

SHARED_BYTES = (0x40000000 + 2, 510)
"""Where SQLite has its shared locks (offset, length): in WAL mode for as long as a file is open."""

PATIENCE_S = 10.0
"""For another process that has the damaged file open, a `spool put` say, to end."""

FAST = ("journal_mode = OFF", "synchronous = OFF", "temp_store = MEMORY", "cache_size = -16384")

RESCUED, ASIDE = ".rescued-", ".damaged-"


@dataclass(frozen=True, slots=True)
class _Saved:
    """
    What the new spool has, and whether its sources stand where they did before the tear.
    """

    outcome: Outcome
    reads_again: bool


def rescue(path: Path, *, is_thorough: bool, damage: str | None = None) -> list[str]:
    """
    See that the spool at `path` can be used; returns what was wrong and what was done, a line each,
    nothing where it is sound or none.

    Where `damage` is already known it is not looked for. Raises `SpoolUnusable` where the file may
    not be read, or a damaged one cannot be replaced; it is then as it was.
    """
    try:
        facts = _finish(path)
        damage = damage or _confirmed_damage(path, is_thorough=is_thorough)
        if damage is None:
            return facts
        return [*facts, f"{path} is damaged: {damage}", *_replace(path)]
    except apsw.Error as error:
        raise _hopeless(path, str(error)) from error
    except PermissionError as error:
        raise (_hopeless if damage else _unreadable)(path, str(error.strerror)) from error
    except OSError as error:
        raise _hopeless(path, error.strerror or str(error)) from error


def _confirmed_damage(path: Path, *, is_thorough: bool) -> str | None:
    """
    What two looks find: a `spool put` beside us may have been writing during the first.
    """
    if find_damage(path, is_thorough=is_thorough) is None:
        return None
    return find_damage(path, is_thorough=is_thorough)


def _replace(path: Path) -> list[str]:
    new = path.with_name(path.name + ".rescuing")
    with _sole_use(path), opened(path) as pages:
        try:
            saved = _build(path, pages, new)
            aside = _commit(path, new)
        finally:
            new.unlink(missing_ok=True)
        _finish(path)
    return _facts(aside, saved)


@contextmanager
def _sole_use(path: Path) -> Iterator[None]:
    """
    No other process has the file open meanwhile: what it stored would be set aside with it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        deadline_s = time.monotonic() + PATIENCE_S
        while not _locked(descriptor):
            if time.monotonic() > deadline_s:
                raise SpoolUnusable(
                    f"{path}: damaged, and another process has it open, so that it cannot be set "
                    "aside; end `spool events -f`, `spool put` and the like"
                )
            time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    start, length = SHARED_BYTES
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _build(path: Path, pages: Pages, new: Path) -> _Saved:
    """
    Make the new spool, complete and on the disk.
    """
    old = path.stat()
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with suppress(PermissionError):  # only root may give a file away
            os.fchown(descriptor, old.st_uid, old.st_gid)
        os.fchmod(descriptor, old.st_mode & 0o777)
        saved = _fill(pages, new)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return saved


def _fill(pages: Pages, new: Path) -> _Saved:
    db = apsw.Connection(str(new))
    try:
        # a process that is killed makes it anew: nothing needs to be undone or on the disk yet
        for setting in (*FOR_GOOD, *FAST):
            select(db, f"PRAGMA {setting}")
        db.execute("BEGIN IMMEDIATE")
        create_tables(db)
        found = salvage(pages, db)
        outcome = settle(db, found)
        reads_again = pages.log.is_torn and outcome.lost > 0
        if reads_again:
            salvage_checkpoints(pages.before_tear(), db)
        db.execute("COMMIT")
        return _Saved(outcome, reads_again=reads_again)
    finally:
        db.close()


def _commit(path: Path, new: Path) -> Path:
    """
    From here on the new file counts; returns where the old one will be.
    """
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    taken = {name.name for name in path.parent.iterdir()}
    times = (now if number == 0 else f"{now}-{number}" for number in itertools.count())
    when = next(time for time in times if f"{path.name}{ASIDE}{time}" not in taken)
    new.rename(path.with_name(f"{path.name}{RESCUED}{when}"))
    _sync_folder(path)
    return path.with_name(f"{path.name}{ASIDE}{when}")


def _finish(path: Path) -> list[str]:
    """
    Put a complete new spool in the place of the damaged one, however far that had come.
    """
    facts = []
    for rescued in unfinished_rescues(path):
        aside = path.with_name(rescued.name.replace(RESCUED, ASIDE))
        for end in ("", "-wal"):
            old, new = (name.with_name(name.name + end) for name in (path, aside))
            if old.exists() and new.exists():
                raise SpoolUnusable(
                    f"{old}: made while the rescue of the damaged {new} was not finished; "
                    "move it elsewhere, and start again"
                )
            if old.exists() and old.stat().st_size == 0 and end:
                old.unlink()  # of the look at what is damaged
            elif old.exists():
                old.rename(new)
        path.with_name(path.name + "-shm").unlink(missing_ok=True)
        _sync_folder(path)
        rescued.rename(path)
        _sync_folder(path)
        facts.append(f"{path} was damaged, and its rescue is finished now: the old file is {aside}")
    return facts


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _facts(aside: Path, saved: _Saved) -> list[str]:
    outcome = saved.outcome
    facts = [f"the damaged file is {aside} now; remove it when you need it no more"]
    lost = f"{outcome.lost:,} are lost" if outcome.lost else "none is known to be lost"
    facts.append(f"{outcome.events:,} events were saved, {lost}")
    if outcome.unknown:
        facts.append(
            f"{outcome.unknown:,} events are sent, perhaps again: what became of them was lost"
        )
    if outcome.taken_for_sent:
        facts.append(
            f"{outcome.taken_for_sent:,} events count as sent that were rejected, or were to be "
            "sent once more: which ones was lost"
        )
    if outcome.nameless_streams:
        facts.append(
            f"{outcome.nameless_streams:,} streams lost their names: what is left of them goes to "
            f"the group {LOST_GROUP}"
        )
    if saved.reads_again:
        facts.append("the sources are read again from before the tear: lines may arrive twice")
    return facts


def _unreadable(path: Path, reason: str) -> SpoolUnusable:
    return SpoolUnusable(f"{path}: cannot be read ({reason}); {who_may(path)}")


def _hopeless(path: Path, reason: str) -> SpoolUnusable:
    return SpoolUnusable(
        f"{path}: damaged, and cannot be rescued ({reason}); it is as it was; "
        "see that its folder can be written and has room for as much again"
    )
