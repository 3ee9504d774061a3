"""
Which source collects a container of the real engine, through the command.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agent import Agent
from cloudwatch_endpoint import Endpoint
from engine.delivered import Delivered
from engine.docker_cli import Container, Engine

Run = Callable[..., Container]

ROUTE = "cloudwatch://us-east-1?NOEC2&DELAY=0.2&filter.name={prefix}*"
COUNT = "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i + 1)); done; sleep 2"
NUMBERS = sorted(map(str, range(3000)))


def test_auto_reads_files_where_there_are_any_and_asks_the_engine_for_the_rest(
    engine: Engine, run: Run, endpoint: Endpoint, db: Path, delivered: Delivered
) -> None:
    environment = endpoint.environment()
    with Agent(db, engine.containers, environment, options=["--source", "auto"]) as agent:
        agent.wait_started()
        local = run("local", COUNT, "--log-driver", "local")
        plain = run("plain", COUNT)
        delivered.wait_for(plain.name, 3000)  # what comes next ends the agent
        assert sorted(delivered.all_of(agent, local.name, 3000)) == NUMBERS
        assert sorted(delivered.all_of(agent, plain.name, 3000)) == NUMBERS
        assert agent.stop() == 0


def test_with_nothing_but_the_socket_json_file_containers_are_collected_too(
    engine: Engine, run: Run, endpoint: Endpoint, db: Path, containers: Path, delivered: Delivered
) -> None:
    """
    This is how logspout is run.
    """
    container = run("socket", COUNT)
    route = ROUTE.format(prefix=container.name)
    options = ["--source", "auto"]
    environment = endpoint.environment()
    with Agent(db, containers, environment, route=route, options=options) as agent:
        agent.wait_started()
        assert sorted(delivered.all_of(agent, container.name, 3000)) == NUMBERS
        agent.kill()
    with Agent(db, containers, environment, route=route, options=options) as agent:
        agent.wait_started()
        container.wait()
        assert sorted(delivered.all_of(agent, container.name, 3000)) == NUMBERS
        assert agent.stop() == 0


def test_lines_of_several_are_joined_through_the_engine_too(
    engine: Engine, run: Run, endpoint: Endpoint, db: Path, delivered: Delivered
) -> None:
    options = ["--source", "auto", "--multiline", r"^\S"]
    with Agent(db, engine.containers, endpoint.environment(), options=options) as agent:
        agent.wait_started()
        script = "printf 'ERROR\\n at a\\n at b\\nnext\\n'; sleep 2"
        container = run("trace", script, "--log-driver", "local")
        assert delivered.all_of(agent, container.name, 2) == ["ERROR\n at a\n at b", "next"]
        assert agent.stop() == 0


def test_a_container_goes_on_where_the_other_source_has_read_to(
    engine: Engine, run: Run, endpoint: Endpoint, db: Path, containers: Path, delivered: Delivered
) -> None:
    """
    Who begins as with logspout, with the socket alone, and mounts the files later.
    """
    slowly = "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i + 1)); usleep 3000; done; sleep 60"
    container = run("moving", slowly)
    route = ROUTE.format(prefix=container.name)
    options = ["--source", "auto"]
    environment = endpoint.environment()
    for folder, lines in ((containers, 500), (engine.containers, 1200), (containers, 2000)):
        with Agent(db, folder, environment, route=route, options=options) as agent:
            delivered.wait_for(container.name, lines)
            assert agent.stop() == 0
    with Agent(db, engine.containers, environment, route=route, options=options) as agent:
        assert sorted(delivered.all_of(agent, container.name, 3000)) == NUMBERS
