"""
A disk that can lose its power: what SQLite wrote to it, and what of that must still be there.

Comes in: what is done with a spool while a `Recorder` is the default VFS of apsw. Goes out: each
operation in its order, and with `Disk` the files as they may be after a cut behind any of them.

The model. What was written to a file before its last sync is there. Of what was written since, a
cut leaves per file nothing, everything, any part of the writes, or all of them with the last one
torn at a sector. A write that was left out before one that was kept is a hole of old bytes or
zeros. Bytes beside those written never change (SQLite relies on that by default, psow).

A name is made, or is gone, for good when its folder is synced. SQLite syncs the folder together
with a new journal or write-ahead log at the first sync of that, and after the removal of a file
where it asks for that; nothing else counts as such. Until then each name may be as it was, or as
it became after any of the changes made to it, whatever became of the other names. That is more than
file systems with a journal do.

The index of the write-ahead log (-shm) is no matter of the disk: after a cut it is not there, or
full of noise. Locks are left out: after a cut nobody holds any.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal

import apsw

__all__ = ["MODES", "Disk", "Mode", "Operation", "Recorder"]

SECTOR_BYTES = 512

Mode = Literal["nothing", "everything", "some", "torn"]
MODES: tuple[Mode, ...] = ("nothing", "everything", "some", "torn")
"""What a cut leaves of that which was not synced."""

Kind = Literal["create", "write", "truncate", "sync", "delete"]


@dataclass(frozen=True, slots=True)
class Operation:
    """
    One thing done to a file: `data` written at `offset`, or cut to the length `offset`.

    `syncs_folder` is for a sync or a delete that makes the names in the folder durable, too.
    """

    kind: Kind
    name: str
    offset: int = 0
    data: bytes = b""
    syncs_folder: bool = False


class Recorder(apsw.VFS):
    """
    While entered, it is where every connection of this process that is opened keeps its files.

    `before` is called with each operation that is about to be done, and may raise an apsw error
    instead of it: a disk that is full, or fails.
    """

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.before: Callable[[Operation], None] = lambda _: None
        self._names: set[str] = set()
        self._is_folder_due: set[str] = set()

    def __enter__(self) -> Recorder:
        super().__init__("recorder", "unix", makedefault=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.unregister()

    def record(self, operation: Operation, do: Callable[[], None]) -> None:
        """
        Do it, and note it.
        """
        self.before(operation)
        do()
        self.operations.append(operation)

    def opened(self, name: str, flags: int) -> None:
        """
        Note a file that was not there before.
        """
        if name not in self._names:
            self._names.add(name)
            self.operations.append(Operation("create", name))
            if flags & (apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL):
                self._is_folder_due.add(name)

    def sync_of(self, name: str) -> Operation:
        """
        A sync of this file; the first one of a new journal is one of the folder.
        """
        return Operation("sync", name, syncs_folder=name in self._is_folder_due)

    def synced(self, name: str) -> None:
        """
        What is to be synced with it, was.
        """
        self._is_folder_due.discard(name)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        if name is None:
            return apsw.VFSFile("unix", name, flags)
        path = Path(name.filename() if isinstance(name, apsw.URIFilename) else name)
        file = RecordedFile(self, path.name, name, flags)
        self.opened(path.name, flags[0])
        return file

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        operation = Operation("delete", Path(filename).name, syncs_folder=bool(syncdir))
        parent = super()
        self.record(operation, lambda: parent.xDelete(filename, syncdir))
        self._names.discard(operation.name)


class RecordedFile(apsw.VFSFile):
    """
    A file of SQLite's own VFS, with all that is done to it noted.
    """

    def __init__(
        self,
        recorder: Recorder,
        name: str,
        full_name: str | apsw.URIFilename,
        flags: list[int],
    ) -> None:
        super().__init__("unix", full_name, flags)
        self._recorder = recorder
        self._name = name

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        parent = super()
        operation = Operation("write", self._name, offset, bytes(data))
        self._recorder.record(operation, lambda: parent.xWrite(data, offset))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        parent = super()
        operation = Operation("truncate", self._name, newsize)
        self._recorder.record(operation, lambda: parent.xTruncate(newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802
        parent = super()
        operation = self._recorder.sync_of(self._name)
        self._recorder.record(operation, lambda: parent.xSync(flags))
        self._recorder.synced(self._name)


@dataclass(slots=True)
class _File:
    """
    What is on the disk for certain, and what was done since.
    """

    durable: bytes = b""
    pending: list[Operation] = field(default_factory=list)

    def sync(self) -> None:
        self.durable = done(self.durable, self.pending)
        self.pending = []

    def after_cut(self, mode: Mode, dice: random.Random) -> bytes:
        if mode == "nothing":
            return self.durable
        if mode == "some":
            return done(self.durable, [one for one in self.pending if dice.random() < 0.5])
        if mode == "torn" and self.pending:
            return done(self.durable, [*self.pending[:-1], torn(self.pending[-1], dice)])
        return done(self.durable, self.pending)


class Disk:
    """
    One folder, before anything was done in it.
    """

    def __init__(self) -> None:
        self._files: dict[str, _File | None] = {}
        self._names: dict[str, list[_File | None]] = {}
        """What a name may be: what it is for certain, then what it became since."""

    def do(self, operation: Operation) -> None:
        """
        The next operation.
        """
        name = operation.name
        if operation.kind in ("create", "delete"):
            self._files[name] = _File() if operation.kind == "create" else None
            self._names.setdefault(name, [None]).append(self._files[name])
        else:
            file = self._files[name]
            assert file is not None
            file.sync() if operation.kind == "sync" else file.pending.append(operation)
        if operation.syncs_folder:
            self._names = {name: states[-1:] for name, states in self._names.items()}

    def after_cut(self, mode: Mode, dice: random.Random) -> dict[str, bytes]:
        """
        The files that are there when the power comes back, by name.
        """
        found = {name: self._file_after_cut(name, mode, dice) for name in self._names}
        return {
            name: file.after_cut(mode, dice) for name, file in found.items() if file is not None
        }

    def _file_after_cut(self, name: str, mode: Mode, dice: random.Random) -> _File | None:
        states = self._names[name]
        if mode == "nothing":
            return states[0]
        return states[-1] if mode == "everything" else dice.choice(states)


def done(content: bytes, operations: list[Operation]) -> bytes:
    """
    A file's content after these.
    """
    changed = bytearray(content)
    for one in operations:
        end = one.offset + len(one.data)
        if one.kind == "truncate":
            del changed[one.offset :]
        changed.extend(bytes(max(0, end - len(changed))))
        changed[one.offset : end] = one.data
    return bytes(changed)


def torn(operation: Operation, dice: random.Random) -> Operation:
    """
    A write of which only the first sectors arrived, maybe none.
    """
    first = operation.offset // SECTOR_BYTES
    last = (operation.offset + len(operation.data)) // SECTOR_BYTES
    end = max(dice.randint(first, last) * SECTOR_BYTES - operation.offset, 0)
    return Operation(operation.kind, operation.name, operation.offset, operation.data[:end])
