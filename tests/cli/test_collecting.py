"""
logspout's and logspout-cloudwatch's settings, through the command.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from agent import HOST_GROUP, Agent, LogWriter, spool, wait_until
from cloudwatch_endpoint import Endpoint
from docker_engine import FakeContainer, FakeEngine


def configure(writer: LogWriter, **config: Any) -> LogWriter:
    """
    Change what Docker says of a container: Env, Labels, Tty, Hostname.
    """
    path = writer.folder / "config.v2.json"
    known = json.loads(path.read_text())
    known["Config"].update(config)
    path.write_text(json.dumps(known))
    return writer


def collect(
    db: Path,
    containers: Path,
    endpoint: Endpoint,
    *options: str,
    route: str = "cloudwatch://us-east-1?NOEC2",
    **environ: str,
) -> str:
    """
    `spool run --once`; what it logged.
    """
    done = spool(
        *("run", route, "--once", "--db", db, "--source", "files"),
        *("--containers-dir", containers, *options),
        environment={**endpoint.environment(), **environ},
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture
def web(containers: Path) -> LogWriter:
    writer = LogWriter(containers, "a" * 64, "web")
    writer.write("one", "two", "three")
    return writer


def test_a_containers_own_templates_come_before_the_agents(
    endpoint: Endpoint, db: Path, containers: Path, web: LogWriter
) -> None:
    worker = LogWriter(containers, "b" * 64, "worker")
    worker.write("hello")
    env = ["LOGSPOUT_GROUP=/apps/{{.Env.APP}}", 'LOGSPOUT_STREAM={{.Lbl "com.x.y"}}', "APP=shop"]
    configure(worker, Env=env, Labels={"com.x.y": "blue"})
    collect(db, containers, endpoint, LOGSPOUT_STREAM="{{.Name}}-{{.Host}}")
    assert endpoint.streams() == {(HOST_GROUP, f"web-{'a' * 12}"), ("/apps/shop", "blue")}


def test_a_template_that_fails_costs_the_name_and_not_the_lines(
    endpoint: Endpoint, db: Path, containers: Path, web: LogWriter
) -> None:
    configure(web, Env=['LOGSPOUT_STREAM={{.Lbl "absent"}}', "LOGSPOUT_GROUP={{"])
    log = collect(db, containers, endpoint)
    assert endpoint.messages(HOST_GROUP, "web") == ["one", "two", "three"]
    assert log.count("web: LOGSPOUT_GROUP or LOGSPOUT_STREAM gives it no name") == 1
    assert "absent" not in log, "what a container's environment holds is in no log"


def test_a_template_of_the_agents_that_fails_is_told(
    endpoint: Endpoint, db: Path, containers: Path, web: LogWriter
) -> None:
    log = collect(db, containers, endpoint, LOGSPOUT_GROUP="{{.Nme}}")
    assert "`spool names` says why" in log


def test_names_that_cloudwatch_does_not_take_are_made_legal_and_stay_apart(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    for digit, raw in (("a", "x:y"), ("b", "x*y")):
        writer = LogWriter(containers, digit * 64, digit)
        writer.write(raw)
        configure(writer, Env=[f"LOGSPOUT_STREAM={raw}", f"LOGSPOUT_GROUP={raw} é"])
    collect(db, containers, endpoint)
    assert len(endpoint.streams()) == 2
    assert endpoint.violations == []


def test_two_containers_with_one_name_share_a_stream_in_order_of_time(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    first = LogWriter(containers, "a" * 64, "web")
    second = LogWriter(containers, "b" * 64, "web")
    for number in range(0, 10, 2):
        first.write(f"line {number}")
        second.write(f"line {number + 1}")
    collect(db, containers, endpoint)
    assert sorted(endpoint.messages(HOST_GROUP, "web")) == [f"line {n}" for n in range(10)]
    times = [timestamp for timestamp, _ in endpoint.events(HOST_GROUP, "web")]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("config", "environ"),
    [
        ({"Env": ["LOGSPOUT=ignore"]}, {}),
        ({"Labels": {"quiet": "true"}}, {"EXCLUDE_LABEL": "quiet"}),
        ({"Labels": {"tier": "back"}}, {"EXCLUDE_LABELS": "quiet;tier:back"}),
        ({"Tty": True}, {}),
    ],
)
def test_who_is_not_to_be_collected_is_not(
    endpoint: Endpoint,
    db: Path,
    containers: Path,
    web: LogWriter,
    config: dict[str, Any],
    environ: dict[str, str],
) -> None:
    other = LogWriter(containers, "b" * 64, "other")
    other.write("secret")
    configure(other, **config)
    log = collect(db, containers, endpoint, **environ)
    assert endpoint.streams() == {(HOST_GROUP, "web")}
    assert "not collecting other: " in log


def test_a_filter_of_the_route_chooses_containers(
    endpoint: Endpoint, db: Path, containers: Path, web: LogWriter
) -> None:
    LogWriter(containers, "b" * 64, "db-1").write("no")
    collect(db, containers, endpoint, route="cloudwatch://us-east-1?NOEC2&filter.name=w*")
    assert endpoint.streams() == {(HOST_GROUP, "web")}


def test_a_filter_of_the_route_chooses_stderr_alone(
    endpoint: Endpoint, db: Path, containers: Path, web: LogWriter
) -> None:
    web.write("oops", stream="stderr")
    collect(db, containers, endpoint, route="cloudwatch://us-east-1?NOEC2&filter.sources=stderr")
    assert endpoint.messages(HOST_GROUP, "web") == ["oops"]


def is_backlog_skipped(db: Path) -> bool:
    sql = "SELECT count(*) FROM checkpoint WHERE source = 'json-file:begun'"
    return spool("query", "--db", db, sql).stdout.strip() == "1"


def test_without_backlog_only_what_is_written_from_now_on_is_sent(
    endpoint: Endpoint, db: Path, containers: Path, web: LogWriter
) -> None:
    environment = {**endpoint.environment(), "BACKLOG": "false"}
    with Agent(db, containers, environment) as agent:
        agent.wait_started()
        wait_until(lambda: is_backlog_skipped(db))
        web.write("four")
        LogWriter(containers, "b" * 64, "later").write("all of it")
        wait_until(lambda: len(endpoint.streams()) == 2)
        agent.stop()
    assert endpoint.messages(HOST_GROUP, "web") == ["four"]
    assert endpoint.messages(HOST_GROUP, "later") == ["all of it"]
    web.write("five, while it was stopped")
    collect(db, containers, endpoint, BACKLOG="false")
    assert endpoint.messages(HOST_GROUP, "web") == ["four", "five, while it was stopped"]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 9])
def test_a_tail_is_the_last_lines_through_rotation(
    endpoint: Endpoint, db: Path, containers: Path, web: LogWriter, count: int
) -> None:
    web.rotate()
    web.write("four", "five")
    collect(db, containers, endpoint, TAIL=str(count))
    everything = ["one", "two", "three", "four", "five"]
    expected = everything[max(0, 5 - count) :] if count else []
    assert endpoint.messages(HOST_GROUP, "web") == expected


def test_a_stack_trace_is_one_event(endpoint: Endpoint, db: Path, containers: Path) -> None:
    trace = ["ERROR failed", "\tat a.B(B.java:1)", "\tat a.Main(Main.java:2)"]
    writer = LogWriter(containers, "a" * 64, "web", running=False)
    writer.write(*trace, "INFO next")
    collect(db, containers, endpoint, "--multiline", r"^[A-Z]")
    assert endpoint.messages(HOST_GROUP, "web") == ["\n".join(trace), "INFO next"]


def test_the_end_of_a_message_of_several_lines_is_waited_for_only_briefly(
    endpoint: Endpoint, db: Path, containers: Path, web: LogWriter
) -> None:
    with Agent(db, containers, {**endpoint.environment(), "MULTILINE_MATCH": "nonfirst"}):
        wait_until(lambda: endpoint.messages(HOST_GROUP, "web") == ["one", "two", "three"])


def test_blank_lines_may_be_kept_as_a_single_space(
    endpoint: Endpoint, db: Path, containers: Path, web: LogWriter
) -> None:
    web.write("", "end")
    collect(db, containers, endpoint, "--keep-blank")
    assert endpoint.messages(HOST_GROUP, "web") == ["one", "two", "three", " ", "end"]


def test_a_long_line_is_split_at_the_size_that_was_set(
    endpoint: Endpoint, db: Path, containers: Path, web: LogWriter
) -> None:
    web.write("é" * 2_000)
    collect(db, containers, endpoint, "--max-event", "1KiB", "--multiline", r"^\S")
    *_, first, second, third, fourth, fifth = endpoint.messages(HOST_GROUP, "web")
    assert first + second + third + fourth + fifth == "é" * 2_000
    assert len(first.encode()) == 998  # CloudWatch counts 26 bytes more


def test_names_tells_what_would_happen_and_why(containers: Path, web: LogWriter) -> None:
    hidden = configure(LogWriter(containers, "b" * 64, "hidden"), Env=["LOGSPOUT=ignore"])
    odd = configure(LogWriter(containers, "c" * 64, "odd"), Env=["LOGSPOUT_STREAM=a:b"])
    broken = configure(LogWriter(containers, "d" * 64, "broken"), Env=["LOGSPOUT_GROUP={{"])
    done = spool(
        *("names", "cloudwatch://us-east-1?NOEC2", "--source", "files", "--json"),
        *("--containers-dir", containers),
    )
    assert done.returncode == 0, done.stderr
    entries = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert entries["web"] == {
        "id": web.id,
        "name": "web",
        "collected": True,
        "reason": "its json-file log on disk",
        "source": "files",
        "group": HOST_GROUP,
        "stream": "web",
        "raw_group": HOST_GROUP,
        "raw_stream": "web",
        "error": None,
    }
    assert entries[hidden.name]["collected"] is False
    assert "LOGSPOUT=ignore" in entries[hidden.name]["reason"]
    assert entries[odd.name]["raw_stream"] == "a:b"
    assert ":" not in entries[odd.name]["stream"]
    assert entries[broken.name]["group"] == HOST_GROUP
    assert "LOGSPOUT_GROUP" in entries[broken.name]["error"]


def test_names_says_that_nothing_is_collected_where_there_is_no_source(
    containers: Path, web: LogWriter
) -> None:
    done = spool(
        *("names", "cloudwatch://us-east-1?NOEC2", "--source", "none", "--json"),
        *("--containers-dir", containers),
    )
    (entry,) = json.loads(done.stdout)
    assert (entry["name"], entry["collected"], entry["source"]) == ("web", False, None)
    assert entry["reason"] == "nothing is collected with --source none"


def test_names_never_shows_an_environment(containers: Path, web: LogWriter) -> None:
    configure(web, Env=["PASSWORD=hunter2", "LOGSPOUT_GROUP={{.Env.PASSWORD.x}}"])
    for output_format in ("json", "table", "text", "csv"):
        done = spool(
            *("names", "cloudwatch://us-east-1?NOEC2", "--source", "files"),
            *("--containers-dir", containers, "--format", output_format),
        )
        assert "hunter2" not in done.stdout + done.stderr


def test_where_there_are_no_containers_names_tells_where_it_looked(
    containers: Path, tmp_path: Path
) -> None:
    def told(*options: str | Path) -> str:
        done = spool("names", "cloudwatch://us-east-1?NOEC2", *options)
        assert (done.returncode, done.stdout) == (0, "")
        assert len(done.stderr.splitlines()) == 1
        return done.stderr

    missing = tmp_path / "missing"
    assert f"no containers: {missing} is not there; " in told("--containers-dir", missing)
    (containers / "file").touch()
    shown = told("--containers-dir", containers, "--pods-dir", containers / "file")
    assert f"{containers} has none; {containers}/file cannot be read (Not a directory)" in shown
    engine = {"DOCKER_HOST": f"unix://{missing}"}
    target = ("--containers-dir", containers, "--source", "auto")
    done = spool("names", "cloudwatch://us-east-1?NOEC2", *target, environment=engine)
    assert "no Docker Engine answers" in done.stderr


def test_an_inspection_that_is_no_object_is_no_engines_answer(
    containers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeContainer, "inspect", lambda _: [])
    with FakeEngine(tmp_path / "docker.sock") as engine:
        engine.add("web")
        where = ("--containers-dir", containers, "--source", "api")
        environment = {"DOCKER_HOST": engine.base_url}
        done = spool("names", "cloudwatch://us-east-1?NOEC2", *where, environment=environment)
    assert "no Docker Engine answers" in done.stderr
    assert len(done.stderr.splitlines()) == 1
