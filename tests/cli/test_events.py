"""
spool events: each filter, each format, and nothing that a container printed reaches a terminal raw.
"""

from __future__ import annotations

import csv
import io
import json
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from agent import SPOOL, clean_environment, spool, wait_until
from terminal import on_a_terminal, plain

COLUMNS = [
    *("id", "log_group", "log_stream", "timestamp", "time"),
    *("message", "state", "batch_id", "source"),
]


def events(db: Path, *options: str) -> list[dict[str, Any]]:
    """
    What `spool events` shows, from its JSON lines.
    """
    done = spool("events", "--db", db, "--format", "jsonl", *options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def messages(db: Path, *options: str) -> list[str]:
    return [event["message"] for event in events(db, *options)]


def iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()


def test_all_events_are_shown_in_the_order_stored_with_what_became_of_each(history: Any) -> None:
    shown = events(history.db)
    assert [event["message"] for event in shown] == history.all
    assert [event["state"] for event in shown] == ["sent"] * 5 + ["rejected"] + ["unsent"] * 2
    first = shown[0]
    assert list(first) == COLUMNS
    assert (first["log_group"], first["log_stream"], first["source"]) == ("app", "web", "put")
    assert first["timestamp"] == history.begin_ms
    assert datetime.fromisoformat(first["time"]) == datetime.fromtimestamp(
        history.begin_ms / 1000, UTC
    )
    assert all((event["batch_id"] is None) == (event["state"] != "sent") for event in shown)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--group", "app"], lambda h: [*h.web, *h.worker, h.rejected]),
        (["--stream", "web"], lambda h: [*h.web]),
        (["--group", "app", "--stream", "late"], lambda h: []),
        (["--state", "unsent"], lambda h: [*h.late]),
        (["--state", "rejected"], lambda h: [h.rejected]),
        (["--state", "sent,rejected"], lambda h: [*h.sent, h.rejected]),
        (["--grep", r"GET /t\w+ \d00"], lambda h: [*h.web[1:]]),
        (["--grep", "😀"], lambda h: [h.late[1]]),
        (["-n", "3"], lambda h: h.all[-3:]),
        (["-n", "0"], lambda h: []),
        (["-n", "1", "--stream", "web"], lambda h: [h.web[-1]]),
        (["--since", "2h", "--stream", "worker"], lambda h: [*h.worker]),
        (["--until", "2h"], lambda h: [h.rejected]),
        (["--since", "now"], lambda h: []),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_each_filter_leaves_what_it_names(
    history: Any, options: list[str], wanted: Callable[[Any], list[str]]
) -> None:
    assert messages(history.db, *options) == wanted(history)


def test_around_an_event_are_those_of_its_stream(history: Any) -> None:
    def ids(*options: str) -> list[int]:
        return [event["id"] for event in events(history.db, *options)]

    web = ids("--stream", "web")
    assert ids("--around", str(web[1])) == web
    assert ids("--around", str(web[1]), "-n", "0") == web[1:2]
    assert ids("--around", str(web[2]), "-n", "1") == web[1:]


def test_around_an_event_that_is_not_there_is_told_in_a_line(history: Any) -> None:
    done = spool("events", "--db", history.db, "--around", "999999")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no event 999999" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_around_goes_with_no_filter(history: Any) -> None:
    done = spool("events", "--db", history.db, "--around", "1", "--stream", "web")
    assert done.returncode == 2
    assert "--around goes with no other choice" in done.stderr


def test_since_includes_its_moment_and_until_does_not(history: Any) -> None:
    since, until = iso(history.begin_ms + 1000), iso(history.begin_ms + 2000)
    shown = messages(history.db, "--stream", "web", "--since", since, "--until", until)
    assert shown == [history.web[1]]


def test_a_batch_names_what_it_carried(history: Any) -> None:
    batch_id = events(history.db, "--stream", "web")[0]["batch_id"]
    assert messages(history.db, "--batch", str(batch_id)) == [*history.web]


def test_json_and_csv_hold_every_column_and_every_character(history: Any) -> None:
    as_json = spool("events", "--db", history.db, "--format", "json")
    as_csv = spool("events", "--db", history.db, "--format", "csv")
    rows = json.loads(as_json.stdout)
    assert [row["message"] for row in rows] == history.all
    assert list(rows[0]) == COLUMNS
    read_back = list(csv.DictReader(io.StringIO(as_csv.stdout, newline="")))
    assert [row["message"] for row in read_back] == history.all
    assert list(read_back[0]) == COLUMNS


@pytest.mark.parametrize("output_format", ["text", "table"])
def test_control_characters_are_spelled_out_for_people(history: Any, output_format: str) -> None:
    shown = spool("events", "--db", history.db, "--format", output_format).stdout
    assert not {char for char in shown if not char.isprintable()} - {"\n"}
    assert r"\x1b[2J\x07hostile" in shown
    assert "grüße 😀 {web}" in shown


HIDDEN = "a\x9b31m\x7f\u202eback\u2066\u2028line\u200f"


@pytest.mark.parametrize("output_format", ["text", "table"])
def test_what_turns_text_around_is_spelled_out_too(db: Path, output_format: str) -> None:
    put = ("put", "--db", db, "--group", "g", "--stream", "s")
    assert spool(*put, stdin=HIDDEN).returncode == 0
    shown = spool("events", "--db", db, "--format", output_format).stdout
    assert not {char for char in shown if not char.isprintable()} - {"\n"}
    assert r"\u202e" in shown


def test_json_lines_have_no_control_characters_and_the_same_message(db: Path) -> None:
    put = ("put", "--db", db, "--group", "g", "--stream", "s")
    assert spool(*put, stdin=f"{HIDDEN} grüße").returncode == 0
    shown = spool("events", "--db", db, "--format", "jsonl").stdout
    assert not {char for char in shown if not char.isprintable()} - {"\n"}
    assert "grüße" in shown
    assert json.loads(shown)["message"] == f"{HIDDEN} grüße"


def test_text_is_one_line_an_event(history: Any) -> None:
    lines = spool("events", "--db", history.db).stdout.splitlines()
    assert len(lines) == len(history.all)
    assert lines[0].endswith("app web sent GET /one 200")


def test_on_a_terminal_it_is_a_table_that_no_message_can_steer(history: Any) -> None:
    shown = on_a_terminal("events", "--db", history.db, columns=200)
    assert "log stream" in shown
    assert r"\x1b[2J" in shown
    assert not [code for code in ("\x1b[2J", "\x07", "\x9b", "\x7f") if code in shown]


def test_on_a_terminal_the_lines_of_a_message_are_below_each_other(db: Path) -> None:
    trace = json.dumps({"message": "ERROR boom\n  at a.b.c(1)\x1b[2J\n\tat d.e.f(2)"})
    put = ("put", "--db", db, "--group", "g", "--stream", "s", "--json")
    assert spool(*put, stdin=trace).returncode == 0
    for output_format in ("table", "text"):
        shown = on_a_terminal("events", "--db", db, "--format", output_format)
        first, second, third = plain(shown).splitlines()[-3:]
        assert first.endswith("ERROR boom")
        assert second.lstrip() == r"at a.b.c(1)\x1b[2J"
        assert third.lstrip() == "at d.e.f(2)"
        assert second.startswith("    ")
    assert len(spool("events", "--db", db).stdout.splitlines()) == 1


def test_a_table_tells_the_group_where_there_are_several_or_there_is_room(history: Any) -> None:
    several = plain(on_a_terminal("events", "--db", history.db))
    assert "log group" in several
    one = ("events", "--db", history.db, "--group", "app", "--grep", "GET")
    assert "log group" not in plain(on_a_terminal(*one, columns=50))
    assert "log group" in plain(on_a_terminal(*one, columns=100))


def test_a_table_tells_why_an_event_was_rejected(history: Any) -> None:
    rejected = plain(on_a_terminal("events", "--db", history.db, "--state", "rejected"))
    assert "too old" in rejected
    assert "reason" not in plain(on_a_terminal("events", "--db", history.db, "--state", "sent"))


def test_csv_is_as_it_was_written_but_on_a_terminal(history: Any) -> None:
    sql = "SELECT log_stream, message FROM events WHERE log_stream = 'late'"
    for command in (("events", "--stream", "late"), ("query", sql)):
        arguments = (*command, "--db", str(history.db), "--format", "csv")
        piped = csv.DictReader(io.StringIO(spool(*arguments).stdout, newline=""))
        assert [row["message"] for row in piped] == [*history.late]
        shown = on_a_terminal(*arguments)
        assert shown.replace("\r\n", "").isprintable()
        assert r"\x1b[2J\x07hostile \x9b31m\x0d\x0asecond line \x7f" in shown


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--grep", "("], "no regular expression"),
        (["--state", "lost"], "no state"),
        (["--state", ","], "no state"),
        (["--group", ""], "empty"),
        (["--stream", ""], "empty"),
        (["--since", "soon"], "no time"),
        (["--until", "0001-01-01T00:00+14:00"], "no time"),
        (["--since", "22:00", "--until", "06:00"], "there is nothing between them"),
        (["--since", "2026-11-22T10:00Z", "--until", "2026-11-22T09:00Z"], "is later than --until"),
        (["--since", "9999-12-31T23:59Z", "--until", "0001-01-01T00:00Z"], "is later than"),
        (["--batch", "99999999999999999999"], "not in the range"),
        (["--batch", "0"], "not in the range"),
        (["-n", "-1"], "not in the range"),
        (["-n", "99999999999999999999"], "not in the range"),
        (["--format", "xml"], "'xml'"),
        (["--follow", "--format", "json"], "needs all of them"),
        (["--follow", "--format", "table"], "needs all of them"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_filter_that_cannot_be_meant_is_wrong_usage(
    history: Any, options: list[str], told: str
) -> None:
    done = spool("events", "--db", history.db, *options)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("output_format", "options"),
    [
        ("text", []),
        ("table", ["--grep", "GET"]),
        ("json", ["--around", "2"]),
        ("jsonl", ["-n", "8"]),
        ("csv", ["--grep", "GET"]),
    ],
)
def test_what_can_be_read_is_shown_where_a_message_is_no_text(
    spool_to_change: Any, output_format: str, options: list[str]
) -> None:
    db = spool_to_change.db
    with closing(sqlite3.connect(db)) as file, file:
        file.execute("UPDATE event SET message = CAST(x'474554ff21' AS TEXT) WHERE id = 2")
    done = spool("events", "--db", db, "--format", output_format, *options)
    for shown in (spool_to_change.web[0], spool_to_change.web[2], "GET"):
        assert shown in done.stdout
    assert "GET\ufffd!" in done.stdout or r"GET\ufffd!" in done.stdout
    assert done.stderr.startswith(f"spool: {db}: damaged (a text in it is not UTF-8); ")
    assert len(done.stderr.splitlines()) == 1
    assert done.returncode == 1


class Following:
    """
    A `spool events --follow` that runs.
    """

    def __init__(self, db: Path, output: Path, *options: str) -> None:
        self._output = output
        with output.open("w") as file:
            self._process = subprocess.Popen(
                [*SPOOL, "events", "--db", str(db), "--follow", *options],
                env=clean_environment(),
                stdout=file,
            )

    def wait_for(self, text: str) -> str:
        """
        All that it printed, once `text` is in it.
        """
        wait_until(lambda: text in self._output.read_text(), what=f"{text!r} is printed")
        return self._output.read_text()

    def interrupt(self) -> int:
        """
        Ctrl-C; the exit code.
        """
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(60)

    def end_code(self) -> int:
        """
        The exit code with which it ends of itself.
        """
        return self._process.wait(10)

    def end(self) -> None:
        """
        Whatever happened.
        """
        self._process.kill()
        self._process.wait()


@pytest.fixture
def follow(tmp_path: Path) -> Iterator[Callable[..., Following]]:
    begun: list[Following] = []

    def start(db: Path, *options: str) -> Following:
        begun.append(Following(db, tmp_path / f"followed-{len(begun)}", *options))
        return begun[-1]

    yield start
    for following in begun:
        following.end()


def test_follow_goes_on_with_what_is_stored_later(
    spool_to_change: Any, follow: Callable[..., Following]
) -> None:
    db = spool_to_change.db
    as_text = follow(db, "-n", "1", "--grep", "grüße|later")
    as_csv = follow(db, "--format", "csv", "--stream", "new")
    as_text.wait_for("grüße")
    as_csv.wait_for("log_stream")
    for number in range(2):
        lines = f"later {number}\n\x1b[2Jno\n"
        spool("put", "--db", db, "--group", "app", "--stream", "new", stdin=lines)
        as_csv.wait_for(f"later {number}")
        printed = as_text.wait_for(f"later {number}")
    assert [line.split(" ", 4)[4] for line in printed.splitlines()] == [
        spool_to_change.late[1],
        "later 0",
        "later 1",
    ]
    assert as_text.interrupt() == 130


def test_follow_until_a_moment_that_is_past_shows_what_there_is_and_ends(
    spool_to_change: Any, follow: Callable[..., Following]
) -> None:
    db = spool_to_change.db
    following = follow(db, "--until", iso(spool_to_change.begin_ms + 1_500), "--stream", "web")
    assert following.end_code() == 0
    assert len(following.wait_for("two").splitlines()) == 2


def test_follow_until_a_moment_to_come_shows_also_what_is_stored_a_little_late(
    spool_to_change: Any, follow: Callable[..., Following]
) -> None:
    db = spool_to_change.db
    until_ms = time.time_ns() // 1_000_000 + 1_000
    following = follow(db, "--until", iso(until_ms), "--stream", "new")
    wait_until(lambda: time.time_ns() // 1_000_000 > until_ms)
    lines = [{"timestamp": until_ms + ms, "message": f"at {ms}"} for ms in (-1, 0)]
    put = ("put", "--db", db, "--group", "app", "--stream", "new", "--json")
    spool(*put, stdin="\n".join(map(json.dumps, lines)))
    assert following.end_code() == 0
    assert len(following.wait_for("at -1").splitlines()) == 1


def test_follow_ends_where_a_message_is_no_text_once_it_is_shown(
    spool_to_change: Any, follow: Callable[..., Following]
) -> None:
    db = spool_to_change.db
    with closing(sqlite3.connect(db)) as file, file:
        file.execute("UPDATE event SET message = CAST(x'474554ff21' AS TEXT) WHERE id = 2")
    following = follow(db, "--stream", "web")
    assert following.end_code() == 1
    assert [line.split(" ", 4)[4] for line in following.wait_for("three").splitlines()] == [
        "GET /one 200",
        "GET\ufffd!",
        "GET /three 200",
    ]


def test_follow_with_none_of_the_old_ones_shows_new_ones_only(
    spool_to_change: Any, follow: Callable[..., Following]
) -> None:
    db = spool_to_change.db
    following = follow(db, "-n", "0", "--format", "csv")
    following.wait_for("log_stream")
    spool("put", "--db", db, "--group", "app", "--stream", "new", stdin="later")
    printed = following.wait_for("later")
    assert len(printed.splitlines()) == 2, "the header and the new one"
