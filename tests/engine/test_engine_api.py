"""
What containers of the real Docker Engine print is read through its API, each line once.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent import wait_until
from collector import Collector
from engine.docker_cli import Container, Engine

from spool.skipped import CONTAINERS_LOST
from spool.store import Store

Run = Callable[..., Container]

DRIVERS = ["local", "json-file"]
TIMEOUT_S = 60.0


@pytest.fixture
def store(db: Path) -> Iterator[Store]:
    with Store(db) as opened:
        yield opened


@pytest.fixture
def collect(store: Store, engine: Engine) -> Callable[[], Collector]:
    """
    Makes collectors of what the tests' own containers print.
    """
    label, _, value = engine.label.partition("=")
    return lambda **options: Collector(
        store, wanted=lambda container: container.labels.get(label) == value, **options
    )


def count(first: int, last: int, *, burst: int = 1_000, pause_us: int = 10_000) -> str:
    """
    A script that prints numbers.
    """
    return (
        f"i={first}; while [ $i -le {last} ]; do echo $i; i=$((i + 1));"
        f" [ $((i % {burst})) = 0 ] && usleep {pause_us}; done;"
    )


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


def driver(name: str, **options: object) -> list[str]:
    """
    Options of `docker run`.
    """
    pairs = [f"--log-opt={key.replace('_', '-')}={value}" for key, value in options.items()]
    return ["--log-driver", name, *pairs]


@pytest.mark.parametrize("name", DRIVERS)
@pytest.mark.parametrize("is_there_first", [True, False])
def test_each_line_is_read_once(
    run: Run, collect: Callable[..., Collector], name: str, is_there_first: bool
) -> None:
    if is_there_first:
        container = run("numbered", count(1, 20_000), *driver(name))
        container.wait()
    with collect() as collector:
        if not is_there_first:
            container = run("numbered", count(1, 20_000), *driver(name))
        assert collector.wait_for(container.name, 20_000) == numbers(1, 20_000)


@pytest.mark.parametrize("name", DRIVERS)
@pytest.mark.parametrize("compress", ["true", "false"])
def test_each_line_is_read_once_through_rotations(
    run: Run, collect: Callable[..., Collector], name: str, compress: str
) -> None:
    """
    About 70 (local) or 13 (json-file) rotations, 200 lines at a time. With json-file the engine's
    own answers name a file twice, and leave one out, when it rotates every few ms meanwhile.
    """
    size = {"local": "20k", "json-file": "100k"}[name]
    files = driver(name, max_size=size, max_file=400, compress=compress)
    with collect() as collector:
        container = run("rotated", count(1, 20_000, burst=200, pause_us=10_000), *files)
        lines = collector.wait_for(container.name, 20_000, timeout_s=TIMEOUT_S)
    assert lines == numbers(1, 20_000)
    assert not collector.skipped


@pytest.mark.parametrize("name", DRIVERS)
def test_what_was_rotated_away_unread_is_counted(
    run: Run, collect: Callable[..., Collector], name: str
) -> None:
    script = f"{count(1, 100)} until [ -e /go ]; do usleep 20000; done; {count(101, 20_000)}"
    container = run("dropped", script, *driver(name, max_size="20k", max_file=5))
    with collect() as first:
        first.wait_for(container.name, 100)
    container.touch("/go")
    container.wait()
    with collect() as second:
        wait_until(lambda: second.lines.get(container.name, [""])[-1] == "20000")
    lines = second.lines[container.name]
    assert lines == numbers(20_001 - len(lines), 20_000)
    assert second.skipped == {"records rotated away unread": 1}


@pytest.mark.parametrize("name", DRIVERS)
@pytest.mark.parametrize("terminal", [[], ["--tty"]], ids=["frames", "terminal"])
def test_long_lines_are_whole(
    run: Run, collect: Callable[..., Collector], name: str, terminal: list[str]
) -> None:
    """
    40 KiB, 300 KiB, and one that is cut exactly where the engine cuts.
    """
    sizes = (16_383, 16_384, 32_768, 40_960, 307_200)
    script = "".join(
        f"echo before {size}; yes x | head -n {size} | tr -d '\\n'; echo;" for size in sizes
    )
    with collect() as collector:
        container = run("long", f"{script} echo after", *driver(name), *terminal)
        lines = collector.wait_for(container.name, 11)
        container.wait()
        time.sleep(0.5)
    expected = [text for size in sizes for text in (f"before {size}", "x" * size)]
    assert [line.rstrip("\r") for line in lines] == [*expected, "after"]


@pytest.mark.parametrize("name", DRIVERS)
def test_bytes_that_are_no_text_are_what_the_engine_makes_of_them(
    run: Run, collect: Callable[..., Collector], name: str
) -> None:
    """
    The driver local keeps the bytes, json-file has U+FFFD for them: the same comes of both.
    """
    script = r"printf 'a\377b\nc\342\202d\ne\000f\n\360\237\230\200 gr\303\274n\n'"
    with collect() as collector:
        container = run("bytes", script, *driver(name))
        lines = collector.wait_for(container.name, 4)
    assert lines == ["a\ufffdb", "c\ufffd\ufffdd", "e\0f", "😀 grün"]


@pytest.mark.parametrize("name", DRIVERS)
def test_a_restart_of_the_source_goes_on_at_the_line(
    run: Run, collect: Callable[..., Collector], name: str
) -> None:
    files = driver(name, max_size="50k", max_file=100)
    container = run("read-in-turns", count(1, 10_000, burst=20, pause_us=4_000), *files)
    lines: list[str] = []
    while len(lines) < 10_000:
        with collect() as collector:
            collector.wait_for(container.name, min(1_500, 10_000 - len(lines)))
        lines += collector.lines[container.name]
    assert lines == numbers(1, 10_000)


@pytest.mark.parametrize("name", DRIVERS)
@pytest.mark.parametrize("terminal", [[], ["--tty"]], ids=["frames", "terminal"])
def test_a_restart_of_the_container_repeats_nothing_and_loses_nothing(
    run: Run, collect: Callable[..., Collector], name: str, terminal: list[str]
) -> None:
    script = (
        "run=$(cat /run-number 2>/dev/null || echo 0); run=$((run + 1)); echo $run > /run-number;"
        "i=0; while [ $i -lt 100 ]; do echo run $run line $i; i=$((i + 1)); done;"
        'printf "end of $run"'
    )
    with collect() as collector:
        container = run("restarted", script, *driver(name), *terminal)
        for runs in (1, 2, 3):
            container.wait()
            collector.wait_for(container.name, runs * 101)
            if runs < 3:
                container.start()
        time.sleep(0.5)
    expected = [
        text
        for number in (1, 2, 3)
        for text in (*(f"run {number} line {line}" for line in range(100)), f"end of {number}")
    ]
    assert [line.rstrip("\r") for line in collector.lines[container.name]] == expected


@pytest.mark.parametrize("name", DRIVERS)
def test_containers_that_remove_themselves_are_read(
    run: Run, collect: Callable[..., Collector], name: str
) -> None:
    """
    They are gone half a second after their start. Where the engine is too slow to answer before
    that, it is counted.
    """
    with collect() as collector:
        time.sleep(0.5)
        script = f"{count(1, 100)} usleep 400000"
        containers = [run("brief", script, "--rm", *driver(name)) for _ in range(10)]
        wait_until(
            lambda: (
                sum(len(collector.lines.get(container.name, [])) == 100 for container in containers)
                + collector.skipped.get(CONTAINERS_LOST, 0)
                >= 10
            )
        )
    assert collector.skipped.get(CONTAINERS_LOST, 0) <= 2
    for container in containers:
        lines = collector.lines.get(container.name, [])
        assert lines == numbers(1, len(lines))


def test_a_container_that_removes_itself_after_much_is_read(
    run: Run, collect: Callable[..., Collector]
) -> None:
    with collect() as collector:
        container = run("much", f"{count(1, 20_000)} usleep 200000", "--rm", *driver("local"))
        assert collector.wait_for(container.name, 20_000) == numbers(1, 20_000)


def test_a_container_without_logs_disturbs_no_others(
    run: Run, collect: Callable[..., Collector], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    silent = run("none", count(1, 100), *driver("none"))
    container = run("beside", count(1, 100), *driver("local"))
    with collect() as collector:
        assert collector.wait_for(container.name, 100) == numbers(1, 100)
        wait_until(lambda: "not collected: its log driver is none" in caplog.text)
    assert silent.name not in collector.lines


@pytest.fixture
def own_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnEngine]:
    """
    A dockerd of this test's own, with a folder of its own.
    """
    if os.geteuid() or not shutil.which("dockerd"):
        pytest.skip("no dockerd to be run by root")
    folder = Path(tempfile.mkdtemp(prefix="spool-"))  # short: it has unix sockets deep inside
    own = OwnEngine(folder)
    monkeypatch.setenv("DOCKER_HOST", own.base_url)
    try:
        if not own.start():
            pytest.skip(f"dockerd does not run here: {own.log.read_text()[-500:]}")
        yield own
    finally:
        own.stop()
        # it leaves its folder mounted on itself
        subprocess.run(["umount", folder / "root"], capture_output=True, check=False)
        shutil.rmtree(folder)


class OwnEngine:
    """
    A dockerd with --live-restore: its containers outlive it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base_url = f"unix://{folder}/docker.sock"
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> bool:
        """
        Whether it answers.
        """
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *("dockerd", "--data-root", self.folder / "root"),
                    *("--exec-root", self.folder / "exec", "--pidfile", self.folder / "pid"),
                    *("--host", self.base_url, "--live-restore", "--storage-driver", "vfs"),
                    *("--bridge", "none", "--iptables=false", "--ip6tables=false"),
                ],
                stdout=log,
                stderr=log,
            )
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s and self.process.poll() is None:
            if subprocess.run(["docker", "version"], capture_output=True, check=False).returncode:
                time.sleep(0.1)
            else:
                return True
        return False

    def stop(self) -> None:
        """
        Its containers go on.
        """
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)


@pytest.mark.parametrize("name", DRIVERS)
def test_a_restart_of_the_engine_in_the_middle_costs_nothing(
    own_engine: OwnEngine, store: Store, name: str
) -> None:
    """
    Nothing that the engine has; it loses, now and then, what it reads while it ends.
    """
    with Engine().with_image() as engine:
        container = engine.run(
            "survivor", count(1, 5_000, burst=10, pause_us=10_000), "--init", *driver(name)
        )
        with Collector(store) as collector:
            collector.wait_for(container.name, 500)
            own_engine.stop()
            time.sleep(1)
            assert own_engine.start()
            lines = collector.lines[container.name]
            wait_until(lambda: lines[-1] == "5000", timeout_s=TIMEOUT_S, what="the last line")
        assert lines == [line for _, line in container.logged()]
        assert len(lines) > 4_900
