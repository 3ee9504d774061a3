r"""
The bytes of Docker's json-file to records.

Comes in: whole lines of a log file, each a record such as
`{"log":"text\n","stream":"stdout","time":"2026-11-22T11:08:31.289137307Z"}`. Goes out: records, in
that order. Always holds: a damaged line costs just what is damaged.
"""

from __future__ import annotations

import re

import msgspec

__all__ = ["Record", "read_line", "read_plain"]


class Record(msgspec.Struct, gc=False):
    """
    One line of a json-file.
    """

    log: str
    stream: str
    time: str


RECORD = msgspec.json.Decoder(Record)

RECORD_START = b'{"log":"'
"""Inside a record this stands only where an attribute has that name: quotes in text are escaped."""

NO_RECORD_START = re.compile(rb'\n(?!\{"log":")')

PIECE_ENDS = re.compile(rb'\0+|(?<!"attrs":)(?=\{"log":")')


def read_plain(data: bytes) -> list[Record]:
    """
    The records of lines that each hold one and begin with it, in one call. Raises ValueError or
    RecursionError where a line is another.
    """
    # a record may not go on on the next line, where JSON allows that: between its members
    if not data.startswith(RECORD_START) or NO_RECORD_START.search(data, 0, len(data) - 1):
        raise ValueError("lines that begin with something else")
    return RECORD.decode_lines(data)


def read_line(line: bytes) -> tuple[list[Record], int]:
    """
    The records on a line, and how many pieces of it are damaged.
    """
    try:
        records = RECORD.decode_lines(line)
    except (ValueError, RecursionError):
        return _read_pieces(_pieces(line), has_hole=b"\0" in line)
    return records, 0 if records else 1


def _read_pieces(pieces: list[bytes], *, has_hole: bool) -> tuple[list[Record], int]:
    records = []
    damaged = 0
    if has_hole and all(piece.startswith(RECORD_START) for piece in pieces):
        damaged += 1  # as after a truncation; what stands behind it is whole
    for piece in pieces:
        try:
            records.append(RECORD.decode(piece))
        except (ValueError, RecursionError):
            damaged += 1
    return records, damaged


def _pieces(line: bytes) -> list[bytes]:
    """
    What on a line may be records: one as a rule; after a crash, or in a hole of NULs that a
    truncation left, several, or one behind a piece of another.
    """
    if line.find(RECORD_START, 1) < 0 and b"\0" not in line:
        return [line]
    return [piece for piece in PIECE_ENDS.split(line) if piece]
