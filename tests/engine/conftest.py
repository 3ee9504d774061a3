"""
Fixtures of the tests with the real Docker Engine.

Without an engine they are skipped, unless SPOOL_TEST_ENGINE=required: then they fail. Those of
Spool's own image need SPOOL_TEST_BASE_IMAGE, a base for it that the engine has or can pull.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent import Agent
from cloudwatch_endpoint import Endpoint
from engine.delivered import Delivered
from engine.docker_cli import Container, Engine, Unavailable
from engine.image import Host, built_image


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """
    The engine, with an image to run.
    """
    try:
        with Engine().with_image() as ready:
            yield ready
    except Unavailable as reason:
        if os.environ.get("SPOOL_TEST_ENGINE") == "required":
            pytest.fail(str(reason))
        pytest.skip(str(reason))


@pytest.fixture
def run(engine: Engine) -> Iterator[Callable[..., Container]]:
    """
    Starts containers; the test's end removes them.
    """
    yield engine.run
    engine.remove_containers()


@pytest.fixture
def start_agent(engine: Engine, db: Path, endpoint: Endpoint) -> Iterator[Callable[[], Agent]]:
    """
    Starts an agent on the engine's own folder; its log is shown where the test fails.
    """
    agents: list[Agent] = []

    def start() -> Agent:
        environment = {**endpoint.environment(), "ALLOW_TTY": "true"}
        agents.append(Agent(db, engine.containers, environment))
        return agents[-1].wait_started()

    yield start
    for agent in agents:
        with agent:
            pass  # leaving kills one that still runs
    for agent in agents[-1:]:
        print(agent.log.read_text())  # noqa: T201 - pytest shows it where the test fails


@pytest.fixture
def agent(start_agent: Callable[[], Agent]) -> Agent:
    """
    An agent that has begun to collect.
    """
    return start_agent()


@pytest.fixture
def delivered(endpoint: Endpoint) -> Delivered:
    """
    What arrived.
    """
    return Delivered(endpoint)


@pytest.fixture(scope="session")
def spool_image(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """
    Spool's own image, built from this folder.
    """
    base = os.environ.get("SPOOL_TEST_BASE_IMAGE")
    if not base:
        pytest.skip("SPOOL_TEST_BASE_IMAGE names no base for the image, python:3.13-slim say")
    with built_image(engine, base, tmp_path_factory.getbasetemp().parent) as image:
        yield image


@pytest.fixture
def host(engine: Engine, spool_image: str, endpoint: Endpoint) -> Iterator[Host]:
    """
    A host whose containers Spool collects from a container of its own.
    """
    ready = Host(engine, spool_image, endpoint)
    yield ready
    ready.remove()
