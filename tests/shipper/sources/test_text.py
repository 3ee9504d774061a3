"""
Lines of any bytes become events: none is lost, none is invented.
"""

from __future__ import annotations

import io
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shipper.batch import MAX_MESSAGE_BYTES
from shipper.sources import text as text_module
from shipper.sources.text import MAX_LINE_BYTES, TextSource
from spool.skipped import BLANK
from spool.store import Event

NOW_MS = 1_795_345_711_289


def source(**options: Any) -> TextSource:
    return TextSource(place=lambda: (3, 5), now_ms=lambda: NOW_MS, parse_time=float_ms, **options)


def float_ms(text: str | float) -> int:
    """
    What stands for cli.times here: a number of ms.
    """
    return int(float(text))


def events_of(data: bytes, made: TextSource) -> list[Event]:
    return [
        event
        for reading in made.readings(io.BytesIO(data))
        for chunk in reading.chunks
        for event in chunk.events
    ]


def messages(data: bytes, **options: Any) -> list[str]:
    return [message for _, _, _, message in events_of(data, source(**options))]


@given(st.lists(st.binary(max_size=20)).map(b"\n".join))
def test_any_bytes_are_their_lines_without_the_blank_ones(data: bytes) -> None:
    wanted = [line.decode(errors="replace") for line in data.split(b"\n") if line]
    assert messages(data) == wanted


@given(st.lists(st.binary(max_size=2)).map(b"\n".join))
def test_blank_lines_are_counted_and_the_end_of_the_last_line_is_none(data: bytes) -> None:
    skipped = sum(reading.skipped.get(BLANK, 0) for reading in source().readings(io.BytesIO(data)))
    assert skipped == data.removesuffix(b"\n").split(b"\n").count(b"") - (data == b"")


def test_where_events_belong_is_not_asked_before_there_is_one() -> None:
    asked: list[str] = []
    made = source()
    made.place = lambda: asked.append("asked") or (3, 5)  # type: ignore[func-returns-value]
    assert events_of(b"\n\n", made) == asked == []
    assert events_of(b"one\n", made)
    assert asked


@given(st.binary(max_size=300), st.integers(1, 7))
def test_however_a_pipe_cuts_it_the_lines_are_the_same(data: bytes, size: int) -> None:
    class Pipe(io.BytesIO):
        def read1(self, _: int | None = -1, /) -> bytes:
            return self.read(size)

    cut = [
        event[3]
        for reading in source().readings(Pipe(data))
        for chunk in reading.chunks
        for event in chunk.events
    ]
    assert cut == messages(data)


def test_events_are_of_the_stream_the_source_and_the_present() -> None:
    assert events_of(b"one\n", source()) == [(3, NOW_MS, 5, "one")]


def test_what_is_read_is_handed_over_before_more_is_read() -> None:
    class Endless(io.RawIOBase):
        reads = 0

        def read1(self, _: int = -1) -> bytes:
            self.reads += 1
            return b"one\n"

    file = Endless()
    readings = source().readings(file)  # type: ignore[arg-type]
    for count in range(1, 4):
        assert next(readings).chunks
        assert file.reads == count


def test_a_line_without_end_is_taken_in_pieces_of_bounded_size() -> None:
    size = 3 * MAX_LINE_BYTES
    seen = longest = 0
    for reading in source().readings(io.BytesIO(b"x" * size)):
        held = sum(len(event[3]) for chunk in reading.chunks for event in chunk.events)
        seen += held
        longest = max(longest, held)
    assert seen == size
    assert longest <= MAX_LINE_BYTES + text_module.READ_BYTES


def test_the_end_of_a_line_taken_in_pieces_is_no_blank_line() -> None:
    pieces = [b"x" * (MAX_LINE_BYTES + 1), b"\n", b"\n"]

    class Pipe(io.BytesIO):
        def read1(self, _: int | None = -1, /) -> bytes:
            return pieces.pop(0) if pieces else b""

    assert [reading.skipped for reading in source().readings(Pipe())] == [{}, {}, {BLANK: 1}, {}]


def test_pieces_of_a_line_without_end_are_cut_between_characters() -> None:
    """
    Characters of one and of three bytes, so that no power of two falls between two of them.
    """
    line = "x" + "€" * (MAX_LINE_BYTES // 3 + 1_000_000)
    parts = messages(line.encode())
    assert "\ufffd" not in "".join(parts)
    assert "".join(parts) == line
    assert max(len(part.encode()) for part in parts) <= MAX_MESSAGE_BYTES


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
RECORDS = JSON | st.dictionaries(st.sampled_from(["timestamp", "message", "x"]), JSON)


@given(st.lists(RECORDS, max_size=5), st.sampled_from([None, "message"]))
def test_any_json_is_an_event_with_a_time(records: list[Any], message_field: str | None) -> None:
    data = "\n".join(map(json.dumps, records)).encode()
    made = source(timestamp_field="timestamp", message_field=message_field)
    events = events_of(data, made)
    assert len(events) == len(records)
    assert all(isinstance(event[1], int) and event[1] >= 0 and event[3] for event in events)
    assert 0 <= made.odd <= len(records)


@given(st.lists(st.tuples(st.integers(0, 2**53), st.text(min_size=1)), max_size=5))
def test_time_and_message_come_back_as_they_were_written(events: list[tuple[int, str]]) -> None:
    data = "\n".join(json.dumps({"timestamp": at, "message": text}) for at, text in events)
    made = source(timestamp_field="timestamp", message_field="message")
    assert [event[1::2] for event in events_of(data.encode(), made)] == events
    assert made.odd == 0
