"""
spool status: what is here, what was sent, and what is wrong, for people and for scripts.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from agent import Agent, LogWriter, spool, status, wait_until
from cloudwatch_endpoint import Endpoint, error
from terminal import on_a_terminal, plain

from cli.fitting import cells
from spool.lock import ShipperLock
from spool.skipped import FILES_LOST
from spool.store import Store

COUNTS = ("unsent", "sent", "rejected")


def test_json_counts_in_all_and_by_stream(history: Any) -> None:
    whole = status(history.db)
    assert {name: whole[name] for name in COUNTS} == {"unsent": 2, "sent": 5, "rejected": 1}
    streams = {(row["group"], row["stream"]): row for row in whole["streams"]}
    assert {key: tuple(row[name] for name in COUNTS) for key, row in streams.items()} == {
        ("app", "web"): (0, 3, 0),
        ("app", "worker"): (0, 2, 1),
        ("other", "late"): (2, 0, 0),
    }
    assert whole["collected"] == len(history.all)
    assert whole["bytes"] >= history.db.stat().st_size
    assert whole["agent"] is None
    assert list(whole["streams"][0].values())[:2] == ["other", "late"], "the most waiting first"


def test_json_times_are_iso_8601_in_utc(history: Any) -> None:
    whole = status(history.db)
    oldest = datetime.fromisoformat(whole["oldest_unsent"])
    assert oldest == datetime.fromtimestamp((history.begin_ms + 1000) / 1000, UTC)
    streams = {row["stream"]: row for row in whole["streams"]}
    assert streams["late"]["oldest_unsent"] == whole["oldest_unsent"]
    assert streams["web"]["oldest_unsent"] is None
    assert streams["late"]["last_delivery"] is None
    delivered = datetime.fromisoformat(streams["web"]["last_delivery"])
    assert timedelta(0) < datetime.now(UTC) - delivered < timedelta(minutes=10)


def test_format_json_is_the_same_object(history: Any) -> None:
    done = spool("status", "--db", history.db, "--format", "json")
    assert json.loads(done.stdout) == status(history.db)


def test_the_rows_of_the_other_formats_are_streams_the_worst_first(history: Any) -> None:
    shown = {
        name: spool("status", "--db", history.db, "--format", name) for name in ("jsonl", "csv")
    }
    rows = [json.loads(line) for line in shown["jsonl"].stdout.splitlines()]
    assert [row["stream"] for row in rows] == ["late", "web", "worker"]
    assert {row["stream"]: row for row in status(history.db)["streams"]} == {
        row["stream"]: row for row in rows
    }
    table = list(csv.DictReader(io.StringIO(shown["csv"].stdout)))
    assert [row["oldest_unsent"] for row in table] == [row["oldest_unsent"] or "" for row in rows]


def test_text_says_the_same_in_a_few_lines_with_nothing_cut(history: Any) -> None:
    done = spool("status", "--db", history.db)
    oldest = status(history.db)["oldest_unsent"]
    lines = re.sub(r"for \d+ min", "for an hour", done.stdout).splitlines()
    assert lines[:6] == [
        "no agent runs: nothing is being collected",
        "",
        "agent     none runs",
        "waiting   2 events of 1 stream wait, the oldest for an hour",
        "sent      5 events still here",
        "rejected  1 event; `spool events --state rejected` shows which, and why",
    ]
    assert lines[6].startswith("file      ")
    assert lines[6].endswith(f", {history.db}")
    assert lines[7] == (
        f"other late  unsent 2  sent 0  rejected 0  oldest unsent {oldest}"
        "  last delivery -  last error -"
    )
    assert len(lines) == 10


def test_max_lag_is_a_health_check(history: Any) -> None:
    for limit, code in (("2h", 0), ("30m", 1), ("90s", 1), ("1d", 0)):
        done = spool("status", "--db", history.db, "--max-lag", limit)
        assert done.returncode == code, (limit, done.stderr)
        assert ("the oldest unsent event is" in done.stderr) == (code == 1)


def test_nothing_unsent_is_no_lag(db: Path, containers: Path, endpoint: Endpoint) -> None:
    LogWriter(containers, "c" * 64, "web").write("one")
    run = ("run", "cloudwatch://us-east-1?NOEC2", "--once", "--db", db)
    done = spool(*run, "--containers-dir", containers, environment=endpoint.environment())
    assert done.returncode == 0, done.stderr
    assert spool("status", "--db", db, "--max-lag", "1ms").returncode == 0
    assert status(db)["oldest_unsent"] is None


def test_a_running_agent_is_named_by_its_pid_and_gone_when_it_has_ended(
    db: Path, containers: Path, endpoint: Endpoint
) -> None:
    with Agent(db, containers, endpoint.environment()) as agent:
        agent.wait_started()
        assert agent.status()["agent"] == agent.process.pid
        assert f"runs, pid {agent.process.pid}" in spool("status", "--db", db).stdout
        agent.kill()
        assert agent.status()["agent"] is None


def test_what_is_wrong_is_said_in_plain_words_until_it_is_mended(
    db: Path, containers: Path, endpoint: Endpoint
) -> None:
    endpoint.refuse()
    LogWriter(containers, "c" * 64, "web").write("kept")
    with Agent(db, containers, endpoint.environment()) as agent:
        agent.wait_started()
        wait_until(lambda: last_error(db), what="the error is on record")
        assert "Could not connect to the endpoint URL" in last_error(db)
        assert last_error(db) in spool("status", "--db", db).stdout
        assert status(db)["unsent"] == 1
        endpoint.accept()
        wait_until(lambda: status(db)["sent"] == 1)
        assert not last_error(db)
        assert agent.stop() == 0


def last_error(db: Path) -> str:
    return "".join(row["last_error"] or "" for row in status(db)["streams"])


def test_nothing_that_a_service_says_can_steer_the_terminal(
    db: Path, containers: Path, endpoint: Endpoint
) -> None:
    endpoint.fail_always(error("AccessDeniedException", message="no \x1b[31m \x07 \x9b2J"))
    LogWriter(containers, "c" * 64, "we\x9bb").write("kept")
    with Agent(db, containers, endpoint.environment()) as agent:
        agent.wait_started()
        wait_until(lambda: last_error(db), what="the error is on record")
        shown = spool("status", "--db", db).stdout + agent.log.read_text()
    assert "AccessDeniedException" in shown
    assert not {char for char in shown if not char.isprintable()} - {"\n"}


def test_lines_that_did_not_become_events_are_counted_by_reason(
    db: Path, containers: Path, endpoint: Endpoint
) -> None:
    container = LogWriter(containers, "c" * 64, "web")
    container.write("one", "", "", "two")
    with container.path.open("a") as file:
        file.write("this is damaged\n")
    run = ("run", "cloudwatch://us-east-1?NOEC2", "--once", "--db", db)
    done = spool(*run, "--containers-dir", containers, environment=endpoint.environment())
    assert done.returncode == 0, done.stderr
    assert status(db)["skipped"] == {"blank lines": 2, "damaged records": 1}
    assert status(db)["collected"] == 2
    assert "left out  2 blank lines, 1 damaged record" in spool("status", "--db", db).stdout


def test_lines_that_may_have_been_lost_unread_are_told_apart_from_those_that_are_no_loss(
    db: Path,
) -> None:
    with Store(db) as store:
        store.append([], skipped={"blank lines": 2, FILES_LOST: 3})
    told = spool("status", "--db", db).stdout
    assert "lost      perhaps lines: 3 files rotated away or truncated unread\n" in told
    assert "left out  2 blank lines\n" in told
    checked = spool("check", "--db", db)
    assert checked.returncode == 0
    assert "lines may have been lost: 3 files rotated away" in checked.stdout


DENIED = (
    "PutLogEvents: AccessDeniedException: User: arn:aws:iam::123456789012:user/spool is not"
    " authorized to perform: logs:PutLogEvents on resource:"
    " arn:aws:logs:eu-central-1:123456789012:log-group:app:log-stream:web"
)
UNREACHABLE = (
    "PutLogEvents: EndpointConnectionError: Could not connect to the endpoint URL:"
    ' "https://logs.eu-central-1.amazonaws.com/"'
)


def screen(shown: str) -> list[str]:
    """
    Lines without codes; the file's size and path, which differ each time, are left out.
    """
    return re.sub(r"(?m)^file      .*", "file      …", plain(shown)).splitlines()


def test_a_screen_of_an_empty_spool(scene: Any) -> None:
    with ShipperLock(scene.db):
        shown = on_a_terminal("status", "--db", scene.db)
    assert screen(shown) == [
        "nothing was collected yet",
        "",
        f"agent     runs, pid {os.getpid()}",
        "waiting   nothing waits",
        "sent      0 events still here",
        "file      …",
    ]


def test_a_screen_where_all_was_sent(scene: Any) -> None:
    scene.stream("web", sent=1200)
    scene.stream("worker", group="/ecs/batch", sent=3)
    with ShipperLock(scene.db):
        shown = on_a_terminal("status", "--db", scene.db)
    assert screen(shown) == [
        "all sent",
        "",
        f"agent     runs, pid {os.getpid()}",
        "waiting   nothing waits",
        "sent      1,203 events still here",
        "file      …",
        "",
        "  unsent  oldest   last sent   sent  group       stream",
        "       0       -  30 min ago      3  /ecs/batch  worker",
        "       0       -  30 min ago  1,200  app         web",
    ]


def test_a_screen_of_an_outage_tells_it_once_and_since_when(scene: Any) -> None:
    for number in range(3):
        scene.stream(f"web-{number}", sent=10, unsent=2000 + number, minutes=14, error=UNREACHABLE)
    scene.stream("late", unsent=7, minutes=3)
    with ShipperLock(scene.db):
        shown = on_a_terminal("status", "--db", scene.db, environment=scene.environment)
    assert screen(shown) == [
        f"app web-0 and 2 streams more are not delivered since {scene.clock(14)}, tried 5 min ago:",
        "  PutLogEvents: EndpointConnectionError: Could not connect to the endpoint URL:",
        '  "https://logs.eu-central-1.amazonaws.com/"',
        "",
        f"agent     runs, pid {os.getpid()}",
        "waiting   6,010 events of 4 streams wait, the oldest for 14 min",
        "sent      30 events still here",
        "file      …",
        "",
        "  unsent  oldest   last sent  sent  group  stream",
        "!  2,000  14 min  30 min ago    10  app    web-0",
        "!  2,001  14 min  30 min ago    10  app    web-1",
        "!  2,002  14 min  30 min ago    10  app    web-2",
        "       7   3 min           -     0  app    late",
    ]


def test_a_screen_of_a_denied_stream_and_no_agent_says_both(scene: Any) -> None:
    scene.stream("web", unsent=5, minutes=14, error=DENIED)
    scene.stream("worker", sent=8)
    assert screen(on_a_terminal("status", "--db", scene.db, environment=scene.environment)) == [
        "no agent runs: nothing is being collected",
        f"app web is not delivered since {scene.clock(14)}, tried 5 min ago: PutLogEvents:",
        "  AccessDeniedException: User: arn:aws:iam::123456789012:user/spool is not",
        "  authorized to perform: logs:PutLogEvents on resource:",
        "  arn:aws:logs:eu-central-1:123456789012:log-group:app:log-stream:web",
        "",
        "agent     none runs",
        "waiting   5 events of 1 stream wait, the oldest for 14 min",
        "sent      8 events still here",
        "file      …",
        "",
        "  unsent  oldest   last sent  sent  group  stream",
        "!      5  14 min           -     0  app    web",
        "       0       -  30 min ago     8  app    worker",
    ]
    assert status(scene.db)["troubles"] == [
        {"text": "no agent runs: nothing is being collected", "since": None},
        {"text": f"app web is not delivered: {DENIED}", "since": oldest_unsent(scene.db)},
    ]


def oldest_unsent(db: Path) -> str:
    """
    Where a batch was made at once of what came, this is also when it failed first.
    """
    answer: str = status(db)["oldest_unsent"]
    return answer


def test_a_screen_tells_what_was_rejected_and_what_has_waited_for_days(scene: Any) -> None:
    scene.stream("web", sent=4, rejected=2)
    with ShipperLock(scene.db):
        head, *_ = screen(on_a_terminal("status", "--db", scene.db))
        scene.stream("late", unsent=1, minutes=3 * 24 * 60)
        shown = screen(on_a_terminal("status", "--db", scene.db))
    assert head == "all sent but 2 events that CloudWatch rejected"
    assert shown == [
        "1 event of 1 stream waits, the oldest for 3 days",
        "",
        f"agent     runs, pid {os.getpid()}",
        "waiting   1 event of 1 stream waits, the oldest for 3 days",
        "sent      4 events still here",
        "rejected  2 events; `spool events --state rejected` shows which, and why",
        "file      …",
        "",
        "  unsent  oldest   last sent  sent  rejected  group  stream",
        "       1  3 days           -     0         0  app    late",
        "       0       -  30 min ago     4         2  app    web",
    ]


def test_many_streams_are_one_screen_unless_all_are_wanted(scene: Any) -> None:
    with Store(scene.db) as store:
        for number in range(297):
            store.stream_id("app", f"quiet-{number:03}")
    scene.stream("web", unsent=5, minutes=14)
    scene.stream("worker", unsent=1, minutes=3)
    scene.stream("denied", unsent=2, minutes=1, error=DENIED)
    with ShipperLock(scene.db):
        shown = screen(on_a_terminal("status", "--db", scene.db))
        small = screen(on_a_terminal("status", "--db", scene.db, lines=15))
        whole = screen(on_a_terminal("status", "--db", scene.db, "--all"))
        piped = spool("status", "--db", scene.db).stdout.splitlines()
    assert len(shown) == 23, "the prompt needs the last line"
    first = next(index for index, line in enumerate(shown) if line.endswith("stream")) + 1
    assert [line.split()[-1] for line in shown[first : first + 4]] == [
        "denied",
        "web",
        "worker",
        "quiet-000",
    ]
    assert shown[-1] == "… and 289 streams more, all sent"
    assert len(small) == 14
    assert small[-1] == "… and 298 streams more: 1 event of 1 stream waits, the oldest for 3 min"
    assert [sum("quiet-" in line for line in lines) for lines in (whole, piped)] == [297, 297]


def test_long_names_lose_their_middle_on_a_terminal_and_nowhere_else(scene: Any) -> None:
    group = "/ecs/production/" + "payments-" * 20 + "end"
    scene.stream("0123456789" * 20, group=group, unsent=3)
    shown = screen(on_a_terminal("status", "--db", scene.db))
    assert shown[-1].endswith("  -     0  /ecs/produ…yments-end  01234567890…0123456789")
    assert max(map(len, shown)) <= 80
    for output_format in ("text", "table", "csv", "jsonl"):
        done = spool("status", "--db", scene.db, "--format", output_format)
        assert group in done.stdout
        assert "0123456789" * 20 in done.stdout


HOSTILE = {
    "controls": "\x1b[2J\x1b]0;title\x07\r\n\t\x9b31m",
    "turned": "\u202egnorw\u2066\u200f",
    "joined": "\u200b\u200d\ufeff\u2028\ufe0f",
    "wide": "漢" * 256,
    "stacked": "a" + "\u0301" * 500,
    "long": "x" * 512,
}


@pytest.mark.parametrize("columns", [80, 40, 20])
def test_no_name_moves_a_figure_or_steers_the_terminal(scene: Any, columns: int) -> None:
    for number, name in enumerate(HOSTILE.values()):
        error = DENIED + name if number == 0 else ""
        scene.stream(name, group=name, unsent=1234, minutes=14 + number, error=error)
    raw = on_a_terminal("status", "--db", scene.db, columns=columns, lines=50)
    shown = screen(raw)
    assert not {char for char in "".join(shown) if not char.isprintable()}
    first = next(index for index, line in enumerate(shown) if line.startswith("  unsent"))
    rows = shown[first + 1 :]
    assert len(rows) == len(HOSTILE)
    assert all(re.match(r"[! ]  1,234  ", row) for row in rows)
    assert max(cells(line) for line in shown) <= columns
    assert "\\x1b[2J" in spool("status", "--db", scene.db).stdout


def test_colours_are_for_a_terminal_and_not_with_no_color(scene: Any) -> None:
    scene.stream("web", unsent=5, minutes=14, error=DENIED)
    colour = re.compile(r"\x1b\[[0-9;]*3[0-7]m")
    status_of = ("status", "--db", scene.db)
    assert colour.search(on_a_terminal(*status_of))
    without = on_a_terminal(*status_of, environment={"NO_COLOR": "1"})
    assert not colour.search(without)
    assert screen(without) == screen(on_a_terminal(*status_of))
    assert "\x1b" not in spool(*status_of).stdout
    assert "\x1b" not in spool(*status_of, "--format", "table").stdout


def test_a_terminal_without_unicode_gets_codes_and_no_trace(scene: Any) -> None:
    scene.stream("漢" * 100, unsent=5)
    environment = {"PYTHONIOENCODING": "iso-8859-1"}
    for shown in (
        on_a_terminal("status", "--db", scene.db, environment=environment),
        spool("status", "--db", scene.db, environment=environment).stdout,
    ):
        assert shown.isascii()
        assert "\\u6f22\\u6f22" in shown
