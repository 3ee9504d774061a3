"""
A container is read by one source now and by the other later, as the mounts of the agent change:
each message is stored once.
"""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import pytest
from agent import LogWriter
from engine_records import Log
from following import follow, make_intake, skipped, stored
from hypothesis import given
from hypothesis import strategies as st

from shipper.containers import Container, read_container
from shipper.sources.crossing import padded, trimmed
from shipper.sources.docker_logs import JsonFileSource
from shipper.sources.engine_log import Begin, EngineLog
from shipper.sources.reading import Reading
from shipper.sources.records import PART_BYTES
from spool.skipped import FILES_LOST, RECORDS_LOST
from spool.store import Store

ids = count(1)


class Crossing:
    """
    One container, its file, what the engine tells of it, and the two sources, new at each reading.
    """

    def __init__(self, store: Store, containers: Path) -> None:
        id_ = f"{next(ids):064x}"
        self.store = store
        self.intake = make_intake(store, containers)
        self.source = JsonFileSource(containers, self.intake)
        self.engine = Log()
        self.file = LogWriter(containers, id_, f"c{id_}")
        self.container: Container = read_container(self.file.folder)
        self.is_written = 0

    def write(self, *texts: bytes, stream: str = "stdout", same_time: bool = False) -> None:
        self.engine.write(*texts, stream=stream, same_time=same_time)
        with self.file.path.open("ab") as file:
            for record in self.engine.records[self.is_written :]:
                line = {
                    "log": record.text.decode(),
                    "stream": record.stream,
                    "time": trimmed(record.time),
                }
                file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self.is_written = len(self.engine.records)

    def write_part(self, number: int, *, is_first: bool) -> bytes:
        """
        One of a line that Docker cuts.
        """
        part = (b"part %d " % number).ljust(PART_BYTES, b".")
        self.write(part, same_time=not is_first)
        return part

    def read_file(self) -> None:
        follow(self.source, self.store)

    def read_engine(self) -> None:
        joiner = self.intake.joiner(self.container)
        EngineLog(self.container, self.store, Begin(), joiner=joiner).read(self.engine, self.put)

    def put(self, reading: Reading) -> None:
        self.store.append(reading.chunks, checkpoints=reading.checkpoints, skipped=reading.skipped)

    def stored(self) -> list[str]:
        return stored(self.store, self.file.name)


@pytest.fixture
def crossing(store: Store, containers: Path) -> Crossing:
    return Crossing(store, containers)


STEPS = st.lists(
    st.one_of(
        st.just(("begin",)),
        st.tuples(st.just("end"), st.sampled_from([b"\n", b"a\n"])),
        st.tuples(st.just("lines"), st.integers(1, 300), st.sampled_from(["stdout", "stderr"])),
        st.just(("file",)),
        st.just(("engine",)),
        st.just(("rotate",)),
    ),
    max_size=25,
)


@given(steps=STEPS)
def test_each_message_is_stored_once_whichever_source_reads(
    store: Store, tmp_path: Path, steps: list[tuple[object, ...]]
) -> None:
    """
    Also where one has read the first parts of a message and the other reads the last.
    """
    crossing = Crossing(store, tmp_path / f"{next(ids)}")
    expected: list[str] = []
    begun = b""
    numbers = count()
    for step in [*steps, ("end", b"\n"), ("file",), ("engine",)]:
        match step:
            case ("begin",):
                begun += crossing.write_part(next(numbers), is_first=not begun)
            case ("end", bytes(end)) if begun:
                crossing.write(end, same_time=True)
                expected.append((begun + end[:-1]).decode())
                begun = b""
            case ("lines", int(lines), str(stream)) if not begun:
                texts = [b"line %d" % next(numbers) for _ in range(lines)]
                crossing.write(*[text + b"\n" for text in texts], stream=stream)
                expected += [text.decode() for text in texts]
            case ("rotate",):
                crossing.file.rotate(keep=40)
            case ("file",):
                crossing.read_file()
            case ("engine",):
                crossing.read_engine()
    assert crossing.stored() == expected


@pytest.mark.parametrize("first", ["file", "engine"])
def test_what_was_lost_between_is_counted_and_the_rest_is_read(
    crossing: Crossing, first: str
) -> None:
    read = {"file": crossing.read_file, "engine": crossing.read_engine}
    crossing.write(b"one\n", b"two\n")
    read.pop(first)()
    crossing.file.rotate(keep=2)
    crossing.write(b"lost\n")
    crossing.file.rotate(keep=2)
    crossing.write(b"three\n", b"four\n")
    crossing.engine.drop(3)
    (crossing.file.folder / f"{crossing.file.path.name}.1").unlink()
    read.popitem()[1]()
    assert crossing.stored() == ["one", "two", "three", "four"]
    assert skipped(crossing.store) == {FILES_LOST if first == "engine" else RECORDS_LOST: 1}


def test_a_file_with_nothing_new_is_at_its_end(crossing: Crossing) -> None:
    crossing.write(*[b"%d\n" % number for number in range(1000)])
    crossing.read_engine()
    crossing.read_file()
    crossing.read_file()
    crossing.write(b"new\n")
    crossing.read_file()
    assert crossing.stored() == [*map(str, range(1000)), "new"]


@pytest.mark.parametrize(
    ("in_file", "in_answer"),
    [
        ("2026-11-27T19:00:00.12Z", "2026-11-27T19:00:00.120000000Z"),
        ("2026-11-27T19:00:00Z", "2026-11-27T19:00:00.000000000Z"),
        ("2026-11-27T19:00:00.000000001Z", "2026-11-27T19:00:00.000000001Z"),
    ],
)
def test_the_two_forms_of_a_time(in_file: str, in_answer: str) -> None:
    assert padded(in_file) == padded(in_answer) == in_answer
    assert trimmed(in_answer) == trimmed(in_file) == in_file
