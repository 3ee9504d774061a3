"""
spool put: every line of files or stdin becomes an event, whatever is in it.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from agent import SPOOL, Agent, clean_environment, is_spool, spool, status, wait_until
from cloudwatch_endpoint import Endpoint
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spool.store import Chunk, Store

TARGET = ("--group", "app", "--stream", "web")


def put(
    db: Path, *arguments: str | Path, stdin: str | bytes = b""
) -> subprocess.CompletedProcess[str]:
    return spool("put", "--db", db, *TARGET, *arguments, stdin=stdin)


def stored(db: Path) -> list[tuple[int, str]]:
    """
    (timestamp, message) of all events, in the order stored.
    """
    done = spool("events", "--db", db, "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.split("\n") if line]
    return [(row["timestamp"], row["message"]) for row in rows]


def messages(db: Path) -> list[str]:
    return [message for _, message in stored(db)]


def test_lines_of_stdin_are_stored_as_they_are_with_the_present_time(db: Path) -> None:
    begin_ms = time.time_ns() // 1_000_000
    done = put(db, stdin="one\n\n  two \r\n\ttab\x00nul\u2028still it 😀\nlast, unended")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert messages(db) == ["one", "  two \r", "\ttab\x00nul\u2028still it 😀", "last, unended"]
    assert all(begin_ms <= at_ms <= time.time_ns() // 1_000_000 for at_ms, _ in stored(db))


def test_blank_lines_are_left_out_and_counted(db: Path) -> None:
    assert put(db, stdin="\n\none\n\ntwo\n").returncode == 0
    assert put(db, stdin="\n").returncode == 0
    assert messages(db) == ["one", "two"]
    assert status(db)["skipped"] == {"blank lines": 4}


@pytest.mark.parametrize("arguments", [["/nowhere/x.log"], []], ids=["no file", "nothing"])
def test_without_an_event_there_is_no_stream(db: Path, arguments: list[str]) -> None:
    put(db, *arguments)
    assert status(db)["streams"] == []


def test_files_are_read_in_the_order_given_and_a_dash_is_stdin(db: Path, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("a1\na2")
    (tmp_path / "b.log").write_text("b1\n")
    done = put(db, tmp_path / "b.log", "-", tmp_path / "a.log", stdin="from stdin\n")
    assert done.returncode == 0
    assert messages(db) == ["b1", "from stdin", "a1", "a2"]


def test_bytes_that_are_no_utf8_are_replaced_and_no_line_is_lost(db: Path) -> None:
    assert put(db, stdin=b"a\xffb\nc\xe2\x82\n\xed\xa0\x80\n").returncode == 0
    assert messages(db) == ["a\ufffdb", "c\ufffd", "\ufffd\ufffd\ufffd"]


def test_a_line_longer_than_an_event_is_stored_in_parts(db: Path) -> None:
    line = "é" * 1_500_000
    assert put(db, stdin=line).returncode == 0
    parts = messages(db)
    assert "".join(parts) == line
    assert len(parts) == 3


def test_what_events_writes_as_json_lines_can_be_put_elsewhere(history: Any, db: Path) -> None:
    written = spool("events", "--db", history.db, "--format", "jsonl").stdout
    assert put(db, "--json", stdin=written).returncode == 0
    assert stored(db) == stored(history.db)


LAST_MS = 253_402_300_799_999
EVENTS = st.tuples(
    st.integers(0, LAST_MS) | st.sampled_from([10**digits for digits in range(15)]),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
)


@settings(max_examples=5)
@given(st.lists(EVENTS, min_size=20, max_size=50))
@example([(at_ms, "x") for at_ms in (0, 1, 99_999_999, 10**11 - 1, 10**14, LAST_MS)])
def test_any_event_that_events_writes_is_put_as_it_was(events: list[tuple[int, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder, "one.db"), Path(folder, "other.db")
        with Store(one) as store:
            stream_id, source_id = store.stream_id("app", "web"), store.source_id("test")
            rows = [(stream_id, at_ms, source_id, message) for at_ms, message in events]
            store.append([Chunk(stream_id, rows)])
        written = spool("events", "--db", one, "--format", "jsonl").stdout
        assert put(other, "--json", stdin=written).stderr == ""
        assert stored(other) == events


def test_json_lines_may_have_their_time_in_iso_8601(db: Path) -> None:
    line = '{"timestamp": "2026-11-22T12:00:00.123+02:00", "message": "one"}'
    assert put(db, "--json", stdin=line).returncode == 0
    assert stored(db) == [(1_795_341_600_123, "one")]


@pytest.mark.parametrize("at_ms", [-1, LAST_MS + 1, 2**63, 10**30])
def test_a_number_that_is_no_time_is_stored_as_it_is_and_told(db: Path, at_ms: int) -> None:
    line = json.dumps({"timestamp": at_ms, "message": "one"})
    done = put(db, "--json", stdin=line)
    assert done.returncode == 1
    assert done.stderr.startswith("spool put: 1 line has no readable JSON or time")
    assert messages(db) == [line]


def test_a_timestamp_field_gives_each_line_its_time(db: Path) -> None:
    lines = [
        '{"at": "2026-11-22T10:00:00.123Z", "text": "iso"}',
        '{"at": "2026-11-22T12:00:00.123+02:00"}',
        '{"at": 1795341600.123}',
        '{"at": 1795341600123, "more": {"nested": [1]}}',
        '{"at": "1795341600123456", "as": "journalctl -o json has it"}',
        '{"at": 1795341600123456789}',
    ]
    assert put(db, "--timestamp-field", "at", stdin="\n".join(lines)).returncode == 0
    assert stored(db) == [(1_795_341_600_123, line) for line in lines]


def test_lines_without_a_readable_time_are_stored_counted_and_told(db: Path) -> None:
    odd = ["no json", "[1]", '"text"', '{"at": true}', '{"at": null}', '{"at": "soon"}', "{}"]
    odd += ['{"at": 12345.5}', '{"at": "123456"}', '{"at": "5m"}', '{"at": "20261122"}']
    odd += ['{"at": -5}', '{"at": 1e400}', '{"at": [1]}', '{"at": {"a": 1}}', "nan", "\x00"]
    begin_ms = time.time_ns() // 1_000_000
    done = put(db, "--timestamp-field", "at", stdin="\n".join([*odd, '{"at": 1795341600}']))
    assert done.returncode == 1
    assert f"{len(odd)} lines have no readable JSON or time" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert messages(db) == [*odd, '{"at": 1795341600}']
    assert all(at_ms >= begin_ms for at_ms, _ in stored(db)[:-1])


def test_json_messages_that_are_no_text_are_stored_as_json(db: Path) -> None:
    lines = ['{"message": {"a": [1, "é"]}}', '{"message": ""}', '{"message": null}', '{"x": 1}']
    assert put(db, "--json", stdin="\n".join(lines)).returncode == 0
    assert messages(db) == ['{"a":[1,"é"]}', '{"message": ""}', "null", '{"x": 1}']


def test_lines_of_a_pipe_are_stored_as_they_come(db: Path) -> None:
    with subprocess.Popen(
        [*SPOOL, "put", "--db", str(db), *TARGET], stdin=subprocess.PIPE, env=clean_environment()
    ) as process:
        assert process.stdin
        for line in ("first", "second"):
            process.stdin.write(f"{line}\n".encode())
            process.stdin.flush()
            wait_until(lambda wanted=line: is_spool(db) and wanted in messages(db))
        process.stdin.close()
        assert process.wait(60) == 0


def test_several_at_once_lose_no_line(db: Path) -> None:
    lines = {number: [f"{number} {line}" for line in range(3_000)] for number in range(4)}
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda some: put(db, stdin="\n".join(some)), lines.values()))
    assert [one.returncode for one in done] == [0] * 4, [one.stderr for one in done]
    found = messages(db)
    for number, some in lines.items():
        assert [message for message in found if message.startswith(f"{number} ")] == some
    assert spool("check", "--db", db).returncode == 0


def test_a_running_agent_sends_what_is_put(endpoint: Endpoint, db: Path, containers: Path) -> None:
    with Agent(db, containers, endpoint.environment()) as agent:
        agent.wait_started()
        assert put(db, stdin="one\ntwo\n").returncode == 0
        wait_until(lambda: endpoint.messages("app", "web") == ["one", "two"])
        assert agent.stop() == 0
    assert status(db)["sent"] == 2


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("/nowhere/x.log", "No such file or directory"),
        ("/", "Is a directory"),
        ("/proc/self/mem", "Input/output error"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_the_lines_before_it_are_kept(
    db: Path, name: str, problem: str
) -> None:
    done = put(db, "-", name, stdin="kept\n")
    assert done.returncode == 1
    told = f"spool: {name}: cannot be read: {problem}"
    assert done.stderr == f"{told} (and 1 event stored before it)\n"
    assert messages(db) == ["kept"]
    assert put(db, name).stderr == f"{told}\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--group", "a b", "--stream", "s"], "it would take 'a_b-"),
        (["--group", "g", "--stream", "a:b*"], "it would take 'a_b_-"),
        (["--group", "", "--stream", "s"], "empty"),
        (["--group", "g", "--stream", "a\udcff"], "not UTF-8"),
        (["--group", "g", "--stream", "s" * 513], "it would take"),
        (["--group", "g"], "'--stream'"),
        (["--stream", "s"], "'--group'"),
    ],
    ids=lambda value: ascii(" ".join(value))[:40] if isinstance(value, list) else "",
)
def test_names_that_cloudwatch_would_refuse_are_refused_at_once(
    db: Path, arguments: list[str], told: str
) -> None:
    done = spool("put", "--db", db, *arguments, stdin="lost?\n")
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not db.exists()
