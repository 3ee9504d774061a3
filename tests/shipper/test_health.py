"""
Is the agent well?
"""

from __future__ import annotations

import logging
import threading

import pytest

from shipper.health import Health, noting_deaths
from spool.store import Store
from spool.vitals import Vitals


def fail() -> None:
    raise RuntimeError("worn out")


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "spool.db") as opened:
        yield opened


def ended_thread(target) -> threading.Thread:
    thread = threading.Thread(target=target, name="upload-3")
    thread.start()
    thread.join()
    return thread


def test_a_part_that_an_error_has_ended_is_named_and_logged(store, caplog):
    with noting_deaths() as deaths, caplog.at_level(logging.CRITICAL):
        health = Health(Vitals(store), threading.Event(), threads=[], deaths=deaths)
        assert health.report().reason is None
        ended_thread(fail)
        assert health.report().reason == "a part of the agent has ended: upload-3; see its log"
    assert caplog.messages == ["upload-3 has ended by an error"]
    assert "worn out" in caplog.text


def test_a_part_that_has_just_ended_is_missed(store):
    gone = ended_thread(lambda: None)
    health = Health(Vitals(store), threading.Event(), threads=[gone], deaths=[])
    assert health.report().reason == "a part of the agent has ended: upload-3; see its log"


def test_an_agent_that_stops_is_not_well(store):
    stop = threading.Event()
    health = Health(Vitals(store), stop, threads=[], deaths=[])
    stop.set()
    assert health.report().reason == "the agent is stopping"


def test_a_closed_spool_is_a_reason_and_no_error(tmp_path):
    with Store(tmp_path / "spool.db") as store:
        vitals = Vitals(store)
    report = Health(vitals, threading.Event(), threads=[], deaths=[]).report()
    assert report.unsent is None
    assert "cannot be read" in str(report.reason)
