"""
The real Docker Engine, as tests use it: through the `docker` command, with an image and a label of
their own, so that all they made can be told from what else runs on the host, and removed.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["Container", "Engine", "Unavailable"]

COMMAND_TIMEOUT_S = 90.0
NANOSECONDS_A_MS = 1_000_000
APPLETS = ("cat", "echo", "head", "printf", "sh", "sleep", "touch", "tr", "usleep", "yes")


class Unavailable(Exception):
    """
    There is no engine to test with, or nothing to run in it.
    """


class Container:
    """
    A container that a test made.
    """

    def __init__(self, engine: Engine, name: str, container_id: str) -> None:
        self._engine = engine
        self.name = name
        self.id = container_id
        self.folder = engine.containers / container_id

    def wait(self) -> int:
        """
        Return when it has ended; its exit code.
        """
        return int(self._engine.docker("wait", self.id))

    def start(self) -> None:
        """
        Start it, once more.
        """
        self._engine.docker("start", self.id)

    def stop(self) -> None:
        """
        End it; one that runs with `--init` ends at once.
        """
        self._engine.docker("stop", self.id)

    def kill(self) -> None:
        """
        SIGKILL.
        """
        self._engine.docker("kill", "--signal", "KILL", self.id)

    def execute(self, *command: str) -> str:
        """
        Run a command in it; what that printed.
        """
        return self._engine.docker("exec", self.id, *command)

    def inspect(self, template: str) -> Any:
        """
        What a Go template finds in the engine's description of it, which is JSON.
        """
        return json.loads(self._engine.docker("inspect", "--format", template, self.id))

    def rename(self) -> str:
        """
        Give it another name, which is returned.
        """
        self.name = self._engine.new_name("renamed")
        self._engine.docker("rename", self.id, self.name)
        return self.name

    def touch(self, path: str) -> None:
        """
        Make an empty file in it, for which its script waits.
        """
        self.execute("touch", path)

    def logged(self) -> list[tuple[int, str]]:
        """
        What the engine itself has of its log: (timestamp in ms, line), by stream.
        """
        done = subprocess.run(
            ["docker", "logs", "--timestamps", self.id],
            capture_output=True,
            timeout=COMMAND_TIMEOUT_S,
            check=True,
        )
        return [
            (engine_time_ms(moment), text)
            for output in (done.stdout, done.stderr)
            for moment, _, text in (
                line.partition(" ") for line in output.decode().split("\n") if line
            )
        ]

    def files(self) -> list[str]:
        """
        The names of its log files.
        """
        return sorted(path.name for path in self.folder.glob("*-json.log*"))


class Engine:
    """
    The engine that `docker` talks to.
    """

    def __init__(self) -> None:
        info = self._info()
        self.containers = Path(info["DockerRootDir"]) / "containers"
        if not self.containers.is_dir():
            raise Unavailable(f"{self.containers} is not on this machine, or not for this user")
        token = uuid.uuid4().hex[:12]
        self.token = token
        self.label = f"spool-test={token}"
        self.image = f"spool-test:{token}"

    @property
    def socket(self) -> Path:
        """
        Where it listens.
        """
        return Path(os.environ.get("DOCKER_HOST", "/var/run/docker.sock").removeprefix("unix://"))

    def docker(
        self,
        *arguments: str | Path,
        stdin: bytes = b"",
        timeout_s: float = COMMAND_TIMEOUT_S,
    ) -> str:
        """
        Run `docker` with these arguments; what it printed.
        """
        done = subprocess.run(
            ["docker", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"docker {arguments[0]}: {done.stderr.decode()}")
        return done.stdout.decode().strip()

    def new_name(self, meaning: str) -> str:
        """
        A name that no other container has.
        """
        return f"spool-test-{meaning}-{uuid.uuid4().hex[:8]}"

    def run(self, meaning: str, script: str, *options: str) -> Container:
        """
        Start a container that runs `script`, in the background; `options` are those of
        `docker run`.
        """
        return self.start(meaning, "--network", "none", *options, self.image, "sh", "-c", script)

    def start(self, meaning: str, *arguments: str) -> Container:
        """
        Start a container in the background; `arguments` are options of `docker run`, the image and
        its command.
        """
        name = self.new_name(meaning)
        container_id = self.docker(
            *("run", "--detach", "--name", name, "--label", self.label), *arguments
        )
        return Container(self, name, container_id)

    def remove_containers(self) -> None:
        """
        Remove all that were made here.
        """
        found = self.docker("ps", "--all", "--quiet", "--filter", f"label={self.label}")
        if found:
            subprocess.run(  # one that was just removing itself is no failure
                ["docker", "rm", "--force", "--volumes", *found.split()],
                capture_output=True,
                timeout=COMMAND_TIMEOUT_S,
                check=False,
            )

    @contextmanager
    def with_image(self) -> Iterator[Engine]:
        """
        With an image of a shell and a few commands: one static busybox.
        """
        self.docker("import", "--change", "ENV PATH=/bin", "-", self.image, stdin=image_tar())
        try:
            self._check_image()
            yield self
        finally:
            self.remove_containers()
            self.docker("rmi", "--force", self.image)

    def _check_image(self) -> None:
        try:
            said = self.docker(
                *("run", "--rm", "--network", "none", "--label", self.label),
                *(self.image, "sh", "-c", "echo works"),
            )
        except AssertionError as error:
            raise Unavailable(f"busybox does not run in a container; is it static? {error}") from (
                error
            )
        assert said == "works"

    def _info(self) -> dict[str, Any]:
        if not shutil.which("docker"):
            raise Unavailable("there is no docker command")
        done = subprocess.run(
            ["docker", "info", "--format", "{{json .}}"],
            capture_output=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        info: dict[str, Any] = json.loads(done.stdout or b"{}")
        problems = info.get("ServerErrors") or [done.stderr.decode().strip()]
        if done.returncode or not info.get("DockerRootDir"):
            raise Unavailable(f"no Docker Engine answers: {' '.join(problems)}")
        return info


def image_tar() -> bytes:
    """
    The files of the image.
    """
    busybox = shutil.which("busybox")
    if not busybox:
        raise Unavailable("there is no busybox; Debian's package is busybox-static")
    image = io.BytesIO()
    with tarfile.open(fileobj=image, mode="w") as tar:
        for folder in ("bin", "dev", "etc", "proc", "sys", "tmp"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, int(time.time())
            tar.addfile(entry)
        program = Path(busybox).read_bytes()
        entry = tarfile.TarInfo("bin/busybox")
        entry.mode, entry.size = 0o755, len(program)
        tar.addfile(entry, io.BytesIO(program))
        for applet in APPLETS:
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    return image.getvalue()


def engine_time_ms(moment: str) -> int:
    """
    The engine's `2026-11-22T11:08:31.289137307Z` in ms since the epoch, cut, not rounded.
    """
    seconds, _, fraction = moment.removesuffix("Z").partition(".")
    whole = datetime.strptime(seconds, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    nanoseconds = int(fraction.ljust(9, "0"))
    return int(whole.timestamp()) * 1000 + nanoseconds // NANOSECONDS_A_MS
