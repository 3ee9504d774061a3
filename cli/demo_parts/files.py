"""
Containers without a Docker Engine: threads that write files as the engine writes them.

Goes out: ID/config.v2.json, ID/hostconfig.json and ID/ID-json.log, a record for each line, or for
each 16,384 bytes of a longer one, appended by one write.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cli.demo_parts.lines import SCRIPTS, TICK_S, TOTAL, Script, is_error

__all__ = ["FileContainers"]

PART_BYTES = 16_384
"""Where the engine cuts a line; the long ones of the demo are ASCII."""


class FileContainers:
    """
    One thread for each script.
    """

    description = f"{len(SCRIPTS)} log files, written as Docker writes them; {TOTAL:,} lines"

    def __init__(self, folder: Path) -> None:
        self._stop = threading.Event()
        self._written = {script.name: 0 for script in SCRIPTS}
        self._threads = [
            threading.Thread(target=self._write, args=[script, _make(folder, script)], daemon=True)
            for script in SCRIPTS
        ]

    def begin(self) -> None:
        """
        Write from now on, however long the agent took to start.
        """
        for thread in self._threads:
            thread.start()

    def written(self) -> dict[str, int]:
        return dict(self._written)

    def finish(self) -> None:
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def close(self) -> None:
        self._stop.set()
        self.finish()

    def _write(self, script: Script, path: Path) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        try:
            for number, line in enumerate(script.lines, start=1):
                for record in _records(line):
                    os.write(descriptor, record)
                self._written[script.name] = number
                if number % script.burst == 0 and self._stop.wait(TICK_S):
                    return
        finally:
            os.close(descriptor)


def _make(folder: Path, script: Script) -> Path:
    """
    The folder of a new container; returns where its log belongs.
    """
    container_id = secrets.token_hex(32)
    home = folder / container_id
    home.mkdir(parents=True)
    config = {
        "ID": container_id,
        "Name": f"/{script.name}",
        "Config": {"Hostname": container_id[:12], "Tty": False, "Env": None, "Labels": {}},
        "State": {"Running": True},
    }
    (home / "config.v2.json").write_text(json.dumps(config))
    (home / "hostconfig.json").write_text('{"LogConfig":{"Type":"json-file","Config":{}}}')
    return home / f"{container_id}-json.log"


def _records(line: str) -> Iterator[bytes]:
    text = f"{line}\n"
    stream = "stderr" if is_error(line) else "stdout"
    written_at = _engine_time(time.time_ns())  # all parts have the time of the first
    for start in range(0, len(text), PART_BYTES):
        record = {"log": text[start : start + PART_BYTES], "stream": stream, "time": written_at}
        yield json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _engine_time(now_ns: int) -> str:
    """
    RFC 3339 with nanoseconds, trailing zeros cut.
    """
    moment = datetime.fromtimestamp(now_ns // 10**9, UTC)
    fraction = f"{now_ns % 10**9:09}".rstrip("0")
    return f"{moment:%Y-%m-%dT%H:%M:%S}{'.' if fraction else ''}{fraction}Z"
