"""
The file system under the spool fills up, fails or is taken away; another process keeps the file.

The agent stays up, says so once when it begins and once when it is over, and afterwards everything
is there: each line arrives once, and the file is sound.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from agent import HOST_GROUP, Agent, LogWriter, spool, wait_until
from cloudwatch_endpoint import Endpoint
from faults.gate import Gate

LINE = "x" * 1_000
BEGINS = "cannot be used now"
ENDS = "can be used again"
MIB = 1024**2
SMALL = ("-t", "tmpfs", "-o", "size=32m", "tmpfs")
BALLAST = "ballast"


class Host:
    """
    An agent on a file system of its own, and one container that it collects.
    """

    def __init__(self, place: Path, folder: Path, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.db = place / "spool.db"
        self.containers = folder / "containers"
        self.log = folder / "agent.log"
        self.container = LogWriter(self.containers, "c" * 64, "web")
        self.written: list[str] = []

    def agent(self) -> Agent:
        return Agent(self.db, self.containers, self.endpoint.environment(), log=self.log)

    def write(self, count: int) -> None:
        first = len(self.written)
        lines = [f"{number} {LINE}" for number in range(first, first + count)]
        self.container.write(*lines)
        self.written += lines

    def arrived(self) -> list[str]:
        return self.endpoint.messages(HOST_GROUP, "web")

    def wait_arrived(self) -> None:
        wait_until(
            lambda: len(self.arrived()) >= len(self.written), timeout_s=60, what="all lines arrive"
        )

    def said(self, words: str) -> int:
        return self.log.read_text().count(words)

    def go_through(self, begin: Callable[[Agent], None], end: Callable[[Agent], None]) -> None:
        """
        Collect before, during and after a fault.
        """
        with self.agent() as agent:
            self.write(100)
            self.wait_arrived()
            begin(agent)
            self.write(5_000)
            wait_until(lambda: self.said(BEGINS), what="the trouble is told")
            self.write(1_000)
            time.sleep(2)  # time for more tries, each of which might say it again
            assert agent.process.poll() is None
            assert agent.status()["agent"] == agent.process.pid
            end(agent)
            self.wait_arrived()
            wait_until(lambda: self.said(ENDS), what="its end is told")
            assert agent.stop() == 0
        self.check()
        assert (self.said(BEGINS), self.said(ENDS)) == (1, 1)
        assert self.said("Traceback") == 0

    def check(self) -> None:
        """
        Each line arrived, and once; the file is sound.
        """
        assert Counter(self.arrived()) == Counter(self.written)
        done = spool("check", "--db", self.db)
        assert done.stdout == "sound: every event is accounted for\n"


@contextmanager
def mounted(place: Path, *arguments: str | Path) -> Iterator[None]:
    """
    A file system of its own at `place`; the test is skipped where none may be mounted.
    """
    place.mkdir()
    done = subprocess.run(
        ["mount", *map(str, arguments), str(place)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_waited_out(endpoint: Endpoint, tmp_path: Path) -> None:
    place = tmp_path / "small"
    with mounted(place, *SMALL):
        Host(place, tmp_path, endpoint).go_through(
            lambda _: fill(place), lambda _: (place / BALLAST).unlink()
        )


def test_what_was_in_flight_as_the_disk_filled_up_arrives_once(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    """
    That it arrived cannot be put on record at first; it is not sent again for that.
    """
    place = tmp_path / "small"
    endpoint.create(HOST_GROUP, "web")
    gate = Gate()
    gate.close(lambda _: True)
    endpoint.decide = gate.pass_through
    with mounted(place, *SMALL):
        host = Host(place, tmp_path, endpoint)
        host.write(900)
        with host.agent() as agent:
            wait_until(lambda: is_on_its_way(host.db), what="the batch is sent")
            fill(place)
            gate.open()
            host.wait_arrived()
            wait_until(lambda: host.said(BEGINS), what="the trouble is told")
            assert agent.status()["unsent"] == 900
            (place / BALLAST).unlink()
            wait_until(lambda: agent.status()["sent"] == 900)
            assert agent.stop() == 0
        host.check()


def is_on_its_way(db: Path) -> bool:
    done = spool("batches", "--db", db, "--state", "sending")
    return done.returncode == 0 and done.stdout != ""


def fill(place: Path) -> None:
    """
    Leave no room on a file system.
    """
    with (place / BALLAST).open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_disk_that_fails_is_waited_out(endpoint: Endpoint, tmp_path: Path) -> None:
    """
    Nothing behind the first 64 KiB of any file can be written: for SQLite an I/O error.
    """
    unlimited = resource.RLIM_INFINITY

    def limit(agent: Agent, size: int) -> None:
        resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE, (size, unlimited))

    Host(tmp_path / "spool", tmp_path, endpoint).go_through(
        lambda agent: limit(agent, 65_536), lambda agent: limit(agent, unlimited)
    )


def test_a_locked_database_is_waited_out(endpoint: Endpoint, tmp_path: Path) -> None:
    host = Host(tmp_path / "spool", tmp_path, endpoint)
    with ExitStack() as locks:
        host.go_through(lambda _: locks.enter_context(locked(host.db)), lambda _: locks.close())


@contextmanager
def locked(db: Path) -> Iterator[None]:
    """
    Another process has begun to write, and does not end.
    """
    code = (
        "import sqlite3, sys; database = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "database.execute('BEGIN EXCLUSIVE'); print('ready', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, db], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield
        process.communicate()


def test_a_file_system_that_became_read_only_is_told_and_loses_nothing(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    """
    As the kernel makes it after an error. It is writable again after the next mount.
    """
    image, place = tmp_path / "image", tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(64 * MIB)
    host = Host(place, tmp_path, endpoint)
    if not shutil.which("mkfs.ext4"):
        pytest.skip("mkfs.ext4 is not here")
    subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", image], check=True)
    with mounted(place, "-o", "loop,errors=remount-ro", image), host.agent() as agent:
        host.write(100)
        host.wait_arrived()
        wait_until(lambda: agent.status()["unsent"] == 0, what="it is on record")
        make_read_only(place)
        host.write(1_000)
        wait_until(lambda: host.said(BEGINS), what="the trouble is told")
        time.sleep(2)
        assert agent.process.poll() is None
        assert agent.status()["unsent"] == 0
        assert host.said(BEGINS) == 1
        agent.stop()
    place.rmdir()
    with mounted(place, "-o", "loop", image):
        with host.agent() as agent:
            host.wait_arrived()
            assert agent.stop() == 0
        host.check()


def make_read_only(place: Path) -> None:
    device = place.stat().st_dev
    name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
    trigger = Path("/sys/fs/ext4") / name / "trigger_fs_error"
    if not trigger.exists():
        pytest.skip("this kernel makes no such error")
    trigger.write_text("asked for")
