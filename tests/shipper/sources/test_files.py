"""
One endless text out of files that are rotated, compressed, truncated and removed while they are
read. Lines are numbered: what comes out is all of them, once, in order.
"""

import gzip
import os
import random
import threading
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shipper.sources.docker_logs import DockerLog
from shipper.sources.files import ContainerFiles, Place
from shipper.sources.log_file import HEAD_BYTES, MAX_LINE_BYTES, LogFile

ID = "75a84a0d3b71"


class Engine:
    """
    One container's log, as the engine treats it; lines end in their number.
    """

    def __init__(self, containers):
        self.folder = containers / ID
        self.folder.mkdir(parents=True)
        self.live = self.folder / f"{ID}-json.log"
        self.written = []
        self.numbers = count()
        self.half = b""
        self.appends = True
        self.file = None
        self.open("ab")

    def open(self, mode):
        if self.file:
            self.file.close()
        self.file = self.live.open(mode, buffering=0)
        self.appends = mode == "ab"

    def path(self, number, end=""):
        return self.folder / f"{ID}-json.log.{number}{end}"

    def line(self, text=b""):
        line = b"%b line %d" % (text, next(self.numbers))
        self.written.append(line)
        return line + b"\n"

    def write(self, lines=1, text=b""):
        self.file.write(self.half + b"".join(self.line(text) for _ in range(lines)))
        self.half = b""

    def write_half(self):
        if not self.half:
            line = self.line()
            self.file.write(line[:7])
            self.half = line[7:]

    def compress(self, number=1):
        """
        The text of .1 into .1.gz, then .1 away.
        """
        if self.path(number).exists():
            self.path(number, ".gz").write_bytes(gzip.compress(self.path(number).read_bytes()))
            self.path(number).unlink()

    def rotate(self, keep=4):
        for end in ("", ".gz"):
            self.path(keep - 1, end).unlink(missing_ok=True)
        for number in range(keep - 2, 0, -1):
            for end in ("", ".gz"):
                if self.path(number, end).exists():
                    self.path(number, end).rename(self.path(number + 1, end))
        self.live.rename(self.path(1))
        self.open("xb")

    def truncate(self):
        os.truncate(self.live, 0)

    def oldest(self, keep):
        return [path for end in ("", ".gz") if (path := self.path(keep - 1, end)).exists()]

    def remove(self):
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()
        self.file.close()


class Reader:
    """
    Reads, and remembers the lines.
    """

    def __init__(self, folder):
        self.folder = folder
        self.files = ContainerFiles(DockerLog(folder))
        self.lines = []

    def read(self):
        data = self.files.read_lines()
        assert data == b"" or data.endswith(b"\n")
        self.lines += [line.lstrip(b"\0") for line in data.split(b"\n")[:-1]]
        return data

    def drain(self):
        while self.read():
            pass
        return self.lines

    def reopen(self):
        """
        A new process goes on from the place that was stored.
        """
        place = self.files.place
        self.files.close()
        self.files = ContainerFiles(
            DockerLog(self.folder), place=place and Place(place.head, place.offset)
        )


def head_of(path):
    file = LogFile(path, path.open("rb", buffering=0))
    file.close()
    return file.head


@pytest.fixture
def engine(containers):
    running = Engine(containers)
    yield running
    running.file.close()


@pytest.fixture
def reader(engine):
    opened = Reader(engine.folder)
    yield opened
    opened.files.close()


# One file


def test_lines_are_read_as_they_come(engine, reader):
    assert reader.read() == b""
    for n in range(1, 5):
        engine.write(n)
        assert reader.drain() == engine.written
    assert reader.read() == b""


def test_a_line_is_read_when_its_newline_is_there(engine, reader):
    """
    A reader sees records half written: the kernel shows a write page by page.
    """
    engine.write()
    engine.write_half()
    assert reader.drain() == engine.written[:1]
    assert reader.files.place.offset == len(engine.written[0]) + 1
    engine.write()
    assert reader.drain() == engine.written
    assert reader.files.lost == 0


def test_a_file_that_is_not_there_yet_is_waited_for(containers):
    reader = Reader(containers / ID)
    assert not reader.files.hold()
    assert reader.read() == b""
    assert reader.files.place is None
    engine = Engine(containers)
    assert reader.files.hold()
    engine.write()
    assert reader.drain() == engine.written
    reader.files.close()
    engine.file.close()


