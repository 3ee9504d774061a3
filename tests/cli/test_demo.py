"""
spool demo, as a stranger runs it; and the parts of it that must not lie.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from agent import SPOOL, clean_environment, wait_until

from cli.demo_parts import cloudwatch, engine
from cli.demo_parts.counting import Tally, tally
from cli.demo_parts.lines import SCRIPTS, TOTAL
from cli.demo_parts.relay import Relay
from cli.demo_parts.story import Numbers, Story
from cli.errors import WrongUsage
from cli.screen import screen

pytestmark = pytest.mark.timeout(300)  # the first test waits for two whole demos

HOSTILE = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": "http://127.0.0.1:9",
    "AWS_PROFILE": "production",
    "DELAY": "1000",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "LOGSPOUT_GROUP": "production",
    "NO_PROXY": "",
    "http_proxy": "http://127.0.0.1:9",
    "no_proxy": "",
}
"""What would lead the agent astray, if the demo passed it on."""


class Demo:
    """
    A running `spool demo --files`, its output read as it comes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.out = folder / "out"
        self.err = folder / "err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [*SPOOL, "demo", "--files"],
                env=clean_environment({**HOSTILE, "TMPDIR": str(folder)}),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    @property
    def text(self) -> str:
        return self.out.read_text()

    def wait_for(self, words: str) -> None:
        wait_until(
            lambda: words in self.text or self.process.poll() is not None, timeout_s=60, what=words
        )
        assert words in self.text, self.err.read_text()

    def kept(self) -> list[Path]:
        return list(self.folder.glob("spool-demo-*"))

    def rows(self) -> dict[str, list[int]]:
        """
        The table: written, delivered, lost and twice by stream.
        """
        found = re.findall(r"^(\S+)((?: +\d+){4})$", self.text, re.MULTILINE)
        return {name: [int(cell) for cell in cells.split()] for name, cells in found}

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)


@dataclass
class Demos:
    good: Demo
    sabotaged: Demo


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demos]:
    """
    Two whole demos side by side; from one of them a line is really taken away.
    """
    folder = tmp_path_factory.mktemp("demos")
    both = Demos(Demo(folder / "good"), Demo(folder / "sabotaged"))
    try:
        both.sabotaged.wait_for("Lines flow")
        damage_last_line(both.sabotaged)
        both.sabotaged.process.wait(200)
        both.good.process.wait(200)
        yield both
    finally:
        both.good.close()
        both.sabotaged.close()


def damage_last_line(demo: Demo) -> None:
    """
    Overwrite the newest line of a container while the agent is held: nobody has read it.
    """
    agent = int(re.findall(r"spool run, pid (\d+)", demo.text)[0])
    path = next(
        config.parent / f"{config.parent.name}-json.log"
        for config in demo.folder.glob("spool-demo-*/containers/*/config.v2.json")
        if "spool-demo-web" in config.read_text()
    )
    os.kill(agent, signal.SIGSTOP)
    try:
        size = path.stat().st_size
        wait_until(lambda: path.stat().st_size > size, what="the container writes on")
        data = path.read_bytes()
        start = data.rfind(b"\n", 0, -1) + 1
        with path.open("r+b") as file:
            file.seek(start)
            file.write(b"x" * (len(data) - start - 1))
    finally:
        os.kill(agent, signal.SIGCONT)


def test_the_whole_demo_loses_nothing_and_exits_0(demos: Demos) -> None:
    demo = demos.good
    assert demo.process.returncode == 0, demo.text + demo.err.read_text()
    rows = demo.rows()
    for script in SCRIPTS:
        written, delivered, lost, _ = rows[script.name]
        assert (written, delivered, lost) == (len(script.lines), len(script.lines), 0)
    written, delivered, lost, twice = rows["replayed"]
    assert written == delivered > 0
    assert (lost, twice) == (0, 0)
    assert "Nothing was lost." in demo.text


def test_each_step_is_told_with_what_was_measured(demos: Demos) -> None:
    text = demos.good.text
    told = ["Lines flow", "network is cut", "killed", "started again", "network is back", "Replay"]
    assert [text.index(words) for words in told] == sorted(text.index(words) for words in told)
    unsent = [int(number.replace(",", "")) for number in re.findall(r"unsent ([\d,]+)", text)]
    _, _, cut, _, restarted, drained = unsent
    assert cut > 100
    assert restarted >= cut
    assert drained == 0
    assert "exit code 0" in text


def test_piped_output_is_plain(demos: Demos) -> None:
    assert "\x1b" not in demos.good.text
    assert "\r" not in demos.good.text
    assert demos.good.err.read_text() == ""


