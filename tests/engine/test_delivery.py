"""
What a container of the real Docker Engine prints arrives in CloudWatch: all of it, once, whatever
happens to its files, its name, or the agent.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from agent import Agent, status, wait_until
from cloudwatch_endpoint import Endpoint
from engine.delivered import Delivered
from engine.docker_cli import Container, Engine

Run = Callable[..., Container]
StartAgent = Callable[[], Agent]

COUNT = """
i={first}
while [ $i -le {last} ]; do
  echo "{text}$i"
  [ $((i % {burst})) = 0 ] && usleep {pause_us}
  i=$((i + 1))
done
"""


def count(
    first: int, last: int, *, burst: int = 10**9, pause_us: int = 20_000, text: str = ""
) -> str:
    """
    A script that prints the numbers, each behind `text`, with a pause after each `burst`.
    """
    return COUNT.format(first=first, last=last, burst=burst, pause_us=pause_us, text=text)


def numbers(first: int, last: int) -> list[str]:
    """
    What `count` prints, sorted as text.
    """
    return sorted(str(number) for number in range(first, last + 1))


def test_every_line_of_stdout_and_stderr_arrives_once_with_dockers_own_time(
    run: Run, agent: Agent, delivered: Delivered
) -> None:
    container = run(
        "numbers",
        "i=1; while [ $i -le 20000 ]; do"
        " if [ $((i % 10)) = 0 ]; then echo $i >&2; else echo $i; fi; i=$((i + 1)); done",
    )
    assert container.wait() == 0
    messages = delivered.all_of(agent, container.name, 20_000)
    assert sorted(messages) == numbers(1, 20_000)
    assert sorted(delivered.events(container.name)) == sorted(container.logged())
    with closing(sqlite3.connect(f"file:{agent.db}?mode=ro", uri=True)) as spool:
        sources = spool.execute(
            "SELECT source, count(*) FROM events WHERE log_stream = ? GROUP BY source",
            [container.name],
        )
        assert dict(sources) == {
            f"{container.id[:12]}/stdout": 18_000,
            f"{container.id[:12]}/stderr": 2_000,
        }


def test_containers_from_before_the_agent_and_from_its_lifetime_are_collected(
    run: Run, start_agent: StartAgent, delivered: Delivered
) -> None:
    ended = run("ended", count(1, 500))
    ended.wait()
    running = run("running", f"{count(1, 500)} until [ -e /go ]; do usleep 20000; done; echo 501")
    agent = start_agent()
    new = run("new", count(1, 500))
    running.touch("/go")
    for container in (ended, new):
        delivered.wait_for(container.name, 500)
    assert sorted(delivered.all_of(agent, running.name, 501)) == numbers(1, 501)
    assert sorted(delivered.messages(ended.name)) == numbers(1, 500)
    assert sorted(delivered.messages(new.name)) == numbers(1, 500)


@pytest.mark.parametrize("compress", ["false", "true"])
def test_rotation_while_lines_come_costs_none(
    run: Run, agent: Agent, delivered: Delivered, compress: str
) -> None:
    container = run(
        "rotated",
        count(1, 2_000, burst=10),
        *("--log-opt", "max-size=20k", "--log-opt", "max-file=5"),
        *("--log-opt", f"compress={compress}"),
    )
    assert container.wait() == 0
    assert len(container.files()) == 5, container.files()
    assert sorted(delivered.all_of(agent, container.name, 2_000)) == numbers(1, 2_000)


def test_rotation_under_load_costs_no_line(run: Run, agent: Agent, delivered: Delivered) -> None:
    """
    The engine writes faster than lines are stored: files are removed before they were read.
    """
    container = run(
        "busy",
        f"echo 0; until [ -e /go ]; do usleep 20000; done; {count(1, 60_000)}",
        *("--log-opt", "max-size=1m", "--log-opt", "max-file=3"),
    )
    delivered.wait_for(container.name, 1)
    container.touch("/go")
    assert container.wait() == 0
    assert len(container.files()) == 3, container.files()
    assert sorted(delivered.all_of(agent, container.name, 60_001)) == numbers(0, 60_000)


@pytest.mark.parametrize("compress", ["false", "true"])
def test_files_rotated_away_before_the_agent_came_are_read(
    run: Run, start_agent: StartAgent, delivered: Delivered, compress: str
) -> None:
    container = run(
        "rotated-before",
        count(1, 1_000),
        *("--log-opt", "max-size=20k", "--log-opt", "max-file=20"),
        *("--log-opt", f"compress={compress}"),
    )
    container.wait()
    wait_until(
        lambda: compress == "false" or not any(name[-1].isdigit() for name in container.files()),
        what=f"all rotated files are compressed: {container.files()}",
    )
    assert sorted(delivered.all_of(start_agent(), container.name, 1_000)) == numbers(1, 1_000)
    assert sorted(delivered.events(container.name)) == sorted(container.logged())


def test_containers_that_live_for_milliseconds_and_remove_themselves_lose_no_line(
    engine: Engine, run: Run, agent: Agent, delivered: Delivered
) -> None:
    containers = [run("brief", count(1, 100), "--rm") for _ in range(20)]
    for container in containers:
        delivered.wait_for(container.name, 100)
    wait_until(
        lambda: not any(container.folder.exists() for container in containers),
        what="all are removed",
    )
    assert agent.stop() == 0
    for container in containers:
        assert sorted(delivered.messages(container.name)) == numbers(1, 100)


def test_a_restart_repeats_nothing_and_loses_nothing(
    run: Run, agent: Agent, delivered: Delivered
) -> None:
    container = run(
        "restarted",
        "run=$(cat /run-number 2>/dev/null || echo 0); run=$((run + 1)); echo $run > /run-number;"
        f'{count(1, 1_000, text="run $run line ")} printf "end of $run"',
    )
    for _ in range(2):
        container.wait()
        container.start()
    container.wait()
    messages = delivered.all_of(agent, container.name, 3 * 1_001)
    expected = [f"run {run} line {line}" for run in (1, 2, 3) for line in range(1, 1_001)]
    assert sorted(messages) == sorted([*expected, "end of 1", "end of 2", "end of 3"])


def test_after_a_rename_lines_go_to_the_new_name(
    run: Run, agent: Agent, delivered: Delivered
) -> None:
    container = run("first-name", f"{count(1, 10**6, burst=1)}", "--init")
    old = container.name
    delivered.wait_for(old, 20)
    new = container.rename()
    delivered.wait_for(new, 20)
    container.stop()
    logged = [text for _, text in container.logged()]
    messages = delivered.all_of(agent, new, len(logged) - len(delivered.messages(old)))
    before = delivered.messages(old)
    assert sorted(before, key=int) == logged[: len(before)]
    assert sorted(messages, key=int) == logged[len(before) :]


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--log-opt", "max-size=50k", "--log-opt", "max-file=20", "--log-opt", "compress=true"],
    ],
    ids=["one file", "compressed files"],
)
def test_an_agent_killed_while_a_container_prints_loses_nothing(
    run: Run,
    start_agent: StartAgent,
    delivered: Delivered,
    endpoint: Endpoint,
    options: list[str],
) -> None:
    container = run("under-killed", count(1, 5_000, burst=20), *options)
    kill_at = (500, 1_500, 2_500)
    for events in kill_at:
        agent = start_agent()
        delivered.wait_for(container.name, events)
        agent.kill()
    agent = start_agent()
    container.wait()
    messages = delivered.all_of(agent, container.name, 5_000)
    assert sorted(set(messages)) == numbers(1, 5_000)
    in_flight = max(call.event_count for call in endpoint.calls if call.stream == container.name)
    again = (Counter(messages) - Counter(set(messages))).total()
    assert again <= len(kill_at) * 4 * in_flight, "at most what four requests held at each kill"


def test_what_is_printed_while_no_agent_runs_is_collected_later(
    run: Run, start_agent: StartAgent, delivered: Delivered, db: Path
) -> None:
    container = run(
        "unwatched",
        f"{count(1, 500)} until [ -e /go ]; do usleep 20000; done; {count(501, 2_000)}",
        *("--log-opt", "max-size=20k", "--log-opt", "max-file=20"),
    )
    agent = start_agent()
    delivered.wait_for(container.name, 500)
    assert agent.stop() == 0
    container.touch("/go")
    container.wait()
    assert sorted(delivered.all_of(start_agent(), container.name, 2_000)) == numbers(1, 2_000)
    assert status(db)["unsent"] == 0


def test_containers_whose_logs_are_elsewhere_do_not_disturb(
    run: Run, agent: Agent, delivered: Delivered
) -> None:
    elsewhere = [
        run(driver, f"{count(1, 100)} sleep 60", "--init", "--log-driver", driver)
        for driver in ("none", "local")
    ]
    time.sleep(0.5)
    container = run("beside", count(1, 100))
    assert sorted(delivered.all_of(agent, container.name, 100)) == numbers(1, 100)
    assert [delivered.messages(other.name) for other in elsewhere] == [[], []]
