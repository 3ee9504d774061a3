"""
spool run --metrics: what a monitor is told.
"""

from __future__ import annotations

import json
import re
import resource
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from agent import ROUTE, Agent, LogWriter, clean_environment, spool, wait_until
from cloudwatch_endpoint import THROTTLED, Endpoint, Fault, error, status
from prometheus_client.parser import text_string_to_metric_families

WEB = "a" * 64
OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
DAY_MS = 86_400_000
ALIVE = b'{"status": "ok"}\n'
NEEDS_IPV6 = pytest.mark.skipif(
    not Path("/proc/net/if_inet6").exists(), reason="this host has no IPv6"
)


@dataclass
class Monitor:
    """
    Who asks an agent.
    """

    agent: Agent

    @property
    def url(self) -> str:
        found = re.findall(r"metrics on (\S+)/metrics", self.agent.log.read_text())
        return str(found[-1])

    def ask(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        url = urlsplit(self.url)
        with closing(HTTPConnection(url.hostname or "", url.port, timeout=20)) as connection:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def scrape(self) -> dict[str, float]:
        """
        Each series and its value, but for those of the process.
        """
        code, text = self.ask("/metrics")
        assert code == 200
        return {
            name_of(sample.name, sample.labels): sample.value
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
            if sample.name.startswith("spool_") and not sample.name.endswith("_bucket")
        }

    def health(self, query: str = "") -> tuple[int, dict[str, Any]]:
        code, text = self.ask(f"/healthz{query}")
        return code, json.loads(text)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def name_of(name: str, labels: dict[str, str]) -> str:
    return f"{name}{''.join(f' {value}' for _, value in sorted(labels.items()))}"


@contextmanager
def watched(
    db: Path, containers: Path, endpoint: Endpoint, *options: str, metrics: str = "0"
) -> Iterator[Monitor]:
    """
    An agent that has started, and its monitor.
    """
    options = ("--metrics", metrics, *options)
    with Agent(db, containers, endpoint.environment(), options=options) as agent:
        yield Monitor(agent.wait_started())


def test_metrics_say_what_status_says(endpoint: Endpoint, db: Path, containers: Path) -> None:
    web = LogWriter(containers, WEB, "web")
    web.write("one", "", "two", "three")
    with watched(db, containers, endpoint) as monitor:
        wait_until(lambda: monitor.scrape()["spool_sent_events_total"] == 3)
        wait_until(lambda: monitor.agent.status()["sent"] == 3)
        wait_until(lambda: file_bytes(monitor) == monitor.agent.status()["bytes"])
        series, told = monitor.scrape(), monitor.agent.status()
    assert series["spool_collected_events_total"] == told["collected"] == 3
    assert series["spool_unsent_events"] == told["unsent"] == 0
    assert series["spool_rejected_events"] == told["rejected"] == 0
    assert series["spool_dropped_events_total"] == told["dropped"] == 0
    assert series["spool_skipped_records_total blank lines"] == told["skipped"]["blank lines"] == 1
    assert series["spool_oldest_unsent_age_seconds"] == 0
    assert series["spool_up"] == 1
    assert any(name.startswith("spool_build_info ") for name in series)
    served = {re.sub(r"_(count|sum|created)$", "", name.partition(" ")[0]) for name in series}
    assert served == set(re.findall(r"`(spool_\w+)(?:`|\{)", OPERATIONS)), (
        "the document has them all"
    )


def file_bytes(monitor: Monitor) -> float:
    series = monitor.scrape()
    return series["spool_file_bytes db"] + series["spool_file_bytes wal"]


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (THROTTLED, "slow_down"),
        (status(503), "wait"),
        (error("AccessDeniedException"), "operator"),
        (error("ExpiredTokenException"), "renew"),
    ],
    ids=["throttled", "5xx", "denied", "expired"],
)
def test_a_failing_service_shows_in_outcomes_and_lag_and_not_in_health(
    endpoint: Endpoint, db: Path, containers: Path, fault: Fault, outcome: str
) -> None:
    endpoint.fail_always(fault, "PutLogEvents")
    LogWriter(containers, WEB, "web").write("one", "two")
    with watched(db, containers, endpoint) as monitor:
        wait_until(lambda: monitor.scrape().get(series_of("put", outcome), 0) >= 2)
        series = monitor.scrape()
        assert series["spool_unsent_events"] == 2
        assert series["spool_unsent_bytes"] == len("onetwo")
        assert series["spool_oldest_unsent_age_seconds"] > 0
        assert series["spool_sent_events_total"] == 0
        assert series[f"spool_request_duration_seconds_count {outcome}"] >= 2
        assert monitor.health()[0] == 200
        assert monitor.health("?max_lag=1h")[0] == 200
        code, told = monitor.health("?max_lag=1ms")
        assert code == 503
        assert "oldest unsent event is" in told["reason"]
        assert told["unsent"] == 2
        endpoint.heal()
        wait_until(lambda: monitor.scrape()["spool_sent_events_total"] == 2, timeout_s=60)
        wait_until(lambda: monitor.health("?max_lag=1ms")[0] == 200)
        assert monitor.scrape()[series_of("put", "ok")] == endpoint.count("PutLogEvents", "ok")


