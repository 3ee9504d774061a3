"""
spool batches: the requests, and what came of them.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from agent import Agent, spool, wait_until
from cloudwatch_endpoint import Endpoint, Fault, Request, error, status
from terminal import on_a_terminal, plain

COLUMNS = [
    *("id", "log_group", "log_stream", "events", "bytes", "first_timestamp", "last_timestamp"),
    *("state", "attempts", "created_at", "sent_at", "request_id", "error"),
]


def batches(db: Path, *options: str) -> list[dict[str, Any]]:
    done = spool("batches", "--db", db, "--format", "json", *options)
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def test_each_request_is_on_record_with_what_it_carried_and_the_answer(history: Any) -> None:
    shown = batches(history.db)
    assert [batch["id"] for batch in shown] == sorted(batch["id"] for batch in shown)
    assert {(batch["log_stream"], batch["events"], batch["state"]) for batch in shown} == {
        ("web", 3, "sent"),
        ("worker", 2, "sent"),
    }
    web = next(batch for batch in shown if batch["log_stream"] == "web")
    assert list(web) == COLUMNS
    assert web["bytes"] == sum(len(message.encode()) for message in history.web)
    assert web["first_timestamp"] == history.begin_ms
    assert web["last_timestamp"] == history.begin_ms + 2000
    assert web["attempts"] == 1
    assert web["request_id"]
    assert web["error"] is None
    assert web["created_at"] <= web["sent_at"]


def test_filters_leave_what_they_name(history: Any) -> None:
    newest = batches(history.db)[-1]
    assert [batch["log_stream"] for batch in batches(history.db, "--stream", "web")] == ["web"]
    assert len(batches(history.db, "--group", "app", "--state", "sent")) == 2
    assert batches(history.db, "--state", "refused") == batches(history.db, "--group", "x") == []
    assert batches(history.db, "-n", "1") == [newest]
    assert batches(history.db, "-n", "0") == []


def test_text_table_and_csv_show_the_same(history: Any) -> None:
    text = spool("batches", "--db", history.db).stdout
    table = spool("batches", "--db", history.db, "--format", "table").stdout
    rows = list(
        csv.DictReader(io.StringIO(spool("batches", "--db", history.db, "--format", "csv").stdout))
    )
    assert len(text.splitlines()) == len(rows) == 2
    assert list(rows[0]) == COLUMNS
    for row in rows:
        assert row["request_id"] in text
        assert row["log_stream"] in table


def test_from_an_event_one_finds_each_request_that_carried_it(
    endpoint: Endpoint, spool_to_change: Any
) -> None:
    db = spool_to_change.db
    [web] = [batch for batch in batches(db) if batch["log_stream"] == "web"]
    event = json.loads(
        spool("events", "--db", db, "--stream", "web", "-n", "1", "--format", "jsonl").stdout
    )
    assert batches(db, "--event", str(event["id"])) == [web]
    again = spool("replay", "--db", db, "--stream", "web", environment=endpoint.environment())
    assert again.returncode == 0
    carriers = batches(db, "--event", str(event["id"]))
    assert [batch["id"] for batch in carriers] == [web["id"], max(b["id"] for b in batches(db))]
    assert len({batch["request_id"] for batch in carriers}) == 2
    assert batches(db, "--event", "999999") == []


def test_those_that_may_have_arrived_twice_are_found(
    endpoint: Endpoint, spool_to_change: Any
) -> None:
    assert batches(spool_to_change.db, "--twice") == []
    endpoint.fail_next(status(503, "busy"))
    replay = ("replay", "--db", spool_to_change.db)
    assert spool(*replay, environment=endpoint.environment()).returncode == 0
    assert [batch["attempts"] for batch in batches(spool_to_change.db, "--twice")] == [2]


def test_the_parts_of_a_refused_batch_do_not_look_as_if_they_were_sent_twice(
    endpoint: Endpoint, db: Path
) -> None:
    def refuse_poison(request: Request) -> Fault | None:
        is_poisoned = any("poison" in message for _, message in request.events)
        return error("InvalidParameterException", message="bad event") if is_poisoned else None

    endpoint.create("app", "web")
    endpoint.decide = refuse_poison
    spool("put", "--db", db, "--group", "app", "--stream", "web", stdin="good\npoison\ngood\n")
    assert spool("replay", "--db", db, environment=endpoint.environment()).returncode == 0
    assert sorted(endpoint.messages("app", "web")) == ["good", "good"]
    assert [batch["attempts"] for batch in batches(db)] == [1] * 5
    assert batches(db, "--twice") == []


def test_a_request_that_took_two_attempts_says_so(endpoint: Endpoint, spool_to_change: Any) -> None:
    endpoint.create("other", "late")
    endpoint.fail_next(status(503, "busy"))
    done = spool("replay", "--db", spool_to_change.db, environment=endpoint.environment())
    assert done.returncode == 0, done.stderr
    (batch,) = batches(spool_to_change.db, "--stream", "late")
    assert (batch["state"], batch["attempts"]) == ("sent", 2)


def test_a_request_that_was_not_answered_for_is_named(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    """
    What may have arrived although nobody knows: `sending`, with the last error.
    """
    spool("put", "--db", db, "--group", "app", "--stream", "web", stdin="one")
    endpoint.refuse()
    with Agent(db, containers, endpoint.environment()):
        wait_until(lambda: [row for row in batches(db, "--state", "sending") if row["error"]])
    (batch,) = batches(db)
    assert batch["attempts"] >= 1
    assert batch["sent_at"] is None
    assert "EndpointConnectionError" in batch["error"]
    lines = plain(on_a_terminal("batches", "--db", db)).splitlines()
    assert len(lines) <= 4, "the head, the batch, and below it two lines for the error"
    assert lines[2].startswith("    PutLogEvents: EndpointConnectionError: ")


def test_a_table_has_the_request_id_where_there_is_room(history: Any) -> None:
    one = batches(history.db)[0]["request_id"]
    assert one not in plain(on_a_terminal("batches", "--db", history.db))
    assert one in plain(on_a_terminal("batches", "--db", history.db, columns=140))


def test_what_cannot_be_meant_is_wrong_usage(history: Any) -> None:
    for options in (["-n", "-1"], ["-n", "9" * 20], ["--state", "lost"]):
        done = spool("batches", "--db", history.db, *options)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
