"""
From the store to CloudWatch, through real HTTP and every fault on demand.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from agent import wait_until
from cloudwatch_endpoint import (
    CUT_AFTER,
    CUT_BEFORE,
    CUT_MID_ANSWER,
    HANG,
    THROTTLED,
    Endpoint,
    Fault,
    Request,
    error,
    status,
)

from shipper.backoff import Pace
from shipper.cloudwatch import CloudWatch
from shipper.upload import Uploader
from spool.audit import audit
from spool.clock import now_ms
from spool.store import Chunk, Store

DAY_MS = 24 * 3600 * 1000


def append(store: Store, stream: str, *messages: str, at_ms: int | None = None) -> None:
    stream_id = store.stream_id("group", stream)
    source_id = store.source_id("test")
    begin_ms = now_ms() if at_ms is None else at_ms
    events = [(stream_id, begin_ms, source_id, message) for message in messages]
    store.append([Chunk(stream_id, events)])


@contextmanager
def uploading(store: Store, cloudwatch: CloudWatch, **options: float) -> Iterator[Uploader]:
    uploader = Uploader(store, cloudwatch, **{"delay_s": 0.05, "concurrency": 4, **options})
    stop = threading.Event()
    uploader.start()
    runner = threading.Thread(target=uploader.run, args=[stop])
    runner.start()
    try:
        yield uploader
    finally:
        stop.set()
        uploader.wake()
        runner.join()
        uploader.finish(1)


def sent(store: Store) -> int:
    with store.reading() as db:
        return int(db.execute("SELECT coalesce(sum(sent), 0) FROM stream").get)


def rejections(store: Store) -> dict[str, str]:
    with store.reading() as db:
        rows = db.execute(
            "SELECT message, reason FROM rejection JOIN event ON event.id = rejection.id"
        )
        return dict(rows.fetchall())


def test_group_and_stream_are_made_when_told_that_they_are_missing(
    store: Store, cloudwatch: CloudWatch, endpoint: Endpoint
) -> None:
    append(store, "web", "hello")
    with uploading(store, cloudwatch):
        wait_until(lambda: sent(store) == 1)
    assert endpoint.messages("group", "web") == ["hello"]
    assert [(call.operation, call.outcome) for call in endpoint.calls] == [
        ("PutLogEvents", "ResourceNotFoundException"),
        ("CreateLogStream", "ResourceNotFoundException"),
        ("CreateLogGroup", "ok"),
        ("CreateLogStream", "ok"),
        ("PutLogEvents", "ok"),
    ]


def test_a_stream_that_exists_costs_no_create_call(
    store: Store, cloudwatch: CloudWatch, endpoint: Endpoint
) -> None:
    endpoint.create("group", "web")
    append(store, "web", "hello")
    with uploading(store, cloudwatch):
        wait_until(lambda: sent(store) == 1)
    assert endpoint.count("CreateLogStream") == endpoint.count("CreateLogGroup") == 0


def test_a_group_deleted_in_mid_run_is_made_again(
    store: Store, cloudwatch: CloudWatch, endpoint: Endpoint
) -> None:
    append(store, "web", "before")
    with uploading(store, cloudwatch):
        wait_until(lambda: sent(store) == 1)
        endpoint.delete("group")
        append(store, "web", "after")
        wait_until(lambda: sent(store) == 2)
    assert endpoint.messages("group", "web") == ["after"]


@pytest.mark.parametrize(
    "fault",
    [
        CUT_BEFORE,
        CUT_AFTER,
        CUT_MID_ANSWER,
        THROTTLED,
        status(500, "oops"),
        status(503, "busy"),
        status(200, "this is no JSON"),
        error("ExpiredTokenException"),
        error("InvalidSignatureException"),
        error("AccessDeniedException"),
        error("UnrecognizedClientException"),
        error("ServiceUnavailableException", status=503),
        error("SomethingNewException"),
    ],
    ids=str,
)
def test_whatever_the_answer_a_batch_stays_unsent_until_a_whole_200(
    store: Store, cloudwatch: CloudWatch, endpoint: Endpoint, fault: Fault
) -> None:
    """
    Promise 2.
    """
    endpoint.create("group", "web")
    endpoint.fail_always(fault, operation="PutLogEvents")
    append(store, "web", "hello")
    with uploading(store, cloudwatch):
        wait_until(lambda: endpoint.count("PutLogEvents") >= 2)
        assert sent(store) == 0
        assert store.unsent() == 1
        endpoint.heal()
        wait_until(lambda: sent(store) == 1)
    assert "hello" in endpoint.messages("group", "web")


def test_an_endpoint_that_refuses_connections_is_probed_by_one_request_not_one_a_stream(
    store: Store, cloudwatch: CloudWatch, endpoint: Endpoint
) -> None:
    for number in range(40):
        append(store, f"stream-{number}", "hello")
        endpoint.create("group", f"stream-{number}")
    endpoint.fail_always(status(503, "busy"))
    with uploading(store, cloudwatch):
        time.sleep(2)
        tries = endpoint.count("PutLogEvents")
        endpoint.heal()
        wait_until(lambda: sent(store) == 40)
    assert tries < 15


def test_one_bad_stream_does_not_hold_up_the_others(
    store: Store, cloudwatch: CloudWatch, endpoint: Endpoint
) -> None:
    def deny_bad(request: Request) -> Fault | None:
        return error("AccessDeniedException") if request.stream == "bad" else None

    endpoint.decide = deny_bad
    append(store, "bad", "kept")
    with uploading(store, cloudwatch):
        for number in range(5):
            append(store, "good", f"line {number}")
            wait_until(lambda count=number: sent(store) == count + 1, timeout_s=20)
        endpoint.heal()
        wait_until(lambda: sent(store) == 6)


def test_a_stream_that_the_service_always_fails_on_does_not_hold_up_the_others(
    store: Store, cloudwatch: CloudWatch, endpoint: Endpoint
) -> None:
    """
    A 500 is taken for an outage of the whole service, until others get through.
    """

    def break_on_bad(request: Request) -> Fault | None:
        return status(500, "oops") if request.stream == "bad" else None

    endpoint.create("group", "bad")
    endpoint.create("group", "good")
    endpoint.decide = break_on_bad
    append(store, "bad", "kept")
    with uploading(store, cloudwatch):
        for number in range(20):
            append(store, "good", f"line {number}")
            wait_until(lambda count=number: sent(store) == count + 1, timeout_s=20)
        endpoint.heal()
        wait_until(lambda: sent(store) == 21)


def test_a_throttled_uploader_sends_less_and_less_and_says_so_once(
    store: Store,
    cloudwatch: CloudWatch,
    endpoint: Endpoint,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shipper.brake.MIN_RATE", 1.0)
    for number in range(40):
        endpoint.create("group", f"stream-{number}")
        append(store, f"stream-{number}", "hello")
    endpoint.fail_always(THROTTLED)
    with uploading(store, cloudwatch):
        wait_until(lambda: endpoint.count("PutLogEvents") > 1)
        time.sleep(3)
        tries = endpoint.count("PutLogEvents")
        endpoint.heal()
        wait_until(lambda: sent(store) == 40)
    assert tries < 25
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "wants fewer requests" in warnings[0].message


def test_after_an_outage_all_streams_are_sent_without_waiting_for_the_delay(
    store: Store, cloudwatch: CloudWatch, endpoint: Endpoint
) -> None:
    for number in range(20):
        endpoint.create("group", f"stream-{number}")
    endpoint.fail_always(status(503, "busy"))
    with uploading(store, cloudwatch, delay_s=3600) as uploader:
        append(store, "stream-0", *["x" * 100] * 10_000)
        uploader.wake()
        wait_until(lambda: endpoint.count("PutLogEvents") > 1)
        for number in range(1, 20):
            append(store, f"stream-{number}", "hello")
        endpoint.heal()
        wait_until(lambda: sent(store) == 10_019)


def test_an_event_that_cloudwatch_cannot_take_is_found_and_kept_and_its_neighbours_sent(
    store: Store, cloudwatch: CloudWatch, endpoint: Endpoint
) -> None:
    """
    Promise 3.
    """

    def refuse_poison(request: Request) -> Fault | None:
        is_poisoned = any("poison" in message for _, message in request.events)
        return error("InvalidParameterException", message="bad event") if is_poisoned else None

    endpoint.create("group", "web")
    endpoint.decide = refuse_poison
    append(store, "web", *("good" if number != 37 else "poison" for number in range(100)))
    with uploading(store, cloudwatch):
        wait_until(lambda: sent(store) == 99)
    assert rejections(store).keys() == {"poison"}
    assert endpoint.messages("group", "web") == ["good"] * 99
    with store.reading() as db:  # each half, too, was sent once
        assert db.execute("SELECT max(attempts) FROM batch").get == 1
    assert audit(store) == []


def test_events_older_than_14_days_or_2_hours_ahead_are_rejected_before_any_call(
    store: Store, cloudwatch: CloudWatch, endpoint: Endpoint
) -> None:
    append(store, "web", "old", at_ms=now_ms() - 14 * DAY_MS - 1000)
    append(store, "web", "ahead", at_ms=now_ms() + 2 * 3600 * 1000 + 60_000)
    append(store, "web", "present")
    with uploading(store, cloudwatch):
        wait_until(lambda: sent(store) == 1)
    assert rejections(store) == {"old": "too old", "ahead": "too new"}
    assert sum(call.event_count for call in endpoint.calls if call.outcome == "ok") == 1
    assert audit(store) == []


@pytest.mark.parametrize("days", [-20, 20])
def test_a_service_or_a_proxy_with_a_wrong_clock_makes_us_reject_nothing(
    store: Store,
    cloudwatch: CloudWatch,
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
    days: int,
) -> None:
    endpoint.create("group", "web")
    monkeypatch.setattr(cloudwatch, "now_ms", lambda: now_ms() + days * DAY_MS)
    append(store, "web", "hello")
    with uploading(store, cloudwatch):
        wait_until(lambda: sent(store) == 1)
    assert rejections(store) == {}


def test_what_a_200_says_was_rejected_is_kept_as_rejected_and_the_rest_is_sent(
    store: Store, cloudwatch: CloudWatch, endpoint: Endpoint
) -> None:
    """
    Promise 3: the service's own clock and the group's retention decide.
    """
    endpoint.create("group", "web", retention_days=1)
    begin_ms = now_ms()
    for hours in (30, 29, 20, 10, 0):
        append(store, "web", f"{hours} hours old", at_ms=begin_ms - hours * 3600 * 1000)
    with uploading(store, cloudwatch):
        wait_until(lambda: sent(store) == 3)
    assert rejections(store) == dict.fromkeys(
        ("30 hours old", "29 hours old"), "older than the group's retention"
    )
    delivered = {"20 hours old", "10 hours old", "0 hours old"}  # in two requests at a time
    assert set(endpoint.messages("group", "web")) == delivered
    assert audit(store) == []


def test_an_older_event_that_comes_in_while_its_neighbours_are_in_flight_is_sent_later(
    store: Store, cloudwatch: CloudWatch, endpoint: Endpoint
) -> None:
    """
    Promise 2: it is not swept along by the answer to a batch that did not hold it.
    """
    endpoint.create("group", "web")
    begin_ms = now_ms()
    endpoint.fail_next(CUT_AFTER)
    append(store, "web", "first", "second", at_ms=begin_ms)

    def store_older_during(_: Request) -> None:
        append(store, "web", "older", at_ms=begin_ms - 5)
        endpoint.decide = None

    endpoint.decide = store_older_during
    with uploading(store, cloudwatch):
        wait_until(lambda: sent(store) == 3)
    assert endpoint.messages("group", "web").count("older") == 1


def test_a_hanging_endpoint_does_not_hold_up_the_end(
    store: Store, cloudwatch: CloudWatch, endpoint: Endpoint
) -> None:
    endpoint.create("group", "web")
    endpoint.fail_always(HANG)
    append(store, "web", "kept")
    begun_s = time.monotonic()
    with uploading(store, cloudwatch):
        wait_until(lambda: endpoint.count("PutLogEvents") or len(endpoint.calls))
    assert time.monotonic() - begun_s < 18, "a request is given 20 s"
    assert store.unsent() == 1


def test_a_batch_left_on_its_way_is_sent_again_as_it_was_by_the_next_process(
    store: Store, cloudwatch: CloudWatch, endpoint: Endpoint, db: Path
) -> None:
    endpoint.create("group", "web")
    endpoint.fail_always(CUT_AFTER)
    append(store, "web", "one", "two")
    with uploading(store, cloudwatch):
        wait_until(lambda: endpoint.event_count("group", "web") >= 2)
    first = store.unsettled()
    append(store, "web", "three")
    store.close()
    endpoint.heal()
    with Store(db) as again:
        assert [batch.id for batch in again.unsettled()] == [batch.id for batch in first]
        with uploading(again, cloudwatch):
            wait_until(lambda: sent(again) == 3)
    batches = [call.event_count for call in endpoint.calls if call.outcome == "ok"]
    assert batches == [2, 1]
    Store(db)  # for the fixture to close


def test_a_full_batch_does_not_wait_for_the_delay(
    store: Store, cloudwatch: CloudWatch, endpoint: Endpoint
) -> None:
    with uploading(store, cloudwatch, delay_s=3600) as uploader:
        append(store, "web", *["x"] * 10_050)
        uploader.wake()
        wait_until(lambda: sent(store) >= 10_000)
        assert store.unsent() == 50


def test_whether_a_stream_is_there_is_found_out_by_one_request(
    store: Store, cloudwatch: CloudWatch, endpoint: Endpoint
) -> None:
    append(store, "web", *["x"] * 50_000)
    with uploading(store, cloudwatch):
        wait_until(lambda: sent(store) == 50_000)
    assert endpoint.count("PutLogEvents") == 6
    assert endpoint.count("PutLogEvents", "ok") == 5


def test_one_deep_stream_is_sent_by_several_requests_at_a_time(
    store: Store, cloudwatch: CloudWatch, endpoint: Endpoint
) -> None:
    endpoint.create("group", "web")
    together = threading.Barrier(3, timeout=30)

    def meet(_: Request) -> None:
        together.wait()  # three requests must be here at once, or this breaks

    append(store, "web", "the first one goes alone")
    with uploading(store, cloudwatch) as uploader:
        wait_until(lambda: sent(store) == 1)
        endpoint.decide = meet
        append(store, "web", *["x"] * 30_000)
        uploader.wake()
        wait_until(lambda: sent(store) == 30_001)


def test_no_error_text_quotes_what_the_service_quotes_of_a_message(
    store: Store, cloudwatch: CloudWatch, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.create("group", "web")
    text = "1 validation error detected: Value 'my secret' at 'logEvents.1.member.message' failed"
    endpoint.fail_always(error("InvalidParameterException", message=text))
    append(store, "web", "my secret")
    with uploading(store, cloudwatch):
        wait_until(lambda: rejections(store))
    assert "secret" not in rejections(store)["my secret"]
    assert "my secret" not in caplog.text


@pytest.mark.parametrize("use_gzip", [True, False])
def test_requests_are_compressed_unless_told_otherwise(
    store: Store,
    cloudwatch: CloudWatch,
    endpoint: Endpoint,
    use_gzip: bool,
) -> None:
    append(store, "web", "ünïcode \U0001f600 \x00 \u2028")
    service = CloudWatch("us-east-1", connections=4, use_gzip=use_gzip)
    with uploading(store, service):
        wait_until(lambda: sent(store) == 1)
    puts = [call for call in endpoint.calls if call.operation == "PutLogEvents"]
    assert {call.is_gzip for call in puts} == {use_gzip}
    assert endpoint.messages("group", "web") == ["ünïcode \U0001f600 \x00 \u2028"]


def test_whatever_goes_wrong_after_a_batch_is_settled_does_not_send_it_again(
    store: Store, cloudwatch: CloudWatch, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(group: str) -> None:
        raise KeyError(group)

    monkeypatch.setattr(cloudwatch, "tend", fail)
    monkeypatch.setattr("shipper.upload.BUG_RETRY_S", 0.01)
    endpoint.create("group", "web")
    append(store, "web", "once")
    with uploading(store, cloudwatch):
        wait_until(lambda: sent(store) == 1)
        append(store, "web", "next")
        wait_until(lambda: sent(store) == 2)
    assert endpoint.messages("group", "web") == ["once", "next"]
    assert audit(store) == []


def test_progress_is_told_while_draining(
    store: Store, cloudwatch: CloudWatch, endpoint: Endpoint
) -> None:
    append(store, "web", "one")
    told: list[int] = []
    remember: Callable[[], None] = lambda: told.append(store.unsent())  # noqa: E731
    uploader = Uploader(store, cloudwatch, concurrency=1)
    uploader.start()
    assert uploader.drain(give_up_s=30, stop=threading.Event(), on_progress=remember)
    uploader.finish(0)
    assert told[-1] == 0


def test_draining_gives_up_after_so_long_without_a_success(
    store: Store, cloudwatch: CloudWatch, endpoint: Endpoint
) -> None:
    endpoint.refuse()
    append(store, "web", "kept")
    uploader = Uploader(store, cloudwatch, concurrency=1)
    uploader.start()
    assert not uploader.drain(give_up_s=0.5, stop=threading.Event())
    uploader.finish(0)
    assert store.unsent() == 1


@pytest.mark.parametrize("fault", [None, status(503, "busy")], ids=["all is well", "one fails"])
def test_draining_does_not_give_up_while_it_waits_for_its_own_rate(
    store: Store, cloudwatch: CloudWatch, endpoint: Endpoint, fault: Fault | None
) -> None:
    for number in range(2):
        endpoint.create("group", f"stream-{number}")
        append(store, f"stream-{number}", "x" * 1_000)
    if fault:
        endpoint.fail_next(fault)
    uploader = Uploader(store, cloudwatch, concurrency=4, pace=Pace(bytes_per_s=150))
    uploader.start()
    assert uploader.drain(give_up_s=5, stop=threading.Event())
    uploader.finish(0)
    assert sent(store) == 2


def test_draining_at_a_rate_gives_up_all_the_same_where_nothing_gets_through(
    store: Store, cloudwatch: CloudWatch, endpoint: Endpoint
) -> None:
    endpoint.refuse()
    append(store, "web", "x" * 1_000)
    uploader = Uploader(store, cloudwatch, concurrency=4, pace=Pace(bytes_per_s=500))
    uploader.start()
    assert not uploader.drain(give_up_s=1.5, stop=threading.Event())
    uploader.finish(0)
    assert store.unsent() == 1