def series_of(operation: str, outcome: str) -> str:
    return f"spool_requests_total {operation} {outcome}"


def test_a_replay_counts_again_and_no_counter_falls(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    LogWriter(containers, WEB, "web").write("one", "two")
    with watched(db, containers, endpoint) as monitor:
        wait_until(lambda: monitor.agent.status()["sent"] == 2)
        before = monitor.scrape()
        endpoint.fail_always(THROTTLED, "PutLogEvents")
        waiting = subprocess.Popen(
            [sys.executable, "-m", "cli", "replay", "--db", str(db), "--state", "sent"],
            env=clean_environment(endpoint.environment()),
            stderr=subprocess.PIPE,
        )
        wait_until(lambda: monitor.scrape()["spool_unsent_events"] == 2)
        during = monitor.scrape()
        endpoint.heal()
        assert waiting.wait(60) == 0
        assert waiting.stderr
        waiting.stderr.close()
        wait_until(lambda: monitor.scrape()["spool_sent_events_total"] == 4)
        after = monitor.scrape()
    for one, other in ((before, during), (during, after)):
        fallen = {name for name in one if is_counter(name) and other[name] < one[name]}
        assert fallen == set()
    assert after["spool_collected_events_total"] == 2


def is_counter(name: str) -> bool:
    return name.partition(" ")[0].endswith(("_total", "_count", "_sum"))


def test_what_is_refused_is_told(endpoint: Endpoint, db: Path, containers: Path) -> None:
    target = ("--db", db, "--group", "g", "--stream", "s", "--json")
    old = json.dumps({"timestamp": now_ms() - 20 * DAY_MS, "message": "long ago"})
    assert spool("put", *target, stdin=old).returncode == 0
    with watched(db, containers, endpoint) as monitor:
        wait_until(lambda: monitor.scrape()["spool_rejected_events"] == 1)
        assert monitor.agent.status()["rejected"] == 1


def test_what_is_in_the_file_goes_on_after_a_restart(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    LogWriter(containers, WEB, "web").write("one", "", "two")
    with watched(db, containers, endpoint) as monitor:
        wait_until(lambda: monitor.agent.status()["sent"] == 2)
        assert monitor.agent.stop() == 0
        monitor.agent.log.unlink()
    with watched(db, containers, endpoint) as monitor:
        series = monitor.scrape()
    assert series["spool_collected_events_total"] == 2
    assert series["spool_skipped_records_total blank lines"] == 1
    assert series["spool_sent_events_total"] == 0


def test_containers_add_no_series(endpoint: Endpoint, db: Path, containers: Path) -> None:
    with watched(db, containers, endpoint) as monitor:
        before = monitor.scrape()
        for number in range(20):
            LogWriter(containers, f"{number:064x}", f'"}}\n{number}\x1b[2J').write("one")
        wait_until(lambda: monitor.scrape()["spool_sent_events_total"] == 20)
        new = set(monitor.scrape()) - set(before)
        text = monitor.ask("/metrics")[1]
    assert {name.split()[0] for name in new} <= {
        "spool_requests_total",
        "spool_request_duration_seconds_count",
        "spool_request_duration_seconds_sum",
    }
    assert b"\x1b" not in text


# Health


def test_a_locked_spool_is_unhealthy_until_it_is_free(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    with watched(db, containers, endpoint) as monitor:
        assert monitor.health() == (200, {"status": "ok", "unsent": 0, "oldest_unsent_age_s": 0})
        with closing(sqlite3.connect(db, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            code, told = monitor.health()
            assert code == 503
            assert told["status"] == "failing"
            assert "another process holds its lock" in told["reason"]
            assert monitor.scrape()["spool_up"] == 1
            other.execute("ROLLBACK")
        assert monitor.health()[0] == 200


def test_a_spool_that_cannot_grow_is_unhealthy_until_it_can(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    with watched(db, containers, endpoint) as monitor:
        pid = monitor.agent.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, before[1]))
        code, told = monitor.health()
        life = monitor.ask("/livez")
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        assert code == 503
        assert "cannot be written" in told["reason"]
        assert life == (200, ALIVE), "a restart makes no room"
        wait_until(lambda: monitor.health()[0] == 200)


def test_a_spool_that_was_removed_is_unhealthy(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    with watched(db, containers, endpoint) as monitor:
        db.unlink()
        code, told = monitor.health()
        assert code == 503
        assert "was removed or replaced" in told["reason"]
        assert not db.exists()


@pytest.mark.parametrize("query", ["?max_lag=soon", "?max_lag=", "?lag=15m"])
def test_a_health_check_that_cannot_be_meant_is_an_error(
    endpoint: Endpoint, db: Path, containers: Path, query: str
) -> None:
    with watched(db, containers, endpoint) as monitor:
        assert monitor.ask(f"/healthz{query}")[0] == 400


HOLD = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA user_version")
print("ready", flush=True)
sys.stdin.readline()
"""


def test_an_agent_that_rescues_its_spool_is_alive_and_not_yet_well(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    """
    It may take minutes; who kills it meanwhile makes it begin anew.
    """
    target = ("--group", "g", "--stream", "s")
    lines = "".join(f"{number} {'x' * 100}\n" for number in range(10_000))
    assert spool("put", "--db", db, *target, stdin=lines).returncode == 0
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(db)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with other, db.open("r+b") as file:
        assert other.stdout
        assert other.stdout.readline()  # it is waited for before the rescue
        file.seek(200 * 4096)
        file.write(b"\xa5" * 4096)
        file.flush()
        db.with_name("spool.db.lock").write_text("4711\n")  # of an agent that crashed
        options = ("--metrics", "0")
        with Agent(db, containers, endpoint.environment(), options=options) as agent:
            monitor = Monitor(agent)
            wait_until(lambda: b"metrics on" in agent.own_log())
            code, told = monitor.health()
            assert (code, told["reason"].partition(",")[0]) == (
                503,
                "looking whether the spool is sound",
            )
            assert monitor.ask("/livez") == (200, ALIVE)
            assert monitor.scrape()["spool_up"] == 0
            other.communicate("\n")
            agent.wait_started()
            assert b"is damaged" in agent.own_log()
            wait_until(lambda: monitor.health()[0] == 200)
            assert monitor.scrape()["spool_up"] == 1


# The server


def test_there_are_three_pages_to_be_read_and_no_more(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    with watched(db, containers, endpoint) as monitor:
        assert monitor.ask("/")[0] == 404
        assert monitor.ask("/metrics/../spool.db")[0] == 404
        assert monitor.ask("/metrics", "HEAD") == (200, b"")
        assert monitor.ask("/healthz", "HEAD") == (200, b"")
        assert monitor.ask("/livez") == (200, ALIVE)
        assert monitor.ask("/metrics", "POST")[0] == 501
        assert monitor.ask("//[", "GET")[0] == 404


@pytest.mark.parametrize(
    ("address", "host", "is_public"),
    [
        ("0", "127.0.0.1", False),
        (":0", "127.0.0.1", False),
        ("0.0.0.0:0", "0.0.0.0", True),
        pytest.param("[::1]:0", "[::1]", False, marks=NEEDS_IPV6),
        pytest.param("[::]:0", "[::]", True, marks=NEEDS_IPV6),
    ],
)
def test_only_who_says_so_is_heard_by_other_hosts(
    endpoint: Endpoint, db: Path, containers: Path, address: str, host: str, is_public: bool
) -> None:
    with watched(db, containers, endpoint, metrics=address) as monitor:
        assert monitor.url.rpartition(":")[0] == f"http://{host}"
        assert ("can be read from other hosts" in monitor.agent.log.read_text()) == is_public


@pytest.mark.parametrize("address", ["here", "1.2.3.4", "127.0.0.1:", "70000", "::1:90", "a b:1"])
def test_an_address_that_is_none_is_wrong_usage(db: Path, containers: Path, address: str) -> None:
    done = spool("run", ROUTE, "--db", db, "--metrics", address)
    assert done.returncode == 2
    assert "is no address; write it as 9090" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_address_that_is_taken_is_told_before_anything_starts(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = spool(
            *("run", ROUTE, "--db", db, "--containers-dir", containers),
            environment={**endpoint.environment(), "SPOOL_METRICS": str(port)},
        )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"spool: 127.0.0.1:{port}: cannot listen there (Address already in use);"
        " give another with --metrics"
    ]
    assert not db.exists()


def test_clients_that_never_finish_keep_others_out_for_a_while_only(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    with watched(db, containers, endpoint) as monitor, ExitStack() as clients:
        url = urlsplit(monitor.url)
        slow = [
            clients.enter_context(socket.create_connection((url.hostname, url.port)))
            for _ in range(20)
        ]

        def is_answered() -> bool:
            for client in slow:
                drip(client)
            try:
                return monitor.ask("/metrics")[0] == 200
            except OSError:
                return False

        wait_until(is_answered)
        LogWriter(containers, WEB, "web").write("one")
        endpoint.wait_until(lambda: endpoint.event_count() == 1)
        assert "Traceback" not in monitor.agent.log.read_text()


def drip(client: socket.socket) -> None:
    with suppress(OSError):
        client.sendall(b"G")


def test_who_asks_for_no_metrics_does_not_pay_for_them() -> None:
    code = "import sys, cli.run; print([name for name in sys.modules if 'prometheus' in name])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean_environment(), capture_output=True, check=True
    )
    assert done.stdout.strip() == b"[]"
