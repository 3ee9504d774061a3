"""
spool run: from Docker's files to CloudWatch, as a user runs it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from agent import (
    HOST_GROUP,
    ROUTE,
    SPOOL,
    Agent,
    LogWriter,
    clean_environment,
    engine_time,
    is_spool,
    spool,
    status,
    wait_until,
)
from cloudwatch_endpoint import HANG, Endpoint

WEB, WORKER, CRON = "a" * 64, "b" * 64, "c" * 64
LAZY = "cloudwatch://us-east-1?NOEC2&DELAY=3600"
PART = 16_384
MAX_MESSAGE_BYTES = 1_048_550
STOP_S = 18.0
"""So long is given to a stop that takes 10; one that waits for a request's 20 is found out."""
NOBODY = 65_534


def run_once(
    db: Path, containers: Path, endpoint: Endpoint, *options: str, route: str = ROUTE
) -> None:
    """
    `spool run --once`, which must succeed.
    """
    done = spool(
        *("run", route, "--once", "--db", db, "--source", "files"),
        *("--containers-dir", containers, *options),
        environment=endpoint.environment(),
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def write_record(container: LogWriter, log: str, at: str, stream: str = "stdout") -> None:
    """
    One record, exactly so.
    """
    record = json.dumps({"log": log, "stream": stream, "time": at}, ensure_ascii=False)
    with container.path.open("a") as file:
        file.write(record + "\n")


def write_parts(container: LogWriter, line: str, stream: str = "stdout", *, end: str = "\n") -> str:
    """
    A long line as Docker cuts it: parts of 16 KiB, all with the time of the first.
    """
    at = engine_time()
    *parts, last = [line[start : start + PART] for start in range(0, len(line), PART)]
    for part in parts:
        write_record(container, part, at, stream)
    write_record(container, last + end, at, stream)
    return at


def arrived(endpoint: Endpoint, stream: str) -> list[str]:
    """
    The messages of a stream in the order of their times, as CloudWatch shows them.
    """
    events = endpoint.events(HOST_GROUP, stream)
    return [message for _, message in sorted(events, key=lambda event: event[0])]


def logged(container: LogWriter) -> list[tuple[int, str]]:
    """
    (ms, message) as they stand in the container's file.
    """
    records = [json.loads(line) for line in container.path.read_text().splitlines()]
    return [
        (
            int(datetime.fromisoformat(record["time"][:19] + "+00:00").timestamp()) * 1000
            + int((record["time"][19:].strip(".Z") + "000")[:3]),
            record["log"][:-1],
        )
        for record in records
    ]


# --- collecting -------------------------------------------------------------------------------


def test_each_container_has_its_stream_in_the_hosts_group_with_dockers_own_times(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    web = LogWriter(containers, WEB, "web")
    worker = LogWriter(containers, WORKER, "my_worker.1")
    web.write("before the start", "grüße 😀")
    with Agent(db, containers, endpoint.environment()) as agent:
        wait_until(lambda: endpoint.event_count() == 2)
        web.write("after the start")
        worker.write("to stderr", stream="stderr")
        cron = LogWriter(containers, CRON, "cron")
        cron.write("of a new container")
        wait_until(lambda: endpoint.event_count() == 5)
        assert agent.stop() == 0
        log = agent.log.read_text()
    assert endpoint.streams() == {(HOST_GROUP, name) for name in ("web", "my_worker.1", "cron")}
    for container in (web, worker, cron):
        assert endpoint.events(HOST_GROUP, container.name) == logged(container)
    assert {call.is_gzip for call in endpoint.calls if call.operation == "PutLogEvents"} == {True}
    assert "grüße" not in log, "the agent's own log holds no line of a container"
    assert " warning " not in log
    assert " error " not in log


def test_what_comes_after_a_quiet_time_is_noticed_at_once(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    """
    A line, a new container, and the containers folder itself, each after the source has begun to
    wait for a bell.
    """
    folders = [tmp_path / name / "containers" for name in ("line", "container", "folder")]
    for folder in folders[:2]:
        folder.mkdir(parents=True)
    web = LogWriter(folders[0], WEB, "web")
    web.write("first")
    agents = [
        Agent(folder.parent / "spool.db", folder, endpoint.environment()) for folder in folders
    ]
    try:
        wait_until(lambda: arrived(endpoint, "web") == ["first"])
        for agent in agents:
            agent.wait_started()
        time.sleep(6.5)  # QUIET_S is 5
        web.write("second")
        LogWriter(folders[1], WORKER, "worker").write("new container")
        LogWriter(folders[2], CRON, "cron").write("new folder")
        wait_until(lambda: endpoint.event_count() == 4, timeout_s=8)  # RESCAN_S is 10
        assert [agent.stop() for agent in agents] == [0, 0, 0]
    finally:
        for agent in agents:
            agent.__exit__()
    assert arrived(endpoint, "web") == ["first", "second"]
    assert arrived(endpoint, "worker") == ["new container"]
    assert arrived(endpoint, "cron") == ["new folder"]


def test_a_restart_repeats_nothing_and_reads_what_came_and_was_rotated_meanwhile(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    web = LogWriter(containers, WEB, "web")
    web.write("1", "2")
    run_once(db, containers, endpoint)
    web.write("3")
    web.rotate()
    web.write("4")
    web.rotate()
    web.write("5")
    worker = LogWriter(containers, WORKER, "worker", running=False)
    worker.write("of a container that lived meanwhile")
    run_once(db, containers, endpoint)
    run_once(db, containers, endpoint)
    assert arrived(endpoint, "web") == ["1", "2", "3", "4", "5"]
    assert arrived(endpoint, "worker") == ["of a container that lived meanwhile"]
    assert status(db)["collected"] == 6


def test_rotation_while_it_runs_costs_no_line(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    web = LogWriter(containers, WEB, "web")
    lines = [f"line {number}" for number in range(3_000)]
    with Agent(db, containers, endpoint.environment()) as agent:
        agent.wait_started()
        for start in range(0, len(lines), 100):
            web.write(*lines[start : start + 100])
            web.rotate(keep=40)
            time.sleep(0.02)
        wait_until(lambda: endpoint.event_count() >= len(lines))
        assert agent.stop() == 0
    assert Counter(arrived(endpoint, "web")) == Counter(lines)
    assert status(db)["skipped"] == {}


def test_after_a_rename_lines_go_to_the_stream_of_the_new_name(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    web = LogWriter(containers, WEB, "old")
    with Agent(db, containers, endpoint.environment()) as agent:
        web.write("0")
        wait_until(lambda: arrived(endpoint, "old"))
        web.configure(name="new")
        count = 1
        while not arrived(endpoint, "new"):
            web.write(str(count))
            count += 1
            time.sleep(0.05)
            assert count < 400, "the new name is not noticed"
        assert agent.stop() == 0
    old, new = (arrived(endpoint, name) for name in ("old", "new"))
    assert old + new == [str(number) for number in range(count)]


def test_the_last_lines_of_a_removed_container_arrive(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    web = LogWriter(containers, WEB, "web")
    web.write("first")
    with Agent(db, containers, endpoint.environment()) as agent:
        wait_until(lambda: endpoint.event_count() == 1)
        web.write("last")
        web.write("unended", newline=False)
        web.remove()
        wait_until(lambda: endpoint.event_count() == 3)
        same_name = LogWriter(containers, WORKER, "web")
        same_name.write("of the next one")
        wait_until(lambda: endpoint.event_count() == 4)
        assert agent.stop() == 0
    assert arrived(endpoint, "web") == ["first", "last", "unended", "of the next one"]


def test_two_lines_that_docker_cut_into_parts_between_each_other_arrive_whole(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    web = LogWriter(containers, WEB, "web", running=False)
    out, err = "o" * (2 * PART + 5), "e" * (PART + 7)
    begun, other = engine_time(), engine_time()
    write_record(web, out[:PART], begun)
    write_record(web, err[:PART], other, "stderr")
    write_record(web, out[PART : 2 * PART], begun)
    write_record(web, err[PART:] + "\n", other, "stderr")
    write_record(web, out[2 * PART :] + "\n", begun)
    run_once(db, containers, endpoint)
    assert sorted(arrived(endpoint, "web")) == sorted([out, err])


def test_a_line_in_parts_is_whole_though_a_restart_came_between_them(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    web = LogWriter(containers, WEB, "web")
    web.write("before")
    at = engine_time()
    write_record(web, "x" * PART, at)
    run_once(db, containers, endpoint)
    assert arrived(endpoint, "web") == ["before"]
    write_record(web, "y\n", at)
    run_once(db, containers, endpoint)
    assert arrived(endpoint, "web") == ["before", "x" * PART + "y"]


def test_a_line_over_the_limit_of_an_event_is_split_and_nothing_of_it_is_lost(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    web = LogWriter(containers, WEB, "web", running=False)
    line = "0123456789é" * 130_000
    write_parts(web, line)
    web.write("after")
    run_once(db, containers, endpoint)
    *parts, after = arrived(endpoint, "web")
    assert after == "after"
    # two requests at a time: their order is that of the network
    assert "".join(sorted(parts, key=len, reverse=True)) == line
    assert [len(part.encode()) <= MAX_MESSAGE_BYTES for part in parts] == [True] * 2
    times_ms = {at_ms for at_ms, text in endpoint.events(HOST_GROUP, "web") if text != "after"}
    assert len(times_ms) == 1, "that of the line"


def test_odd_lines_arrive_as_they_are_and_blank_or_damaged_ones_are_counted(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    web = LogWriter(containers, WEB, "web")
    odd = ["carriage return\r", " ", "\ttab\x00nul\x1b[31m", '{"log":"a record"}', "\u2028"]
    web.write(*odd, "", "\r", "")
    with web.path.open("a") as file:
        file.write('{"log":"cut o\n')
    web.write("behind the damage")
    ended = LogWriter(containers, WORKER, "ended", running=False)
    ended.write("last, ", newline=False)
    run_once(db, containers, endpoint)
    assert arrived(endpoint, "web") == [*odd, "\r", "behind the damage"]
    assert arrived(endpoint, "ended") == ["last, "]
    assert status(db)["skipped"] == {"blank lines": 2, "damaged records": 1}


def test_a_container_whose_configuration_cannot_be_read_is_collected_by_its_id(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    for container_id, damage in ((WEB, None), (WORKER, "{"), (CRON, "[]")):
        container = LogWriter(containers, container_id, "unread")
        container.write("kept")
        config = container.folder / "config.v2.json"
        if damage is None:
            config.unlink()
        else:
            config.write_text(damage)
    (containers / "no container").mkdir()
    (containers / "a file").touch()
    run_once(db, containers, endpoint)
    names = {container_id[:12] for container_id in (WEB, WORKER, CRON)}
    assert endpoint.streams() == {(HOST_GROUP, name) for name in names}


# --- sending ----------------------------------------------------------------------------------


def test_an_outage_is_a_longer_queue_and_everything_arrives_once_after_it(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    web = LogWriter(containers, WEB, "web")
    with Agent(db, containers, endpoint.environment()) as agent:
        web.write("before")
        wait_until(lambda: endpoint.event_count() == 1 and status(db)["sent"] == 1)
        endpoint.refuse()
        for number in range(3):
            web.write(*(f"{number} {line}" for line in range(500)))
            wait_until(lambda wanted=500 * (number + 1): status(db)["unsent"] == wanted)
        LogWriter(containers, WORKER, "worker").write("new in the outage")
        wait_until(lambda: status(db)["unsent"] == 1_501)
        endpoint.accept()
        wait_until(lambda: status(db)["sent"] == 1_502)
        assert agent.stop() == 0
    # within a millisecond two requests may arrive in any order
    assert sorted(endpoint.events(HOST_GROUP, "web")) == sorted(logged(web))
    assert len(logged(web)) == 1_501
    assert arrived(endpoint, "worker") == ["new in the outage"]


@pytest.mark.timeout(300)
def test_what_waits_too_long_without_an_endpoint_is_exit_75_and_kept(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    """
    `run --once`, `replay`, and `replay` beside an agent: each gives up after 20 s.
    """
    endpoint.refuse()
    places = [tmp_path / name for name in ("once", "replay", "beside")]
    for place in places:
        LogWriter(place / "containers", WEB, "web").write("kept")
    for place in places[1:]:
        target = ("--db", place / "spool.db", "--group", "app", "--stream", "web")
        assert spool("put", *target, stdin="kept").returncode == 0
    once, alone, beside = (place / "spool.db" for place in places)
    folder = ("--containers-dir", places[0] / "containers")
    environment = endpoint.environment()
    with (
        Agent(beside, tmp_path / "none", environment) as agent,
        ThreadPoolExecutor() as pool,
    ):
        agent.wait_started()
        commands = (
            ("run", ROUTE, "--once", "--db", once, *folder),
            ("replay", "--db", alone),
            ("replay", "--db", beside),
        )
        done = list(pool.map(lambda one: spool(*one, environment=environment), commands))
        assert [one.returncode for one in done] == [75, 75, 75], [one.stderr for one in done]
        assert "run `spool replay` again" in done[1].stderr
        assert "the agent goes on" in done[2].stderr
        endpoint.accept()
        wait_until(lambda: status(beside)["sent"] == 1)
        assert agent.stop() == 0
    assert [status(db)["unsent"] for db in (once, alone)] == [1, 1]
    run_once(once, places[0] / "containers", endpoint)
    assert arrived(endpoint, "web") == ["kept"]


def test_once_with_no_container_at_all_is_done(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    run_once(db, containers, endpoint)
    assert endpoint.calls == []


def test_once_ships_a_long_backlog_in_legal_batches(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    web = LogWriter(containers, WEB, "web")
    lines = [f"line {number} " + "x" * (number % 300) for number in range(25_000)]
    web.write(*lines)
    run_once(db, containers, endpoint, "--concurrency", "2")
    assert Counter(arrived(endpoint, "web")) == Counter(lines)
    assert max(call.event_count for call in endpoint.calls) > 1_000


def test_no_gzip_sends_plain_bodies(endpoint: Endpoint, db: Path, containers: Path) -> None:
    LogWriter(containers, WEB, "web").write("plain")
    run_once(db, containers, endpoint, "--no-gzip")
    assert arrived(endpoint, "web") == ["plain"]
    assert {call.is_gzip for call in endpoint.calls if call.operation == "PutLogEvents"} == {False}


def test_log_groups_get_the_class_and_the_retention_that_were_asked_for(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    LogWriter(containers, WEB, "web").write("hello")
    options = ("--retention-days", "30", "--log-group-class", "infrequent_access")
    run_once(db, containers, endpoint, *options)
    group = endpoint.group(HOST_GROUP)
    assert group is not None
    assert (group.retention_days, group.group_class) == (30, "INFREQUENT_ACCESS")


def test_tls_with_a_ca_bundle_of_ones_own(db: Path, containers: Path) -> None:
    LogWriter(containers, WEB, "web").write("over TLS")
    with Endpoint(tls=True) as endpoint:
        run_once(db, containers, endpoint)
        assert arrived(endpoint, "web") == ["over TLS"]
        assert endpoint.violations == []


def test_to_an_endpoint_with_an_unknown_ca_nothing_is_sent_and_status_tells(
    db: Path, containers: Path
) -> None:
    LogWriter(containers, WEB, "web").write("kept")
    with Endpoint(tls=True) as endpoint:
        environment = endpoint.environment()
        del environment["AWS_CA_BUNDLE"]
        with Agent(db, containers, environment) as agent:
            agent.wait_started()
            wait_until(lambda: status(db)["streams"], what="stored")
            wait_until(lambda: status(db)["streams"][0]["last_error"], what="an error is told")
            assert "certificate" in status(db)["streams"][0]["last_error"].lower()
            [warning] = wait_until(lambda: status(db)["warnings"], what="it is told for all")
            assert warning["text"].startswith("CloudWatch Logs takes nothing now, lines are kept:")
            assert status(db)["unsent"] == 1
            assert agent.stop() == 0
        assert endpoint.calls == []


# --- stopping ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_flushes_what_is_there_and_exits_0(
    endpoint: Endpoint, db: Path, containers: Path, number: int
) -> None:
    web = LogWriter(containers, WEB, "web")
    with Agent(db, containers, endpoint.environment(), route=LAZY) as agent:
        agent.wait_started()
        web.write("stored")
        wait_until(lambda: status(db)["unsent"] == 1)
        web.write("just written")
        agent.process.send_signal(number)
        assert agent.process.wait(STOP_S) == 0
        assert "Traceback" not in agent.log.read_text()
    assert arrived(endpoint, "web") == ["stored", "just written"]
    assert status(db)["unsent"] == 0


def test_with_an_endpoint_that_hangs_it_is_gone_within_10_seconds_and_nothing_is_lost(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    endpoint.fail_always(HANG)
    web = LogWriter(containers, WEB, "web")
    web.write("on its way")
    with Agent(db, containers, endpoint.environment()) as agent:
        agent.wait_started()
        wait_until(lambda: status(db)["unsent"] == 1)
        wait_until(lambda: endpoint.calls or on_its_way(db), what="a request hangs")
        web.write("waiting")
        assert agent.stop(timeout_s=STOP_S) == 0
        assert "Traceback" not in agent.log.read_text()
    endpoint.heal()
    run_once(db, containers, endpoint)
    assert arrived(endpoint, "web") == ["on its way", "waiting"]


def on_its_way(db: Path) -> bool:
    done = spool("query", "--db", db, "SELECT count(*) FROM batches WHERE state = 'sending'")
    return done.stdout.strip() not in ("", "0")


def test_a_signal_during_the_start_ends_it_with_0_too(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    """
    From the moment that it handles signals at all, long before it has begun to collect.
    """
    LogWriter(containers, WEB, "web").write("one")
    for number in (signal.SIGTERM, signal.SIGINT):
        with Agent(db, containers, endpoint.environment()) as agent:
            wait_until(lambda pid=agent.process.pid: handles_sigterm(pid))
            agent.process.send_signal(number)
            assert agent.process.wait(STOP_S) == 0, agent.log.read_text()
            log = agent.own_log()
            assert log == b"" or b" started" in log, "unless it was quicker than the signal"
    run_once(db, containers, endpoint)
    assert arrived(endpoint, "web") == ["one"]


def handles_sigterm(pid: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:"))
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def test_a_second_agent_is_told_who_ships_and_the_first_goes_on(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    web = LogWriter(containers, WEB, "web")
    with Agent(db, containers, endpoint.environment()) as agent:
        agent.wait_started()
        second = spool(
            *("run", ROUTE, "--db", db, "--containers-dir", containers),
            environment=endpoint.environment(),
        )
        assert second.returncode == 1
        assert f"process {agent.process.pid} ships from this spool already" in second.stderr
        assert len(second.stderr.splitlines()) == 1
        web.write("goes on")
        wait_until(lambda: arrived(endpoint, "web") == ["goes on"])
        assert agent.stop() == 0
    run_once(db, containers, endpoint)


# --- what it is told --------------------------------------------------------------------------


def test_a_route_alone_is_a_run(endpoint: Endpoint, db: Path, containers: Path) -> None:
    LogWriter(containers, WEB, "web").write("one")
    settings = ("--once", "--db", db, "--containers-dir", containers)
    done = spool("cloudwatch://us-east-1?NOEC2", *settings, environment=endpoint.environment())
    assert done.returncode == 0, done.stderr
    assert arrived(endpoint, "web") == ["one"]


def test_everything_can_be_told_by_the_environment(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    LogWriter(containers, WEB, "web").write("one")
    environment = {
        "ROUTE_URIS": "cloudwatch://auto",
        "NOEC2": "1",
        "SPOOL_DB": str(db),
        "SPOOL_SOURCE": "files",
        "SPOOL_CONTAINERS_DIR": str(containers),
        "SPOOL_GZIP": "false",
        "SPOOL_LOG_FORMAT": "json",
        "SPOOL_KEEP": "2h",
        "SPOOL_CONCURRENCY": "1",
    }
    done = spool("run", "--once", environment=endpoint.environment() | environment)
    assert done.returncode == 0, done.stderr
    assert arrived(endpoint, "web") == ["one"]
    assert not any(call.is_gzip for call in endpoint.calls)
    records = [json.loads(line) for line in done.stderr.splitlines()]
    assert {"time", "level", "logger", "message"} <= records[0].keys()
    assert records[0]["message"] == "started"


def test_without_a_source_it_ships_what_is_put(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    LogWriter(containers, WEB, "web").write("not collected")
    assert spool("put", "--db", db, "--group", "g", "--stream", "s", stdin="one").returncode == 0
    run_once(db, containers, endpoint, "--source", "none")
    assert endpoint.streams() == {("g", "s")}


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o277])
def test_files_are_for_their_owner_only_whatever_the_umask(
    endpoint: Endpoint, tmp_path: Path, containers: Path, umask: int
) -> None:
    db = tmp_path / "new" / "deep" / "spool.db"
    LogWriter(containers, WEB, "web").write("one")
    with umask_of(umask):
        run = ("run", ROUTE, "--once", "--db", db, "--containers-dir", containers)
        done = spool(*run, environment=endpoint.environment())
        assert done.returncode == 0, done.stderr
        with Agent(db, containers, endpoint.environment()) as agent:
            agent.log.chmod(0o600)
            agent.wait_started()
            modes = {path.name: path.stat().st_mode & 0o777 for path in db.parent.iterdir()}
            assert agent.stop() == 0
    assert {"spool.db", "spool.db-wal", "spool.db-shm", "spool.db.lock"} <= modes.keys()
    assert set(modes.values()) == {0o600}, modes
    made = (tmp_path / "new", tmp_path / "new" / "deep")
    assert [folder.stat().st_mode & 0o777 for folder in made] == [0o700, 0o700]


@pytest.mark.parametrize(("mode", "is_told"), [(0o644, True), (0o640, False), (0o600, False)])
def test_a_file_made_before_keeps_its_mode_and_one_open_to_all_is_told_of(
    endpoint: Endpoint, db: Path, containers: Path, mode: int, is_told: bool
) -> None:
    run_once(db, containers, endpoint)
    db.chmod(mode)
    with Agent(db, containers, endpoint.environment()) as agent:
        agent.wait_started()
        assert agent.stop() == 0
    assert db.stat().st_mode & 0o777 == mode
    assert ("by every user of this host" in agent.log.read_text()) == is_told


def test_another_users_spool_is_not_called_damaged(db: Path, containers: Path) -> None:
    """
    As root without its powers, in a folder where it may write: a volume that a user had before.
    """
    if os.geteuid() or not shutil.which("setpriv"):
        pytest.skip("only root can make another user's files")
    spool("put", "--db", db, "--group", "g", "--stream", "s", stdin="one\n")
    os.chown(db, NOBODY, NOBODY)
    done = subprocess.run(
        [
            *("setpriv", "--bounding-set=-all", "--inh-caps=-all"),
            *(*SPOOL, "run", ROUTE, "--db", str(db), "--containers-dir", str(containers)),
        ],
        env=clean_environment({}),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.decode() == (
        f"spool: {db}: cannot be read (Permission denied); check its owner and that of its folder\n"
    )


def powerless(*arguments: str | Path) -> list[str]:
    """
    `spool` as root without its powers, who may read no folder of another user.
    """
    if os.geteuid() or not shutil.which("setpriv"):
        pytest.skip("only root can make another user's folders")
    drop = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    return [*drop, *SPOOL, *map(str, arguments)]


def bar(folder: Path) -> None:
    os.chown(folder, NOBODY, NOBODY)
    folder.chmod(0o700)


@pytest.mark.parametrize("is_parent", [False, True], ids=["itself", "the way to it"])
def test_a_folder_that_may_not_be_read_is_told_once_and_in_status_until_it_may(
    endpoint: Endpoint, db: Path, tmp_path: Path, *, is_parent: bool
) -> None:
    containers = tmp_path / "docker" / "containers"
    LogWriter(containers, WEB, "web").write("one")
    barred = containers.parent if is_parent else containers
    bar(barred)
    told = (
        f"{containers}: cannot be read (Permission denied), so nothing is collected from there;"
        " run as root, or as a user who may list it"
    )
    with subprocess.Popen(
        powerless("run", ROUTE, "--db", db, "--containers-dir", containers),
        env=clean_environment(endpoint.environment()),
        stderr=subprocess.PIPE,
        text=True,
    ) as agent:
        try:
            wait_until(lambda: is_spool(db) and status(db)["troubles"], what="status tells")
            assert [one["text"] for one in status(db)["troubles"]] == [told]
            os.chown(barred, 0, 0)
            wait_until(lambda: endpoint.messages(HOST_GROUP, "web") == ["one"])
            wait_until(lambda: not status(db)["troubles"], what="status tells no more")
        finally:
            agent.terminate()
        assert agent.stderr
        log = agent.stderr.read()
    assert log.count(f"warning {told}") == log.count("cannot be read") == 1
    assert "can be read again" in log


def test_a_log_that_may_not_be_read_is_told_where_it_was_to_be_collected(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    LogWriter(containers, WEB, "web").write("one")
    LogWriter(containers, WORKER, "worker").write("two")
    LogWriter(containers, CRON, "cron").write("three")
    bar(containers / WEB / f"{WEB}-json.log")
    bar(containers / WORKER)
    told = f"{WEB}-json.log: cannot be read (Permission denied), so it is not collected"

    def run_once(options: str) -> subprocess.CompletedProcess[str]:
        where = ("--containers-dir", containers, "--source", "files")
        return subprocess.run(
            powerless("run", ROUTE + options, "--db", db, *where, "--once"),
            env=clean_environment(endpoint.environment()),
            capture_output=True,
            text=True,
            check=False,
        )

    assert run_once("&filter.name=cron").returncode == 0
    assert endpoint.messages(HOST_GROUP, "cron") == ["three"]
    done = run_once("&filter.name=web")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        f"spool: {containers}/{WEB}/{told}; run as root, or as a user who may read it",
    )
    assert f"{told}, nor are others below {containers}; run as root" in run_once("").stderr
    os.chown(containers / WEB / f"{WEB}-json.log", 0, 0)
    os.chown(containers / WORKER, 0, 0)
    assert run_once("").returncode == 0
    assert endpoint.messages(HOST_GROUP, "web") == ["one"]
    assert endpoint.messages(HOST_GROUP, "worker") == ["two"]


def test_folders_that_are_not_there_are_told_where_there_is_nothing_else(
    endpoint: Endpoint, db: Path, tmp_path: Path
) -> None:
    nowhere, pods = tmp_path / "nowhere", tmp_path / "pods"
    environment = endpoint.environment() | {
        "SPOOL_PODS_DIR": str(pods),
        "DOCKER_HOST": f"unix://{tmp_path}/no.sock",
    }
    with Agent(db, nowhere, environment, options=("--source", "auto")) as agent:
        agent.wait_started()
        wait_until(lambda: agent.status()["troubles"])
        (trouble,) = agent.status()["troubles"]
        assert trouble["text"] == (
            f"{nowhere}, {pods}: no such folders, and no engine answers, so nothing is collected;"
            " give Docker's with --containers-dir, or that of pods with --pods-dir"
        )
        pods.mkdir()
        wait_until(lambda: not agent.status()["troubles"], what="one of them is enough")
        assert agent.stop() == 0
    assert agent.log.read_text().count("no such folders") == 1


def test_once_with_a_folder_that_cannot_be_read_is_no_success(
    endpoint: Endpoint, db: Path, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    barred = tmp_path / "barred"
    barred.mkdir()
    bar(barred)
    for folder, told in (
        (file, "cannot be read (Not a directory)"),
        (barred, "cannot be read (Permission denied)"),
    ):
        done = subprocess.run(
            powerless("run", ROUTE, "--db", db, "--containers-dir", folder, "--once"),
            env=clean_environment(endpoint.environment()),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        *log, end = done.stderr.splitlines()
        assert end.startswith(f"spool: {folder}: {told}")
        # it is looked at while collecting, too, if that lasts long enough
        assert sum(told in line for line in log) <= 1


def test_a_bug_while_collecting_is_in_the_log_and_ends_the_agent_in_one_line(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    LogWriter(containers, WEB, "web").write("one")
    run_once(db, containers, endpoint)
    with closing(sqlite3.connect(db)) as file, file:
        file.execute("UPDATE checkpoint SET position = 'damaged'")
    done = spool(
        *("run", ROUTE, "--db", db, "--containers-dir", containers, "--log-format", "json"),
        environment=endpoint.environment(),
    )
    assert done.returncode == 1
    *records, last = done.stderr.splitlines()
    assert "collecting failed" in [json.loads(record)["message"] for record in records]
    assert last == "spool: collecting failed; see the log"


@contextmanager
def umask_of(umask: int) -> Iterator[None]:
    before = os.umask(umask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["cloudwatch://us-east-1?DLAY=2"], 2, "did you mean DELAY?"),
        (["cloudwatch://us-east-1?DELAY=soon"], 2, "no number of seconds"),
        (["cloudwatch://atlantis"], 2, "no region"),
        (["syslog://us-east-1"], 2, "cannot begin with 'syslog'"),
        (["--delay", "0"], 2, "in --delay"),
        (["--concurrency", "0"], 2, "--concurrency"),
        (["--keep", "long"], 2, "no duration"),
        (["--source", "tape"], 2, "--source"),
        (["--log-format", "xml"], 2, "--log-format"),
        (["--once", "--source", "files", "--containers-dir", "/nowhere"], 2, "no such folder"),
        (["--db", "/dev/null/spool.db"], 1, "cannot be written"),
        (["--db", "/proc/spool/spool.db"], 1, "cannot be written"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_told_in_one_line(
    endpoint: Endpoint, db: Path, arguments: list[str], code: int, told: str
) -> None:
    done = spool("run", "--db", db, *arguments, environment=endpoint.environment() | {"NOEC2": "1"})
    assert done.returncode == code
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not db.exists()
    assert endpoint.calls == []


def test_without_a_region_it_says_where_to_write_one(endpoint: Endpoint, db: Path) -> None:
    environment = endpoint.environment()
    del environment["AWS_REGION"], environment["AWS_DEFAULT_REGION"]
    done = spool("run", "cloudwatch://?NOEC2", "--db", db, environment=environment)
    assert done.returncode == 2
    assert "cloudwatch://us-east-1" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def make_folder(path: Path) -> None:
    path.mkdir(parents=True)


def make_text(path: Path) -> None:
    path.write_text("my notes\n" * 1_000)


def make_other_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE mine (id)")


def make_newer_spool(path: Path) -> None:
    assert spool("put", "--db", path, "--group", "g", "--stream", "s", stdin="x").returncode == 0
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA user_version = 99")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (make_folder, "is a folder"),
        (make_text, "not a spool"),
        (make_other_database, "not a spool"),
        (make_newer_spool, "written by a newer version of spool (format 99"),
    ],
)
def test_a_place_that_is_taken_is_left_as_it_is(
    endpoint: Endpoint, tmp_path: Path, make: Callable[[Path], None], told: str
) -> None:
    path = tmp_path / "taken"
    make(path)
    before = None if path.is_dir() else path.read_bytes()
    for command in (
        ["run", ROUTE, "--once", "--source", "none"],
        ["put", "--group", "g", "--stream", "s"],
    ):
        done = spool(*command, "--db", path, environment=endpoint.environment(), stdin="x")
        assert done.returncode == 1
        assert told in done.stderr
        assert len(done.stderr.splitlines()) == 1
    for command in (["status"], ["events"], ["replay"], ["check"], ["prune"]):
        done = spool(*command, "--db", path, environment=endpoint.environment())
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
    assert before == (None if path.is_dir() else path.read_bytes())
    assert endpoint.calls == []


def test_a_copied_spool_is_a_spool(endpoint: Endpoint, db: Path, containers: Path) -> None:
    """
    A file taken along to another host, without its folder.
    """
    web = LogWriter(containers, WEB, "web")
    web.write("one")
    run_once(db, containers, endpoint)
    copied = db.parent.parent / "copied.db"
    shutil.copy(db, copied)
    web.write("two")
    run_once(copied, containers, endpoint)
    assert arrived(endpoint, "web") == ["one", "two"]
    whole: dict[str, Any] = status(copied)
    assert whole["sent"] == 2


def test_names_and_doctor_say_that_a_running_agent_may_have_a_route_of_its_own(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    """
    `docker exec spool spool names` would else tell what does not happen.
    """
    LogWriter(containers, WEB, "web").write("one")
    environment = endpoint.environment() | {"SPOOL_CONTAINERS_DIR": str(containers)}
    told = "no route is given, and the agent that runs (pid {}) may have one"
    with Agent(db, containers, endpoint.environment()) as agent:
        agent.wait_started()
        told = told.format(agent.process.pid)
        named = spool("names", "--db", db, environment=environment)
        assert (named.returncode, named.stderr) == (
            0,
            f"spool names: {told}; give the same, as ROUTE or in ROUTE_URIS\n",
        )
        assert told in spool("doctor", "--db", db, environment=environment).stdout
        for arguments, more in (((ROUTE,), {}), ((), {"ROUTE_URIS": ROUTE})):
            known = spool("names", *arguments, "--db", db, environment=environment | more)
            assert known.stderr == ""
    assert spool("names", "--db", db, environment=environment).stderr == ""


class NotThere(BaseHTTPRequestHandler):
    """
    An engine, or a proxy before it, that knows its version and nothing else.
    """

    def do_GET(self) -> None:
        is_version = "/version" in self.path
        answer = {"ApiVersion": "1.43"} if is_version else {"message": "page not found"}
        body = json.dumps(answer).encode()
        self.send_response(200 if is_version else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_an_engine_that_answers_with_404_is_one_that_is_away(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    LogWriter(containers, WEB, "web").write("one")
    with ThreadingHTTPServer(("127.0.0.1", 0), NotThere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = endpoint.environment() | {
            "DOCKER_HOST": f"tcp://127.0.0.1:{server.server_port}"
        }
        where = ("--containers-dir", containers, "--source", "auto")
        done = spool("run", ROUTE, "--db", db, *where, "--once", environment=environment)
        named = spool("names", ROUTE, *where[:2], "--source", "api", environment=environment)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert "no engine at tcp://127.0.0.1" in done.stderr
    assert endpoint.messages(HOST_GROUP, "web") == ["one"]
    assert "Traceback" not in named.stderr


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ((), "{}/cert.pem cannot be used: No such file or directory"),
        (("cert.pem", "key.pem"), "{}/ca.pem cannot be used: No such file or directory"),
        (("cert.pem", "key.pem", "ca.pem"), "{} cannot be used: [X509"),
    ],
    ids=["none", "some", "no certificates"],
)
def test_certificates_of_docker_that_cannot_be_used_are_told_and_keep_no_file_from_being_read(
    endpoint: Endpoint, db: Path, containers: Path, files: tuple[str, ...], told: str
) -> None:
    LogWriter(containers, WEB, "web").write("one")
    folder = db.parent / "certificates"
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).write_text("no certificate")
    environment = endpoint.environment() | {
        "DOCKER_HOST": "tcp://127.0.0.1:1",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(folder),
    }
    where = ("--containers-dir", containers, "--source", "auto")
    done = spool("run", ROUTE, "--db", db, *where, "--once", environment=environment)
    assert done.returncode == 0, done.stderr
    assert endpoint.messages(HOST_GROUP, "web") == ["one"]
    lines = [line for line in done.stderr.splitlines() if "no engine at" in line]
    assert len(lines) == 1
    assert f"tcp://127.0.0.1:1: DOCKER_CERT_PATH: {told.format(folder)}" in lines[0]
    for command in (["names", ROUTE, *where], ["doctor", ROUTE, "--db", db]):
        assert "Traceback" not in spool(*command, environment=environment).stderr
    api = ("doctor", ROUTE, "--db", db, "--source", "api", "--json")
    findings = json.loads(spool(*api, environment=environment).stdout)
    found = next(finding for finding in findings if finding["check"] == "docker")
    assert told.format(folder) in found["found"]
    assert "DOCKER_TLS_VERIFY" in found["remedy"]
