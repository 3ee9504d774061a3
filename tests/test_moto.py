"""
A second opinion: moto's CloudWatch Logs, which others wrote from the same documents.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from agent import HOST_GROUP, ROUTE, LogWriter, spool
from moto.server import ThreadedMotoServer

KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1",
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """
    Where moto's server listens.
    """
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def logs(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """
    A plain boto3 client, to read back what arrived.
    """
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("logs", endpoint_url=url, region_name="us-east-1")
    yield client
    client.close()


def read_back(logs: Any, group: str, stream: str) -> list[tuple[int, str]]:
    events: list[tuple[int, str]] = []
    place = {"logGroupName": group, "logStreamName": stream, "startFromHead": True}
    page = logs.get_log_events(**place)
    while page["events"]:
        events += [(event["timestamp"], event["message"]) for event in page["events"]]
        page = logs.get_log_events(**place, nextToken=page["nextForwardToken"])
    return events


@pytest.mark.parametrize("gzip", ["--gzip", "--no-gzip"])
def test_moto_takes_every_line_of_a_real_run_and_gives_it_back(
    url: str, logs: Any, db: Path, containers: Path, gzip: str
) -> None:
    lines = {
        f"web{gzip}": [f"line {number} grüße 😀 \x1b \u2028" for number in range(12_000)],
        f"worker{gzip}": ["one", "x" * 200_000, '{"json": "é"}'],
    }
    for number, (name, messages) in enumerate(lines.items(), 1):
        LogWriter(containers, f"{number:064x}", name).write(*messages)
    begin_ms = time.time_ns() // 1_000_000
    done = spool(
        *("run", ROUTE, "--once", gzip, "--db", db, "--containers-dir", containers),
        environment=KEYS | {"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": url},
    )
    assert done.returncode == 0, done.stderr
    for name, messages in lines.items():
        events = read_back(logs, HOST_GROUP, name)
        assert sorted(message for _, message in events) == sorted(messages)
        assert all(begin_ms - 60_000 < at_ms < begin_ms + 60_000 for at_ms, _ in events)
