"""
One file of a log, plain or compressed.

Comes in: an open file. Goes out: whole lines, and a digest of its first record, by which it is
known again under any name. Always holds: what is read stays where it is until it is read past; a
line that has no end yet is not given out.
"""

from __future__ import annotations

import os
import zlib
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, cast

from isal import igzip, igzip_lib

__all__ = ["HEAD_BYTES", "MAX_LINE_BYTES", "READ_BYTES", "LogFile", "is_gz"]

READ_BYTES = 1_000_000
"""How much of one file is read at a time; less than the longest message, so one fits."""

MAX_LINE_BYTES = 16 * 1024 * 1024
"""Records are under 100 KB (16,384 bytes, escaped); what is longer than this is damage."""

DAMAGED_GZ = (EOFError, OSError, zlib.error, cast(type[Exception], igzip_lib.error))
"""What reading a compressed file raises that was cut off, or is none."""

HEAD_BYTES = 4_096
MAX_HEAD_BYTES = 256 * 1024
"""The first record tells one file from another; as a rule it is short. Its time is at its end."""


class LogFile:
    """
    One open file, plain or compressed, read from `offset` on.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.offset = 0
        self.torn_bytes = 0
        self._file = file
        status = os.fstat(self._file.fileno())
        self.identity = (status.st_dev, status.st_ino)
        self._text = cast(BinaryIO, igzip.IGzipFile(fileobj=self._file)) if is_gz(path) else None
        self._rest = b""
        self.head = self._digest_head()

    def close(self) -> None:
        """
        Give the descriptor back.
        """
        if self._text:
            self._text.close()
        self._file.close()

    def seek(self, offset: int) -> None:
        """
        Read on from `offset`, which is at the start of a line; in a compressed file, further on.
        """
        if not self._text:
            self.offset = offset
        while self.offset < offset and (data := self._peek(min(READ_BYTES, offset - self.offset))):
            self._advance(len(data))

    def was_replaced(self) -> bool:
        """
        Whether other text stands here than what was read: the file was truncated. Also learns the
        head of a file that was empty.
        """
        if self._text:
            return False
        if self.head and self.offset <= os.fstat(self._file.fileno()).st_size:
            before, self.head = self.head, self._digest_head()
            return self.head != before
        self.head = self._digest_head()
        return self.offset > 0

    def learn_head(self) -> str:
        """
        The head, also of a file that was empty when it was opened.
        """
        self.head = self.head or self._digest_head()
        return self.head

    def read_lines(self) -> bytes:
        """
        The next whole lines, about READ_BYTES of them; empty where there is none yet.
        """
        data = self._peek(READ_BYTES)
        end = data.rfind(b"\n") + 1
        while not end and len(data) >= READ_BYTES:
            if len(data) > MAX_LINE_BYTES:
                self._skip(len(data))
                longer = self._peek(READ_BYTES)
            else:
                longer = self._peek(2 * len(data))
                if len(longer) == len(data):
                    break
            data = longer
            end = data.rfind(b"\n") + 1
        self._advance(end)
        if end:
            self.learn_head()  # they may have come since the file was found empty
        return data[:end]

    def has_rest(self) -> bool:
        """
        Whether text without a newline stands behind what was read.
        """
        return bool(self._peek(1))

    def size(self) -> int:
        """
        Bytes of text so far; of a compressed file, those that were read.
        """
        return self.offset if self._text else os.fstat(self._file.fileno()).st_size

    def _skip(self, count: int) -> None:
        """
        Pass over a piece of something that is no line; what follows is read as usual.
        """
        self.torn_bytes += count
        self._advance(count)

    def _peek(self, count: int) -> bytes:
        if not self._text:
            return os.pread(self._file.fileno(), count, self.offset)
        while len(self._rest) < count:
            try:
                more = self._text.read(count - len(self._rest))
            except DAMAGED_GZ:
                break  # cut off: what there is of it counts
            if not more:
                break
            self._rest += more
        return self._rest[:count]

    def _advance(self, count: int) -> None:
        self.offset += count
        if self._text:
            self._rest = self._rest[count:]

    def _digest_head(self) -> str:
        head = self._peek_head(HEAD_BYTES)
        if b"\n" not in head:
            head = self._peek_head(MAX_HEAD_BYTES)
        line, newline, _ = head.partition(b"\n")
        if not newline and len(head) < MAX_HEAD_BYTES:
            return ""
        return blake2b(line, digest_size=8).hexdigest()

    def _peek_head(self, count: int) -> bytes:
        return self._peek(count) if self._text else os.pread(self._file.fileno(), count, 0)


def is_gz(path: Path) -> bool:
    """
    Whether a file was compressed when it was rotated away.
    """
    return path.suffix == ".gz"
