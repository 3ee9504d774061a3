"""
The CRI log format: records to messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.batch import MAX_MESSAGE_BYTES
from shipper.sources.cri import CriJoiner
from shipper.sources.multiline import Multiline, MultilineRule
from spool.store import Event

STREAM, OUT, ERR = 7, 1, 2
SECOND = "2016-10-06T00:17:09"
SECOND_MS = 1_475_713_029_000
CONMON = Path(__file__).parents[2] / "data" / "conmon.log"


def joiner(**options: object) -> CriJoiner:
    return CriJoiner(STREAM, {"stdout": OUT, "stderr": ERR}, **options)  # type: ignore[arg-type]


def read(*lines: str | bytes, **options: object) -> list[Event]:
    encoded = [line.encode() if isinstance(line, str) else line for line in lines]
    return joiner(**options).read(b"".join(line + b"\n" for line in encoded))


def texts(events: Iterable[Event]) -> list[str]:
    return [event[3] for event in events]


def line(text: str, *, stream: str = "stdout", tag: str = "F", fraction: str = "669794202") -> str:
    return f"{SECOND}.{fraction}Z {stream} {tag} {text}"


def test_a_record_is_an_event_with_its_time_in_milliseconds_and_its_stream() -> None:
    assert read(line("hello"), line("oops", stream="stderr")) == [
        (STREAM, SECOND_MS + 669, OUT, "hello"),
        (STREAM, SECOND_MS + 669, ERR, "oops"),
    ]


@pytest.mark.parametrize(
    ("time", "ms"),
    [
        ("2016-10-06T00:17:09.669794202Z", 669),
        ("2016-10-06T00:17:09.669794202+00:00", 669),
        ("2016-10-06T02:17:09.669794202+02:00", 669),
        ("2016-10-05T18:47:09.669794202-05:30", 669),
        ("2016-10-06T05:47:09.000000001+05:30", 0),
        ("2016-10-06T00:17:09.6Z", 600),
        ("2016-10-06T00:17:09.66+00:00", 660),
        ("2016-10-06T02:17:09.669+02:00", 669),
        ("2016-10-06T00:17:09Z", 0),
        ("2016-10-06T02:17:09+02:00", 0),
    ],
)
def test_times_are_taken_in_any_zone_and_with_any_fraction(time: str, ms: int) -> None:
    for others in ([], [line("other")], [line("other", tag="P")]):
        assert (STREAM, SECOND_MS + ms, OUT, "x") in read(f"{time} stdout F x", *others)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("with cr\r", "with cr\r"),
        (" leading and  inner  ", " leading and  inner  "),
        ("\ttab", "\ttab"),
        ("a stdout F b", "a stdout F b"),
        (f"{SECOND}.669794202Z stdout F nested", f"{SECOND}.669794202Z stdout F nested"),
        ("grüße 😀 \u2028 \x85 \x0b", "grüße 😀 \u2028 \x85 \x0b"),
        ("\0", "\0"),
    ],
)
def test_the_text_is_as_the_container_wrote_it(text: str, message: str) -> None:
    assert texts(read(line(text))) == [message]
    assert texts(read(line(text), line("", tag="P"))) == [message]


def test_bytes_that_are_no_utf8_become_a_character_each() -> None:
    spoiled = line("a").encode() + b"\xe2\x82 \xff"
    assert texts(read(spoiled)) == ["a\ufffd\ufffd \ufffd"]
    assert texts(read(spoiled, line("", tag="P"))) == ["a\ufffd\ufffd \ufffd"]


@pytest.mark.parametrize("tags", ["F", "F:more", "F:a:b", "F:"])
def test_further_tags_do_not_matter(tags: str) -> None:
    assert texts(read(line("one", tag=tags), line("two"))) == ["one", "two"]


@pytest.mark.parametrize("tag", ["P", "P:more"])
def test_parts_are_joined_and_have_the_time_of_the_first(tag: str) -> None:
    parts = [line("a", tag=tag, fraction="100000000"), line("b", tag=tag), line("c")]
    assert read(*parts, line("d")) == [
        (STREAM, SECOND_MS + 100, OUT, "abc"),
        (STREAM, SECOND_MS + 669, OUT, "d"),
    ]


def test_parts_of_stdout_and_stderr_stand_between_each_other() -> None:
    lines = [
        line("out 1 ", tag="P"),
        line("err 1 ", tag="P", stream="stderr"),
        line("out 2 ", tag="P"),
        line("err end", stream="stderr"),
        line("whole", stream="stderr"),
        line("out end"),
    ]
    assert texts(read(*lines)) == ["err 1 err end", "whole", "out 1 out 2 out end"]


def test_a_message_that_is_open_is_kept_in_the_position() -> None:
    first, second = joiner(), joiner()
    assert first.read(line("begun ", tag="P").encode() + b"\n") == []
    second.resume(first.position())
    assert texts(second.read(line("ended").encode() + b"\n")) == ["begun ended"]
    assert texts(first.flush()) == ["begun "]


@pytest.mark.parametrize("blank", [line(""), f"{SECOND}.669794202Z stdout F"])
def test_a_blank_line_is_counted_or_a_space(blank: str) -> None:
    counted = joiner()
    data = f"{line('a')}\n{blank}\n{line('b')}\n".encode()
    assert texts(counted.read(data)) == ["a", "b"]
    assert (counted.blank, counted.damaged) == (1, 0)
    assert texts(read(line("a"), blank, keep_blank=True)) == ["a", " "]


@pytest.mark.parametrize("parts", [1, 3, 100])
def test_a_message_that_is_too_long_becomes_several(parts: int) -> None:
    text = "é" * 1_200_000
    size = -(-len(text) // parts)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    lines = [line(piece, tag="P") for piece in pieces[:-1]] + [line(pieces[-1])]
    found = texts(read(*lines, line("next")))
    assert "".join(found[:-1]) == text
    assert found[-1] == "next"
    assert max(len(one.encode()) for one in found) <= MAX_MESSAGE_BYTES


def test_parts_without_an_end_do_not_fill_the_memory() -> None:
    """
    Promise 7.
    """
    endless = joiner()
    part = (line("x" * 100_000, tag="P") + "\n").encode()
    for _ in range(50):
        endless.read(part)
        assert len(endless.open["stdout"].text) <= MAX_MESSAGE_BYTES


@pytest.mark.parametrize(
    "spoiled",
    [
        "garbage",
        " ",
        '{"log":"x\\n","stream":"stdout","time":"2016-10-06T00:17:09Z"}',
        line("x", stream="stdin"),
        line("x").replace("2016-10", "2016-13"),
        line("x").replace("2016-10-06", "1969-10-06"),
        line("x").replace("09.669794202Z", "09.669794202+99:99"),
        line("x").replace("09.669794202Z", "09,669794202Z"),
        f"{SECOND}.669794202Z stdout",
        f"{SECOND}.669794202Z  stdout F x",
        b"\0" * 500,
        b"\xff\xfe",
        "1970-01-01T00:30:00.000000000+02:00 stdout F x",
    ],
)
def test_a_damaged_line_costs_itself_alone(spoiled: str | bytes) -> None:
    for other in ("F", "P"):
        reader = joiner()
        data = spoiled.encode() if isinstance(spoiled, str) else spoiled
        before, after = line("before").encode(), line("after", tag=other).encode()
        events = reader.read(before + b"\n" + data + b"\n" + after + b"\n")
        assert texts(events + reader.flush()) == ["before", "after"]
        assert reader.damaged == 1


def test_a_record_behind_a_hole_of_nuls_is_read() -> None:
    reader = joiner()
    events = reader.read(b"\0" * 100 + line("behind").encode() + b"\n")
    assert texts(events) == ["behind"]
    assert reader.damaged == 1


def test_lines_that_belong_together_are_one_event() -> None:
    rule = MultilineRule(re.compile(r"^\s"))
    lines = [line("ERROR"), line("\tat a", tag="P"), line(".b"), line("INFO")]
    assert texts(read(*lines, multiline=Multiline(rule))) == ["ERROR\n\tat a.b"]


def test_one_of_the_streams_may_be_wanted_alone() -> None:
    lines = [line("out"), line("err", stream="stderr")]
    assert texts(read(*lines, only=frozenset({ERR}))) == ["err"]


def test_what_a_real_runtime_wrote_is_read_as_its_container_wrote_it() -> None:
    """
    conmon 2.1.6, CRI-O's writer, recorded through Podman's k8s-file driver of a container that ran

        printf 'plain\\n\\nwith cr\\r\\ngr\\303\\274\\303\\237e \\377\\n'
        head -c 9000 /dev/zero | tr '\\0' a; printf '\\n'
        head -c 20000 /dev/zero | tr '\\0' b; printf ' end\\n'
        printf 'to stderr\\n' >&2
        printf 'begun '; sleep 0.3; printf 'err between\\n' >&2; sleep 0.3; printf 'ended\\n'
        head -c 5 /dev/zero; printf 'nul\\n'
        printf 'no newline at the end'
    """
    reader = joiner(keep_blank=True)
    events = reader.read(CONMON.read_bytes())
    events += reader.flush()
    assert [event[3] for event in events if event[2] == OUT] == [
        *("plain", " ", "with cr\r", "grüße \ufffd", "a" * 9000, "b" * 20_000 + " end"),
        *("begun ended", "\0\0\0\0\0nul", "no newline at the end"),
    ]
    assert [event[3] for event in events if event[2] == ERR] == ["to stderr", "err between"]
    assert reader.damaged == 0
    times = {event[3]: event[1] for event in events}
    assert times["begun ended"] + 300 <= times["err between"] <= times["\0\0\0\0\0nul"] - 300


zones = st.sampled_from(["Z", "Z", "+00:00", "+02:00", "-05:30"])
chars = st.text(st.characters(blacklist_characters="\n", blacklist_categories=("Cs",)), max_size=20)
records = st.tuples(
    st.sampled_from(["stdout", "stdout", "stderr"]),
    st.sampled_from(["F", "F", "F", "P", "F:x", "P:x"]),
    chars,
    zones,
    st.integers(0, 10**9 - 1),
)


def written(record: tuple[str, str, str, str, int]) -> bytes:
    stream, tag, text, zone, nanoseconds = record
    offset = timedelta(0)
    if zone != "Z":
        sign = -1 if zone[0] == "-" else 1
        offset = sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[4:]))
    there = datetime.fromtimestamp(SECOND_MS // 1000, UTC).astimezone(timezone(offset))
    return f"{there:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}{zone} {stream} {tag} {text}\n".encode()


@given(st.lists(records, max_size=30), st.data())
def test_however_the_lines_are_cut_into_readings_each_message_comes_once(
    given_records: list[tuple[str, str, str, str, int]], data: st.DataObject
) -> None:
    """
    The truth is told by a reader of the simplest kind. A new process takes over between any two.
    """
    expected: list[Event] = []
    begun: dict[str, tuple[int, str]] = {}
    for stream, tag, text, _, nanoseconds in given_records:
        at_ms, before = begun.pop(stream, (SECOND_MS + nanoseconds // 10**6, ""))
        if tag[0] == "P":
            begun[stream] = (at_ms, before + text)
        else:
            source = OUT if stream == "stdout" else ERR
            expected.append((STREAM, at_ms, source, before + text or " "))
    lines = [written(record) for record in given_records]
    events: list[Event] = []
    reader = joiner(keep_blank=True)
    while lines:
        size = data.draw(st.integers(1, len(lines)))
        events += reader.read(b"".join(lines[:size]))
        lines = lines[size:]
        successor = joiner(keep_blank=True)
        successor.resume(reader.position())
        assert reader.damaged == 0
        reader = successor
    assert events == expected


pieces = st.one_of(
    st.binary(max_size=60),
    records.map(written),
    st.tuples(records.map(written), st.integers(0, 60), st.binary(max_size=3)).map(
        lambda cut: cut[0][: cut[1]] + cut[2] + cut[0][cut[1] :]
    ),
)


@given(st.lists(pieces, max_size=20), st.booleans())
def test_no_bytes_raise_and_every_event_is_legal(found: list[bytes], keep_blank: bool) -> None:
    reader = joiner(keep_blank=keep_blank)
    events = reader.read(b"".join(found) + b"\n") + reader.flush()
    for stream_id, at_ms, source_id, text in events:
        assert stream_id == STREAM
        assert at_ms >= 0
        assert source_id in (OUT, ERR)
        assert text.encode()