def test_the_first_lines_of_an_empty_file_are_read_once(engine):
    """
    They may come between a look at the file and the reading of it.
    """
    file = LogFile(engine.live, engine.live.open("rb", buffering=0))
    assert not file.was_replaced()
    engine.write(2)
    assert file.read_lines().count(b"\n") == 2
    assert file.head
    assert not file.was_replaced()
    assert file.read_lines() == b""
    file.close()


def test_a_new_file_is_read_once_while_it_is_written_to(containers):
    """
    The same as a race, with half records.
    """
    dice = random.Random(20_261_122)
    for number in range(150):
        folder = containers / f"{number}"
        folder.mkdir()
        live = folder / f"{number}-json.log"
        live.touch()
        lines = [b"%d: line %d\n" % (number, n) for n in range(3)]
        data = b"".join(lines)
        cut = dice.randrange(len(data))

        def write(path=live, first=data[:cut], last=data[cut:]):
            with path.open("ab", buffering=0) as file:
                file.write(first)
                file.write(last)

        files = ContainerFiles(DockerLog(folder))
        writer = threading.Thread(target=write)
        writer.start()
        found = b""
        while writer.is_alive() or len(found) < len(data):
            found += files.read_lines()
        found += files.read_lines() + files.read_lines()
        assert found == data
        assert files.lost == 0
        files.close()


@pytest.mark.parametrize("size", [999_999, 1_000_000, 1_000_001, 5_000_000])
def test_a_long_line_is_read_whole(engine, reader, size):
    engine.write(text=b"x" * size)
    engine.write()
    assert reader.drain() == engine.written
    assert reader.files.torn == 0


def test_what_is_no_line_is_passed_over_in_bounded_memory(engine, reader):
    """
    Promise 7. Behind it lines are read again, from a new newline on.
    """
    engine.write(2)
    engine.file.write(b"x" * (3 * MAX_LINE_BYTES))
    engine.file.write(b" and its end\n")
    engine.write(2)
    lines = reader_to_the_end(reader)
    assert lines[:2] + lines[-2:] == engine.written
    assert len(lines) == 5
    assert lines[2].endswith(b"and its end")


def reader_to_the_end(reader):
    for _ in range(10):
        reader.drain()
    return reader.lines


def test_a_removed_container_is_read_to_its_end(engine, reader):
    engine.write()
    assert reader.files.hold()
    engine.write(3)
    assert not DockerLog(engine.folder).is_gone()
    engine.remove()
    assert DockerLog(engine.folder).is_gone()
    assert reader.drain() == engine.written


# Rotation


def test_a_rotated_file_is_read_to_its_end_before_the_next(engine, reader):
    engine.write()
    reader.drain()
    engine.write()
    engine.rotate()
    engine.write()
    engine.rotate()
    engine.rotate()
    engine.write()
    assert reader.drain() == engine.written
    assert reader.files.lost == 0


def test_all_that_was_rotated_before_is_read_oldest_first(engine, reader):
    for _ in range(4):
        engine.write(2)
        engine.rotate(keep=12)
    for number in (4, 3):
        engine.compress(number)
    for _ in range(8):
        engine.write(2)
        engine.rotate(keep=13)
    assert engine.path(10).exists() or engine.path(10, ".gz").exists()
    assert reader.drain() == engine.written


def test_a_file_that_is_held_is_read_though_it_was_rotated_away(engine, reader):
    engine.write()
    reader.drain()
    engine.write()
    for _ in range(4):
        engine.rotate(keep=2)
    engine.write()
    assert reader.drain() == engine.written


def test_rotation_without_a_new_file_yet_is_waited_for(engine, reader):
    engine.write()
    reader.drain()
    engine.live.rename(engine.path(1))
    engine.write()
    assert reader.drain() == engine.written
    engine.open("xb")
    assert reader.drain() == engine.written
    engine.write()
    assert reader.drain() == engine.written
    assert reader.files.lost == 0


def test_compression_under_the_reader_costs_nothing(engine, reader):
    engine.write(3)
    reader.drain()
    engine.rotate()
    engine.write(3)
    engine.compress()
    engine.rotate()
    engine.write()
    assert reader.drain() == engine.written
    assert reader.files.lost == 0


def test_a_compressed_file_that_is_not_finished_is_not_read(engine, reader):
    """
    For some time .1.gz grows while .1 is still there, whole.
    """
    engine.write(100)
    engine.rotate()
    engine.path(1, ".gz").write_bytes(gzip.compress(engine.path(1).read_bytes())[:-20])
    engine.write()
    assert reader.drain() == engine.written


