"""
Any bytes in a container's log file: the reading goes on, line by line, to the same end however the
bytes came, and nothing that the engine wrote whole is missing.
"""

from __future__ import annotations

import json
import tarfile
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shipper.sources.docker_logs import DockerLog
from shipper.sources.files import ContainerFiles
from shipper.sources.lines import Joiner

ARCHIVE = Path(__file__).parents[1] / "data" / "docker.tar.gz"
ID = "75a84a0d3b71"
MOST_LOGS = 200_000
"""Bytes of a log of the corpus; the longer ones are more of the same."""


@cache
def real_records() -> list[bytes]:
    """
    Lines as the real engine wrote them, each with its newline.
    """
    found = []
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            if "-json.log" in member.name and member.isfile() and member.size < MOST_LOGS:
                file = archive.extractfile(member)
                assert file
                found += file.read().splitlines(keepends=True)[:50]
    return [line for line in found if is_whole(line)]


def is_whole(line: bytes) -> bool:
    """
    A record of a whole message, by the standard library's reading.
    """
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return line.endswith(b"}\n") and record["log"].endswith("\n") and record["log"] != "\n"


RECORDS = st.integers(0, 10**6).map(lambda n: real_records()[n % len(real_records())])
BYTES = st.binary(max_size=40)


def cut(line: bytes, start: int, stop: int) -> bytes:
    return line[start % (len(line) + 1) : stop % (len(line) + 1)]


def changed(line: bytes, at: int, other: bytes, length: int) -> bytes:
    at %= len(line)
    return line[:at] + other + line[at + length :]


POSITIONS = st.integers(0, 400)
DAMAGED = st.one_of(
    BYTES,
    st.builds(cut, RECORDS, POSITIONS, POSITIONS),
    st.builds(changed, RECORDS, POSITIONS, BYTES, st.integers(0, 40)),
    st.builds(changed, RECORDS, POSITIONS, st.sampled_from([b"\0" * 30, b"\n"]), st.integers(0, 9)),
    st.integers(1, 5_000).map(lambda count: b"\0" * count),
)
LINES = st.lists(RECORDS | DAMAGED.map(lambda data: data + b"\n") | DAMAGED, max_size=12)


def joiner() -> Joiner:
    return Joiner(7, {"stdout": 1, "stderr": 2})


def read_in(folder: Path, pieces: list[bytes]) -> tuple[list[tuple], Joiner]:
    """
    The events of a log that grows by these pieces, each read when it is there; and the joiner.
    """
    reader = joiner()
    shelf = DockerLog(folder)
    files = ContainerFiles(shelf)
    shelf.live.write_bytes(b"")
    events = []
    written = b""
    seen = 0
    try:
        for piece in [*pieces, b""]:
            with shelf.live.open("ab") as log:
                log.write(piece)
            written += piece
            for _ in range(len(written) + 2):
                lines = files.read_lines()
                if not lines:
                    break
                assert files.place
                assert files.place.offset > seen, "it goes forward"
                assert written[files.place.offset - 1 : files.place.offset] == b"\n"
                assert written[seen : files.place.offset] == lines, "nothing is skipped"
                seen = files.place.offset
                events += reader.read(lines)
            else:
                pytest.fail("it does not end")
        assert seen == written.rfind(b"\n") + 1
    finally:
        files.close()
    return events, reader


@settings(max_examples=150)
@given(lines=LINES, data=st.data())
@example(lines=[], data=None)
def test_any_bytes_are_read_to_the_same_end_however_they_came(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], data: st.DataObject | None
) -> None:
    """
    Promise 1: the position moves from line to line, past whatever stands there.
    """
    text = b"".join(lines)
    draw = st.lists(st.integers(0, len(text)), max_size=8).map(sorted)
    cuts = data.draw(draw) if data else []
    edges = [0, *cuts, len(text)]
    pieces = [text[start:end] for start, end in pairwise(edges)]
    folders = [tmp_path_factory.mktemp("log") / ID for _ in range(2)]
    for folder in folders:
        folder.mkdir()
    at_once, first = read_in(folders[0], [text])
    bit_by_bit, second = read_in(folders[1], pieces)
    assert bit_by_bit == at_once
    assert (second.blank, second.damaged) == (first.blank, first.damaged)
    assert second.position() == first.position()


@settings(max_examples=300)
@given(lines=LINES)
def test_what_the_engine_wrote_whole_is_there_whatever_stands_around_it(lines: list[bytes]) -> None:
    text = b"".join(lines) + b"\n"
    whole = [line for line in text.splitlines(keepends=True) if line in set(real_records())]
    reader = joiner()
    found = [message for _, _, _, message in reader.read(text)]
    position = 0
    for line in whole:
        wanted = json.loads(line)["log"][:-1]
        # a damaged part before it may have become its beginning
        while not found[position].endswith(wanted):
            position += 1
        position += 1


@settings(max_examples=300)
@given(lines=LINES)
def test_a_line_is_an_event_or_part_of_one_or_is_counted(lines: list[bytes]) -> None:
    """
    No line vanishes: CloudWatch gets it, or `spool status` tells how many it did not get.
    """
    reader = joiner()
    for line in filter(None, b"".join(lines).split(b"\n")):
        before = (reader.position(), reader.blank + reader.damaged)
        events = reader.read(line + b"\n")
        after = (reader.position(), reader.blank + reader.damaged)
        assert events or after != before, line
