"""
The bytes of the Engine API become the engine's records: checked against what a real engine gave.
"""

from __future__ import annotations

import json
import struct
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.sources.lines import Joiner
from shipper.sources.records import (
    FrameParser,
    Parser,
    TerminalParser,
    ends_message,
    frames_end,
    joinable,
)

CORPUS = Path(__file__).parents[2] / "data" / "docker.tar.gz"
TIME = "2026-11-22T11:08:31.289137307Z"
LATER = "2026-11-22T11:08:32.000000001Z"
STREAM_ID, OUT, ERR = 1, 10, 20

Line = tuple[str, int, str]


def frame(text: bytes, *, kind: int = 1, time: str = TIME) -> bytes:
    payload = time.encode() + b" " + text
    return struct.pack(">BxxxI", kind, len(payload)) + payload


def cases() -> dict[str, dict[str, bytes]]:
    """
    The files of each case that has answers of the API, by name.
    """
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(CORPUS) as archive:
        for member in archive:
            path = Path(member.name)
            if path.suffix in (".logs", ".follow") or path.name in (
                "case.json",
                "expected.jsonl",
                "expected_api.jsonl",
            ):
                case = path.parts[1]
                file = archive.extractfile(member)
                assert file
                found.setdefault(case, {})[path.name] = file.read()
    return {
        name: files
        for name, files in found.items()
        if any(other.endswith(".logs") for other in files)
    }


CASES = cases()


@pytest.mark.parametrize("name", sorted(CASES))
@pytest.mark.parametrize("piece_bytes", [1_000_000, 4_999, 7])
def test_every_message_of_the_engine_is_found(name: str, piece_bytes: int) -> None:
    files = CASES[name]
    if piece_bytes < 100 and sum(map(len, files.values())) > 500_000:
        pytest.skip("the same as with larger pieces, slowly")
    case = json.loads(files["case.json"])
    optional = Counter(line_of(row) for row in case.get("optional", []))
    for container in case["containers"]:
        parser = TerminalParser() if container["tty"] else FrameParser()
        lines = lines_of(parser, files[f"{container['id']}.logs"], piece_bytes)
        expected = expected_lines(files, container["id"])
        if name.endswith("max-file-1"):  # the engine itself reads only one of its two files
            expected = expected[-len(lines) :]
        assert not Counter(expected) - Counter(lines) - optional
        assert not Counter(lines) - Counter(expected) - optional
        for stream in ("stdout", "stderr"):
            wanted = [line for line in expected if line[0] == stream and line not in optional]
            assert [x for x in lines if x[0] == stream and x not in optional] == wanted
        assert (parser.damaged, parser.errors) == (0, 0)


def lines_of(parser: Parser, data: bytes, piece_bytes: int) -> list[Line]:
    joiner = Joiner(STREAM_ID, {"stdout": OUT, "stderr": ERR}, keep_blank=True)
    records = [
        record
        for start in range(0, len(data), piece_bytes)
        for record in parser.feed(data[start : start + piece_bytes])
    ]
    records += parser.finish()
    events = joiner.read_records(joinable(records)) + joiner.flush()
    names = {OUT: "stdout", ERR: "stderr"}
    lines: list[Line] = []
    for _, timestamp, source, message in events:
        line = (names[source], timestamp, "" if message == " " else message)
        if lines and lines[-1][:2] == line[:2] and len(lines[-1][2].encode()) >= 1_048_000:
            line = (*line[:2], lines.pop()[2] + message)  # cut at the limit of an event
        lines.append(line)
    return lines


def expected_lines(files: dict[str, bytes], container: str) -> list[Line]:
    rows = files.get("expected_api.jsonl", files["expected.jsonl"]).decode().split("\n")[:-1]
    return [
        line_of(row)
        for row in map(json.loads, rows)
        if row.get("container", container) == container
    ]


