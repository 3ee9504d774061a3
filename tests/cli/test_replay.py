"""
spool replay: what was chosen is sent once more, and nothing else.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from agent import SPOOL, Agent, clean_environment, spool, status, wait_until
from cloudwatch_endpoint import HANG, Endpoint, error

from spool.store import Chunk, Store


def replay(db: Path, endpoint: Endpoint, *arguments: str) -> subprocess.CompletedProcess[str]:
    return spool("replay", *arguments, "--db", db, environment=endpoint.environment())


def arrived(endpoint: Endpoint) -> Counter[tuple[str, str, str]]:
    """
    (group, stream, message) of all that arrived, and how often.
    """
    return Counter(
        (*stream, message)
        for stream in endpoint.streams()
        for message in endpoint.messages(*stream)
    )


def once(*messages: str, group: str, stream: str) -> Counter[tuple[str, str, str]]:
    return Counter((group, stream, message) for message in messages)


def iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()


def batch_of(db: Path, stream: str) -> str:
    rows = json.loads(spool("batches", "--db", db, "--stream", stream, "--format", "json").stdout)
    return str(rows[-1]["id"])


def web(chosen: Any) -> Counter[tuple[str, str, str]]:
    return once(*chosen.web, group="app", stream="web")


def worker(chosen: Any) -> Counter[tuple[str, str, str]]:
    return once(*chosen.worker, group="app", stream="worker")


def late(chosen: Any) -> Counter[tuple[str, str, str]]:
    return once(*chosen.late, group="other", stream="late")


def test_without_options_it_drains_what_is_unsent(spool_to_change: Any, endpoint: Endpoint) -> None:
    done = replay(spool_to_change.db, endpoint)
    assert done.returncode == 0, done.stderr
    assert "sending 2 events of 1 stream, " in done.stderr
    assert arrived(endpoint) == late(spool_to_change)
    assert status(spool_to_change.db)["unsent"] == 0
    again = replay(spool_to_change.db, endpoint)
    assert (again.returncode, again.stderr.splitlines()[-1]) == (0, "nothing to send")
    assert arrived(endpoint) == late(spool_to_change)


@pytest.mark.parametrize(
    ("choose", "wanted"),
    [
        (lambda h: ["--stream", "web"], web),
        (lambda h: ["--group", "app", "--state", "sent"], lambda h: web(h) + worker(h)),
        (lambda h: ["--group", "other"], late),
        (lambda h: ["--state", "unsent"], late),
        (lambda h: ["--state", "rejected"], lambda h: Counter()),
        (lambda h: ["--batch", batch_of(h.db, "worker")], worker),
        (
            lambda h: ["--since", iso(h.begin_ms + 1000), "--stream", "web"],
            lambda h: once(*h.web[1:], group="app", stream="web"),
        ),
        (
            lambda h: ["--until", iso(h.begin_ms + 1000), "--since", iso(h.begin_ms)],
            lambda h: (
                once(h.web[0], group="app", stream="web")
                + once(h.worker[0], group="app", stream="worker")
            ),
        ),
    ],
    ids=["stream", "group and state", "group", "unsent", "rejected", "batch", "since", "until"],
)
def test_only_what_was_chosen_is_sent_and_that_once(
    spool_to_change: Any,
    endpoint: Endpoint,
    choose: Callable[[Any], list[str]],
    wanted: Callable[[Any], Counter[tuple[str, str, str]]],
) -> None:
    before = status(spool_to_change.db)
    done = replay(spool_to_change.db, endpoint, *choose(spool_to_change))
    assert done.returncode == 0, done.stderr
    assert arrived(endpoint) == wanted(spool_to_change)
    after = status(spool_to_change.db)
    assert after["collected"] == before["collected"]
    assert after["rejected"] == 1, "20 days old it stays, whoever chooses it"
    assert spool("check", "--db", spool_to_change.db).returncode == 0


def test_a_dry_run_says_how_much_and_sends_nothing(
    spool_to_change: Any, endpoint: Endpoint
) -> None:
    before = status(spool_to_change.db)
    done = replay(spool_to_change.db, endpoint, "--dry-run", "--group", "app", "--state", "sent")
    size = sum(len(message) for message in spool_to_change.sent)
    assert done.returncode == 0
    assert done.stderr == (
        f"would send 5 events of 2 streams, {size} B, in 2 requests: about 1 s\n"
    )
    assert endpoint.calls == []
    assert status(spool_to_change.db) == before


def test_what_waits_in_the_same_stream_goes_with_what_was_chosen_and_is_told(
    db: Path, endpoint: Endpoint
) -> None:
    now_ms = time.time_ns() // 1_000_000
    with Store(db) as store:
        stream_id, source_id = store.stream_id("group", "web"), store.source_id("test")
        old = [(stream_id, now_ms - 3_600_000 + n, source_id, f"old {n}") for n in range(5)]
        store.append([Chunk(stream_id, [*old, (stream_id, now_ms, source_id, "new")])])
    said = "with them 5 events of the same streams that waited before"
    assert said in replay(db, endpoint, "--since", "5m", "--dry-run").stderr
    done = replay(db, endpoint, "--since", "5m")
    assert said in done.stderr
    assert len(endpoint.messages("group", "web")) == 6
    assert said not in replay(db, endpoint, "--since", "5m", "--dry-run").stderr


def test_what_cloudwatch_would_refuse_for_its_age_is_told_and_left(
    spool_to_change: Any, endpoint: Endpoint
) -> None:
    done = replay(spool_to_change.db, endpoint, "--state", "rejected")
    assert "not sent: 1 event older than 14 days" in done.stderr
    assert "--restamp" in done.stderr
    assert endpoint.calls == []


@pytest.mark.parametrize("choice", [["--state", "rejected"], []])
def test_restamped_it_is_sent_with_the_present_time_and_the_original_in_front(
    spool_to_change: Any, endpoint: Endpoint, choice: list[str]
) -> None:
    done = replay(spool_to_change.db, endpoint, *choice, "--restamp")
    assert done.returncode == 0, done.stderr
    [((group, stream, message), count)] = arrived(endpoint).items()
    assert count == 1
    original, text = message.split(" ", 1)
    assert text == spool_to_change.rejected
    assert datetime.fromisoformat(original) < datetime.now(UTC) - timedelta(days=14)
    [(timestamp, _)] = endpoint.events(group, stream)
    assert abs(timestamp / 1000 - datetime.now(UTC).timestamp()) < 60
    assert status(spool_to_change.db)["rejected"] == 0
    assert spool("check", "--db", spool_to_change.db).returncode == 0


def test_why_the_service_refused_and_what_was_rescued_steer_no_terminal(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    db = tmp_path / "\x1b[31m\x9b2J" / "spool.db"
    spool("put", "--db", db, "--group", "app", "--stream", "web", stdin="a line\n")
    with db.open("r+b") as file:
        file.write(b"damaged")
    endpoint.fail_always(
        error("InvalidParameterException", message="no \x1b[31m \x9b2J"), "PutLogEvents"
    )
    done = replay(db, endpoint)
    assert r"\x1b[31m\x9b2J/spool.db is damaged" in done.stderr
    assert r"InvalidParameterException: no \x1b[31m \x9b2J; `spool events" in done.stderr
    assert all(line.isprintable() for line in done.stderr.splitlines())


def test_at_the_end_it_says_how_many_were_sent_and_how_many_refused_and_why(
    spool_to_change: Any, endpoint: Endpoint
) -> None:
    put = ("put", "--db", spool_to_change.db, "--group", "other", "--stream", "late", "--json")
    assert spool(*put, stdin='{"message": "from 2020", "timestamp": 1577836800000}').returncode == 0
    done = replay(spool_to_change.db, endpoint)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-2:] == [
        "done: 2 events sent, 1 rejected",
        "rejected: 1 too old; `spool replay --restamp` sends what is too old or too new with the"
        " present time",
    ]
    again = replay(spool_to_change.db, endpoint, "--restamp")
    assert again.stderr.splitlines()[-1] == "done: 2 events sent, 0 rejected"


def test_another_group_and_stream_get_a_copy_and_the_old_ones_stay(
    spool_to_change: Any, endpoint: Endpoint
) -> None:
    before = {row["stream"]: row for row in status(spool_to_change.db)["streams"]}
    target = ("--to-group", "rescued", "--to-stream", "one")
    done = replay(spool_to_change.db, endpoint, "--stream", "web", *target)
    assert done.returncode == 0, done.stderr
    assert arrived(endpoint) == once(*spool_to_change.web, group="rescued", stream="one")
    assert [at_ms for at_ms, _ in endpoint.events("rescued", "one")] == [
        spool_to_change.begin_ms + 1000 * number for number in range(3)
    ]
    after = {row["stream"]: row for row in status(spool_to_change.db)["streams"]}
    assert after.pop("one")["sent"] == 3
    assert after == before


def test_another_group_alone_keeps_the_streams_names(
    spool_to_change: Any, endpoint: Endpoint
) -> None:
    done = replay(spool_to_change.db, endpoint, "--state", "sent", "--to-group", "rescued")
    assert done.returncode == 0, done.stderr
    assert arrived(endpoint) == once(*spool_to_change.web, group="rescued", stream="web") + once(
        *spool_to_change.worker, group="rescued", stream="worker"
    )


def test_a_rate_is_kept_to_and_all_arrives(spool_to_change: Any, endpoint: Endpoint) -> None:
    done = replay(spool_to_change.db, endpoint, "--rate", "1MiB", "--stream", "web")
    assert done.returncode == 0, done.stderr
    assert arrived(endpoint) == web(spool_to_change)


def test_beside_a_running_agent_it_requeues_and_the_agent_sends_once_more(
    spool_to_change: Any, endpoint: Endpoint, containers: Path
) -> None:
    with Agent(spool_to_change.db, containers, endpoint.environment()) as agent:
        wait_until(lambda: arrived(endpoint) == late(spool_to_change))
        elsewhere = ("cloudwatch://eu-west-1", "--rate", "1")
        done = replay(spool_to_change.db, endpoint, "--stream", "late", *elsewhere)
        assert done.returncode == 0, done.stderr
        assert f"the agent (pid {agent.process.pid}) sends them" in done.stderr
        assert "ROUTE is for a replay without an agent; it is ignored" in done.stderr
        assert "--rate is for a replay without an agent; it is ignored" in done.stderr
        assert ": about 1 s\n" in done.stderr, "of the agent's speed, not of that rate"
        assert arrived(endpoint) == late(spool_to_change) + late(spool_to_change)
        assert agent.status()["agent"] == agent.process.pid
        assert agent.stop() == 0
    assert status(spool_to_change.db)["sent"] == 7


def test_what_was_never_there_is_nothing_to_send(spool_to_change: Any, endpoint: Endpoint) -> None:
    for choice in (["--batch", "999"], ["--stream", "nobody"], ["--since", "now"]):
        for options in ([], ["--dry-run"]):
            done = replay(spool_to_change.db, endpoint, *choice, *options)
            assert (done.returncode, done.stderr) == (0, "nothing to send\n"), choice
    assert endpoint.calls == []


def test_an_interruption_leaves_the_rest_unsent_for_the_next(
    spool_to_change: Any, endpoint: Endpoint
) -> None:
    endpoint.fail_always(HANG)
    with subprocess.Popen(
        [*SPOOL, "replay", "--db", str(spool_to_change.db)],
        env=clean_environment(endpoint.environment()),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        wait_until(lambda: open_batches(spool_to_change.db), what="a batch is on its way")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert "2 events are still unsent; run `spool replay` again" in process.stderr.read()
    endpoint.heal()
    assert replay(spool_to_change.db, endpoint).returncode == 0
    assert arrived(endpoint) == late(spool_to_change)


def test_what_waits_for_the_rate_at_an_interruption_is_not_on_its_way(
    db: Path, endpoint: Endpoint
) -> None:
    """
    Nothing of it may have arrived, so nothing may look as if it had arrived twice.
    """
    for stream in ("one", "two", "three"):
        endpoint.create("app", stream)
        spool("put", "--db", db, "--group", "app", "--stream", stream, stdin="x" * 10_000)
    with subprocess.Popen(
        [*SPOOL, "replay", "--db", str(db), "--rate", "1k"],
        env=clean_environment(endpoint.environment()),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(lambda: status(db)["sent"] == 1)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    assert open_batches(db) == []
    assert replay(db, endpoint).returncode == 0
    assert sum(arrived(endpoint).values()) == 3
    done = spool("batches", "--db", db, "--twice", "--format", "json")
    assert json.loads(done.stdout) == []


def open_batches(db: Path) -> list[Any]:
    done = spool("batches", "--db", db, "--state", "sending", "--format", "json")
    rows: list[Any] = json.loads(done.stdout)
    return rows


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--rate", "-5"], "no size"),
        (["--rate", "0"], "no size"),
        (["--rate", "fast"], "no size"),
        (["--batch", "0"], "not in the range"),
        (["--group", ""], "empty"),
        (["--stream", ""], "empty"),
        (["--state", ""], "no state"),
        (["--to-group", "a b"], "it would take 'a_b-"),
        (["--to-stream", "a:b"], "it would take 'a_b-"),
        (["--to-group", ""], "--to-group"),
        (["--to-stream", "\udcff"], "--to-stream"),
        (["--since", "soon"], "no time"),
        (["gopher://x"], "cannot begin with 'gopher'"),
    ],
    ids=lambda value: ascii(" ".join(value)) if isinstance(value, list) else "",
)
def test_what_cannot_be_meant_sends_nothing(
    spool_to_change: Any, endpoint: Endpoint, options: list[str], told: str
) -> None:
    done = replay(spool_to_change.db, endpoint, *options)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert endpoint.calls == []
    assert status(spool_to_change.db)["unsent"] == 2
