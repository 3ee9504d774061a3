"""
What tests need to run a source of files into a store, and to look at what came of it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shipper.capture import Source, capture
from shipper.collecting import Chooser
from shipper.naming import Namer
from shipper.route import Route
from shipper.sources.intake import Intake
from shipper.trouble import Trouble
from spool.store import Store

__all__ = ["descriptors_below", "follow", "following", "make_intake", "skipped", "stored"]


def make_intake(store: Store, containers: Path, **settings: Any) -> Intake:
    """
    The rules of an agent with these settings alone; streams have the names of containers.
    """
    namer = Namer("host", "{{.Name}}", "host", instance_id=str, region=str)
    return Intake(store, Chooser(Route(), "files", containers, None), namer, **settings)


def _quietly() -> dict[str, Any]:
    """
    What nobody here listens to.
    """
    trouble = Trouble(logging.getLogger(), begins="%s", ends="over")
    return {"trouble": trouble, "on_stored": lambda: None}


def follow(source: Source, store: Store) -> None:
    """
    Store all that is there.
    """
    capture(source, store, threading.Event(), once=True, **_quietly())


@contextmanager
def following(source: Source, store: Store) -> Iterator[threading.Event]:
    """
    The source runs; the event stops it.
    """
    stop = threading.Event()
    thread = threading.Thread(target=capture, args=[source, store, stop], kwargs=_quietly())
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        source.wake()
        thread.join(30)
        assert not thread.is_alive()


def stored(store: Store, stream: str) -> list[str]:
    """
    The messages of a stream, in order.
    """
    with store.reading() as db:
        rows = db.execute(
            "SELECT message FROM events WHERE log_stream = ? ORDER BY id", (stream,)
        ).fetchall()
    return [row[0] for row in rows]


def skipped(store: Store) -> dict[str, int]:
    """
    What did not become events, by reason.
    """
    with store.reading() as db:
        return dict(db.execute("SELECT reason, count FROM skipped").fetchall())


def descriptors_below(folder: Path) -> int:
    """
    How many files of this folder the process holds open to read.
    """
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = str(link.readlink())
            flags = int((Path("/proc/self/fdinfo") / link.name).read_text().split()[3], 8)
        except OSError:
            continue  # that of this very look, or closed by another thread meanwhile
        count += target.startswith(f"{folder}/") and ".log" in target and not flags & 0o3
    return count
