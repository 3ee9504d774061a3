"""
From one source of a Docker container to the other. Its json-file and the Engine API tell the same
records: so a container has one checkpoint, and whichever source reads it goes on from there.

Comes in: lines of the file, or a position that the Engine API's source has stored. Goes out: the
position behind those lines, or the files before the first line behind that position. Always holds:
what one source has read the other does not read again, and what it has not, it reads.
"""

from __future__ import annotations

import logging
import re

from shipper.sources.files import ContainerFiles
from shipper.sources.json_file import read_line
from shipper.sources.position import Marker, Position
from shipper.sources.records import Record, ends_message

__all__ = ["advance", "checkpoint_key", "go_behind", "padded", "trimmed"]

log = logging.getLogger(__name__)

TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z")
STREAMS = ("stdout", "stderr")


def checkpoint_key(container_id: str) -> str:
    """
    Of the one checkpoint that a container has.
    """
    return f"docker:{container_id}"


def padded(time: str) -> str:
    """
    A record's time as the Engine API has it, with nine digits.
    """
    found = TIME.fullmatch(time)
    return f"{found[1]}.{(found[2] or '').ljust(9, '0')}Z" if found else time


def trimmed(time: str) -> str:
    """
    A record's time as the file has it: Go leaves trailing zeros out.
    """
    return time.removesuffix("Z").rstrip("0").removesuffix(".") + "Z" if "." in time else time


def advance(position: Position, lines: bytes) -> None:
    """
    Now behind these whole lines of a json-file, too. What is no record does not count.
    """
    records: list[Record] = []
    end = len(lines) - 1
    while end > 0 and not (records and ends_message(records[-1][2])):
        start = lines.rfind(b"\n", 0, end) + 1
        if record := _record(lines[start:end]):
            records.append(record)
        end = start - 1
    position.advance(records[::-1])


def go_behind(files: ContainerFiles, position: Position) -> None:
    """
    Have `files`, of which nothing was read yet, give next what is behind `position`: all, where no
    message has ended before it; what is later, where the record that marks it is gone, which
    `files.lost` then counts.
    """
    marker = position.marker
    if marker is None or _find(files, marker, position.after):
        return
    log.warning("%s: what was read last is gone; lines behind it may be lost", files.shelf.live)
    files.lost += 1
    files.rewind()
    while lines := files.read_lines():
        rows = lines.split(b"\n")[:-1]
        later = next((at for at, row in enumerate(rows) if _is_later(row, marker)), None)
        if later is not None:
            files.step_back(lines, len(rows) - later)
            return


def _find(files: ContainerFiles, marker: Marker, after: int) -> bool:
    """
    Read on to `after` lines behind the marked one; False where that is nowhere.
    """
    time = f'"time":"{trimmed(marker.time)}"'.encode()
    while lines := files.read_lines():
        rows = lines.split(b"\n")[:-1] if time in lines else []
        for number, row in enumerate(rows, 1):
            if time in row and (record := _record(row)) and marker == Marker.of(record):
                _skip(files, lines, len(rows) - number, after)
                return True
    return False


def _skip(files: ContainerFiles, lines: bytes, behind: int, count: int) -> None:
    """
    Pass over `count` lines, of which the last `behind` of `lines`, just read, are the first.
    """
    while lines and behind < count:
        count -= behind
        lines = files.read_lines()
        behind = lines.count(b"\n")
    if lines:
        files.step_back(lines, behind - count)


def _is_later(row: bytes, marker: Marker) -> bool:
    record = _record(row)
    return record is not None and record[1] > marker.time.encode()


def _record(row: bytes) -> Record | None:
    """
    A line of the file as the Engine API gives it.
    """
    records, _ = read_line(row)
    if not records or records[-1].stream not in STREAMS:
        return None
    last = records[-1]
    return last.stream, padded(last.time).encode(), last.log.encode()
