"""
The image on the real engine: it ships what other containers print and keeps its promises with no
rights but those it needs.
"""

from __future__ import annotations

import json
from collections import Counter

import pytest
from agent import wait_until
from cloudwatch_endpoint import REFUSED, Endpoint
from engine.delivered import Delivered
from engine.docker_cli import Container, Engine
from engine.image import HARDENED, VERSION, Host, log, status

# the first test of a worker builds the image
pytestmark = pytest.mark.timeout(400)

COUNT = "i={first}; while [ $i -le {last} ]; do echo $i; i=$((i + 1)); {then} done"


def count(first: int, last: int, then: str = "") -> str:
    """
    A script that prints numbers; `then` comes after each.
    """
    return COUNT.format(first=first, last=last, then=then and f"{then};")


def numbers(first: int, last: int) -> list[str]:
    """
    What `count` prints, sorted as text.
    """
    return sorted(str(number) for number in range(first, last + 1))


def streams(endpoint: Endpoint) -> set[str]:
    """
    The names of all streams that arrived.
    """
    return {stream for _, stream in endpoint.streams()}


def health(container: Container) -> str:
    """
    What the engine thinks of it: starting, healthy or unhealthy.
    """
    return str(container.inspect("{{json .State.Health.Status}}"))


def wait_for_health(container: Container, wanted: str) -> None:
    """
    Return when the engine thinks so.
    """
    wait_until(lambda: health(container) == wanted, timeout_s=60, what=f"it turns {wanted}")


def test_it_ships_other_containers_files_but_not_its_own(
    host: Host, endpoint: Endpoint, delivered: Delivered
) -> None:
    before = host.run("before", count(1, 3_000))
    before.wait()
    agent = host.spool(*HARDENED, *host.files)
    after = host.run("after", count(1, 3_000))
    for container in (before, after):
        delivered.wait_for(container.name, 3_000)
        assert sorted(delivered.messages(container.name)) == numbers(1, 3_000)
    assert log(agent)
    assert streams(endpoint) == {before.name, after.name}


def test_it_ships_through_the_socket_but_not_its_own(
    host: Host, endpoint: Endpoint, delivered: Delivered
) -> None:
    agent = host.spool(*HARDENED, *host.socket)
    local = host.run("local", count(1, 3_000) + "; sleep 2", "--log-driver", "local")
    plain = host.run("plain", count(1, 3_000) + "; sleep 2")
    for container in (local, plain):
        delivered.wait_for(container.name, 3_000)
        assert sorted(delivered.messages(container.name)) == numbers(1, 3_000)
    assert log(agent)
    assert streams(endpoint) == {local.name, plain.name}


def test_the_command_line_of_logspout_cloudwatch_works_as_it_is(
    host: Host, endpoint: Endpoint, delivered: Delivered
) -> None:
    """
    `docker run -v /var/run/docker.sock:/tmp/docker.sock IMAGE 'cloudwatch://REGION?OPTIONS'`.
    """
    container = host.run("counts", count(1, 1_000) + "; sleep 60")
    agent = host.spool(
        *("--volume", f"{host.engine.socket}:/tmp/docker.sock"),
        command=("cloudwatch://us-east-1?DEBUG=1&NOEC2",),
    )
    delivered.wait_for(container.name, 1_000)
    assert sorted(delivered.messages(container.name)) == numbers(1, 1_000)
    assert agent.name not in streams(endpoint)


def test_a_user_with_the_group_of_the_socket_is_enough(host: Host, delivered: Delivered) -> None:
    group = str(host.engine.socket.stat().st_gid)
    agent = host.spool(*HARDENED, "--user", "spool", "--group-add", group, *host.socket)
    container = host.run("counts", count(1, 1_000) + "; sleep 2")
    delivered.wait_for(container.name, 1_000)
    assert sorted(delivered.messages(container.name)) == numbers(1, 1_000)
    assert agent.execute("id", "-un") == "spool"


def test_killed_and_replaced_with_its_volume_it_has_lost_nothing(
    host: Host, delivered: Delivered
) -> None:
    """
    What was under way when it was killed may arrive twice: its batch has two attempts on record.
    """
    script = (
        f"{count(1, 1_000, then='usleep 1000')}; until [ -e /go ]; do usleep 20000; done;"
        f" {count(1_001, 4_000, then='usleep 1000')}"
    )
    container = host.run("counts", script)
    killed = host.spool(*HARDENED, *host.files)
    delivered.wait_for(container.name, 300)
    killed.kill()
    container.touch("/go")
    absent = len(container.logged())
    wait_until(lambda: len(container.logged()) > absent + 300, what="lines nobody collects")
    again = host.spool(*HARDENED, *host.files)
    container.wait()
    wait_until(
        lambda: set(delivered.messages(container.name)) == set(numbers(1, 4_000)),
        timeout_s=60,
        what="all lines",
    )
    twice = json.loads(
        again.execute(
            *("spool", "query", "--format", "json"),
            "SELECT coalesce(sum(events), 0) AS events FROM batches WHERE attempts > 1",
        )
    )[0]["events"]
    arrived = Counter(delivered.messages(container.name))
    assert max(arrived.values()) <= 2
    assert arrived.total() - 4_000 <= twice


