"""
Faults on the host: of the process itself, of its spool and of the logs that it reads.

Each is a generator over a `World`: what begins it, one yield, what ends it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator

from faults.world import World

__all__ = ["ended_by", "frozen", "locked", "removed", "rotates", "truncated"]

Over = Callable[[World], Generator[None]]


def ended_by(number: signal.Signals) -> Over:
    """
    The process ends, and is started again later.
    """

    def over(world: World) -> Generator[None]:
        collects = world.is_collecting
        if number == signal.SIGTERM:
            world.gate.open()
        world.end(number)
        world.is_collecting = collects  # by the next one
        yield
        world.relaunch()

    return over


def frozen(world: World) -> Generator[None]:
    """
    The process does nothing for a while, and does not know.
    """
    world.signal(signal.SIGSTOP)
    yield
    world.signal(signal.SIGCONT)


LOCK = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


def locked(world: World) -> Generator[None]:
    """
    Another process holds a write transaction on the spool.
    """
    if not world.db.exists():
        world.put(1)
    command = [sys.executable, "-c", LOCK, str(world.db)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdin
        assert other.stdout.readline() == b"locked\n"
        yield
        other.stdin.close()


def rotates(world: World) -> Generator[None]:
    """
    The logs are rotated all the time, in an outage.
    """

    def rotate() -> None:
        for writer in world.writers:
            writer.rotate(keep=10_000)

    world.hush()
    world.each_step = rotate
    yield
    world.each_step = lambda: None
    world.calm()


def truncated(world: World) -> Generator[None]:
    """
    The logs are truncated in an outage, as copytruncate does.
    """
    world.hush()
    world.wait_stored()
    for writer in world.writers:
        os.truncate(writer.path, 0)
    yield
    world.calm()


def removed(world: World) -> Generator[None]:
    """
    A container is removed in an outage, with a line just written; another one gets its name.
    """
    world.hush()
    world.wait_stored()
    world.remove_container("worker")
    yield
    world.calm()
