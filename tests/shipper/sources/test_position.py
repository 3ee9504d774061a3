"""
A log is read on from where it was read to: whatever was written, dropped and restarted between two
readings, each record is in one of them.

The engine is a list of records here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import count

import pytest
from collector import joiner_for
from engine_records import PART, Log
from hypothesis import given
from hypothesis import strategies as st

from shipper.containers import Container
from shipper.sources.engine_log import Begin, EngineLog
from shipper.sources.engine_wire import EngineUnavailable
from shipper.sources.position import LastWords, Position
from shipper.sources.reading import Reading
from spool.skipped import RECORDS_LOST
from spool.store import Store

STREAM_ID = 1


class Reader:
    """
    Reads the log of a container of its own into a spool, and can be restarted.
    """

    ids = count(1)

    def __init__(self, store: Store, begin: Begin | None = None) -> None:
        self.store = store
        self.container = Container(f"{next(self.ids):064x}", "name")
        self.begin = begin or Begin()
        self.messages: list[str] = []
        self.skipped: Counter[str] = Counter()
        self.checkpoints: dict[str, str] = {}
        self.restart()

    def restart(self) -> None:
        if self.checkpoints:
            self.store.append([], checkpoints=self.checkpoints)
        joiner = joiner_for(self.store)(self.container)
        self.log = EngineLog(self.container, self.store, self.begin, joiner=joiner)
        self.log.deliver_to(STREAM_ID)

    def read(self, log: Log) -> list[str]:
        before = len(self.messages)
        self.log.read(log, self.take)
        return self.messages[before:]

    def take(self, reading: Reading) -> None:
        self.checkpoints.update(reading.checkpoints)
        self.messages += [event[3] for chunk in reading.chunks for event in chunk.events]
        self.skipped.update(reading.skipped)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(tmp_path_factory.mktemp("position") / "spool.db") as opened:
        yield opened


@pytest.fixture
def reader(store: Store) -> Reader:
    return Reader(store)


MESSAGES = st.tuples(st.integers(0, 3), st.sampled_from([b"\n", b"a\n", b"b", b"b\n"]))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(["stdout", "stderr"]), MESSAGES),
        st.tuples(st.just("many"), st.integers(1, 400)),
        st.just(("read",)),
        st.just(("restart",)),
        st.just(("rotate",)),
        st.just(("drop read",)),
    ),
    max_size=25,
)


@given(steps=STEPS)
def test_each_message_is_read_once_whatever_happens_between(
    store: Store, steps: list[tuple[object, ...]]
) -> None:
    """
    Parts equal to each other, messages without an end, restarts, rotation in front of what was not
    read yet.
    """
    log = Log()
    reader = Reader(store)
    expected: list[str] = []
    number = unread = 0
    for step in [*steps, ("read",)]:
        match step:
            case ("write", str(stream), (int(parts), bytes(end))):
                number += 1
                head = b"" if parts else b"%d " % number
                log.write(*[PART] * min(parts, 1), stream=stream)
                log.write(*[PART] * (parts - 1), stream=stream, same_time=True)
                log.write(head + end, stream=stream, same_time=parts > 0)
                text = (PART * parts + head + end).removesuffix(b"\n").decode()
                expected += [text] if text else []
                unread += parts + 1
            case ("many", int(lines)):
                log.write(*[b"many %d %d\n" % (number, line) for line in range(lines)])
                expected += [f"many {number} {line}" for line in range(lines)]
                number += 1
                unread += lines
            case ("read",):
                reader.read(log)
                unread = 0
            case ("restart",):
                reader.restart()
            case ("rotate",):
                log.rotate()
            case ("drop read",):
                log.drop(max(0, len(log.records) - unread - 1))
    assert reader.messages == expected
    assert not reader.skipped[RECORDS_LOST]


@given(counts=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 400)), max_size=12))
def test_what_was_dropped_unread_is_counted_and_nothing_is_read_twice(
    store: Store, counts: list[tuple[int, int]]
) -> None:
    log = Log()
    reader = Reader(store)
    number = losses = 0
    kept: list[str] = []
    for written, left in counts:
        log.write(*[b"%d\n" % line for line in range(number, number + written)])
        number += written
        has_read = bool(kept)
        log.drop(max(0, len(log.records) - left))
        last = kept[-1] if kept else None
        texts = [record.text[:-1].decode() for record in log.records]
        is_lost = has_read and last not in texts and bool(texts)
        losses += is_lost and int(texts[-1]) > int(last or 0)
        kept += [text for text in texts if last is None or int(text) > int(last)]
        reader.read(log)
    assert reader.messages == kept
    assert reader.skipped[RECORDS_LOST] == losses


def test_all_parts_of_an_open_message_are_counted_not_recognised(log: Log, reader: Reader) -> None:
    log.write(b"before\n", PART)
    log.write(PART, PART, same_time=True)
    assert reader.read(log) == ["before"]
    reader.restart()
    assert reader.read(log) == []
    log.write(PART, b"end\n", same_time=True)
    assert reader.read(log) == [(PART * 4 + b"end").decode()]


def test_it_is_asked_for_few_records_where_few_are_new(log: Log, reader: Reader) -> None:
    log.write(*[b"%d\n" % line for line in range(5_000)])
    reader.read(log)
    assert log.asked == [{"tail": "all"}]
    log.asked.clear()
    log.write(b"new\n")
    assert reader.read(log) == ["new"]
    assert [list(asked) for asked in log.asked] == [["since", "tail"]]


def test_behind_a_rotation_all_files_are_asked_for(log: Log, reader: Reader) -> None:
    log.write(b"one\n")
    reader.read(log)
    log.write(b"two\n")
    log.rotate()
    log.write(b"three\n")
    assert reader.read(log) == ["two", "three"]


def test_a_clock_that_was_set_back_hides_nothing(
    log: Log, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write(b"one\n")
    reader.read(log)
    log.write(b"two\n")
    assert reader.read(log) == ["two"]
    log.clock_ns -= 3_600 * 10**9
    monkeypatch.setattr("time.time", lambda: 0.0)
    log.write(b"three\n")
    assert reader.read(log) == ["three"]
    log.write(b"four\n")
    assert reader.read(log) == ["four"]


def test_an_answer_that_breaks_off_is_read_on_from_there(log: Log, reader: Reader) -> None:
    log.write(*[b"%d\n" % line for line in range(10)])
    log.breaks_after = 4
    with pytest.raises(EngineUnavailable):
        reader.read(log)
    assert reader.messages == ["0", "1", "2", "3"]
    log.breaks_after = None
    assert reader.read(log) == ["4", "5", "6", "7", "8", "9"]


def test_an_emptied_log_is_no_loss_and_no_end(log: Log, reader: Reader) -> None:
    log.write(b"one\n")
    reader.read(log)
    log.drop(1)
    assert reader.read(log) == []
    assert not reader.log.is_caught_up
    log.write(b"two\n")
    assert reader.read(log) == ["two"]
    assert reader.skipped == {RECORDS_LOST: 1}


def test_two_records_alike_to_the_nanosecond_are_two(log: Log, reader: Reader) -> None:
    """
    Of drivers whose times are coarse.
    """
    log.write(b"one\n", b"twin\n")
    log.write(b"twin\n", same_time=True)
    assert reader.read(log) == ["one", "twin", "twin"]
    log.write(b"twin\n", same_time=True)
    assert reader.read(log) == ["twin"]
    log.write(*[b"%d\n" % line for line in range(99)])
    assert len(reader.read(log)) == 99


@pytest.mark.parametrize("lines", [0, 50, 500, 5_000])
def test_without_backlog_nothing_is_read_of_what_was_before(
    store: Store, log: Log, lines: int
) -> None:
    log.write(*[b"old\n"] * lines, b"older\n")
    log.write(b"new\n")
    reader = Reader(store, Begin(time=log.records[-1].time))
    assert reader.read(log) == ["new"]
    log.write(b"newer\n")
    assert reader.read(log) == ["newer"]


def test_the_last_records_are_read_and_then_all(store: Store, log: Log) -> None:
    log.write(*[b"%d\n" % line for line in range(10)])
    reader = Reader(store, Begin(tail=3))
    assert reader.read(log) == ["7", "8", "9"]
    log.write(*[b"new %d\n" % line for line in range(300)])
    assert reader.read(log) == [f"new {line}" for line in range(300)]


def test_what_no_one_can_know_without_the_engine_is_in_the_position() -> None:
    log = Log()
    log.write(b"one\n", PART, stream="stderr")
    position = Position()
    position.advance([(stream, time.encode(), text) for stream, time, text in log.records])
    assert position.after == 1
    assert Position.from_json(position.to_json()) == position


def test_a_followed_streams_repetitions_are_left_out() -> None:
    log = Log()
    log.write(*[b"%d\n" % line for line in range(10)])
    records = [(stream, time.encode(), text) for stream, time, text in log.records]
    position = Position()
    position.advance(records[:3])
    chosen = LastWords(position, {})
    taken = [*chosen.take(records[:6]), *chosen.take(records[4:8]), *chosen.take(records[2:])]
    assert [text for _, _, text in taken] == [b"%d\n" % line for line in range(3, 10)]
    assert not chosen.is_short
    short = LastWords(position, {})
    assert short.take(records[:2]) == []
    assert short.is_short