@pytest.mark.parametrize("size", [HEAD_BYTES - 40, HEAD_BYTES, 16_384, 98_304])
def test_files_that_begin_with_the_same_long_text_are_told_apart(engine, reader, size):
    """
    A service may log the same long line again and again; the time stands behind the text.
    """
    same = b"x" * size
    for _ in range(3):
        engine.write(2, text=same)
        reader.drain()
        engine.rotate()
    engine.write(2, text=same)
    assert reader.drain() == engine.written
    reader.reopen()
    engine.compress()
    engine.write(text=same)
    assert reader.drain() == engine.written
    assert reader.files.lost == 0


def test_files_that_begin_with_equal_records_do_not_stop_the_reading(engine, reader):
    """
    The parts of one long message have one time; where each file is as small, they are all alike.
    """
    part = b"x" * 16_384 + b"\n"
    for _ in range(5):
        engine.file.write(part)
        reader.drain()
        engine.rotate()
    engine.file.write(part)
    assert len(reader.drain()) == 6
    assert reader.files.lost == 0


def test_a_new_file_with_the_number_of_an_old_one_is_a_new_file(engine, reader):
    """
    Inode numbers come back at once; a place is not known by them.
    """
    engine.write(2)
    reader.drain()
    for _ in range(6):
        reader.files.close()
        engine.rotate(keep=2)
        engine.write(2)
        reader.reopen()
        reader.drain()
    assert reader.lines == engine.written
    assert reader.files.lost == 0


def test_what_was_cut_off_at_the_end_of_a_file_is_counted(engine, reader):
    engine.write()
    engine.write_half()
    reader.drain()
    engine.half = b""
    engine.rotate()
    engine.write()
    assert reader.drain() == [engine.written[0], engine.written[2]]
    assert reader.files.torn == 1


# Truncation


@pytest.mark.parametrize("mode", ["ab", "wb"])
@pytest.mark.parametrize("before", [1, 30])
@pytest.mark.parametrize("after", [1, 3, 60])
@pytest.mark.parametrize("looks_between", [True, False])
def test_a_truncated_file_is_read_from_its_start(
    engine, reader, mode, before, after, looks_between
):
    """
    Also when it is as long again at the next look. Opened without O_APPEND, as after a rotation,
    the engine goes on at its old offset, behind a hole of NULs.
    """
    engine.open(mode)
    engine.write(before)
    reader.drain()
    engine.truncate()
    if looks_between:
        reader.drain()
    engine.write(after)
    for _ in range(3):
        assert reader.drain() == engine.written
    assert reader.files.lost == 1
    engine.write()
    assert reader.drain() == engine.written
    reader.reopen()
    engine.write()
    assert reader.drain() == engine.written
    assert reader.files.lost == 0


def test_a_truncated_file_is_read_once_when_it_was_truncated_twice(engine, reader):
    for _ in range(3):
        engine.write(3)
        reader.drain()
        engine.truncate()
        engine.write(5)
        assert reader.drain() == engine.written
    assert reader.files.lost == 3


def test_lines_behind_a_large_hole_are_read_though_the_file_was_rotated(engine, reader):
    """
    A file of 100 MB was truncated by hand, while nobody was reading.
    """
    engine.file.write(b"old\n")
    engine.rotate()
    engine.file.seek(6 * MAX_LINE_BYTES)
    engine.write(3)
    engine.rotate()
    engine.write()
    engine.path(2).unlink()
    assert [line[-7:] for line in reader.drain()] == [line[-7:] for line in engine.written]


# A new process


def test_a_new_process_goes_on_behind_what_was_stored(engine, reader):
    engine.write(2)
    for _ in range(4):
        reader.drain()
        reader.reopen()
        engine.write(2)
        engine.rotate()
        engine.write(1)
    assert reader.drain() == engine.written
    assert reader.files.lost == 0


def test_a_place_in_a_compressed_file_is_found(engine, reader):
    engine.write(5)
    place = Place(head_of(engine.live), sum(len(line) + 1 for line in engine.written[:3]))
    engine.rotate()
    engine.write()
    engine.compress()
    reader.files = ContainerFiles(DockerLog(engine.folder), place=place)
    assert reader.drain() == engine.written[3:]
    assert reader.files.lost == 0


