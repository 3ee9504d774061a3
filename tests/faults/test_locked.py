"""
Another process keeps the spool locked while batches go out: none of them is forgotten.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest
from agent import wait_until
from cloudwatch_endpoint import Endpoint, status

from shipper.cloudwatch import CloudWatch
from shipper.trouble import Trouble
from shipper.upload import Uploader
from spool import patience
from spool.clock import now_ms
from spool.store import Chunk, Store


class Tries:
    """
    Counts what fails.
    """

    def __init__(self) -> None:
        self.count = 0

    def begin(self, who: str, reason: object) -> None:
        self.count += 1

    def end(self, who: str) -> None: ...


@pytest.fixture
def store(db: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """
    A spool with one event, which waits for nobody for long.
    """
    monkeypatch.setattr(patience, "WAIT_S", 0.02)
    with Store(db) as opened:
        stream_id, source_id = opened.stream_id("group", "web"), opened.source_id("test")
        opened.append([Chunk(stream_id, [(stream_id, now_ms(), source_id, "one")])])
        yield opened


@contextmanager
def locked(db: Path) -> Iterator[None]:
    other = apsw.Connection(str(db))
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@pytest.fixture
def cloudwatch(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> CloudWatch:
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    for name, value in endpoint.environment().items():
        monkeypatch.setenv(name, value)
    return CloudWatch("us-east-1", connections=2)


@contextmanager
def uploading(store: Store, cloudwatch: CloudWatch, trouble: Tries) -> Iterator[Uploader]:
    uploader = Uploader(store, cloudwatch, concurrency=2, trouble=trouble)
    uploader.start()
    try:
        yield uploader
    finally:
        uploader.finish(1)


def test_what_cannot_be_taken_from_the_queue_is_not_taken_for_sent(
    store: Store, db: Path, endpoint: Endpoint, cloudwatch: CloudWatch
) -> None:
    tries = Tries()
    never = threading.Event()
    with uploading(store, cloudwatch, tries) as uploader:
        with locked(db):
            assert not uploader.drain(give_up_s=0.5, stop=never)
            wait_until(lambda: tries.count > 0)
        assert uploader.drain(give_up_s=60, stop=never)
    assert endpoint.messages("group", "web") == ["one"]


def test_a_batch_whose_next_attempt_cannot_be_put_on_record_is_sent_later(
    store: Store, db: Path, endpoint: Endpoint, cloudwatch: CloudWatch
) -> None:
    tries = Tries()
    endpoint.create("group", "web")
    endpoint.fail_always(status(503, "busy"))
    with uploading(store, cloudwatch, tries) as uploader:
        uploader.drain(give_up_s=0.1, stop=threading.Event())
        wait_until(store.unsettled, what="a batch is on its way")
        with locked(db):
            wait_until(lambda: tries.count > 1, what="it fails")
            endpoint.heal()
        assert uploader.drain(give_up_s=60, stop=threading.Event())
    assert endpoint.messages("group", "web") == ["one"]


def test_a_trouble_is_told_when_it_begins_and_when_it_is_over_for_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    trouble = Trouble(logging.getLogger("test"), begins="fails: %s", ends="works")
    trouble.end("a")
    trouble.begin("a", "full")
    trouble.begin("a", "full")
    trouble.begin("b", "locked")
    trouble.end("a")
    trouble.begin("a", "full")
    trouble.end("b")
    assert [record.getMessage() for record in caplog.records] == ["fails: full"]
    trouble.end("a")
    trouble.end("a")
    assert [record.getMessage() for record in caplog.records] == ["fails: full", "works"]