def line_of(row: dict[str, Any]) -> Line:
    message = "" if row["message"] == " " else row["message"]
    return (row["stream"], row["time_ns"] // 1_000_000, message)


RECORDS = st.lists(
    st.tuples(
        st.sampled_from([1, 2]),
        st.one_of(
            st.binary(max_size=50),
            st.binary(max_size=20).map(lambda text: text * 2_000),
        ),
        st.booleans(),
    ),
    max_size=12,
)


@given(RECORDS, st.lists(st.integers(1, 20_000), max_size=30))
def test_how_an_answer_is_cut_makes_no_difference(
    records: list[tuple[int, bytes, bool]], sizes: list[int]
) -> None:
    data = b"".join(
        frame(text + (b"\n" if ended else b""), kind=kind) for kind, text, ended in records
    )
    parser = FrameParser()
    found = [record for piece in cut(data, sizes) for record in parser.feed(piece)]
    assert found == [
        ("stdout" if kind == 1 else "stderr", TIME.encode(), text + (b"\n" if ended else b""))
        for kind, text, ended in records
    ]
    assert parser.finish() == []
    assert frames_end(data) == len(data)
    assert frames_end(data + b"\x01\0\0\0\0\0\0\x09abc") == len(data)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


@given(
    st.lists(st.tuples(st.integers(0, 40_000), st.booleans()), min_size=1, max_size=5),
    st.lists(st.integers(1, 20_000), max_size=30),
)
def test_lines_of_a_terminal_are_taken_apart_where_the_engine_cut_them(
    lines: list[tuple[int, bool]], sizes: list[int]
) -> None:
    """
    Also where a character was cut, or was none: then a part is longer in UTF-8.
    """
    data, expected = b"", []
    for number, (length, is_odd) in enumerate(lines):
        time = f"2026-11-22T11:08:31.{number:09d}Z".encode()
        text = b"x" * length + b"\r\n"
        while text:
            part, text = text[:16_384], text[16_384:]
            if is_odd and not part.endswith(b"\n"):
                part = part[:-2] + "\ufffd\ufffd".encode()
            data += time + b" " + part
            expected.append(("stdout", time, part))
    parser = TerminalParser()
    found = [record for piece in cut(data, sizes) for record in parser.feed(piece)]
    assert found + parser.finish() == expected
    assert parser.damaged == 0


@given(st.binary(max_size=300), st.lists(st.integers(1, 50), max_size=10))
def test_no_bytes_raise(data: bytes, sizes: list[int]) -> None:
    for parser in (FrameParser(), TerminalParser((TIME, 3)), TerminalParser(has_unended=True)):
        records = [record for piece in cut(data, sizes) for record in parser.feed(piece)]
        records += parser.finish()
        joiner = Joiner(STREAM_ID, {"stdout": OUT, "stderr": ERR})
        joiner.read_records(joinable(records))


@given(st.binary(max_size=40), st.sampled_from(["", "9", "2026-13-45T99:99:99.000000000Z"]))
def test_times_that_are_none_are_counted(text: bytes, time: str) -> None:
    parser = FrameParser()
    records = parser.feed(frame(text, time=time))
    joiner = Joiner(STREAM_ID, {"stdout": OUT, "stderr": ERR})
    assert joiner.read_records(joinable(records)) == []
    assert parser.damaged + joiner.damaged == 1


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"a\xffb", "a\ufffdb"),
        (b"a\xe2\x82b", "a\ufffd\ufffdb"),
        (b"a\xe2\x82", "a\ufffd\ufffd"),
        (b"\xed\xa0\x80", "\ufffd" * 3),
        (b"\xf4\x90\x80\x80", "\ufffd" * 4),
        (b"\xf0\x9f\x98", "\ufffd" * 3),
        (b"\xc0\xaf", "\ufffd" * 2),
        ("grün €😀\ufffd\ufeff\uffff".encode(), "grün €😀\ufffd\ufeff\uffff"),
    ],
)
def test_bytes_that_are_no_utf_8_become_what_go_makes_of_them(raw: bytes, text: str) -> None:
    """
    One U+FFFD for each byte; Python's "replace" has one for a sequence that breaks off.
    """
    records = FrameParser().feed(frame(raw + b"\n"))
    assert joinable(records) == [(text + "\n", "stdout", TIME)]


