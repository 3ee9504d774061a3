"""
Docker's records become messages, exactly; damage costs what is damaged.
"""

import codecs
import json
import time
from datetime import UTC, datetime
from itertools import accumulate

import pytest
from freezegun import freeze_time
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shipper.batch import MAX_MESSAGE_BYTES
from shipper.sources.lines import Joiner
from shipper.sources.splitting import split_message

STDOUT, STDERR = 1, 2
STREAM = 7
TIME = "2026-11-22T11:08:31.289137307Z"
TIME_MS = 1_795_345_711_289
PART_BYTES = 16_384


def joiner(**options):
    return Joiner(STREAM, {"stdout": STDOUT, "stderr": STDERR}, **options)


# The engine's side


def replace_each_byte(error):
    return "\ufffd" * (error.end - error.start), error.end


codecs.register_error("as-go-does", replace_each_byte)


def engine_text(text):
    """
    A JSON string as the engine writes it.
    """
    short = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r"}
    return '"' + "".join(short.get(c) or _as_engine(c) for c in text) + '"'


def _as_engine(character):
    is_escaped = character < " " or character in "<>&\u2028\u2029"
    return f"\\u{ord(character):04x}" if is_escaped else character


def engine_time(time_ns):
    """
    RFC3339Nano: trailing zeros are cut, and the dot with them.
    """
    moment = datetime.fromtimestamp(time_ns // 10**9, UTC)
    fraction = f".{time_ns % 10**9:09d}".rstrip("0").rstrip(".")
    return f"{moment:%Y-%m-%dT%H:%M:%S}".zfill(19) + fraction + "Z"


def record(log, stream="stdout", time=TIME, attrs=None):
    labels = f',"attrs":{json.dumps(attrs, separators=(",", ":"))}' if attrs else ""
    return f'{{"log":{engine_text(log)},"stream":"{stream}"{labels},"time":"{time}"}}\n'.encode()


def engine_parts(data, *, newline=True):
    """
    The texts of the records that the engine makes of a line: cut at every 16,384 bytes.
    """
    whole = len(data) // PART_BYTES * PART_BYTES
    parts = [data[start : start + PART_BYTES] for start in range(0, whole, PART_BYTES)]
    rest = data[whole:] + (b"\n" if newline else b"")
    return [part.decode(errors="as-go-does") for part in (*parts, rest) if part]


def texts(events):
    return [text for _, _, _, text in events]


# One record


def test_a_record_is_an_event():
    assert joiner().read(record("hello\n")) == [(STREAM, TIME_MS, STDOUT, "hello")]
    assert joiner().read(record("hello\n", "stderr")) == [(STREAM, TIME_MS, STDERR, "hello")]


def test_records_come_out_in_the_files_order():
    data = b"".join(record(f"{n}\n", ("stdout", "stderr")[n % 2]) for n in range(9))
    assert texts(joiner().read(data)) == [f"{n}" for n in range(9)]


@pytest.mark.parametrize(
    "message",
    [
        "\0",
        " ",
        "\r",
        "progress 1\rprogress 2\r",
        "tab\tbell\aescape\x1b[0m",
        "\u2028\u2029\x7f\x80\x9f\ufeff\uffff\ufffd",
        "\U0001f680\U0010ffff",
        "<html>&amp;</html>",
        'quote " backslash \\ slash / \\n',
        '{"log":"a\\n","stream":"stdout","time":"2026-11-22T11:08:31Z"}',
        "x" * (PART_BYTES - 1),
    ],
)
def test_a_message_is_what_was_written(message):
    assert texts(joiner().read(record(message + "\n"))) == [message]
    among_others = record("a\n") + record(message + "\n") + record("b\n")
    assert texts(joiner().read(among_others)) == ["a", message, "b"]


@pytest.mark.parametrize("name", ["log", "tag", "stream", "time", 'a "quoted" {"log":"'])
def test_a_record_may_have_attributes_of_any_name(name):
    """
    `--log-opt labels=...` writes a container's labels into each record, and there they are first.
    """
    data = record("hello\n", attrs={name: "value"})
    assert texts(joiner().read(data * 2)) == ["hello"] * 2
    assert texts(joiner().read(b"cut" + data + data)) == ["hello"] * 2
    reader = joiner()
    assert texts(reader.read(b'{"log":"cut' + data)) == ["hello"]
    assert reader.damaged == 1


def test_blank_lines_are_counted_and_no_events():
    reader = joiner()
    data = record("\n") + record("a\n") + record("\n", "stderr")
    assert texts(reader.read(data)) == ["a"]
    assert reader.blank == 2
    assert reader.damaged == 0


def test_blank_lines_may_be_kept_as_what_the_service_takes():
    reader = joiner(keep_blank=True)
    assert texts(reader.read(record("\n") + record("a\n") + record("\n"))) == [" ", "a", " "]
    assert reader.blank == 0


# Time


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.001Z", 1),
        ("2026-11-22T11:08:31Z", 1_795_345_711_000),
        ("2026-11-22T11:08:31.1Z", 1_795_345_711_100),
        ("2026-11-22T11:08:31.12Z", 1_795_345_711_120),
        ("2026-11-22T11:08:31.012Z", 1_795_345_711_012),
        ("2026-11-22T11:08:31.0123Z", 1_795_345_711_012),
        ("2026-11-22T11:08:31.999999999Z", 1_795_345_711_999),
        ("2028-02-29T23:59:59.5Z", 1_835_481_599_500),
        ("9999-12-31T23:59:59.999999999Z", 253_402_300_799_999),
    ],
)
def test_a_time_is_read_to_the_millisecond(text, ms):
    assert joiner().read(record("a\n", time=text)) == [(STREAM, ms, STDOUT, "a")]


