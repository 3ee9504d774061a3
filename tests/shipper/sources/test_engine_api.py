"""
The source of containers' logs through the Engine API: each line once, whatever the engine, its
streams and its connections do.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent import wait_until
from collector import Collector, joiner_for
from docker_engine import FakeEngine

from shipper.containers import Container, container_from_inspect
from shipper.naming import Target
from shipper.sources import engine_api, engine_container, engine_watch
from shipper.sources.engine_api import Engine, default_base_url
from shipper.sources.engine_source import EngineSource
from shipper.sources.engine_wire import (
    ContainerGone,
    EngineUnavailable,
    LogsUnreadable,
    error_of,
)
from spool.skipped import CONTAINERS_LOST
from spool.store import Store

QUIET_S = 0.5


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    """
    The one that the environment names.
    """
    with FakeEngine(tmp_path / "docker.sock") as running:
        monkeypatch.setenv("DOCKER_HOST", running.base_url)
        yield running


@pytest.fixture
def collect(store: Store, engine: FakeEngine) -> Callable[..., Collector]:
    return lambda **options: Collector(store, **options)


def numbered(first: int, last: int, *, end: bytes = b"\n") -> list[bytes]:
    return [b"%d%b" % (number, end) for number in range(first, last + 1)]


def texts(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


def test_what_is_there_and_what_comes_is_read_once(
    engine: FakeEngine, collect: Callable[..., Collector]
) -> None:
    old = engine.add("old")
    engine.write(old, *numbered(1, 1_000))
    with collect() as collector:
        collector.wait_for(old.name, 1_000)
        new = engine.add("new")
        for number in range(50):
            engine.write(old, *numbered(1_001 + number, 1_001 + number))
            engine.write(new, *numbered(1 + number * 10, 10 + number * 10), stream="stderr")
            time.sleep(0.005)
        assert collector.wait_for(old.name, 1_050) == texts(1, 1_050)
        assert collector.wait_for(new.name, 500) == texts(1, 500)
        time.sleep(QUIET_S)
        assert collector.lines == {"old": texts(1, 1_050), "new": texts(1, 500)}


@pytest.mark.parametrize(("repeats", "every"), [(3, 1), (1, 7), (2, 3)])
def test_a_stream_that_repeats_and_leaves_out_only_rings(
    engine: FakeEngine, collect: Callable[..., Collector], repeats: int, every: int
) -> None:
    container = engine.add("odd", follow_repeats=repeats, follow_every=every)
    with collect() as collector:
        for number in range(0, 2_000, 20):
            engine.write(container, *numbered(number + 1, number + 20))
            engine.rotate(container, keep=1_500)
            time.sleep(0.002)
        assert collector.wait_for(container.name, 2_000) == texts(1, 2_000)


def test_a_restart_goes_on_at_the_line(
    engine: FakeEngine, collect: Callable[..., Collector]
) -> None:
    container = engine.add("long-lived")
    engine.write(container, *numbered(1, 500), b"x" * 16_384)
    with collect() as first:
        first.wait_for(container.name, 500)
    container.records.append((*container.records[-1][:2], b"end\n"))
    engine.write(container, *numbered(501, 600))
    with collect() as second:
        lines = second.wait_for(container.name, 101)
    assert lines == ["x" * 16_384 + "end", *texts(501, 600)]


def test_a_container_that_cannot_be_read_is_told_of_once_and_tried_again(
    engine: FakeEngine, store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    monkeypatch.setattr(engine_watch, "RETRY_S", 0.05)
    tries = 0

    class Unlucky(Collector):
        def name(self, container: Container) -> Target:
            nonlocal tries
            tries += 1
            if tries <= 5:
                raise RuntimeError("the spool is full")
            return super().name(container)

    container = engine.add("odd")
    engine.write(container, *numbered(1, 10))
    with Unlucky(store) as collector:
        assert collector.wait_for(container.name, 10) == texts(1, 10)
    told = [text for text in caplog.messages if "cannot be read now" in text]
    assert len(told) == 1


def test_a_terminals_lines_are_read(engine: FakeEngine, collect: Callable[..., Collector]) -> None:
    container = engine.add("terminal", tty=True)
    with collect() as collector:
        engine.write(container, *numbered(1, 3, end=b"\r\n"), b"y" * 16_384)
        collector.wait_for(container.name, 3)
        container.records.append((*container.records[-1][:2], b"end\r\n"))
        engine.write(container, b"rest")
        lines = collector.wait_for(container.name, 5)
        engine.exit(container)
        engine.start_again(container)
        engine.write(container, b"next run\r\n")
        assert collector.wait_for(container.name, 6) is lines
    assert [line.rstrip("\r") for line in lines] == [
        *texts(1, 3),
        "y" * 16_384 + "end",
        "rest",
        "next run",
    ]


def test_the_last_lines_of_a_run_and_the_first_of_the_next_are_read(
    engine: FakeEngine, collect: Callable[..., Collector]
) -> None:
    container = engine.add("restarting")
    with collect() as collector:
        for run in range(5):
            engine.write(container, *numbered(run * 10 + 1, run * 10 + 10))
            engine.exit(container)
            engine.start_again(container)
        engine.write(container, b"51")
        engine.exit(container)
        assert collector.wait_for(container.name, 51) == texts(1, 51)


def test_a_container_that_is_removed_has_said_its_last_words(
    engine: FakeEngine, collect: Callable[..., Collector]
) -> None:
    """
    The engine has no more answers for it; the stream that was followed has them.
    """
    container = engine.add("brief", removes_itself=True)
    with collect() as collector:
        engine.write(container, b"0\n")
        collector.wait_for(container.name, 1)
        container.status = 409
        engine.write(container, *numbered(1, 100))
        engine.remove(container)
        assert collector.wait_for(container.name, 101) == texts(0, 100)
        assert collector.skipped == {}
        wait_until(lambda: collector.store.checkpoint(f"docker:{container.id}") is None)


def test_a_container_that_starts_and_is_gone_at_once_is_read(
    engine: FakeEngine, collect: Callable[..., Collector]
) -> None:
    with collect() as collector:
        wait_until(lambda: engine.asked["events"])
        container = engine.add("brief", removes_itself=True, status=200)
        engine.write(container, *numbered(1, 10))
        wait_until(lambda: engine.asked["follow"])
        container.status = 409
        engine.exit(container)
        assert collector.wait_for(container.name, 10) == texts(1, 10)


def test_what_was_removed_unread_is_counted(
    engine: FakeEngine, collect: Callable[..., Collector]
) -> None:
    container = engine.add("quick", status=409)
    with collect() as collector:
        wait_until(lambda: engine.asked["follow"] or engine.asked["logs"])
        engine.remove(container)
        wait_until(lambda: collector.skipped)
    assert collector.skipped == {CONTAINERS_LOST: 1}


@pytest.mark.parametrize("status", [501, 404, 409])
def test_logs_that_cannot_be_read_disturb_no_others(
    engine: FakeEngine,
    collect: Callable[..., Collector],
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    caplog.set_level(logging.INFO)
    engine.add("closed", status=status, driver="syslog")
    engine.add("none", driver="none")
    container = engine.add("open")
    with collect() as collector:
        engine.write(container, b"1\n")
        assert collector.wait_for(container.name, 1) == ["1"]
        time.sleep(QUIET_S)
    assert list(collector.lines) == ["open"]
    assert ("not collected: its log driver is none" in caplog.text) is True
    assert ("not collected: 501" in caplog.text) is (status == 501)


def test_an_answer_that_is_cut_costs_nothing(
    engine: FakeEngine, collect: Callable[..., Collector]
) -> None:
    container = engine.add("cut", cut_after=300)
    engine.write(container, *numbered(1, 1_000))
    with collect() as collector:
        wait_until(lambda: engine.asked["logs"] >= 1)
        container.cut_after = None
        assert collector.wait_for(container.name, 1_000) == texts(1, 1_000)


@pytest.mark.parametrize("hangs", ["one", "all"])
def test_a_stop_does_not_wait_for_an_engine_that_hangs(
    engine: FakeEngine, collect: Callable[..., Collector], hangs: str
) -> None:
    container = engine.add("hanging", hangs=True)
    others = [engine.add(f"other-{number}", hangs=hangs == "all") for number in range(10)]
    with collect() as collector:
        wait_until(lambda: engine.asked["logs"] >= 1)
        if hangs != "all":
            engine.write(others[0], b"1\n")
            collector.wait_for(others[0].name, 1)
        assert collector.stop() < 8, "a request to the engine is given 10 s"
    assert container.name not in collector.lines


def test_an_engine_that_is_away_is_waited_for_and_said_once(
    engine: FakeEngine, collect: Callable[..., Collector], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    engine.stop()
    container = engine.add("waiting")
    with collect() as collector:
        wait_until(lambda: caplog.text.count("no engine at") == 1)
        time.sleep(1)
        engine.start()
        engine.write(container, *numbered(1, 10))
        collector.wait_for(container.name, 10)
        engine.stop()
        engine.write(container, *numbered(11, 20))
        wait_until(lambda: caplog.text.count("no engine at") == 2)
        time.sleep(1)
        engine.start()
        engine.write(container, *numbered(21, 30))
        assert collector.wait_for(container.name, 30) == texts(1, 30)
        wait_until(lambda: caplog.text.count("the engine answers again") == 2)
    assert caplog.text.count("no engine at") == 2


@pytest.mark.parametrize("refusal", [404, 409, 501])
def test_a_proxy_without_an_engine_behind_it_is_an_engine_that_is_away(
    engine: FakeEngine, collect: Callable[..., Collector], refusal: int
) -> None:
    """
    Also where it says of a container what the engine would say of one that is gone.
    """
    engine.refusal = refusal
    container = engine.add("web")
    with collect() as collector:
        wait_until(lambda: engine.asked["refused"] >= 2)
        engine.refusal = None
        engine.write(container, *numbered(1, 10))
        collector.wait_for(container.name, 10)
        engine.stop()
        engine.refusal = refusal
        engine.start()
        engine.write(container, *numbered(11, 20))
        refused = engine.asked["refused"]
        wait_until(lambda: engine.asked["refused"] >= refused + 5)
        engine.refusal = None
        engine.write(container, *numbered(21, 30))
        assert collector.wait_for(container.name, 30) == texts(1, 30)
    assert collector.skipped == {}


def test_a_doorbell_that_is_silent_is_made_up_for(
    engine: FakeEngine,
    collect: Callable[..., Collector],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(engine_container, "POLL_S", 0.3)
    caplog.set_level(logging.INFO)
    container = engine.add("silent")
    engine.write(container, b"1\n")
    with collect() as collector:
        collector.wait_for(container.name, 1)
        engine.is_deaf = True
        engine.write(container, b"2\n")
        collector.wait_for(container.name, 2)
        wait_until(lambda: "asking anew" in caplog.text)
        engine.is_deaf = False
        engine.write(container, b"3\n")
        assert collector.wait_for(container.name, 3) == texts(1, 3)


def test_events_that_are_missed_are_made_up_for_by_the_list(
    engine: FakeEngine, collect: Callable[..., Collector], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_watch, "LIST_S", 0.3)
    monkeypatch.setattr(FakeEngine, "tell", lambda *_: None)
    with collect() as collector:
        wait_until(lambda: engine.asked["list"])
        engine.events.append(b"")
        container = engine.add("unheard")
        engine.write(container, b"1\n")
        assert collector.wait_for(container.name, 1) == ["1"]
        engine.remove(container)
        wait_until(lambda: engine.asked["list"] > 3)


def test_after_a_rename_lines_go_to_the_new_name(
    engine: FakeEngine, collect: Callable[..., Collector]
) -> None:
    container = engine.add("before")
    engine.write(container, b"1\n")
    with collect() as collector:
        collector.wait_for(container.name, 1)
        engine.rename(container, "after")
        wait_until(lambda: "after" in list(collector.streams.values()))
        engine.write(container, b"2\n")
        collector.wait_for(container.name, 1)
    assert collector.lines == {"before": ["1"], "after": ["2"]}


def test_once_ends_when_all_is_read(engine: FakeEngine, collect: Callable[..., Collector]) -> None:
    containers = [engine.add(f"c{number}", running=number % 2 == 0) for number in range(10)]
    for container in containers:
        engine.write(container, *numbered(1, 2_000), b"unended")
    collector = collect()
    collector.run(once=True)
    assert collector.lines == {
        container.name: [*texts(1, 2_000), "unended"] for container in containers
    }
    assert engine.asked["follow"] == engine.asked["events"] == 0
    again = collect()
    again.run(once=True)
    assert again.lines == {}


def test_once_without_an_engine_ends(engine: FakeEngine, collect: Callable[..., Collector]) -> None:
    engine.stop()
    collector = collect()
    collector.run(once=True)
    assert collector.lines == {}


def test_only_wanted_containers_are_read(
    engine: FakeEngine, collect: Callable[..., Collector]
) -> None:
    for driver in ("json-file", "local"):
        engine.write(engine.add(driver, driver=driver), b"1\n")
    collector = collect(wanted=lambda container: container.log_driver == "local")
    collector.run(once=True)
    assert collector.lines == {"local": ["1"]}


def test_without_backlog_a_first_start_begins_now_and_a_second_does_not(
    engine: FakeEngine, collect: Callable[..., Collector]
) -> None:
    container = engine.add("old")
    engine.write(container, *numbered(1, 10))
    collect(backlog=False).run(once=True)
    engine.write(container, *numbered(11, 20))
    new = engine.add("new", created="2999-01-01T00:00:00Z")
    engine.write(new, *numbered(1, 5))
    collector = collect(backlog=False)
    collector.run(once=True)
    assert collector.lines == {"old": texts(11, 20), "new": texts(1, 5)}


def test_of_what_was_there_before_the_last_lines_are_read(
    engine: FakeEngine, collect: Callable[..., Collector]
) -> None:
    container = engine.add("old")
    engine.write(container, *numbered(1, 10))
    new = engine.add("new", created="2999-01-01T00:00:00Z")
    engine.write(new, *numbered(1, 10))
    collector = collect(tail=3)
    collector.run(once=True)
    assert collector.lines == {"old": texts(8, 10), "new": texts(1, 10)}


def test_many_containers_take_turns(engine: FakeEngine, collect: Callable[..., Collector]) -> None:
    """
    One with very much to say does not keep the others waiting until it has ended.
    """
    loud = engine.add("loud")
    engine.write(loud, *numbered(1, 50_000))
    quiet = [engine.add(f"quiet-{number}") for number in range(100)]
    with collect() as collector:
        for container in quiet:
            engine.write(container, *numbered(1, 5))
        for container in quiet:
            assert collector.wait_for(container.name, 5) == texts(1, 5)
        assert collector.wait_for(loud.name, 50_000) == texts(1, 50_000)


def test_a_reading_is_bounded(store: Store, engine: FakeEngine) -> None:
    container = engine.add("big")
    engine.write(container, *[b"x" * 999 + b"\n"] * 10_000)
    source = EngineSource(store, lambda c: Target("g", c.name), joiner=joiner_for(store))
    sizes = []
    for reading in source.readings(threading.Event(), once=True):
        time.sleep(0.05)  # a slow disk
        sizes.append(reading.bytes)
    assert sum(sizes) > 10_000_000
    assert max(sizes) <= 3_100_000


def test_errors_are_sorted_by_what_to_do_next(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Engine()
    with pytest.raises(EngineUnavailable, match="not connected"):
        client.containers()
    client.connect()
    kinds = {404: ContainerGone, 409: ContainerGone, 501: LogsUnreadable, 500: EngineUnavailable}
    for status, kind in kinds.items():
        container = engine.add(f"s{status}", status=status)
        with pytest.raises(kind), client.answer(container.id, {"tail": "1"}):
            pass
        with pytest.raises(kind):
            client.follow(container.id, tail="0")
    with pytest.raises(ContainerGone):
        client.inspect("f" * 64)
    for engine.refusal in kinds:
        for ask in (client.containers, client.events):
            with pytest.raises(EngineUnavailable, match=f"{engine.refusal}: page not found"):
                ask()
    client.close()
    monkeypatch.setenv("DOCKER_HOST", "ssh://nowhere")
    with pytest.raises(EngineUnavailable):
        Engine().connect()


def test_an_answer_that_is_nested_without_end_is_an_engine_that_is_away() -> None:
    deep = b"[" * 100_000
    assert isinstance(error_of(500, deep), EngineUnavailable)
    with pytest.raises(EngineUnavailable, match="not the Engine API's"), engine_api._translated():
        json.loads(deep)


def test_who_a_container_is_is_in_its_inspection(engine: FakeEngine) -> None:
    container = engine.add("web", tty=True, driver="journald")
    assert container_from_inspect(container.inspect()) == Container(
        id=container.id,
        name="web",
        hostname="h",
        labels={"l": "1"},
        env={"A": "1"},
        tty=True,
        running=True,
        log_driver="journald",
    )
    bare = {"Id": "ab" * 32, "Config": {"Env": None, "Labels": None}}
    assert container_from_inspect(bare).name == "abababababab"


def test_the_engine_is_where_docker_looks_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://elsewhere:2375")
    assert default_base_url() == "tcp://elsewhere:2375"
    monkeypatch.delenv("DOCKER_HOST")
    usual = f"unix://{tmp_path / 'docker.sock'}"
    monkeypatch.setattr("shipper.sources.engine_api.DEFAULT_BASE_URL", usual)
    logspouts = tmp_path / "logspout.sock"
    monkeypatch.setattr("shipper.sources.engine_api.LOGSPOUT_SOCKET", logspouts)
    assert default_base_url() == usual
    logspouts.touch()
    assert default_base_url() == f"unix://{logspouts}"
    (tmp_path / "docker.sock").touch()
    assert default_base_url() == usual
