"""
What a service manager is told, and when it is told nothing.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent import wait_until
from manager import Manager

from shipper import health as health_module
from shipper.health import Health
from shipper.pulse import Pulse
from shipper.supervisor import Supervisor
from spool.store import Chunk, Store
from spool.vitals import Vitals

WATCHDOG_S = 0.2


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@spool-{os.getpid()}"
    with Manager(address) as listening:
        yield listening


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "spool.db") as opened:
        yield opened


def health_of(store: Store, *pulses: Pulse, stop: threading.Event | None = None) -> Health:
    told = stop or threading.Event()
    return Health(Vitals(store), told, threads=[], deaths=[], pulses=pulses)


def test_it_is_ready_when_it_collects_and_not_before(manager: Manager, store: Store) -> None:
    with Supervisor(manager.environment()) as supervisor:
        supervisor.prepare("looking")
        manager.wait_for("STATUS", "looking")
        assert manager.values("READY") == []
        supervisor.watch(health_of(store), lambda: "all sent")
        assert manager.wait_for("READY") == "1"
        manager.wait_for("STATUS", "all sent")


@pytest.mark.parametrize("odd", ["²", "9" * 20, "9" * 5_000, "-1", "0", "soon"])
def test_no_odd_time_of_the_watchdog_keeps_it_from_starting(
    manager: Manager, store: Store, odd: str
) -> None:
    with Supervisor(manager.environment() | {"WATCHDOG_USEC": odd}) as supervisor:
        supervisor.watch(health_of(store), lambda: "all sent")
        assert manager.wait_for("READY") == "1"


def test_a_long_start_and_a_rescue_ask_for_more_time_and_are_not_killed(
    manager: Manager, store: Store
) -> None:
    """
    Also a rescue in between, when the service was ready already.
    """
    with Supervisor(manager.environment(watchdog_s=WATCHDOG_S)) as supervisor:
        supervisor.prepare("looking")
        wait_until(lambda: len(manager.values("EXTEND_TIMEOUT_USEC")) > 2)
        supervisor.watch(health_of(store), lambda: "all sent")
        supervisor.prepare("looking again")
        manager.told.clear()
        wait_until(lambda: len(manager.values("EXTEND_TIMEOUT_USEC")) > 2)
        wait_until(lambda: len(manager.values("WATCHDOG")) > 1)
    assert int(manager.values("EXTEND_TIMEOUT_USEC")[0]) >= 60_000_000


def test_a_loop_that_stands_still_gets_no_more_pings_and_the_log_says_which(
    manager: Manager,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(health_module, "STANDSTILL_S", 3.0)
    pulse, hangs, ends = Pulse("capture", threading.Event()), threading.Event(), threading.Event()

    def turn() -> None:
        while not pulse.is_set() and not ends.wait(0.01):
            if hangs.is_set():
                ends.wait()

    loop = threading.Thread(target=turn)
    loop.start()
    with Supervisor(manager.environment(watchdog_s=WATCHDOG_S)) as supervisor:
        supervisor.watch(health_of(store, pulse), lambda: "all sent")
        wait_until(lambda: len(manager.values("WATCHDOG")) > 3)
        assert set(manager.values("STATUS")) == {"all sent"}
        hangs.set()
        manager.wait_for("STATUS", "a part of the agent is stuck: capture")
        pings = len(manager.values("WATCHDOG"))
        said = len(manager.told)
        wait_until(lambda: len(manager.told) > said + 2)
        assert len(manager.values("WATCHDOG")) == pings > 0
    ends.set()
    loop.join()
    assert [record.message[:38] for record in caplog.records] == [
        "a part of the agent is stuck: capture,"
    ]


def test_an_agent_that_was_told_to_stop_is_not_stuck(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_module, "STANDSTILL_S", 0.0)
    stop = threading.Event()
    pulse = Pulse("upload", stop)
    assert not pulse.is_set()
    health = health_of(store, pulse, stop=stop)
    assert "is stuck: upload" in str(health.why_not_running())
    stop.set()
    assert health.why_not_running() is None


def test_a_loop_that_waits_for_its_stop_sees_it_and_turns() -> None:
    stop = threading.Event()
    pulse = Pulse("upkeep", stop)
    assert pulse.still_for_s() == 0
    assert pulse.wait(0.01) is False
    stop.set()
    assert pulse.wait() is True
    assert pulse.is_set()


def test_a_status_is_one_line_whatever_is_in_it(manager: Manager, store: Store) -> None:
    with Supervisor(manager.environment()) as supervisor:
        supervisor.watch(health_of(store), lambda: "a\nSTOPPING=1\r\n" + "x" * 10_000)
        status = manager.wait_for("STATUS", "a STOPPING=1 x")
    assert len(status) == 300
    assert manager.values("STOPPING") == []


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative", "/nowhere/at/all"])
def test_where_nobody_listens_nothing_is_told_and_nothing_fails(store: Store, address: str) -> None:
    before = set(threading.enumerate())
    with Supervisor({"NOTIFY_SOCKET": address}) as supervisor:
        supervisor.prepare("looking")
        supervisor.watch(health_of(store), lambda: "all sent")
        if not address.startswith("/"):
            assert set(threading.enumerate()) <= before
        supervisor.stopping()


def test_a_manager_that_does_not_listen_holds_nobody_up(tmp_path: Path, store: Store) -> None:
    """
    Its socket's buffer is full.
    """
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(address)
        with Supervisor({"NOTIFY_SOCKET": address}) as supervisor:
            for _ in range(10_000):
                supervisor.prepare("looking")


def test_a_watchdog_of_another_process_is_not_ours(manager: Manager, store: Store) -> None:
    environ = {**manager.environment(watchdog_s=WATCHDOG_S), "WATCHDOG_PID": "1"}
    with Supervisor(environ) as supervisor:
        supervisor.watch(health_of(store), lambda: "all sent")
        manager.wait_for("STATUS")
        time.sleep(3 * WATCHDOG_S)
    assert len(manager.values("STATUS")) == 1


def test_the_summary_says_what_is_the_matter_and_what_waits(store: Store) -> None:
    health = health_of(store)
    assert health.summary({}) == "nothing was collected yet"
    stream_id = store.stream_id("app", "web")
    at_ms = time.time_ns() // 1_000_000 - 120_000
    event = (stream_id, at_ms, store.source_id("test"), "x")
    store.append([Chunk(stream_id, [event])])
    assert health.summary({"speed": None}) == "1 event waits, the oldest for 2 min"
    assert health.summary({"delivery": "takes nothing now"}).startswith(
        "takes nothing now; 1 event"
    )
