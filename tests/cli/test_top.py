"""
spool top: the same as spool status, live.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from agent import SPOOL, clean_environment, spool
from terminal import Terminal, on_a_terminal, plain

from cli.fitting import cells
from cli.frames import Watch
from spool.lock import ShipperLock

FAST = ("--interval", "200ms")

LEFT = "\x1b[?1049l"
CURSOR_SHOWN = "\x1b[?25h"


def frame(
    watch: Watch, at_s: float, now_ms: int, *, width: int = 80, height: int = 24
) -> list[str]:
    """
    The lines of one look; the file's size and path and the time of day are left out.
    """
    moment = watch.look(at_s=at_s, now_ms=now_ms)
    lines = watch.lines(moment, width=width, height=height)
    shown = ["".join(p if isinstance(p, str) else p[0] for p in line).rstrip() for line in lines]
    assert max(map(cells, shown)) <= width
    assert len(shown) <= height
    shown = [re.sub("^file      .*", "file      …", line) for line in shown]
    return [re.sub(r"^now       [\d:]{8}", "now       HH:MM:SS", line) for line in shown]


def put(db: Path, count: int, *, stream: str = "web") -> None:
    lines = "\n".join(["a line"] * count)
    done = spool("put", "--db", db, "--group", "app", "--stream", stream, stdin=lines)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def noon(scene: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """
    This process in the scene's time zone.
    """
    with monkeypatch.context() as changed:
        changed.setenv("TZ", scene.environment["TZ"])
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("noon")
def test_a_whole_screen_with_its_rates_and_charts(scene: Any) -> None:
    error = "PutLogEvents: ServiceUnavailableException: later"
    watch = Watch(scene.db, interval_s=1, window_s=10)
    scene.stream("web", sent=1000, unsent=600, minutes=2)
    with ShipperLock(scene.db):
        assert "in        -" in frame(watch, 100, scene.now_ms), "one look tells no rate"
        scene.stream("worker", unsent=3000, minutes=14, error=error)
        shown = frame(watch, 110, scene.now_ms)
    assert shown == [
        f"app worker is not delivered since {scene.clock(14)}, tried 5 min ago: PutLogEvents:",
        "  ServiceUnavailableException: later",
        "",
        "in        300/s",
        "out       0/s",
        "unsent    3,600                                            ▂ █  at most 3,600",
        "lag       14 min                                           ▂ █  at most 14 min",
        f"agent     runs, pid {os.getpid()}",
        "file      …",
        "now       HH:MM:SS, every 1 s; q ends; the charts show 3 min",
        "",
        "    unsent     lag        in       out  group  stream",
        "!    3,000  14 min     300/s       0/s  app    worker",
        "       600   2 min       0/s       0/s  app    web",
    ]


def test_streams_where_all_is_well_are_in_the_order_of_what_comes_in(scene: Any) -> None:
    watch = Watch(scene.db, interval_s=1, window_s=10)
    for name in ("busy", "calm", "stuck"):
        scene.stream(name, sent=1)
    frame(watch, 100, scene.now_ms)
    scene.stream("calm", sent=5)
    scene.stream("busy", unsent=50, minutes=0)
    scene.stream("stuck", unsent=1, minutes=2)
    shown = frame(watch, 101, scene.now_ms)
    assert [line.split()[-1] for line in shown[-3:]] == ["stuck", "busy", "calm"]


def test_a_hundred_streams_are_one_screen(scene: Any) -> None:
    watch = Watch(scene.db, interval_s=1, window_s=10)
    for number in range(100):
        scene.stream(f"web-{number:02}", sent=1)
    for height in (24, 15):
        shown = frame(watch, 100 + height, scene.now_ms, height=height)
        assert len(shown) == height
        assert re.fullmatch(r"… and \d+ streams more, all sent", shown[-1])


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 12), (20, 5), (5, 2)])
def test_a_screen_of_any_size_holds_it(scene: Any, width: int, height: int) -> None:
    watch = Watch(scene.db, interval_s=1, window_s=10)
    scene.stream("漢\x1b[2J" * 80, group="g" * 512, unsent=5, error="Put: E: \x1b[2J" + "漢" * 99)
    shown = frame(watch, 100, scene.now_ms, width=width, height=height)
    assert "".join(shown).isprintable()


def test_filters_choose_streams_and_all_figures_are_of_them(scene: Any) -> None:
    scene.stream("web", unsent=5)
    scene.stream("worker", unsent=7)
    looks = ("top", "--db", scene.db, "-n", "1", "--format", "jsonl")
    for options, unsent in (
        (["--stream", "web"], 5),
        (["--group", "app"], 12),
        (["--group", "app", "--stream", "worker"], 7),
    ):
        done = spool(*looks, *options)
        assert json.loads(done.stdout)["unsent"] == unsent
    nobody = spool(*looks, "--stream", "wbe")
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert nobody.stderr == f"spool: {scene.db}: no stream of that name is here\n"


def test_piped_it_is_one_line_for_each_look(scene: Any) -> None:
    scene.stream("web", sent=3, unsent=4, minutes=14)
    done = spool("top", "--db", scene.db, *FAST, "-n", "3")
    first, second, third = done.stdout.splitlines()
    size = scene.db.stat().st_size
    shape = (
        r"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ  in {rate}/s  out {rate}/s  unsent 4  lag 8\d\d\.\d s"
        rf"  agent -  bytes {size}  trouble no agent runs: nothing is being collected"
    )
    assert re.fullmatch(shape.format(rate="-"), first)
    assert re.fullmatch(shape.format(rate=r"0\.0"), second)
    assert re.fullmatch(shape.format(rate=r"0\.0"), third)
    assert done.returncode == 0


@pytest.mark.parametrize("output_format", ["text", "table", "json", "jsonl", "csv"])
def test_each_format_has_a_row_for_each_look(scene: Any, output_format: str) -> None:
    scene.stream("web", unsent=12_345)
    done = spool("top", "--db", scene.db, *FAST, "-n", "2", "--format", output_format)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("12345") == 2
    if output_format == "csv":
        first, second = csv.DictReader(io.StringIO(done.stdout))
        assert (first["in_per_s"], second["in_per_s"]) == ("", "0.0")


@contextmanager
def piped(db: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*SPOOL, "top", "--db", str(db), *FAST, "--format", "jsonl", *options],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def next_row(process: subprocess.Popen[str], **wanted: object) -> dict[str, Any]:
    """
    The next look that tells this.
    """
    assert process.stdout
    for line in process.stdout:
        row: dict[str, Any] = json.loads(line)
        if row.items() >= wanted.items():
            return row
    raise AssertionError(f"never {wanted}")


def test_lines_come_as_they_are_made_and_tell_what_came_in_between(db: Path) -> None:
    put(db, 1)
    with piped(db) as process:
        assert next_row(process)["in_per_s"] is None
        put(db, 20)
        assert next_row(process, unsent=21)["in_per_s"] > 0
        assert next_row(process)["in_per_s"] == 0


def test_ctrl_c_is_how_it_ends_also_where_it_is_piped(db: Path) -> None:
    put(db, 1)
    with piped(db) as process:
        next_row(process)
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate()
    assert (process.returncode, complaint) == (0, "")


def test_a_spool_that_goes_and_comes_again_is_told_once_and_begun_anew(db: Path) -> None:
    put(db, 500)
    with piped(db) as process:
        next_row(process, unsent=500)
        for path in db.parent.glob(f"{db.name}*"):
            path.unlink(missing_ok=True)  # who looks may take some of them away
        put(db, 700, stream="other")
        assert next_row(process, unsent=700)["in_per_s"] is None
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate()
    assert len(complaint.splitlines()) <= 1


def test_what_is_said_between_two_looks_steers_no_terminal(tmp_path: Path) -> None:
    db = tmp_path / "\x1b[31m\x9b2J" / "spool.db"
    put(db, 5)
    with piped(db) as process:
        next_row(process, unsent=5)
        for path in db.parent.glob(f"{db.name}*"):
            path.unlink(missing_ok=True)  # who looks may take some of them away
        assert process.stderr
        said = process.stderr.readline()
    # it may go within a look, too: then other words follow
    assert said.startswith(rf"spool top: {tmp_path}/\x1b[31m\x9b2J/spool.db: ")
    assert said.rstrip("\n").isprintable()


def test_where_no_spool_is_a_pipe_gets_one_line_and_no_rows(tmp_path: Path) -> None:
    done = spool("top", "--db", tmp_path / "none.db")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"spool: {tmp_path}/none.db: no spool here")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--interval", "0"], "--interval is 100 ms at least"),
        (["--interval", "often"], "no duration"),
        (["-n", "0"], "not in the range"),
        (["--stream", ""], "empty"),
        (["--format", "json"], "without -n it never ends"),
        (["--format", "table"], "without -n it never ends"),
    ],
    ids=" ".join,
)
def test_an_option_that_cannot_be_meant_is_wrong_usage(
    scene: Any, options: list[str], told: str
) -> None:
    done = spool("top", "--db", scene.db, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


@pytest.mark.parametrize("how", [b"q", b"Q", signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=str)
def test_the_terminal_is_as_before_however_it_ends(scene: Any, how: Any) -> None:
    scene.stream("web", unsent=5)
    with Terminal("top", "--db", scene.db, *FAST) as terminal:
        terminal.wait_for("web")
        assert terminal.settings_now() != terminal.settings
        if isinstance(how, bytes):
            terminal.press(how)
        else:
            terminal.process.send_signal(how)
        assert terminal.wait() == 0
    assert terminal.settings_after == terminal.settings
    *_, end = terminal.shown.rpartition("\x1b[?1049h")
    assert LEFT in end
    assert end.rfind(CURSOR_SHOWN) > end.rfind("\x1b[?25l")
    assert plain(end.rpartition(LEFT)[2]).strip() == "", "nothing is left on the screen"


def test_other_keys_do_nothing(scene: Any) -> None:
    scene.stream("web", unsent=5)
    with Terminal("top", "--db", scene.db, *FAST) as terminal:
        terminal.wait_for("web")
        terminal.press(b"x\x1b[A \r\x1a\x04")
        put(scene.db, 95)
        terminal.wait_for("unsent    100 ")
        terminal.press(b"q")
        assert terminal.wait() == 0
    assert "^[" not in terminal.shown, "keys are not echoed"


def test_it_follows_the_size_of_the_terminal(scene: Any) -> None:
    scene.stream("web", unsent=5)
    with Terminal("top", "--db", scene.db, "--interval", "1h", columns=80) as terminal:
        terminal.wait_for_text("every 3600 s; q ends; the charts show")
        terminal.resize(columns=35, lines=10)
        terminal.wait_for_text("every 3600 s; …")
        terminal.press(b"q")
        assert terminal.wait() == 0


def test_on_a_terminal_it_waits_for_a_spool_that_comes(db: Path) -> None:
    with Terminal("top", "--db", db, *FAST) as terminal:
        terminal.wait_for("no spool here")
        put(db, 5)
        terminal.wait_for("unsent    5 ")
        for path in db.parent.glob(f"{db.name}*"):
            path.unlink(missing_ok=True)  # who looks may take some of them away
        terminal.wait_for("no spool here")
        terminal.press(b"q")
        assert terminal.wait() == 0


def test_after_so_many_looks_the_last_one_stays(scene: Any) -> None:
    scene.stream("web", unsent=5)
    shown = on_a_terminal("top", "--db", scene.db, *FAST, "-n", "2")
    left = plain(shown.rpartition(LEFT)[2])
    assert "no agent runs" in left
    assert "app    web" in left


def test_a_terminal_that_can_only_print_gets_lines(scene: Any) -> None:
    scene.stream("web", unsent=5)
    shown = on_a_terminal("top", "--db", scene.db, "-n", "1", environment={"TERM": "dumb"})
    assert "\x1b" not in shown
    assert "unsent 5" in shown