@settings(max_examples=300)
@given(
    st.integers(0, 253_402_300_799_999_999_999)
    | st.integers(0, 253_402_300_799).map(lambda seconds: seconds * 10**9)
    | st.integers(0, 253_402_300_799_999).map(lambda ms: ms * 10**6)
)
def test_any_time_that_the_engine_can_write_is_read_as_datetime_reads_it(time_ns):
    text = engine_time(time_ns)
    [(_, timestamp, _, _)] = joiner().read(record("a\n", time=text))
    digits = text[20:-1][:6].ljust(6, "0") if "." in text else "000000"
    moment = datetime.fromisoformat(f"{text[:19]}.{digits}+00:00")
    since_epoch = moment - datetime(1970, 1, 1, tzinfo=UTC)
    assert timestamp == since_epoch.days * 86_400_000 + since_epoch.seconds * 1000 + (
        since_epoch.microseconds // 1000
    )
    assert timestamp == time_ns // 10**6


@pytest.mark.parametrize("present", ["1970-01-01", "2026-11-22", "2038-01-20"])
def test_the_time_of_an_event_is_the_records_and_never_the_present(present):
    with freeze_time(present):
        assert joiner().read(record("a\n")) == [(STREAM, TIME_MS, STDOUT, "a")]


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "Z",
        "now",
        "2026-11-22",
        "2026-11-22 11:08:31Z",
        "2026-13-22T11:08:31Z",
        "2026-02-29T11:08:31Z",
        "2026-11-22T11:08:60Z",
        "2026-11-22T11:08:31.Z",
        "2026-11-22T11:08:31,5Z",
        "2026-11-22T11:08:31+01:00",
        "2026-11-22T11:08:31.\u0663Z",
        "0001-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999Z",
    ],
)
def test_a_record_with_an_impossible_time_is_damaged(bad):
    reader = joiner()
    assert texts(reader.read(record("a\n") + record("b\n", time=bad) + record("c\n"))) == ["a", "c"]
    assert reader.damaged == 1


# Long messages