def test_a_place_that_is_gone_is_told_and_what_is_there_is_read(engine, reader):
    engine.write(2)
    reader.drain()
    reader.files.close()
    for _ in range(3):
        engine.rotate(keep=2)
        engine.write()
    reader.reopen()
    assert reader.drain()[2:] == engine.written[-2:]
    assert reader.files.lost == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:5],
        lambda data: data[: len(data) // 2],
        lambda data: data[:-8],
        lambda data: data[:30] + b"\xff" * 30 + data[60:],
        lambda data: b"garbage" * 100,
    ],
    ids=["empty", "header", "half", "trailer", "overwritten", "garbage"],
)
@pytest.mark.parametrize("is_place_inside", [False, True])
def test_a_damaged_compressed_file_does_not_stop_the_reading(
    engine, reader, damage, is_place_inside
):
    """
    A power cut leaves such files. What can be read of them is, and all of the next.
    """
    noise = random.Random(1).randbytes(2_000).hex().encode()
    engine.write(100, text=noise)
    place = Place(head_of(engine.live), sum(len(line) + 1 for line in engine.written[:90]))
    engine.rotate()
    engine.compress()
    path = engine.path(1, ".gz")
    path.write_bytes(damage(path.read_bytes()))
    engine.write(3)
    reader.files = ContainerFiles(
        DockerLog(engine.folder), place=place if is_place_inside else None
    )
    lines = reader.drain()
    assert lines[-3:] == engine.written[-3:]
    assert lines[:-3] == engine.written[is_place_inside * 90 :][: len(lines) - 3]


def test_what_else_is_in_the_folder_is_no_log(engine, reader):
    for name in (
        *("config.v2.json", "hostconfig.json", f"{ID}-json.log.1.tmp", f"{ID}-json.log.gz"),
        *("other-json.log", f"x{ID}-json.log", f"{ID}-json.log.", f"{ID}-json.log.old"),
    ):
        (engine.folder / name).write_bytes(b"no log\n")
    (engine.folder / "mounts").mkdir()
    engine.write()
    assert reader.drain() == engine.written


def test_descriptors_are_given_back(engine, reader):
    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    engine.write()
    before = descriptors()
    for _ in range(5):
        engine.rotate(keep=9)
        engine.compress()
        engine.write()
        reader.drain()
        reader.reopen()
    reader.drain()
    assert descriptors() == before + 1
    reader.files.close()
    assert descriptors() == before


# Everything, in any order


KEEP = 4


class Life(RuleBasedStateMachine):
    """
    The engine does what it does, and a reader looks from time to time.

    The only thing that does not happen is that the engine removes what was not yet read.
    """

    containers = None
    numbers = count()

    def __init__(self):
        super().__init__()
        self.engine = Engine(self.containers / f"{next(self.numbers)}")
        self.reader = Reader(self.engine.folder)

    def teardown(self):
        try:
            self.check_all()
        finally:
            self.reader.files.close()
            self.engine.file.close()

    def check_all(self):
        if self.engine.half:
            self.engine.write(0)
        assert self.reader.drain() == self.engine.written
        assert self.reader.files.torn == 0

    @rule(lines=st.integers(1, 5), text=st.sampled_from([b"", b"", b"x" * 5_000]))
    def write(self, lines, text):
        self.engine.write(lines, text)

    @rule()
    def write_half(self):
        self.engine.write_half()

    @rule()
    def read(self):
        self.reader.read()
        assert self.reader.lines == self.engine.written[: len(self.reader.lines)]

    @rule()
    def reopen(self):
        self.reader.reopen()

    @precondition(lambda self: not self.engine.half and self.engine.live.stat().st_size)
    @rule()
    def rotate(self):
        if self.engine.oldest(KEEP) and self.reader.lines != self.engine.written:
            self.check_all()
        self.engine.rotate(KEEP)

    @rule(number=st.sampled_from([1, 1, 1, 2]))
    def compress(self, number):
        self.engine.compress(number)

    @rule()
    def truncate(self):
        self.check_all()
        for path in self.engine.folder.iterdir():
            if path != self.engine.live:  # a place in a truncated file is gone: all would be read
                path.unlink()
        self.engine.truncate()

    @rule()
    def drain(self):
        self.check_all()


def test_every_line_is_read_once_and_in_order_whatever_happens_to_the_files(tmp_path):
    """
    Promise 1.
    """
    Life.containers = tmp_path
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=120,
            stateful_step_count=40,
        ),
    )


def test_every_line_is_read_once_and_in_order_while_the_engine_works(engine, reader):
    """
    The same as a race: a thread writes, rotates and compresses as fast as it can.
    """
    rounds = 120
    is_over = threading.Event()

    def work():
        for _ in range(rounds):
            engine.write(20)
            engine.rotate(keep=2 * rounds)
            engine.write_half()
            engine.write(1)
            engine.compress()
        is_over.set()

    writer = threading.Thread(target=work)
    writer.start()
    while not is_over.is_set():
        reader.read()
    writer.join()
    assert reader.drain() == engine.written
    assert (reader.files.lost, reader.files.torn) == (0, 0)
