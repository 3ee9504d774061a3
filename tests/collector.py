"""
The source of the Engine API at work, for tests.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from agent import wait_until

from shipper.containers import Container
from shipper.naming import Target
from shipper.sources.engine_source import EngineSource
from shipper.sources.lines import Joiner
from spool.store import Store

__all__ = ["Collector", "joiner_for"]


def joiner_for(store: Store) -> Callable[[Container], Joiner]:
    """
    What makes events of a container's lines where nothing is set.
    """

    def joiner(container: Container) -> Joiner:
        sources = ("stdout", "stderr")
        ids = {name: store.source_id(f"{container.short_id}/{name}") for name in sources}
        return Joiner(0, ids)

    return joiner


class Collector:
    """
    A source at work in this process: what it read is stored, and here by stream, which is named
    for the container.
    """

    def __init__(self, store: Store, **options: Any) -> None:
        self.store = store
        self.lines: dict[str, list[str]] = {}
        self.skipped: dict[str, int] = {}
        self.error: BaseException | None = None
        self.streams: dict[int, str] = {}
        self.source = EngineSource(store, self.name, joiner=joiner_for(store), **options)
        self.stop_event = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def name(self, container: Container) -> Target:
        self.streams[self.store.stream_id("group", container.name)] = container.name
        return Target("group", container.name)

    def run(self, *, once: bool = False) -> None:
        try:
            for reading in self.source.readings(self.stop_event, once=once):
                self.store.append(reading.chunks, checkpoints=reading.checkpoints)
                for chunk in reading.chunks:
                    lines = self.lines.setdefault(self.streams[chunk.stream_id], [])
                    lines += [event[3] for event in chunk.events]
                for reason, count in reading.skipped.items():
                    self.skipped[reason] = self.skipped.get(reason, 0) + count
        except BaseException as error:
            self.error = error
            raise

    def __enter__(self) -> Collector:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> float:
        """
        Seconds that it took.
        """
        begun_s = time.monotonic()
        self.stop_event.set()
        self.source.wake()
        self.thread.join(30)
        assert not self.thread.is_alive()
        assert self.error is None
        return time.monotonic() - begun_s

    def wait_for(self, stream: str, lines: int, *, timeout_s: float = 60.0) -> list[str]:
        """
        The lines of a stream, as soon as there are so many.
        """
        wait_until(
            lambda: len(self.lines.get(stream, [])) >= lines,
            timeout_s=timeout_s,
            what=f"{lines} lines of {stream}",
        )
        return self.lines[stream]
