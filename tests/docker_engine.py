"""
A Docker Engine for tests, over a real unix socket: as much of its API as the source asks for, with
the engine's own rules for `tail`, `since` and `follow`, and its faults on demand.
"""

from __future__ import annotations

import json
import re
import socketserver
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["FakeContainer", "FakeEngine"]

LOGS = re.compile(r"/v[\d.]+/containers/([0-9a-f]+)/(logs|json)")
END_S = 30.0


@dataclass
class FakeContainer:
    """
    A container. `status` other than 200 is what its logs answer with; `follow_lines` picks the
    lines that a followed stream has (the real one repeats some and leaves out others).
    """

    id: str
    name: str
    tty: bool = False
    driver: str = "local"
    running: bool = True
    removes_itself: bool = False
    created: str = "2026-01-01T00:00:00Z"
    records: list[tuple[str, str, bytes]] = field(default_factory=list)
    status: int = 200
    cut_after: int | None = None
    hangs: bool = False
    follow_repeats: int = 1
    follow_every: int = 1
    newest_file: int = 0
    dropped: int = 0

    @property
    def written(self) -> int:
        return self.dropped + len(self.records)

    def inspect(self) -> dict[str, Any]:
        return {
            "Id": self.id,
            "Name": f"/{self.name}",
            "Created": self.created,
            "Config": {"Hostname": "h", "Tty": self.tty, "Env": ["A=1", "B"], "Labels": {"l": "1"}},
            "State": {
                "Running": self.running,
                "Restarting": False,
                "StartedAt": "2026-01-01T00:00:00Z",
            },
            "HostConfig": {
                "LogConfig": {"Type": self.driver, "Config": {}},
                "AutoRemove": self.removes_itself,
            },
        }

    def bytes_of(self, records: list[tuple[str, str, bytes]]) -> Iterator[bytes]:
        for stream, moment, text in records:
            payload = moment.encode() + b" " + text
            kind = 1 if stream == "stdout" else 2
            yield payload if self.tty else struct.pack(">BxxxI", kind, len(payload)) + payload