def test_the_spool_it_names_is_there_and_the_commands_work(demos: Demos) -> None:
    commands = re.findall(r"^  (?:spool|\S+/spool) (.* --db .*)$", demos.good.text, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        done = subprocess.run(
            [*SPOOL, *command.split()], env=clean_environment(), capture_output=True, check=True
        )
        assert done.stdout.count(b"\n") >= 5


def test_a_line_that_was_really_lost_is_counted_and_it_exits_1(demos: Demos) -> None:
    demo = demos.sabotaged
    assert demo.process.returncode == 1, demo.text + demo.err.read_text()
    assert demo.rows()["spool-demo-web"][2] == 1
    assert demo.rows()["spool-demo-worker"][2] == 0
    assert "1 line lost" in demo.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_all_it_started(tmp_path: Path, number: signal.Signals) -> None:
    demo = Demo(tmp_path / "demo")
    try:
        demo.wait_for("Lines flow")
        children = child_pids(demo.process.pid)
        assert len(children) >= 2  # the agent and moto
        demo.process.send_signal(number)
        assert demo.process.wait(60) == 130
    finally:
        demo.close()
    wait_until(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), what="they are gone"
    )
    assert demo.kept() == []
    assert demo.err.read_text() == "interrupted; nothing of the demo is left\n"


def child_pids(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # a thread may have ended since it was listed
            found += map(int, (task / "children").read_text().split())
    return found


def test_without_moto_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloudwatch, "find_spec", lambda _: None)
    with pytest.raises(WrongUsage, match=r"pip install 'logspool\[demo\]'"):
        cloudwatch.require_moto()


# --- counting ---------------------------------------------------------------------------------


def test_counting_tells_lost_from_twice() -> None:
    written = ["web #1", "web #2", "web #3", "web #4"]
    arrived = ["web #1", "web #2", "web #2", "web #2", "web #4"]
    assert tally("web", written, arrived) == Tally("web", 4, delivered=3, lost=1, twice=2)


def test_a_line_that_arrived_changed_is_lost() -> None:
    assert tally("web", ["web #1 häuser"], ["web #1 h\ufffd"]).lost == 1


def test_all_lines_of_a_script_are_different() -> None:
    for script in SCRIPTS:
        assert len(set(script.lines)) == len(script.lines)


# --- the story ---------------------------------------------------------------------------------


def test_where_looks_take_long_calm_numbers_are_not_waited_for() -> None:
    """
    The containers write on meanwhile, and the next step goes by what was written.
    """
    looks: list[int] = []

    class Slow(Story):
        def _look(self) -> Numbers:
            looks.append(len(looks) + 1)
            return Numbers(written=looks[-1] * TOTAL // 4, stored=1)

    nobody: Any = None
    Slow(nobody, nobody, nobody, nobody, nobody)._calm(Numbers(stored=1))
    assert looks == [1]


# --- the relay --------------------------------------------------------------------------------


@pytest.fixture
def echo_port() -> Iterator[int]:
    """
    A server that answers with what it is sent.
    """
    listener = socket.create_server(("127.0.0.1", 0))

    def echo(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(65_536):
                connection.sendall(data)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=[connection], daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture
def relay(echo_port: int) -> Iterator[Relay]:
    made = Relay(echo_port)
    yield made
    made.close()


def connect(relay: Relay) -> socket.socket:
    return socket.create_connection(("127.0.0.1", relay.port), timeout=60)


def ask(connection: socket.socket, data: bytes) -> bytes:
    """
    Send, end, and read to the end.
    """
    sender = threading.Thread(
        target=lambda: (connection.sendall(data), connection.shutdown(socket.SHUT_WR))
    )
    sender.start()
    answer = b""
    while piece := connection.recv(65_536):
        answer += piece
    sender.join()
    return answer


def test_the_relay_passes_bytes_on_both_ways(relay: Relay) -> None:
    data = os.urandom(3_000_000)
    with connect(relay) as connection:
        assert ask(connection, data) == data


def test_a_cut_drops_open_connections_and_refuses_new_ones(relay: Relay) -> None:
    with connect(relay) as connection:
        connection.sendall(b"x")
        assert connection.recv(1) == b"x"
        relay.cut()
        assert is_dropped(connection)
    for _ in range(20):
        with pytest.raises(ConnectionRefusedError):
            connect(relay)


def is_dropped(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_it_can_be_cut_and_restored_on_the_same_port_many_times(relay: Relay) -> None:
    port = relay.port
    for _ in range(10):
        relay.cut()
        relay.cut()
        relay.restore()
        relay.restore()
        with connect(relay) as connection:
            assert ask(connection, b"again") == b"again"
    assert relay.port == port


def test_without_a_target_the_connection_ends() -> None:
    with socket.socket() as target:
        target.bind(("127.0.0.1", 0))  # and never listens
        relay = Relay(target.getsockname()[1])
        with connect(relay) as connection:
            assert is_dropped(connection)
        relay.close()


# --- which containers -------------------------------------------------------------------------


def test_without_docker_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(engine.EngineUnusable, match="no docker command"):
        engine.EngineContainers(tmp_path / "containers")


def test_what_an_engine_says_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with screen() as shown:
        shown.say(("bold \x1b[2J", "bold"), "denied by \x1b]0;title\x07\nanother line")
    wanted = r"bold \x1b[2Jdenied by \x1b]0;title\x07\x0aanother line"
    assert capsys.readouterr().out == f"{wanted}\n"


def test_an_engine_that_hangs_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command = tmp_path / "docker"
    command.write_text("#!/bin/sh\nexec sleep 60\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(engine, "ASK_TIMEOUT_S", 0.2)
    begun_s = time.monotonic()
    with pytest.raises(engine.EngineUnusable, match="no Docker Engine answers"):
        engine.EngineContainers(tmp_path / "containers")
    assert time.monotonic() - begun_s < 30
