"""
What measures is right, on small amounts; the figures themselves are no matter here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import ROOT, catch_up, drain, live, steady
from benchmarks.fluent_bit import FluentBit
from benchmarks.lines import VARIETY, message, write_container
from benchmarks.processes import Failed, Measured
from benchmarks.shippers import Spool

STAND_IN = Path(__file__).with_name("stand_in.py")
LINES = 2_000
RATE = 2_000
MEBIBYTE = 2**20


@pytest.fixture
def stand_in(tmp_path: Path) -> FluentBit:
    """
    As FLUENT_BIT would name it.
    """
    program = tmp_path / "executable"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STAND_IN}" "$@"\n')
    program.chmod(0o755)
    return FluentBit(program)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Short, and on a machine that has other things to do.
    """
    monkeypatch.setattr(steady, "WARM_UP_S", 1.5)
    monkeypatch.setattr(steady, "LEAST_SHARE", 0.01)
    monkeypatch.setattr(catch_up, "BEFORE_S", 1.0)
    monkeypatch.setattr(live, "MOST_BEHIND_S", 60.0)


def home(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return folder


def test_a_drain_counts_all_lines_of_all_containers_for_spool_and_for_another(
    tmp_path: Path, stand_in: FluentBit
) -> None:
    drain.prepare(2, LINES // 2, tmp_path)
    assert "Fluent Bit" in stand_in.version()
    for shipper in (Spool(), stand_in):
        found = drain.drain(LINES, shipper, tmp_path, home(tmp_path, shipper.name))
        assert found["requests"] >= 2, "one for each container, and those that were refused"
        assert found["cpu_s"] > 0
        assert found["wall_s"] > 0
        assert found["cpu_us_a_line"] == pytest.approx(found["cpu_s"] / LINES * 1e6)
        assert 10 < found["peak_mib"] < 200
        assert found["wire_mb"] > 0


def test_lines_that_do_not_arrive_are_no_figure(tmp_path: Path) -> None:
    drain.prepare(1, LINES, tmp_path)
    with pytest.raises(Failed, match=r"2,000 of 2,001 lines"):
        drain.drain(LINES + 1, Spool(), tmp_path, home(tmp_path, "home"))


def test_a_shipper_that_does_not_start_is_not_waited_for(tmp_path: Path) -> None:
    program = tmp_path / "executable"
    program.write_text("#!/bin/sh\necho no such option; exit 1\n")
    program.chmod(0o755)
    drain.prepare(1, LINES, tmp_path)
    with pytest.raises(Failed, match="ended with 1: no such option"):
        drain.drain(LINES, FluentBit(program), tmp_path, home(tmp_path, "home"))


def test_a_live_container_is_measured_beside_another_shipper(
    tmp_path: Path, stand_in: FluentBit, patient: None
) -> None:
    found = steady.measure(RATE, 1.5, stand_in, tmp_path, home(tmp_path, "steady"))
    assert 0 <= found["p50_ms"] <= found["p99_ms"]
    assert found["cpu_us_a_line"] > 0
    assert found["twice"] == 0


def test_an_outage_is_caught_up_when_what_was_written_in_it_is_stored(
    tmp_path: Path, patient: None
) -> None:
    found = catch_up.measure(RATE, 2.0, Spool(), tmp_path, home(tmp_path, "catch-up"))
    assert found["caught_up_s"] > 0
    assert found["twice"] >= 0, "none is missing"


def test_the_memory_of_who_measures_is_not_that_of_who_is_measured(tmp_path: Path) -> None:
    command = [sys.executable, "-S", "-c", "sum(range(10**6))"]
    ballast = bytearray(os.urandom(MEBIBYTE) * 200)
    with Measured(command, os.environ, tmp_path / "log") as process:
        usage = process.wait()
    assert len(ballast) > 100 * MEBIBYTE
    assert usage.peak_mib < 50
    assert usage.cpu_s > 0


def test_a_process_that_fails_says_why_and_one_that_is_left_does_not_live_on(
    tmp_path: Path,
) -> None:
    command = ["/bin/sh", "-c", "echo no disk >&2; exit 3"]
    with (
        Measured(command, {}, tmp_path / "log") as process,
        pytest.raises(Failed, match="ended with 3: no disk"),
    ):
        process.wait()
    with Measured(["/bin/sleep", "60"], {}, tmp_path / "log") as process:
        pid = process.pid
    deadline_s = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_a_process_that_is_told_to_end_is_accounted_for(tmp_path: Path) -> None:
    with Measured(["/bin/sleep", "60"], {}, tmp_path / "log") as process:
        assert process.stop().peak_mib > 0


def test_lines_are_the_same_each_time_and_none_is_there_twice(tmp_path: Path) -> None:
    path = write_container(tmp_path, 1, 100)
    logs = [json.loads(line)["log"] for line in path.read_text().splitlines()]
    assert logs == [message(number) + "\n" for number in range(100)]
    assert len({message(number) for number in range(2 * VARIETY)}) == 2 * VARIETY


def test_the_writer_keeps_its_rate_and_tells_how_much_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "x-json.log"
    command = [sys.executable, "-m", "benchmarks.writer", str(path), "--rate", "20000"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        begun_s = json.loads(writer.stdout.readline())["begun_s"]
        time.sleep(1.0)
        writer.send_signal(signal.SIGTERM)
        told = json.loads(writer.stdout.readline())
        lasted_s = time.time() - begun_s
    lines = path.read_bytes().splitlines()
    assert len(lines) == told["lines"]
    assert told["lines"] <= 20_000 * (lasted_s + 0.01)
    assert json.loads(lines[-1])["stream"] == "stdout"


def test_the_command_refuses_a_scenario_that_is_not_there() -> None:
    command = [sys.executable, "-m", "benchmarks", "nothing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no scenario nothing" in done.stderr