class FakeEngine:
    """
    Listens while it is entered. `asked` counts requests by what they are; `refusal` is a status
    that all of them get but the one for the version, as from a proxy that finds no engine.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.base_url = f"unix://{path}"
        self.changed = threading.Condition()
        self.containers: dict[str, FakeContainer] = {}
        self.events: list[bytes] = []
        self.asked: Counter[str] = Counter()
        self.generation = 0
        self.is_deaf = False
        self.refusal: int | None = None
        self._server: _Server | None = None
        self._clock_ns = time.time_ns()

    def __enter__(self) -> FakeEngine:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self.path.unlink(missing_ok=True)
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True).start()

    def stop(self) -> None:
        """
        Listen no more, and end all streams.
        """
        with self.changed:
            self.generation += 1
            self.changed.notify_all()
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        self.path.unlink(missing_ok=True)

    def add(self, name: str, **options: Any) -> FakeContainer:
        """
        Create and start a container.
        """
        with self.changed:
            container = FakeContainer(f"{len(self.events) + 1:064x}", name, **options)
            self.containers[container.id] = container
        self.tell(container, "start")
        return container

    def write(self, container: FakeContainer, *texts: bytes, stream: str = "stdout") -> None:
        with self.changed:
            for text in texts:
                self._clock_ns = max(self._clock_ns + 1_001, time.time_ns())
                moment = datetime.fromtimestamp(self._clock_ns // 10**9, UTC)
                fraction = f"{self._clock_ns % 10**9:09d}"
                stamp = f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction}Z"
                container.records.append((stream, stamp, text))
            self.changed.notify_all()

    def rotate(self, container: FakeContainer, *, keep: int) -> None:
        """
        Begin a new file, and leave just so many records in the older ones.
        """
        with self.changed:
            count = max(0, len(container.records) - keep)
            del container.records[:count]
            container.dropped += count
            container.newest_file = len(container.records)

    def exit(self, container: FakeContainer) -> None:
        with self.changed:
            container.running = False
            self.changed.notify_all()
        self.tell(container, "die")

    def start_again(self, container: FakeContainer) -> None:
        container.running = True
        self.tell(container, "start")

    def remove(self, container: FakeContainer) -> None:
        with self.changed:
            del self.containers[container.id]
            container.running = False
            self.changed.notify_all()
        self.tell(container, "destroy")

    def rename(self, container: FakeContainer, name: str) -> None:
        container.name = name
        self.tell(container, "rename")

    def tell(self, container: FakeContainer, status: str) -> None:
        event = {"status": status, "id": container.id, "Type": "container", "Action": status}
        with self.changed:
            self.events.append(json.dumps(event).encode() + b"\n")
            self.changed.notify_all()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        super().__init__(str(engine.path), _Handler)

    def handle_error(self, *_: object) -> None:
        """
        Clients hang up; that is nothing to print.
        """


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        engine = self.server.engine
        found = LOGS.fullmatch(url.path)
        if url.path == "/version":
            self._answer(
                200, {"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"}
            )
        elif engine.refusal:
            engine.asked["refused"] += 1
            self._answer(engine.refusal, {"message": "page not found"})
        elif url.path.endswith("/containers/json"):
            self._list(engine)
        elif url.path.endswith("/events"):
            engine.asked["events"] += 1
            self._stream(self._events(engine, engine.generation))
        elif found:
            container = engine.containers.get(found[1])
            kind = "inspect" if found[2] == "json" else "follow" if "follow" in asked else "logs"
            status = container.status if container else 404  # as it is when this is counted
            engine.asked[kind] += 1
            if container is None:
                self._answer(404, {"message": f"No such container: {found[1]}"})
            elif kind == "inspect":
                self._answer(200, container.inspect())
            elif status != 200:
                self._answer(status, {"message": "not now"})
            else:
                self._logs(engine, container, asked)

    def _list(self, engine: FakeEngine) -> None:
        engine.asked["list"] += 1
        with engine.changed:
            listed = [
                {
                    "Id": container.id,
                    "Names": [f"/{container.name}"],
                    "State": "running" if container.running else "exited",
                }
                for container in engine.containers.values()
            ]
        self._answer(200, listed)

    def _logs(self, engine: FakeEngine, container: FakeContainer, asked: dict[str, str]) -> None:
        with engine.changed:
            records = list(container.records)
            start = container.newest_file if "since" in asked else 0
            generation = engine.generation
            count = container.written
        if "since" in asked:
            records = [
                record for record in records[start:] if _seconds(record[1]) >= asked["since"]
            ]
        if asked["tail"] != "all":
            records = records[len(records) - min(len(records), int(asked["tail"])) :]
        if "follow" in asked:
            self._stream(self._follow(engine, container, records, count, generation))
        elif container.hangs:
            with engine.changed:
                engine.changed.wait_for(lambda: engine.generation != generation, END_S)
        else:
            self._stream(container.bytes_of(records), cut_after=container.cut_after)

    def _follow(
        self,
        engine: FakeEngine,
        container: FakeContainer,
        records: list[tuple[str, str, bytes]],
        seen: int,
        generation: int,
    ) -> Iterator[bytes]:
        yield from container.bytes_of(records)
        while True:
            with engine.changed:
                engine.changed.wait_for(
                    lambda seen=seen: (
                        container.written > seen
                        or not container.running
                        or engine.generation != generation
                    ),
                    END_S,
                )
                new = container.records[max(0, seen - container.dropped) :]
                new, seen = new[:: container.follow_every], container.written
                is_over = not container.running or engine.generation != generation
            if not engine.is_deaf:
                yield from container.bytes_of(new * container.follow_repeats)
            if is_over:
                return

    def _events(self, engine: FakeEngine, generation: int) -> Iterator[bytes]:
        seen = len(engine.events)
        while engine.generation == generation:
            with engine.changed:
                engine.changed.wait_for(
                    lambda seen=seen: len(engine.events) > seen or engine.generation != generation,
                    END_S,
                )
                new, seen = engine.events[seen:], len(engine.events)
            yield from new

    def _answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, pieces: Iterator[bytes], *, cut_after: int | None = None) -> None:
        """
        In chunks, one for each record, or for a client of HTTP/1.0 as they are.
        """
        is_chunked = self.request_version == "HTTP/1.1"
        self.close_connection = True
        self.send_response(200)
        if is_chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, piece in enumerate(pieces):
            if number == cut_after:
                return
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
        if is_chunked:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        """
        Nothing.
        """


def _seconds(moment: str) -> str:
    whole = datetime.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    return f"{int(whole.timestamp())}.{moment[20:29]}"