def test_a_restart_after_a_kill_goes_on_with_the_same_container(
    host: Host, delivered: Delivered
) -> None:
    container = host.run("counts", count(1, 2_000, then="usleep 1000"))
    agent = host.spool(*HARDENED, *host.files)
    delivered.wait_for(container.name, 100)
    agent.kill()
    agent.start()
    container.wait()
    wait_until(
        lambda: set(delivered.messages(container.name)) == set(numbers(1, 2_000)),
        timeout_s=60,
        what="all lines",
    )


def test_sigterm_ends_it_with_0_and_what_it_collected_is_stored(
    host: Host, endpoint: Endpoint, delivered: Delivered
) -> None:
    endpoint.fail_always(REFUSED)
    container = host.run("counts", count(1, 1_000))
    container.wait()
    agent = host.spool(*HARDENED, *host.files)
    wait_until(lambda: status(agent)["unsent"] == 1_000, what="all lines are collected")
    agent.stop()
    assert agent.wait() == 0
    endpoint.start()
    drained = host.start_spool(*HARDENED, command=("replay", "cloudwatch://us-east-1?NOEC2"))
    assert drained.wait() == 0
    assert sorted(delivered.messages(container.name)) == numbers(1, 1_000)


def test_its_health_check_looks_at_the_lag_each_minute(engine: Engine, spool_image: str) -> None:
    described = engine.docker("inspect", "--format", "{{json .Config.Healthcheck}}", spool_image)
    check = json.loads(described)
    assert check["Test"] == ["CMD", "spool", "status", "--max-lag", "15m"]
    assert check["Interval"] == 60 * 10**9


def test_it_is_healthy_with_nothing_to_collect(host: Host) -> None:
    """
    Also with the command line that the image itself has.
    """
    agent = host.spool(*HARDENED, "--health-interval=1s", *host.files, command=())
    wait_for_health(agent, "healthy")


def test_it_is_unhealthy_as_long_as_cloudwatch_does_not_answer(
    host: Host, endpoint: Endpoint
) -> None:
    check = ("--health-cmd=spool status --max-lag 3s", "--health-interval=500ms")
    agent = host.spool(*HARDENED, *check, "--health-retries=1", *host.files)
    wait_for_health(agent, "healthy")
    endpoint.fail_always(REFUSED)
    host.run("counts", count(1, 10)).wait()
    wait_for_health(agent, "unhealthy")
    endpoint.start()
    wait_for_health(agent, "healthy")


def test_its_commands_work_beside_it(host: Host, delivered: Delivered) -> None:
    container = host.run("counts", count(1, 100))
    agent = host.spool(*HARDENED, *host.files)
    delivered.wait_for(container.name, 100)
    wait_until(lambda: status(agent)["sent"] == 100, what="the answer is settled")
    shown = agent.execute("spool", "events", "--stream", container.name, "--format", "jsonl")
    assert sorted(json.loads(line)["message"] for line in shown.splitlines()) == numbers(1, 100)
    agent.execute("spool", "replay", "--stream", container.name)
    delivered.wait_for(container.name, 200)


def test_it_has_what_it_runs_and_nothing_to_build_with(engine: Engine, spool_image: str) -> None:
    assert said_by(engine, spool_image, "spool", "--version").startswith("spool, version ")
    search = (
        "find / -xdev ( -name pip -o -name pip3 -o -name pip-*.whl -o -name setuptools"
        " -o -name ensurepip -o -name gcc -type f -o -name cc -o -name ld ) -print"
    )
    assert said_by(engine, spool_image, *search.split()) == ""


def test_it_can_ask_for_credentials_in_every_way_and_knows_no_other_service(
    engine: Engine, spool_image: str
) -> None:
    made = (
        "import boto3; session = boto3.Session(region_name='us-east-1');"
        "made = [session.client(name) for name in ('logs', 'sts', 'sso', 'sso-oidc', 'signin')];"
        "print(*session.get_available_services())"
    )
    known = said_by(engine, spool_image, "/opt/spool/bin/python", "-c", made)
    assert known == "logs signin sso sso-oidc sts"


def test_its_modules_are_compiled_for_good(engine: Engine, spool_image: str) -> None:
    """
    Nothing could be compiled again where it runs: each has its code beside it, of the kind that is
    taken without a look at the source's time.
    """
    counted = (
        "import glob; files = glob.glob('/opt/spool/lib/**/*.pyc', recursive=True);"
        "kinds = [open(file, 'rb').read(8)[4] for file in files];"
        "print('cli/__pycache__/run' in ' '.join(files), set(kinds))"
    )
    assert said_by(engine, spool_image, "python3", "-c", counted) == "True {1}"


def test_nothing_in_it_may_be_written_by_everyone(engine: Engine, spool_image: str) -> None:
    """
    But in folders where everyone has their own, such as /tmp.
    """
    search = "find / -xdev -perm -0002 ! -type l ! ( -type d -perm -1000 ) -print"
    assert said_by(engine, spool_image, *search.split()) == ""


def test_its_labels_say_what_it_is(engine: Engine, spool_image: str) -> None:
    described = engine.docker("inspect", "--format", "{{json .Config.Labels}}", spool_image)
    labels = json.loads(described)
    assert labels["org.opencontainers.image.version"] == VERSION
    assert labels["org.opencontainers.image.licenses"] == "MIT"


def said_by(engine: Engine, image: str, command: str, *arguments: str) -> str:
    """
    What another command than Spool prints in its image, with no devices or processes to see.
    """
    return engine.docker(
        *("run", "--rm", "--network", "none", "--label", engine.label, "--read-only"),
        *("--entrypoint", command, image, *arguments),
    )
