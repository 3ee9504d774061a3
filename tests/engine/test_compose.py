"""
deploy/compose.yaml, brought up by Compose on the real engine as it stands: a second file only says
where CloudWatch is, and by which label the container is known here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent import wait_until
from cloudwatch_endpoint import Endpoint
from engine.delivered import Delivered
from engine.docker_cli import Container, Engine
from engine.image import log

# the first test of a worker builds the image
pytestmark = pytest.mark.timeout(400)

FILE = Path(__file__).parents[2] / "deploy" / "compose.yaml"
COMMAND_TIMEOUT_S = 60.0


class Project:
    """
    The file, under a name of its own.
    """

    def __init__(self, engine: Engine, image: str, endpoint: Endpoint, folder: Path) -> None:
        self._engine = engine
        self._name = engine.new_name("compose")
        self._token = self._name.removeprefix("spool-test-")
        self._more = folder / "more.json"
        self._environment = {
            **os.environ,
            "SPOOL_IMAGE": image,
            "SPOOL_ROUTE": f"cloudwatch://us-east-1?NOEC2&DELAY=0.2&filter.name={self._name}*",
            "DOCKER_CONTAINERS": str(engine.containers),
        }
        told = {
            "network_mode": "host",
            "labels": [engine.label],
            "environment": endpoint.environment(),
        }
        self._more.write_text(json.dumps({"services": {"spool": told}}))

    def compose(self, *arguments: str) -> str:
        """
        Run Compose on the file; what it printed.
        """
        done = subprocess.run(
            [
                *(*compose_command(), "--project-name", self._name),
                *("--file", str(FILE), "--file", str(self._more), *arguments),
            ],
            env=self._environment,
            capture_output=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def up(self) -> Container:
        """
        Start what the file describes; its one container.
        """
        self.compose("up", "--detach")
        container_id = self.compose("ps", "--quiet", "spool")
        name = self._engine.docker("inspect", "--format", "{{.Name}}", container_id)
        return Container(self._engine, name.removeprefix("/"), container_id)

    def run(self, meaning: str, script: str) -> Container:
        """
        Start a container beside it that it collects.
        """
        return self._engine.run(f"{self._token}-{meaning}", script)


def compose_command() -> list[str]:
    """
    Compose as a plugin of `docker`, or as a command of its own; empty where there is neither.
    """
    plugin = ["docker", "compose"]
    if subprocess.run([*plugin, "version"], capture_output=True, check=False).returncode == 0:
        return plugin
    return ["docker-compose"] if shutil.which("docker-compose") else []


@pytest.fixture
def project(
    engine: Engine, spool_image: str, endpoint: Endpoint, tmp_path: Path
) -> Iterator[Project]:
    """
    The file's project; the test's end removes all of it.
    """
    if not compose_command():
        reason = "there is no docker compose"
        if os.environ.get("SPOOL_TEST_ENGINE") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    ready = Project(engine, spool_image, endpoint, tmp_path)
    yield ready
    ready.compose("down", "--volumes")
    engine.remove_containers()


def test_what_the_file_starts_ships_and_has_the_rights_it_names(
    project: Project, endpoint: Endpoint, delivered: Delivered
) -> None:
    agent = project.up()
    container = project.run("counts", "i=0; while [ $i -lt 1000 ]; do echo $i; i=$((i + 1)); done")
    delivered.wait_for(container.name, 1_000)
    assert sorted(delivered.messages(container.name)) == sorted(map(str, range(1_000)))
    assert {stream for _, stream in endpoint.streams()} == {container.name}
    assert log(agent)
    rights = agent.inspect("{{json .HostConfig}}")
    assert rights["ReadonlyRootfs"]
    assert rights["CapDrop"] == ["ALL"]
    assert rights["SecurityOpt"] == ["no-new-privileges:true"]
    assert rights["RestartPolicy"]["Name"] == "unless-stopped"
    assert rights["LogConfig"]["Type"] == "local"


def test_down_and_up_keep_the_spool(project: Project, delivered: Delivered) -> None:
    """
    `down` removes the container and stops it in order: the volume has all it collected.
    """
    project.up()
    container = project.run("once", "echo one")
    delivered.wait_for(container.name, 1)
    project.compose("down")
    agent = project.up()
    wait_until(lambda: any(" started" in line for line in log(agent)), what="it collects again")
    shown = agent.execute("spool", "events", "--format", "jsonl")
    assert [json.loads(line)["message"] for line in shown.splitlines()] == ["one"]
    assert delivered.messages(container.name) == ["one"]
