"""
What tests need to run `spool` as a user does: as a process, on files as Docker writes them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["Agent", "LogWriter", "is_spool", "spool", "wait_until"]

SPOOL = (sys.executable, "-m", "cli")
ROUTE = "cloudwatch://us-east-1?NOEC2&DELAY=0.2"
HOST_GROUP = os.uname().nodename
NO_PODS = {"SPOOL_PODS_DIR": "/var/empty/pods"}
"""A host that runs the tests may be a node."""


def wait_until(question: Callable[[], Any], *, timeout_s: float = 60.0, what: str = "") -> Any:
    """
    The first true answer to `question`; a failure when there is none in time. That is long enough
    for a machine that others load: what is awaited comes soon, or never.
    """
    deadline_s = time.monotonic() + timeout_s
    while not (answer := question()):
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {timeout_s} s: {what or question}")
        time.sleep(0.02)
    return answer


def spool(
    *arguments: str | Path,
    environment: dict[str, str] | None = None,
    stdin: str | bytes | None = None,
    timeout_s: float = 90.0,
) -> subprocess.CompletedProcess[str]:
    """
    Run `spool` with these arguments to its end; output as text.
    """
    data = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(
        [*SPOOL, *map(str, arguments)],
        env=clean_environment(environment),
        input=data if data is not None else b"",
        capture_output=True,
        timeout=timeout_s,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def clean_environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """
    This process's environment without what would steer spool or boto3, and with `extra`. Lines come
    from files unless told otherwise: an engine of this host may have containers of its own.
    """
    mine = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "SPOOL_", "LOGSPOUT", "ROUTE_URIS"))
        and name not in ("DELAY", "DEBUG", "NOEC2", "BACKLOG", "TAIL", "ALLOW_TTY", "NOTIFY_SOCKET")
    }
    folder = str(Path(__file__).parent.parent)
    return {**mine, "PYTHONPATH": folder, "SPOOL_SOURCE": "files", **NO_PODS, **(extra or {})}


class Agent:
    """
    A `spool run` as a process of its own.
    """

    def __init__(
        self,
        db: Path,
        containers: Path,
        environment: dict[str, str],
        *,
        route: str = ROUTE,
        options: Sequence[str] = (),
        log: Path | None = None,
    ) -> None:
        self.db = db
        self.log = log or db.parent / "agent.log"
        db.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as stderr:
            self._log_begin = stderr.tell()
            self.process = subprocess.Popen(
                [
                    *(*SPOOL, "run", route, "--db", str(db)),
                    *("--source", "files", "--containers-dir", str(containers)),
                    *options,
                ],
                env=clean_environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
            )

    def wait_started(self) -> Agent:
        """
        Return when it has begun to collect.
        """
        wait_until(
            lambda: b" started" in self.own_log() or self.process.poll() is not None,
            what="the agent starts",
        )
        assert self.process.poll() is None, self.log.read_text()
        return self

    def own_log(self) -> bytes:
        """
        What this one has logged; earlier ones on the same spool wrote to the same file.
        """
        with self.log.open("rb") as log:
            log.seek(self._log_begin)
            return log.read()

    def kill(self) -> None:
        """
        SIGKILL.
        """
        self.process.kill()
        self.process.wait()

    def stop(self, *, timeout_s: float = 30.0) -> int:
        """
        SIGTERM; the exit code.
        """
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def status(self) -> dict[str, Any]:
        """
        What `spool status --json` says.
        """
        return status(self.db)

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()


def is_spool(db: Path) -> bool:
    """
    Whether there is one that can be looked into; its file is there a moment before.
    """
    return spool("status", "--db", db).returncode == 0


def status(db: Path) -> dict[str, Any]:
    """
    What `spool status --json` says of a spool.
    """
    done = spool("status", "--json", "--db", db)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


class LogWriter:
    """
    A container's folder and its json-file log, written as the engine writes them.
    """

    def __init__(
        self,
        containers: Path,
        container_id: str,
        name: str,
        *,
        running: bool = True,
        tty: bool = False,
    ) -> None:
        self.id = container_id
        self.folder = containers / container_id
        self.folder.mkdir(parents=True)
        self.path = self.folder / f"{container_id}-json.log"
        self.name = name
        self.tty = tty
        self.configure(name=name, running=running)
        self.path.touch()

    def configure(self, *, name: str, running: bool = True) -> None:
        """
        Replace config.v2.json by rename, as the engine does.
        """
        self.name = name
        config = {
            "ID": self.id,
            "Name": f"/{name}",
            "Config": {"Hostname": self.id[:12], "Tty": self.tty, "Env": [], "Labels": {}},
            "State": {"Running": running},
        }
        new = self.folder / ".tmp-config.v2.json1"
        new.write_text(json.dumps(config))
        new.rename(self.folder / "config.v2.json")
        (self.folder / "hostconfig.json").write_text(
            '{"LogConfig":{"Type":"json-file","Config":{}}}'
        )

    def write(self, *messages: str, stream: str = "stdout", newline: bool = True) -> None:
        """
        One record for each message.
        """
        end = "\n" if newline else ""
        with self.path.open("a") as file:
            for message in messages:
                record = {"log": message + end, "stream": stream, "time": engine_time()}
                file.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")

    def rotate(self, *, keep: int = 5) -> None:
        """
        Rename the files one up, the oldest away, and begin a new one.
        """
        self.path.with_name(f"{self.path.name}.{keep - 1}").unlink(missing_ok=True)
        for number in range(keep - 2, 0, -1):
            old = self.path.with_name(f"{self.path.name}.{number}")
            if old.exists():
                old.rename(self.path.with_name(f"{self.path.name}.{number + 1}"))
        self.path.rename(self.path.with_name(f"{self.path.name}.1"))
        self.path.touch()

    def remove(self) -> None:
        """
        What `docker rm` does.
        """
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()


def engine_time() -> str:
    """
    The present as the engine writes it: nanoseconds, trailing zeros cut.
    """
    now_ns = time.time_ns()
    moment = datetime.fromtimestamp(now_ns // 10**9, UTC)
    fraction = f"{now_ns % 10**9:09d}".rstrip("0")
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + (f".{fraction}" if fraction else "") + "Z"
