"""
A quota that is spent for long, by the whole account: everything waits, nothing is given up.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from cloudwatch_endpoint import THROTTLED, Endpoint

from shipper import brake
from shipper.cloudwatch import CloudWatch
from shipper.upload import Uploader
from spool.audit import audit
from spool.store import Chunk, Store

REQUESTS = 1_000
EVENTS = 50
STREAMS = 10


def test_a_thousand_throttled_requests_in_a_row_lose_nothing(
    endpoint: Endpoint, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Without the pauses between them, which would make it half an hour; `make faults` sees to those.
    """
    monkeypatch.setattr(brake, "MIN_RATE", 2_000)
    monkeypatch.setattr(brake, "MAX_RATE", 4_000)
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    for name, value in endpoint.environment().items():
        monkeypatch.setenv(name, value)
    endpoint.fail_next(THROTTLED, times=REQUESTS)
    with Store(db) as store:
        source = store.source_id("test")
        now_ms = time.time_ns() // 1_000_000
        for number in range(STREAMS):
            endpoint.create("group", f"stream-{number}")
            stream = store.stream_id("group", f"stream-{number}")
            events = [(stream, now_ms, source, f"line {n}") for n in range(EVENTS)]
            store.append([Chunk(stream, events)])
        uploader = Uploader(store, CloudWatch("us-east-1", connections=4), concurrency=4)
        uploader.start()
        assert uploader.drain(give_up_s=60, stop=threading.Event())
        uploader.finish(0)
        assert store.unsent() == 0
        assert audit(store) == []
    assert endpoint.count("PutLogEvents", "ThrottlingException") == REQUESTS
    for number in range(STREAMS):
        arrived = endpoint.messages("group", f"stream-{number}")
        assert arrived == [f"line {n}" for n in range(EVENTS)]
