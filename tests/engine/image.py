"""
Spool's own image, as tests build and run it on the real engine.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent import wait_until
from cloudwatch_endpoint import Endpoint
from engine.docker_cli import Container, Engine

__all__ = ["HARDENED", "VERSION", "Host", "built_image", "is_running", "log", "status"]

REPOSITORY = Path(__file__).parents[2]
VERSION = "1.2.3-test"
BUILD_TIMEOUT_S = 240.0
START_TIMEOUT_S = 60.0
FILES = "/var/lib/docker/containers"
SPOOL = "/var/lib/spool"
ROUTE = "cloudwatch://us-east-1?NOEC2&DELAY=0.2&DEBUG=1&filter.name={}*"
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


@contextmanager
def built_image(engine: Engine, base: str, shared: Path) -> Iterator[str]:
    """
    The image's name. Who builds at the same time waits, at a lock in the folder `shared`, and finds
    the layers made. The first stage has a name too: it would be left behind without.
    """
    image = f"spool-test-image:{engine.token}"
    stages = (("--target", "build", "--tag", f"{image}-build"), ("--tag", image))
    try:
        with (shared / "image.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for stage in stages:
                engine.docker(
                    *("build", "--quiet", "--network", "host"),
                    *("--build-arg", f"BASE_IMAGE={base}", "--build-arg", f"VERSION={VERSION}"),
                    *stage,
                    REPOSITORY,
                    timeout_s=BUILD_TIMEOUT_S,
                )
        yield image
    finally:
        engine.remove_containers()
        engine.docker("rmi", "--force", image, f"{image}-build")


class Host:
    """
    A host for one test: containers whose names tell them from others', Spool in a container beside
    them, and a volume for its file.
    """

    def __init__(self, engine: Engine, image: str, endpoint: Endpoint) -> None:
        self.engine = engine
        self.image = image
        self.volume = engine.new_name("spool")
        self._token = engine.new_name("host").removeprefix("spool-test-")
        self._environment = endpoint.environment()
        self._spools: list[Container] = []
        self.route = ROUTE.format(f"spool-test-{self._token}")
        self.files = ("--volume", f"{engine.containers}:{FILES}:ro")
        self.socket = ("--volume", f"{engine.socket}:/var/run/docker.sock")
        engine.docker("volume", "create", "--label", engine.label, self.volume)

    def run(self, meaning: str, script: str, *options: str) -> Container:
        """
        Start a container that Spool collects.
        """
        return self.engine.run(f"{self._token}-{meaning}", script, *options)

    def spool(self, *options: str, command: tuple[str, ...] | None = None) -> Container:
        """
        Start Spool's image with these options of `docker run`, and return when it collects. It
        would collect itself, if it could: its name is as the others', and it logs.
        """
        container = self.start_spool(*options, command=command)
        wait_until(
            lambda: any(" started" in line for line in log(container)) or not is_running(container),
            timeout_s=START_TIMEOUT_S,
            what="Spool starts in its container",
        )
        assert is_running(container), log(container)
        return container

    def start_spool(self, *options: str, command: tuple[str, ...] | None = None) -> Container:
        """
        The same, without waiting. The endpoint is on this machine's loopback.
        """
        environment = (f"--env={name}={value}" for name, value in self._environment.items())
        container = self.engine.start(
            f"{self._token}-agent",
            *("--network", "host", "--volume", f"{self.volume}:{SPOOL}"),
            *environment,
            *options,
            self.image,
            *((self.route,) if command is None else command),
        )
        self._spools.append(container)
        return container

    def remove(self) -> None:
        """
        Remove the containers and the volume; the agents' logs are shown where the test fails.
        """
        for container in self._spools:
            print(*log(container), sep="\n")  # noqa: T201 - pytest shows it where the test fails
        self.engine.remove_containers()
        self.engine.docker("volume", "rm", self.volume)


def is_running(container: Container) -> bool:
    """
    Whether it has not ended.
    """
    return bool(container.inspect("{{json .State.Running}}"))


def log(container: Container) -> list[str]:
    """
    What a container printed.
    """
    return [line for _, line in container.logged()]


def status(container: Container) -> dict[str, Any]:
    """
    What `spool status` says in a container.
    """
    answer: dict[str, Any] = json.loads(container.execute("spool", "status", "--json"))
    return answer
