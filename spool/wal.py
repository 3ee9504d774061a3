"""
The write-ahead log as it lies on the disk, read without SQLite.

Comes in: the descriptor of a `-wal` file. Goes out: where in it the newest content of each page is.
Always holds: only committed transactions count; what a crash left unfinished, or what is left over
from an earlier use of the file, is not mentioned.

SQLite ends its reading at the first frame whose checksum is wrong, and says nothing of what comes
after it. Each frame's checksum goes on from the one stored in the frame before: so frames behind a
torn one can still be told from remains, and be read (https://www.sqlite.org/walformat.html).
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from spool.schema import PAGE_BYTES

__all__ = ["Log", "read_log"]

HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24
FRAME_BYTES = FRAME_HEADER_BYTES + PAGE_BYTES

MAGIC = 0x377F0682
"""One more where the words that are summed up are big-endian."""

Sum = tuple[int, int]


@dataclass(slots=True)
class Log:
    """
    Page number -> offset of its newest content in the file, and how many pages the database then
    has: as SQLite sees it, and with what was committed behind a tear.
    """

    offsets: dict[int, int] = field(default_factory=dict)
    size_pages: int | None = None
    offsets_behind: dict[int, int] = field(default_factory=dict)
    size_pages_behind: int | None = None
    transactions_behind: int = 0

    @property
    def is_torn(self) -> bool:
        """
        Whether SQLite would lose committed transactions without a word.
        """
        return self.transactions_behind > 0


@dataclass(frozen=True, slots=True)
class _Frame:
    offset: int
    page_number: int
    size_pages: int  # of the database, in the last frame of a transaction; else 0
    salts: bytes
    stored: Sum
    head: bytes

    @property
    def ends_transaction(self) -> bool:
        return self.size_pages > 0


@dataclass(slots=True)
class _Reading:
    """
    What was found so far; `waiting` are pages of a transaction whose end was not seen yet.
    """

    descriptor: int
    salts: bytes
    words: str
    log: Log = field(default_factory=Log)
    waiting: dict[int, int] = field(default_factory=dict)

    def is_good(self, frame: _Frame, before: Sum) -> bool:
        page = os.pread(self.descriptor, PAGE_BYTES, frame.offset)
        return frame.page_number > 0 and _sum(frame.head + page, before, self.words) == frame.stored

    def take(self, frame: _Frame, *, behind: bool) -> None:
        self.waiting[frame.page_number] = frame.offset
        if not frame.ends_transaction:
            return
        if behind:
            self.log.offsets_behind.update(self.waiting)
            self.log.size_pages_behind = frame.size_pages
        else:
            self.log.offsets.update(self.waiting)
            self.log.size_pages = frame.size_pages
        self.waiting.clear()


def read_log(descriptor: int) -> Log:
    """
    What a write-ahead log holds; nothing where it is none of ours.
    """
    header = os.pread(descriptor, HEADER_BYTES, 0)
    if len(header) < HEADER_BYTES:
        return Log()
    words = ">" if header[:4] == struct.pack(">I", MAGIC + 1) else "<"
    before: Sum = struct.unpack(">II", header[24:])
    if header[:3] == MAGIC.to_bytes(4, "big")[:3] and _sum(header[:24], (0, 0), words) == before:
        reading = _Reading(descriptor, header[16:24], words)
        return _read_whole(reading, before)
    return _read_headless(descriptor)


def _read_whole(reading: _Reading, before: Sum) -> Log:
    """
    Frames up to the first that is not good, and where they belong here, those behind it.
    """
    number = 0
    for frame in _frames(reading.descriptor, 0):
        if frame.salts != reading.salts or not reading.is_good(frame, before):
            break
        reading.take(frame, behind=False)
        before = frame.stored
        number += 1
    reading.waiting.clear()
    return _read_behind(reading, number, was_good=True, ends_wanted=2)


def _read_headless(descriptor: int) -> Log:
    """
    Frames of a log whose header is damaged: those of the generation that comes first.
    """
    words = "<" if sys.byteorder == "little" else ">"
    for frame, following in pairwise(_frames(descriptor, 0)):
        reading = _Reading(descriptor, frame.salts, words)
        if following.salts == frame.salts and reading.is_good(following, frame.stored):
            return _read_behind(reading, 0, was_good=False, ends_wanted=1)
    return Log()


def _read_behind(reading: _Reading, number: int, *, was_good: bool, ends_wanted: int) -> Log:
    """
    Frames from `number` on, where the one before it is whole and this one is not, or the other way
    round; nothing where fewer transactions end in them than wanted.

    A power cut may leave the last transaction with a hole, and its end behind the hole. Nobody was
    told that it is stored, and half of it would be worse than nothing. So one end is not enough.
    """
    log, ends = reading.log, 0
    before: Sum | None = None
    for frame in _frames(reading.descriptor, number):
        if frame.salts != reading.salts:
            before, was_good = None, False
            continue
        ends += frame.ends_transaction
        is_good = before is not None and reading.is_good(frame, before)
        # Behind a bad one none can be proved, but damage that spared this header ended before it
        if is_good or not was_good:
            reading.take(frame, behind=True)
        before, was_good = frame.stored, is_good or not was_good
    if ends < ends_wanted:
        return Log(log.offsets, log.size_pages)
    log.transactions_behind = ends
    return log


def _frames(descriptor: int, number: int) -> Iterator[_Frame]:
    """
    All frames from `number` on, whatever is in them.
    """
    while True:
        offset = HEADER_BYTES + number * FRAME_BYTES
        header = os.pread(descriptor, FRAME_HEADER_BYTES, offset)
        if offset + FRAME_BYTES > os.fstat(descriptor).st_size:
            return
        yield _Frame(
            offset=offset + FRAME_HEADER_BYTES,
            page_number=int.from_bytes(header[:4], "big"),
            size_pages=int.from_bytes(header[4:8], "big"),
            salts=header[8:16],
            stored=struct.unpack(">II", header[16:]),
            head=header[:8],
        )
        number += 1


def _sum(data: bytes, before: Sum, words: str) -> Sum:
    first, second = before
    numbers = iter(struct.unpack(f"{words}{len(data) // 4}I", data))
    for even, odd in zip(numbers, numbers, strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