def test_times_in_the_zone_of_the_engines_host_become_utc() -> None:
    """
    Seen of the driver local on an engine whose host is not in UTC.
    """
    data = frame(b"text\n", time="2026-11-22T16:38:31.289137307+05:30")
    assert FrameParser().feed(data) == [("stdout", TIME.encode(), b"text\n")]
    line = b"2026-11-22T08:08:31.289137307-03:00 text\r\n"
    assert TerminalParser().feed(line) == [("stdout", TIME.encode(), b"text\r\n")]


def test_what_the_engine_says_of_its_own_troubles_is_no_record() -> None:
    parser = FrameParser()
    error = b"Error grabbing logs: unexpected EOF\n"
    data = frame(b"one\n") + struct.pack(">BxxxI", 3, len(error)) + error + frame(b"two\n")
    assert [text for _, _, text in parser.feed(data)] == [b"one\n", b"two\n"]
    assert (parser.errors, parser.damaged) == (1, 0)
    terminal = TerminalParser()
    assert terminal.feed(error) == []
    assert (terminal.errors, terminal.damaged) == (1, 0)


def test_behind_what_is_no_frame_nothing_is_guessed() -> None:
    parser = FrameParser()
    assert len(parser.feed(frame(b"one\n") + b"HTTP/1.1 500 what" + frame(b"two\n"))) == 1
    assert parser.feed(frame(b"three\n")) == []
    assert parser.damaged == 1


def test_a_new_run_of_a_terminal_begins_where_the_last_one_ended() -> None:
    """
    Its rest has no newline, so the two are one line; where the rest ended is known.
    """
    first, second = f"{TIME} rest".encode(), f"{LATER} next\r\n".encode()
    assert TerminalParser((TIME, 4)).feed(first + second) == [
        ("stdout", TIME.encode(), b"rest"),
        ("stdout", LATER.encode(), b"next\r\n"),
    ]
    quoting = f"{TIME} rest{LATER} is text\r\n".encode()
    assert len(TerminalParser().feed(quoting)) == 1
    assert len(TerminalParser((TIME, 3)).feed(quoting)) == 1


def test_of_the_driver_local_the_last_part_of_a_terminals_line_has_no_newline() -> None:
    part, rest = f"{TIME} {'x' * 16_384}".encode(), f"{TIME} yz\r".encode()
    following = f"{LATER} next\r\n".encode()
    assert TerminalParser(has_unended=True).feed(part + rest + following) == [
        ("stdout", TIME.encode(), b"x" * 16_384),
        ("stdout", TIME.encode(), b"yz\r"),
        ("stdout", LATER.encode(), b"next\r\n"),
    ]


def test_the_last_part_of_a_terminals_line_may_be_empty() -> None:
    """
    The engine cut between the `\\r` and the `\\n`, and the driver local has dropped that.
    """
    part, following = f"{TIME} {'x' * 16_383}\r".encode(), f"{LATER} next\r\n".encode()
    quoting = f"{LATER} {TIME} text\r\n".encode()
    assert TerminalParser(has_unended=True).feed(
        part + f"{TIME} ".encode() + following + quoting
    ) == [
        ("stdout", TIME.encode(), b"x" * 16_383 + b"\r"),
        ("stdout", TIME.encode(), b""),
        ("stdout", LATER.encode(), b"next\r\n"),
        ("stdout", LATER.encode(), f"{TIME} text\r\n".encode()),
    ]


def test_a_record_without_newline_ends_its_message_where_it_is_shorter_than_a_part() -> None:
    assert ends_message(b"x\n")
    assert ends_message(b"")
    assert ends_message(b"x" * 16_383)
    assert not ends_message(b"x" * 16_384)