@pytest.mark.parametrize("count", [16_383, 16_384, 16_385, 32_767, 32_768, 32_769, 100_000])
def test_the_parts_of_a_long_line_are_joined(count):
    message = ("0123456789" * (count // 10 + 1))[:count]
    parts = engine_parts(message.encode())
    assert len(parts) == count // PART_BYTES + 1
    reader = joiner()
    assert texts(reader.read(b"".join(map(record, parts)))) == [message]
    assert reader.open == {}


def test_an_event_has_the_time_at_which_its_line_began_and_its_place_where_it_ended():
    later = "2026-11-22T11:08:32Z"
    data = record("begun ") + record("between\n", "stderr", later) + record("ended\n")
    assert joiner().read(data) == [
        (STREAM, TIME_MS + 711, STDERR, "between"),
        (STREAM, TIME_MS, STDOUT, "begun ended"),
    ]


def test_a_line_that_never_ended_is_a_message_when_the_next_one_begins():
    later = "2026-11-22T11:08:32Z"
    data = record("no newline") + record("next\n", time=later)
    assert texts(joiner().read(data)) == ["no newline", "next"]


def test_a_line_that_never_ended_is_a_message_when_no_more_can_come():
    reader = joiner()
    assert reader.read(record("out") + record("err", "stderr")) == []
    assert reader.flush() == [(STREAM, TIME_MS, STDERR, "err"), (STREAM, TIME_MS, STDOUT, "out")]
    assert reader.flush() == []


@pytest.mark.parametrize("character", ["x", "\u00e9", "\u20ac", "\U0001f680"])
@pytest.mark.parametrize("most", [1_048_550, 1_048_551, 2_500_000])
def test_what_is_longer_than_an_event_may_be_comes_as_several_of_the_same_time(character, most):
    message = character * (most // len(character.encode()))
    message += "." * (most - len(message.encode()))
    parts = [message[start : start + 4_096] for start in range(0, len(message), 4_096)]
    events = joiner().read(b"".join([*map(record, parts), record("\n")]))
    assert "".join(texts(events)) == message
    assert texts(events) == split_message(message)
    assert {event[:3] for event in events} == {(STREAM, TIME_MS, STDOUT)}


@settings(max_examples=30)
@given(
    st.lists(st.sampled_from(["x", "\u00e9", "\u20ac", "\U0001f680"]), min_size=1, max_size=7),
    st.integers(0, 9),
    st.integers(200_000, 400_000),
)
def test_a_message_is_split_between_characters_and_into_as_few_events_as_can_be(unit, odd, times):
    message = "." * odd + "".join(unit) * times
    message = message[:1_200_000]
    pieces = split_message(message)
    assert "".join(pieces) == message
    sizes = [len(piece.encode()) for piece in pieces]
    assert max(sizes) <= MAX_MESSAGE_BYTES
    assert all(size > MAX_MESSAGE_BYTES - 4 for size in sizes[:-1])


def test_a_line_without_end_takes_bounded_memory():
    """
    Promise 7: the longest line that a container can write is as long as its disk.
    """
    reader = joiner()
    part = "\u20ac" * 5_461
    data = record(part) + record(part, "stderr")
    count = events = longest = 0
    for _ in range(600):
        events += len(reader.read(data))
        count += 2
        longest = max(longest, sum(len(message.text) for message in reader.open.values()))
    assert longest <= 2 * (MAX_MESSAGE_BYTES + PART_BYTES)
    assert len(reader.open) == 2
    assert events >= count * len(part.encode()) // MAX_MESSAGE_BYTES - 10


def test_many_different_seconds_take_bounded_memory():
    from shipper.sources.times import MAX_KNOWN_SECONDS, _seconds

    for start in range(0, 20_000, 1_000):
        data = [record("a\n", time=engine_time(n * 10**9)) for n in range(start, start + 1_000)]
        assert len(joiner().read(b"".join(data))) == 1_000
    assert len(_seconds) <= MAX_KNOWN_SECONDS


def test_a_very_long_line_is_read_in_reasonable_time():
    begun_s = time.process_time()
    reader = joiner()
    for _ in range(20):
        reader.read(record("x" * PART_BYTES) * 60)
    reader.read(record("\n"))
    assert time.process_time() - begun_s < 5


# Whatever the engine writes


CHARACTERS = st.one_of(
    st.characters(codec="utf-8", exclude_characters="\n"),
    st.sampled_from('\0\r\t<>&"\\\u2028\u2029\ufffd\U0001f680'),
)
SHORT = st.text(CHARACTERS, max_size=20).map(str.encode)
LONG = st.builds(
    lambda unit, count: (unit * (count // len(unit) + 1))[:count],
    st.text(CHARACTERS, min_size=1, max_size=5).map(str.encode),
    st.sampled_from([16_383, 16_384, 16_385, 32_768, 40_000]),
)
CARRIAGE_RETURN = SHORT.map(lambda data: data + b"\r")
INVALID = st.binary(max_size=20).map(lambda data: data.replace(b"\n", b""))
MESSAGES = st.lists(
    st.tuples(
        st.sampled_from(["stdout", "stderr"]),
        st.one_of(SHORT, SHORT, CARRIAGE_RETURN, LONG, INVALID),
        st.sampled_from([True, True, True, False]),  # with a newline
        st.sampled_from([1, 1_000, 10**6, 10**8, 10**9]),  # ns later than the one before
    ),
    max_size=12,
)


def written(messages):
    """
    Each stream's records, and its (time in ms, text) for each message that is not blank.
    """
    records = {"stdout": [], "stderr": []}
    expected = {"stdout": [], "stderr": []}
    time_ns = 1_795_345_711 * 10**9
    for stream, data, newline, later_ns in messages:
        time_ns = (time_ns // later_ns + 1) * later_ns
        parts = engine_parts(data, newline=newline)
        records[stream] += [record(part, stream, engine_time(time_ns)) for part in parts]
        text = "".join(parts).removesuffix("\n") if newline else "".join(parts)
        if text:
            expected[stream].append((time_ns // 10**6, text))
    return records, expected


@settings(max_examples=200)
@given(messages=MESSAGES, data=st.data())
def test_every_message_comes_back_exact_however_it_was_cut_mixed_and_read(messages, data):
    """
    Promise 1: also when reading stopped between any two records and went on from what was stored.
    """
    records, expected = written(messages)
    left = {stream: list(lines) for stream, lines in records.items()}
    reader = joiner()
    events = []
    while any(left.values()):
        chunk = b""
        for _ in range(data.draw(st.integers(1, 6))):
            stream = data.draw(st.sampled_from([name for name, lines in left.items() if lines]))
            chunk += left[stream].pop(0)
            if not any(left.values()):
                break
        events += reader.read(chunk)
        if data.draw(st.booleans()):
            stored = json.loads(json.dumps(reader.position()))
            reader = joiner()
            reader.resume(stored)
        assert len(reader.open) <= 2
    events += reader.flush()
    for stream, source in (("stdout", STDOUT), ("stderr", STDERR)):
        found = [(timestamp, text) for _, timestamp, id_, text in events if id_ == source]
        assert found == expected[stream]
    assert reader.damaged == 0


# Damage


GOOD = [record(f"message {n}\n", time=engine_time(1_795_345_711_000_000_000 + n)) for n in range(5)]


def read_in_turn(lines):
    reader = joiner()
    return texts(reader.read(b"".join(lines))), reader


def good_but(*missing):
    return [f"message {n}" for n in range(5) if n not in missing]


@pytest.mark.parametrize("size", [1, 100, 5_000])
def test_a_hole_that_a_truncation_left_costs_no_record_and_is_counted(size):
    """
    The engine goes on at its old offset: NULs, and a whole record on the same line.
    """
    found, reader = read_in_turn([b"\0" * size + GOOD[0], *GOOD[1:]])
    assert found == good_but()
    assert reader.damaged == 1


def test_a_line_of_nothing_but_nuls_is_a_hole():
    found, reader = read_in_turn([GOOD[0], b"\0" * 50 + b"\n", *GOOD[1:]])
    assert found == good_but()
    assert reader.damaged == 1


@pytest.mark.parametrize("cut", range(1, len(GOOD[1])))
def test_a_record_that_was_cut_off_costs_itself_and_not_its_neighbours(cut):
    """
    The engine goes on behind it on the same line.
    """
    found, reader = read_in_turn([GOOD[0], GOOD[1][:cut], *GOOD[2:]])
    is_whole = cut == len(GOOD[1]) - 1
    assert found == (good_but() if is_whole else good_but(1))
    assert reader.damaged == (not is_whole)


@pytest.mark.parametrize("start", [0, 1, 30, len(GOOD[1]) - 2, len(GOOD[1]) - 1])
@pytest.mark.parametrize("end", [1, 8, 40, len(GOOD[1]) - 1, len(GOOD[1])])
def test_nuls_in_place_of_some_bytes_cost_the_records_that_had_them(start, end):
    """
    Pages that were not yet on disk at a power cut; `end` is in the next record, or at its start.
    """
    hole = b"\0" * (len(GOOD[1]) - start)
    torn = GOOD[1][:start] + hole + b"\0" * end + GOOD[2][end:]
    found, _ = read_in_turn([GOOD[0], torn, *GOOD[3:]])
    lost = {1, 2} - ({1} if start >= len(GOOD[1]) - 1 else set())
    assert found == good_but(*lost)


@pytest.mark.parametrize("start", [0, 1, 30, len(GOOD[1]) - 1])
def test_nuls_in_place_of_a_record_to_its_end_cost_just_that(start):
    torn = GOOD[1][:start] + b"\0" * (len(GOOD[1]) - start)
    found, _ = read_in_turn([GOOD[0], torn, *GOOD[2:]])
    assert found == good_but(*([1] if start < len(GOOD[1]) - 1 else []))


@pytest.mark.parametrize(
    "garbage",
    [
        b"garbage",
        b"{}",
        b"[]",
        b"1",
        b"null",
        b'"log"',
        b"{" * 5_000,
        b"[" * 5_000,
        b'{"log":"a\\n"}',
        b'{"log":1,"stream":"stdout","time":"2026-11-22T11:08:31Z"}',
        b'{"log":["a","\\n"],"stream":"stdout","time":"2026-11-22T11:08:31Z"}',
        b'{"log":null,"stream":"stdout","time":"2026-11-22T11:08:31Z"}',
        b'{"log":"a\\n","stream":"stdin","time":"2026-11-22T11:08:31Z"}',
        b'{"log":"a\\n","stream":[],"time":"2026-11-22T11:08:31Z"}',
        b'{"log":"a\\n","stream":"stdout","time":null}',
        b'{"log":"a\\n","stream":"stdout","time":{}}',
        b'{"log":"\\ud800\\n","stream":"stdout","time":"2026-11-22T11:08:31Z"}',
        b'{"log":"\xff\xfe\\n","stream":"stdout","time":"2026-11-22T11:08:31Z"}',
    ],
)
def test_a_line_that_is_no_record_costs_itself(garbage):
    found, reader = read_in_turn([*GOOD[:2], garbage + b"\n", *GOOD[2:]])
    assert found == good_but()
    assert reader.damaged == 1


@pytest.mark.parametrize("at", [9, 12, 30, 60])
def test_a_newline_in_the_middle_of_a_record_makes_no_message_that_nobody_wrote(at):
    torn = GOOD[1][:at] + b"\n" + GOOD[1][at + 1 :]
    found, _ = read_in_turn([GOOD[0], torn, *GOOD[2:]])
    assert found == good_but(1)


WHOLE = record("whole\n")


@pytest.mark.parametrize(
    "data",
    [
        b"\t" + WHOLE,
        b"\r\n" + WHOLE,
        WHOLE[:-1] + WHOLE,
        WHOLE[:-1] + b" " + WHOLE,
        WHOLE.replace(b"{", b"{ "),
        WHOLE[:-1] + WHOLE.replace(b"{", b"{ "),
        WHOLE.replace(b",", b",\n"),
        WHOLE.replace(b"{", b"{\n") + WHOLE[:-1] + WHOLE,
    ],
)
def test_what_json_allows_and_docker_does_not_write_is_the_same_by_chunk_and_by_line(data):
    data = WHOLE + data + WHOLE
    at_once, one_by_one = joiner(), joiner()
    found = [event for line in data.splitlines(True) for event in one_by_one.read(line)]
    assert at_once.read(data) == found
    assert len(found) >= 2
    assert set(texts(found)) == {"whole"}
    assert at_once.damaged == one_by_one.damaged


def test_damage_while_a_message_is_open_leaves_the_message():
    reader = joiner()
    reader.read(record("begun "))
    assert texts(reader.read(b"garbage\n" + record("ended\n"))) == ["begun ended"]
    assert reader.damaged == 1


FRAGMENTS = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(GOOD),
    st.builds(lambda line, end: line[:end], st.sampled_from(GOOD), st.integers(0, 90)),
    st.builds(lambda line, start: line[start:], st.sampled_from(GOOD), st.integers(0, 90)),
    st.sampled_from([b"\n", b"\0", b'{"log":"', b"[", b"{", b",", record("part"), record("\n")]),
)


@settings(max_examples=400)
@example(pieces=[b'{"log":"', b'{"log":"'], end=True)
@given(pieces=st.lists(FRAGMENTS, max_size=8), end=st.booleans())
def test_no_bytes_at_all_can_stop_the_reading(pieces, end):
    reader = joiner()
    for data in accumulate(pieces):
        events = reader.read(data + b"\n" if end else data)
        for stream_id, timestamp, source_id, text in events + reader.flush():
            assert stream_id == STREAM
            assert timestamp >= 0
            assert source_id in (STDOUT, STDERR)
            assert text.encode()
        assert reader.open == {}
    assert texts(reader.read(GOOD[0])) == ["message 0"]


@pytest.mark.parametrize("length", [1_000, 998, 999, 5_000, 20_000])
@pytest.mark.parametrize("character", ["x", "\u00e9"])
def test_the_longest_event_may_be_set(length, character):
    """
    Also where it is shorter than what is read at a time, or than Docker's own parts.
    """
    message = character * (length // len(character.encode()))
    others = [record(f"{n}\n") for n in range(3)]
    whole = b"".join(map(record, engine_parts(message.encode())))
    for data in (whole, b"".join([*others, whole, *others])):
        events = texts(joiner(max_bytes=998).read(data))
        assert max(len(text.encode()) for text in events) <= 998
        assert message in "".join(events)
    events = joiner(max_bytes=998).read_records([(message + "\n", "stdout", TIME)])
    assert texts(events) == split_message(message, 998)
