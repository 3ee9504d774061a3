"""
The endpoint of the tests is itself held to the service's description, by a real boto3.
"""

import contextlib
import gzip
import http.client
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import botocore.exceptions
import cloudwatch_endpoint as cloudwatch
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from cloudwatch_endpoint import (
    CUT_AFTER,
    CUT_BEFORE,
    CUT_MID_ANSWER,
    DAY_MS,
    HANG,
    HANG_AFTER,
    REFUSED,
    THROTTLED,
    Endpoint,
    error,
    slow,
    status,
)

NOW_MS = 1_790_000_000_000
HOUR_MS = 3_600_000
CONNECTION_ERRORS = (botocore.exceptions.HTTPClientError,)


@pytest.fixture
def endpoint():
    with Endpoint(now_ms=lambda: NOW_MS) as running:
        running.create("group", "stream")
        yield running


@pytest.fixture
def client(endpoint):
    with client_of(endpoint) as made:
        yield made


@contextlib.contextmanager
def client_of(
    endpoint, *, timeout_s=30.0, attempts=1, key=cloudwatch.ACCESS_KEY, secret=cloudwatch.SECRET_KEY
):
    """
    A boto3 client that sends what it is given, and whose sockets are closed at the end.
    """
    client = boto3.client(
        "logs",
        endpoint_url=endpoint.url,
        region_name=cloudwatch.REGION,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token="token",
        verify=endpoint.ca_file,
        config=Config(
            parameter_validation=False,
            retries={"total_max_attempts": attempts},
            read_timeout=timeout_s,
            connect_timeout=timeout_s,
            proxies={},
        ),
    )
    try:
        yield client
    finally:
        client.close()


def event(message="hello", timestamp=NOW_MS):
    return {"timestamp": timestamp, "message": message}


def put(client, *events, group="group", stream="stream", **more):
    return client.put_log_events(
        logGroupName=group, logStreamName=stream, logEvents=list(events), **more
    )


def refusal(call, *arguments, **named):
    """
    The error code and message of a call that the service must refuse.
    """
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(*arguments, **named)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def refuses(endpoint, client, words, *events, **named):
    """
    Asserts that a batch is refused for these *words*, written down, and not stored.
    """
    before = endpoint.event_count()
    code, message = refusal(put, client, *events, **named)
    assert code == "InvalidParameterException"
    assert words in message
    assert words in endpoint.violations[-1]
    assert endpoint.event_count() == before


def raw(endpoint, body, *, operation="PutLogEvents", spoil=None, **headers):
    """
    Sends these very bytes, signed, after *spoil* has changed them or the headers; (status, code).
    """
    host = urlsplit(endpoint.url).netloc
    sent = {
        "X-Amz-Target": f"Logs_20140328.{operation}",
        "Content-Type": "application/x-amz-json-1.1",
        "Host": host,
    }
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    request = AWSRequest("POST", endpoint.url + "/", headers=sent, data=body)
    keys = Credentials(cloudwatch.ACCESS_KEY, cloudwatch.SECRET_KEY)
    SigV4Auth(keys, "logs", cloudwatch.REGION).add_auth(request)
    if spoil:
        spoil(request)
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        connection.request("POST", "/", body=request.data, headers=dict(request.headers.items()))
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text).get("__type") if text else None
    finally:
        connection.close()


def batch_body(*events, **more):
    return json.dumps(
        {"logGroupName": "group", "logStreamName": "stream", "logEvents": list(events), **more}
    ).encode()


# --- delivery --------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
def test_a_batch_arrives_over_http_and_over_tls(tls):
    with Endpoint(tls=tls, now_ms=lambda: NOW_MS) as endpoint, client_of(endpoint) as client:
        client.create_log_group(logGroupName="group")
        client.create_log_stream(logGroupName="group", logStreamName="stream")
        answer = put(client, event("one"), event("zwei ü 中 🙂\x00"))
        assert endpoint.events("group", "stream") == [(NOW_MS, "one"), (NOW_MS, "zwei ü 中 🙂\x00")]
        assert endpoint.streams() == {("group", "stream")}
        assert "rejectedLogEventsInfo" not in answer
        assert answer["nextSequenceToken"]
        assert endpoint.violations == []


def test_a_client_that_does_not_trust_the_ca_gets_no_connection():
    with Endpoint(tls=True) as endpoint:
        context = ssl.create_default_context()
        with (
            socket.create_connection(("127.0.0.1", endpoint.port), timeout=30) as plain,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_another_certificate_is_shown_to_the_next_connection(tmp_path):
    ca_file, server_file = cloudwatch.make_certificates(tmp_path)
    with Endpoint(tls=True) as endpoint:
        ours = ssl.create_default_context(cafile=ca_file)
        with (
            socket.create_connection(("127.0.0.1", endpoint.port), timeout=30) as plain,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            ours.wrap_socket(plain, server_hostname="127.0.0.1")
        endpoint.present(server_file)
        with (
            socket.create_connection(("127.0.0.1", endpoint.port), timeout=30) as plain,
            ours.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            assert secure.version() == "TLSv1.3"


def test_the_certificate_passes_the_strict_check_of_newer_pythons():
    with Endpoint(tls=True) as endpoint:
        context = ssl.create_default_context(cafile=endpoint.ca_file)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        for name in ("127.0.0.1", "localhost"):
            with (
                socket.create_connection(("127.0.0.1", endpoint.port), timeout=30) as plain,
                context.wrap_socket(plain, server_hostname=name) as secure,
            ):
                assert secure.version() == "TLSv1.3"


def test_one_connection_serves_many_requests(endpoint):
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=30)
    connection.connect()
    first_socket = connection.sock
    for _ in range(3):
        connection.request("GET", "/stats")
        assert connection.getresponse().read()
    assert connection.sock is first_socket
    connection.close()


def test_every_answer_has_its_own_request_id_and_the_date_of_the_services_clock(client):
    heads = [put(client, event())["ResponseMetadata"]["HTTPHeaders"] for _ in range(2)]
    assert heads[0]["x-amzn-requestid"] != heads[1]["x-amzn-requestid"]
    assert heads[0]["date"] == "Mon, 21 Sep 2026 14:13:20 GMT"
    assert heads[0]["content-type"] == "application/x-amz-json-1.1"


def test_parallel_clients_lose_nothing(endpoint):
    def send(number):
        with client_of(endpoint) as client:
            for step in range(10):
                put(client, event(f"{number} {step}"))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(endpoint.messages("group", "stream"))) == 40
    assert endpoint.count("PutLogEvents") == 40


def test_the_environment_alone_brings_boto3_here(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "nothing.pem"))
    with Endpoint(tls=True) as endpoint:
        for name, value in endpoint.environment().items():
            monkeypatch.setenv(name, value)
        client = boto3.session.Session().client("logs")
        client.create_log_group(logGroupName="group")
        client.close()
        assert endpoint.streams() == set()
        assert endpoint.group("group").retention_days is None
        assert endpoint.count("CreateLogGroup", "ok") == 1


def test_without_tls_the_environment_names_no_ca(endpoint):
    assert "AWS_CA_BUNDLE" not in endpoint.environment()


# --- gzip and signatures ---------------------------------------------------------------------


def test_a_gzip_body_that_was_signed_as_gzip_is_taken(endpoint, client):
    plain = batch_body(*[event("again and again")] * 100)
    packed = gzip.compress(plain)

    def pack(params, **_):
        params["body"] = packed
        params["headers"]["Content-Encoding"] = "gzip"

    client.meta.events.register("before-call.cloudwatch-logs.PutLogEvents", pack)
    put(client, event("replaced by the handler"))
    assert endpoint.messages("group", "stream") == ["again and again"] * 100
    (call,) = endpoint.calls
    assert (call.is_gzip, call.wire_bytes, call.decoded_bytes) == (True, len(packed), len(plain))
    assert (call.event_count, call.stored_count, call.outcome) == (100, 100, "ok")


def test_gzip_after_signing_is_refused_as_a_wrong_signature(endpoint):
    def pack(request):
        request.data = gzip.compress(request.body)
        request.headers["Content-Encoding"] = "gzip"

    assert raw(endpoint, batch_body(event()), spoil=pack) == (400, "InvalidSignatureException")
    assert endpoint.event_count() == 0
    assert endpoint.violations == []


@pytest.mark.parametrize(
    "packed",
    [
        b"no gzip at all",
        gzip.compress(batch_body(event()))[:-9],
        gzip.compress(batch_body(event())[:20]) + gzip.compress(batch_body(event())[20:]),
    ],
    ids=["not gzip", "cut", "two members"],
)
def test_a_body_that_is_not_one_whole_gzip_member_is_refused(endpoint, packed):
    assert raw(endpoint, packed, Content_Encoding="gzip") == (400, "SerializationException")
    assert "gzip" in endpoint.violations[0]


def test_a_gzip_bomb_is_not_unpacked(endpoint):
    bomb = gzip.compress(bytes(cloudwatch.MAX_BODY_BYTES + 1))
    assert raw(endpoint, bomb, Content_Encoding="gzip") == (413, "MalformedHttpRequest")


def test_an_encoding_that_the_service_does_not_know_is_refused(endpoint):
    assert raw(endpoint, b"{}", Content_Encoding="zstd") == (415, "MalformedHttpRequest")


def test_a_wrong_secret_is_a_wrong_signature_and_no_violation(endpoint):
    with client_of(endpoint, secret="another") as client:
        assert refusal(put, client, event())[0] == "InvalidSignatureException"
    assert endpoint.count("PutLogEvents", "InvalidSignatureException") == 1
    assert endpoint.violations == []


def test_an_unknown_key_is_an_unrecognized_client(endpoint):
    with client_of(endpoint, key="AKIDOFSOMEBODYELSE") as client:
        assert refusal(put, client, event())[0] == "UnrecognizedClientException"


def test_keys_can_be_rotated_and_expire(endpoint, client):
    endpoint.keys = {"AKIDROTATED": "new"}
    assert refusal(put, client, event())[0] == "UnrecognizedClientException"
    endpoint.expired_keys = {cloudwatch.ACCESS_KEY}
    assert refusal(put, client, event())[0] == "ExpiredTokenException"
    with client_of(endpoint, key="AKIDROTATED", secret="new") as rotated:
        put(rotated, event("with the new keys"))
    assert endpoint.messages("group", "stream") == ["with the new keys"]
    assert endpoint.violations == []


def test_what_a_load_balancer_answers_has_no_request_id(endpoint, client):
    endpoint.fail_next(status(503))
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        put(client, event())
    assert "RequestId" not in caught.value.response["ResponseMetadata"]
    assert put(client, event())["ResponseMetadata"]["RequestId"]


@pytest.mark.parametrize("given", [None, "Basic abc"])
def test_a_request_without_a_signature_is_refused(endpoint, given):
    def unsign(request):
        del request.headers["Authorization"]
        if given:
            request.headers["Authorization"] = given

    expected = (400, "MissingAuthenticationTokenException")
    assert raw(endpoint, batch_body(event()), spoil=unsign) == expected


def test_a_wrong_content_hash_is_refused(endpoint):
    answer = raw(endpoint, batch_body(event()), X_Amz_Content_SHA256="0" * 64)
    assert answer == (400, "InvalidSignatureException")


def test_a_target_outside_the_signature_is_refused_even_unverified():
    def change_names(request):
        header = request.headers["Authorization"].replace(";x-amz-target", "")
        request.headers.replace_header("Authorization", header)

    with Endpoint(verify_signature=False) as endpoint:
        answer = raw(endpoint, batch_body(event()), spoil=change_names)
    assert answer == (400, "InvalidSignatureException")


def test_without_verification_any_signature_will_do():
    with (
        Endpoint(verify_signature=False, now_ms=lambda: NOW_MS) as endpoint,
        client_of(endpoint, secret="another") as client,
    ):
        endpoint.create("group", "stream")
        put(client, event())
        assert endpoint.event_count() == 1


# --- the limits of a batch -------------------------------------------------------------------


def test_a_batch_has_one_to_ten_thousand_events(endpoint, client):
    put(client, *[event("x")] * 10_000)
    assert endpoint.event_count("group", "stream") == 10_000
    refuses(endpoint, client, "1 to 10000 logEvents", *[event("x")] * 10_001)
    refuses(endpoint, client, "1 to 10000 logEvents")


def test_a_batch_has_at_most_a_mebibyte_with_26_bytes_an_event(endpoint, client):
    half = event("x" * (524_288 - 26))
    put(client, half, half)
    words = "Upload too large: 1048577 bytes exceeds limit of 1048576"
    refuses(endpoint, client, words, half, event(half["message"] + "x"))


def test_an_event_has_at_most_a_mebibyte_with_its_26_bytes(endpoint, client):
    put(client, event("x" * 1_048_550))
    words = "Log event too large: 1048577 bytes exceeds limit of 1048576"
    refuses(endpoint, client, words, event("x" * 1_048_551))


def test_bytes_are_those_of_utf_8(endpoint, client):
    put(client, event("中" * 349_516 + "xx"))  # 3 bytes each: 1,048,550
    refuses(endpoint, client, "Log event too large: 1048577", event("中" * 349_517))


def test_a_full_batch_of_control_characters_fits_the_body(endpoint, client):
    put(client, event("\x00" * 1_048_550))
    assert endpoint.calls[-1].wire_bytes > 6_000_000


def test_a_message_has_at_least_one_character(endpoint, client):
    put(client, event(" "))
    refuses(endpoint, client, "at least 1 character", event("x"), event(""))


def test_half_a_surrogate_pair_is_no_character(endpoint, client):
    put(client, event("\U0001f642"))
    refuses(endpoint, client, "surrogate", event("x \ud83d y"))
    refuses(endpoint, client, "surrogate", event("x \ude42 y"))


def test_a_surrogate_as_raw_bytes_is_refused_too(endpoint):
    body = batch_body(event("here")).replace(b"here", b"\xed\xa0\xbd")
    assert raw(endpoint, body) == (400, "InvalidParameterException")


@pytest.mark.parametrize("timestamp", [-1, 1.5, "1", True, None, 2**63])
def test_a_timestamp_is_a_whole_number_from_zero_on(endpoint, client, timestamp):
    body = batch_body({"timestamp": timestamp, "message": "x"})
    assert raw(endpoint, body) == (400, "InvalidParameterException")
    assert "timestamp" in endpoint.violations[-1]


def test_a_timestamp_of_zero_is_legal_and_too_old(endpoint, client):
    answer = put(client, event(timestamp=0))
    assert answer["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1}
    assert endpoint.violations == []


def test_timestamps_never_go_back(endpoint, client):
    put(client, event("a", NOW_MS - 1), event("b", NOW_MS), event("c", NOW_MS))
    refuses(endpoint, client, "chronological order", event("a", NOW_MS), event("b", NOW_MS - 1))


def test_the_order_is_a_rule_for_events_of_a_wrong_age_too(endpoint, client):
    refuses(endpoint, client, "chronological", event("new", NOW_MS), event("old", 5))


def test_the_valid_events_span_at_most_24_hours(endpoint, client):
    put(client, event("first", NOW_MS - DAY_MS), event("last", NOW_MS))
    words = "cannot span more than 24 hours: 86400001 ms"
    refuses(endpoint, client, words, event("first", NOW_MS - DAY_MS - 1), event("last", NOW_MS))


def test_events_of_a_wrong_age_do_not_count_for_the_span(endpoint, client):
    put(
        client,
        event("too old", NOW_MS - 15 * DAY_MS),
        event("first", NOW_MS - DAY_MS),
        event("last", NOW_MS),
        event("too new", NOW_MS + DAY_MS),
    )
    assert endpoint.messages("group", "stream") == ["first", "last"]


@pytest.mark.parametrize(
    "events",
    [
        "text",
        {"timestamp": 1},
        ["text"],
        [["timestamp", "message"]],
        [{"timestamp": NOW_MS}],
        [{"message": "x"}],
        [{"timestamp": NOW_MS, "message": "x", "source": "stdout"}],
        [{"timestamp": NOW_MS, "message": 5}],
        [{"timestamp": NOW_MS, "message": None}],
    ],
)
def test_an_event_is_a_timestamp_and_a_message_and_nothing_else(endpoint, events):
    body = {"logGroupName": "group", "logStreamName": "stream", "logEvents": events}
    assert raw(endpoint, json.dumps(body).encode()) == (400, "InvalidParameterException")
    assert len(endpoint.violations) == 1
    assert endpoint.event_count() == 0


def test_the_sequence_token_is_ignored(endpoint, client):
    put(client, event(), sequenceToken="any")
    assert endpoint.event_count() == 1


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"a": NaN}', b'"text"'])
def test_a_body_that_is_no_json_object_is_a_violation(endpoint, body):
    assert raw(endpoint, body) == (400, "SerializationException")
    assert len(endpoint.violations) == 1


def test_unknown_and_missing_members_are_violations(endpoint):
    unknown = batch_body(event(), logGroupTypo="x")
    assert raw(endpoint, unknown) == (400, "InvalidParameterException")
    missing = json.dumps({"logGroupName": "group", "logEvents": [event()]}).encode()
    assert raw(endpoint, missing) == (400, "InvalidParameterException")
    assert "logGroupTypo" in endpoint.violations[0]
    assert "logStreamName" in endpoint.violations[1]


def test_an_unknown_operation_or_content_type_is_a_violation(endpoint):
    assert raw(endpoint, b"{}", operation="FilterLogEvents")[1] == "UnknownOperationException"
    assert raw(endpoint, b"{}", Content_Type="application/json")[1] == "SerializationException"
    assert len(endpoint.violations) == 2


# --- ages ------------------------------------------------------------------------------------


def test_fourteen_days_and_two_hours_are_the_last_valid_ages(endpoint, client):
    assert "rejectedLogEventsInfo" not in put(client, event("old", NOW_MS - 14 * DAY_MS))
    assert "rejectedLogEventsInfo" not in put(client, event("new", NOW_MS + 2 * HOUR_MS))
    assert endpoint.messages("group", "stream") == ["old", "new"]


def test_too_old_events_end_before_an_exclusive_index(endpoint, client):
    edge_ms = NOW_MS - 14 * DAY_MS
    answer = put(
        client,
        event("a", edge_ms - 2),
        event("b", edge_ms - 1),
        event("c", edge_ms),
        event("d", edge_ms),
    )
    assert answer["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 2}
    assert endpoint.messages("group", "stream") == ["c", "d"]
    assert endpoint.calls[-1].stored_count == 2


def test_too_new_events_begin_at_an_inclusive_index(endpoint, client):
    edge_ms = NOW_MS + 2 * HOUR_MS
    answer = put(client, event("a", edge_ms), event("b", edge_ms + 1), event("c", edge_ms + 2))
    assert answer["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 1}
    assert endpoint.messages("group", "stream") == ["a"]


def test_events_older_than_the_groups_retention_are_expired(endpoint, client):
    endpoint.create("short", "stream", retention_days=3)
    edge_ms = NOW_MS - 3 * DAY_MS
    answer = put(client, event("a", edge_ms - 1), event("b", edge_ms), group="short")
    assert answer["rejectedLogEventsInfo"] == {"expiredLogEventEndIndex": 1}
    assert endpoint.messages("short", "stream") == ["b"]


def test_each_index_tells_of_its_own_rule(endpoint, client):
    endpoint.create("short", "stream", retention_days=3)
    events = [
        event("too old", NOW_MS - 15 * DAY_MS),
        event("expired", NOW_MS - 4 * DAY_MS),
        event("fine", NOW_MS),
        event("too new", NOW_MS + DAY_MS),
    ]
    assert put(client, *events, group="short")["rejectedLogEventsInfo"] == {
        "tooOldLogEventEndIndex": 1,
        "expiredLogEventEndIndex": 2,
        "tooNewLogEventStartIndex": 3,
    }
    assert endpoint.messages("short", "stream") == ["fine"]


def test_a_batch_of_which_nothing_is_valid_is_a_success_that_stores_nothing(endpoint, client):
    answer = put(client, event("old", 1), event("new", NOW_MS + DAY_MS))
    assert answer["rejectedLogEventsInfo"] == {
        "tooOldLogEventEndIndex": 1,
        "tooNewLogEventStartIndex": 1,
    }
    assert endpoint.events("group", "stream") == []
    assert endpoint.violations == []


def test_the_clock_can_be_set(endpoint, client):
    endpoint.now_ms = lambda: NOW_MS + 20 * DAY_MS
    assert put(client, event())["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1}


# --- names, groups and streams ---------------------------------------------------------------


def test_group_names_have_1_to_512_characters_of_a_few_kinds(endpoint, client):
    for name in ("a", "A-z_0.9/#", "g" * 512):
        client.create_log_group(logGroupName=name)
        assert endpoint.group(name).name == name
    for name in ("", "g" * 513, "a b", "a:b", "ä", "a\n", "aws/x"):
        code, _ = refusal(client.create_log_group, logGroupName=name)
        assert code == "InvalidParameterException"
    assert len(endpoint.violations) == 7


def test_stream_names_have_1_to_512_characters_but_colon_and_star(endpoint, client):
    for name in ("s", "ä b/#[$]", "s" * 512):
        client.create_log_stream(logGroupName="group", logStreamName=name)
        assert ("group", name) in endpoint.streams()
    for name in ("", "s" * 513, "a:b", "a*b"):
        code, _ = refusal(client.create_log_stream, logGroupName="group", logStreamName=name)
        assert code == "InvalidParameterException"
        refuses(endpoint, client, "logStreamName", event(), stream=name)
    assert len(endpoint.violations) == 8


def test_what_is_not_there_is_not_found_and_no_violation(endpoint, client):
    group = ("ResourceNotFoundException", "The specified log group does not exist.")
    stream = ("ResourceNotFoundException", "The specified log stream does not exist.")
    assert refusal(put, client, event(), group="other") == group
    assert refusal(put, client, event(), stream="other") == stream
    assert refusal(client.create_log_stream, logGroupName="no", logStreamName="s") == group
    assert refusal(client.put_retention_policy, logGroupName="no", retentionInDays=1) == group
    assert refusal(client.describe_log_streams, logGroupName="no") == group
    assert refusal(client.delete_log_group, logGroupName="no") == group
    assert refusal(client.delete_log_stream, logGroupName="group", logStreamName="no") == stream
    assert refusal(client.get_log_events, logGroupName="group", logStreamName="no") == stream
    assert endpoint.violations == []


def test_a_limit_is_checked_before_the_group_is_looked_for(endpoint, client):
    refuses(endpoint, client, "at least 1 character", event(""), group="other")


def test_creating_twice_is_told(endpoint, client):
    code, message = refusal(client.create_log_group, logGroupName="group")
    assert (code, message) == (
        "ResourceAlreadyExistsException",
        "The specified log group already exists",
    )
    code, _ = refusal(client.create_log_stream, logGroupName="group", logStreamName="stream")
    assert code == "ResourceAlreadyExistsException"
    assert endpoint.violations == []


def test_a_group_has_a_class_and_tags(endpoint, client):
    client.create_log_group(
        logGroupName="rare", logGroupClass="INFREQUENT_ACCESS", tags={"team": "a"}
    )
    assert endpoint.group("rare").group_class == "INFREQUENT_ACCESS"
    assert endpoint.group("rare").tags == {"team": "a"}
    for wrong in ({"logGroupClass": "CHEAP"}, {"tags": {}}, {"tags": {"k" * 129: "v"}}):
        code, _ = refusal(client.create_log_group, logGroupName="x", **wrong)
        assert code == "InvalidParameterException"
    assert endpoint.group("x") is None


def test_retention_is_one_of_the_services_numbers(endpoint, client):
    client.put_retention_policy(logGroupName="group", retentionInDays=3653)
    assert endpoint.group("group").retention_days == 3653
    for days in (0, 2, 3654, True, "7"):
        code, _ = refusal(client.put_retention_policy, logGroupName="group", retentionInDays=days)
        assert code == "InvalidParameterException"
    described = client.describe_log_groups()["logGroups"][0]
    assert described["retentionInDays"] == 3653


def test_groups_and_streams_are_described_by_prefix_and_page(endpoint, client):
    for number in range(60):
        endpoint.create(f"many-{number:02}", "s")
        endpoint.create("group", f"many-{number:02}")
    pages = client.get_paginator("describe_log_groups").paginate(logGroupNamePrefix="many-5")
    assert [group["logGroupName"] for page in pages for group in page["logGroups"]] == [
        f"many-{number}" for number in range(50, 60)
    ]
    pages = list(client.get_paginator("describe_log_streams").paginate(logGroupName="group"))
    assert [len(page["logStreams"]) for page in pages] == [50, 11]
    code, _ = refusal(client.describe_log_groups, limit=51)
    assert code == "InvalidParameterException"


def test_streams_are_described_by_the_time_of_their_last_event(endpoint, client):
    endpoint.create("group", "later")
    put(client, event(timestamp=NOW_MS - 5))
    put(client, event(), stream="later")
    shown = client.describe_log_streams(
        logGroupName="group", orderBy="LastEventTime", descending=True
    )["logStreams"]
    assert [stream["logStreamName"] for stream in shown] == ["later", "stream"]
    assert shown[0]["lastEventTimestamp"] == NOW_MS
    assert shown[1]["firstEventTimestamp"] == NOW_MS - 5


def test_events_can_be_got_from_the_head_and_from_the_tail(endpoint, client):
    put(client, *[event(f"{number}", NOW_MS + number) for number in range(5)])
    names = {"logGroupName": "group", "logStreamName": "stream"}

    def got(**more):
        answer = client.get_log_events(**names, **more)
        return "".join(found["message"] for found in answer["events"]), answer

    text, answer = got(startFromHead=True, limit=3)
    assert text == "012"
    text, answer = got(nextToken=answer["nextForwardToken"])
    assert text == "34"
    text, again = got(nextToken=answer["nextForwardToken"])
    assert (text, again["nextForwardToken"]) == ("", answer["nextForwardToken"])
    text, answer = got(limit=2)
    assert text == "34"
    assert got(nextToken=answer["nextBackwardToken"])[0] == "012"
    assert got(startTime=NOW_MS + 1, endTime=NOW_MS + 3)[0] == "12"


def test_a_deleted_group_is_gone_with_its_events(endpoint, client):
    put(client, event())
    client.delete_log_stream(logGroupName="group", logStreamName="stream")
    assert endpoint.streams() == set()
    client.delete_log_group(logGroupName="group")
    assert endpoint.group("group") is None
    endpoint.create("group", "stream")
    assert endpoint.messages("group", "stream") == []
    put(client, event("told once more"))
    [gone] = endpoint.delete("group", "stream")
    assert (gone.name, gone.messages) == ("stream", ["told once more"])
    assert endpoint.streams() == set()
    endpoint.delete("group")
    assert endpoint.group("group") is None


# --- faults ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "stored"), [(CUT_BEFORE, []), (CUT_AFTER, ["hello"])])
@pytest.mark.parametrize("tls", [False, True])
def test_a_cut_connection_is_an_error_whether_stored_or_not(fault, stored, tls):
    with Endpoint(tls=tls, now_ms=lambda: NOW_MS) as endpoint, client_of(endpoint) as client:
        endpoint.create("group", "stream")
        endpoint.fail_next(fault)
        with pytest.raises(CONNECTION_ERRORS):
            put(client, event())
        assert endpoint.messages("group", "stream") == stored
        assert endpoint.calls[-1].outcome == fault.name
        assert endpoint.calls[-1].stored_count == len(stored)
        put(client, event("next"))
        assert endpoint.messages("group", "stream") == [*stored, "next"]


def test_an_answer_cut_in_the_middle_is_shorter_than_it_says(endpoint):
    endpoint.fail_next(CUT_MID_ANSWER)
    # not boto3: it does not compare lengths, and half of a 200 is a success to it
    with pytest.raises(http.client.IncompleteRead):
        raw(endpoint, batch_body(event()))
    assert endpoint.messages("group", "stream") == ["hello"]
    assert endpoint.calls[-1].outcome == "cut_mid_answer"


@pytest.mark.parametrize(("fault", "stored"), [(HANG, []), (HANG_AFTER, ["hello"])])
def test_a_hanging_answer_times_out(endpoint, fault, stored):
    endpoint.fail_next(fault)
    with (
        client_of(endpoint, timeout_s=0.2) as client,
        pytest.raises(botocore.exceptions.ReadTimeoutError),
    ):
        put(client, event())
    endpoint.wait_until(lambda: endpoint.count("PutLogEvents") == 1)
    assert endpoint.messages("group", "stream") == stored
    with client_of(endpoint) as client:
        put(client, event("next"))
    assert endpoint.messages("group", "stream") == [*stored, "next"]


@pytest.mark.parametrize("release", ["heal", "stop"])
def test_heal_and_stop_close_what_hangs(endpoint, client, release):
    endpoint.fail_always(HANG)
    outcomes = []

    def send():
        try:
            put(client, event())
        except CONNECTION_ERRORS as problem:
            outcomes.append(type(problem).__name__)

    thread = threading.Thread(target=send)
    thread.start()
    endpoint.wait_until(lambda: endpoint.count("PutLogEvents", "hang") == 1)
    assert outcomes == []
    getattr(endpoint, release)()
    thread.join(30)
    assert outcomes == ["ConnectionClosedError"]
    assert endpoint.event_count() == 0


@pytest.mark.parametrize("number", [500, 503, 429])
def test_a_bare_status_is_no_aws_answer(endpoint, client, number):
    endpoint.fail_next(status(number, "<html>down</html>"))
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        put(client, event())
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == number
    assert endpoint.count("PutLogEvents", f"status_{number}") == 1
    put(client, event("next"))
    assert endpoint.messages("group", "stream") == ["next"]


@pytest.mark.parametrize(
    ("fault", "code", "number"),
    [
        (THROTTLED, "ThrottlingException", 400),
        (error("AccessDeniedException", message="not for you"), "AccessDeniedException", 400),
        (error("ExpiredTokenException"), "ExpiredTokenException", 400),
        (error("InvalidParameterException"), "InvalidParameterException", 400),
        (error("ServiceUnavailableException"), "ServiceUnavailableException", 503),
        (error("AccessDeniedException", 403), "AccessDeniedException", 403),
    ],
)
def test_an_error_can_be_asked_for_by_name(endpoint, client, fault, code, number):
    endpoint.fail_next(fault)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        put(client, event())
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == number
    assert endpoint.event_count() == 0
    assert endpoint.violations == []


def test_boto3_itself_retries_a_throttled_call(endpoint):
    endpoint.fail_next(THROTTLED)
    with client_of(endpoint, attempts=2) as patient:
        put(patient, event())
    assert [call.outcome for call in endpoint.calls] == ["ThrottlingException", "ok"]


def test_a_slow_answer_is_late_and_true(endpoint, client):
    endpoint.fail_next(slow(0.2))
    started_s = time.monotonic()
    put(client, event())
    assert time.monotonic() - started_s >= 0.2
    assert endpoint.count("PutLogEvents", "ok") == 1


def test_a_slow_answer_is_hurried_by_heal_and_dropped_by_stop(endpoint):
    def send():
        with client_of(endpoint) as client:
            try:
                outcomes.append(bool(put(client, event())))
            except CONNECTION_ERRORS:
                outcomes.append(False)

    outcomes = []
    for release in (endpoint.heal, endpoint.stop):
        arrived = threading.Event()
        endpoint.decide = lambda _, arrived=arrived: arrived.set() or slow(300)
        thread = threading.Thread(target=send)
        thread.start()
        assert arrived.wait(30)
        release()
        thread.join(30)
    assert outcomes == [True, False]
    assert endpoint.event_count() == 1


def test_queued_faults_come_in_their_order_and_for_their_operation(endpoint, client):
    endpoint.fail_next(error("First"), times=2)
    endpoint.fail_next(error("Second"), operation="DescribeLogGroups")
    endpoint.fail_next(error("Third"), operation=None)
    assert refusal(put, client, event())[0] == "First"
    assert refusal(client.describe_log_groups)[0] == "Second"
    assert refusal(client.describe_log_groups)[0] == "Third"
    assert refusal(put, client, event())[0] == "First"
    put(client, event())


def test_a_standing_fault_stays_until_heal(endpoint, client):
    endpoint.fail_always(error("AccessDeniedException"), operation="CreateLogGroup")
    for name in ("a", "b"):
        code, _ = refusal(client.create_log_group, logGroupName=name)
        assert code == "AccessDeniedException"
    put(client, event())
    endpoint.heal()
    client.create_log_group(logGroupName="a")


def test_a_decider_sees_each_legal_request_and_may_fail_it(endpoint, client):
    seen = []

    def decide(request):
        seen.append((request.operation, request.group, request.stream, request.events))
        is_poisoned = any("poison" in message for _, message in request.events)
        return error("InvalidParameterException") if is_poisoned else None

    endpoint.decide = decide
    put(client, event("fine"))
    assert refusal(put, client, event("poison"))[0] == "InvalidParameterException"
    client.describe_log_groups()
    refusal(put, client, event(""))
    assert seen == [
        ("PutLogEvents", "group", "stream", [(NOW_MS, "fine")]),
        ("PutLogEvents", "group", "stream", [(NOW_MS, "poison")]),
        ("DescribeLogGroups", "", "", []),
    ]
    assert len(endpoint.violations) == 1


def test_an_illegal_batch_gets_its_error_whatever_fault_waits(endpoint, client):
    endpoint.fail_next(CUT_AFTER)
    refuses(endpoint, client, "at least 1 character", event(""))
    with pytest.raises(CONNECTION_ERRORS):
        put(client, event())


def test_a_fault_that_stores_needs_a_stream_to_store_in(endpoint, client):
    endpoint.fail_next(CUT_AFTER)
    with pytest.raises(CONNECTION_ERRORS):
        put(client, event(), stream="other")
    assert endpoint.event_count() == 0


# --- stop and start --------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
def test_stop_and_start_keep_the_port_and_the_data(tls):
    with Endpoint(tls=tls, now_ms=lambda: NOW_MS) as endpoint, client_of(endpoint) as client:
        endpoint.create("group", "stream")
        url = endpoint.url
        for number in range(5):
            put(client, event(f"{number}"))
            endpoint.stop()
            endpoint.stop()
            with pytest.raises(botocore.exceptions.EndpointConnectionError):
                put(client, event("lost"))
            endpoint.start()
            endpoint.start()
        put(client, event("5"))
        assert endpoint.url == url
        assert endpoint.messages("group", "stream") == list("012345")


def test_a_stopped_endpoint_leaves_its_port_to_nobody_else(endpoint):
    endpoint.stop()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", endpoint.port))


def test_a_given_port_is_taken():
    with Endpoint() as first:
        port = first.port
    with Endpoint(port=port) as second:
        assert second.url == f"http://127.0.0.1:{port}"
        with pytest.raises(OSError, match="in use"):
            Endpoint(port=port, tls=True).start()


@pytest.mark.parametrize("end", ["accept", "heal", "start"])
def test_refuse_refuses_until_accept_heal_or_start(endpoint, client, end):
    put(client, event("before"))
    endpoint.refuse()
    with pytest.raises(botocore.exceptions.EndpointConnectionError):
        put(client, event())
    getattr(endpoint, end)()
    put(client, event("after"))
    assert endpoint.messages("group", "stream") == ["before", "after"]


def test_refused_is_a_fault_of_the_listener_only(endpoint, client):
    endpoint.fail_always(REFUSED)
    with pytest.raises(botocore.exceptions.EndpointConnectionError):
        put(client, event())
    with pytest.raises(ValueError, match="all or none"):
        endpoint.fail_next(REFUSED)
    with pytest.raises(ValueError, match="all operations or none"):
        endpoint.fail_always(REFUSED, operation="PutLogEvents")


def test_a_decider_may_refuse_the_listener(endpoint, client):
    def decide(_):
        endpoint.refuse()
        return CUT_BEFORE

    endpoint.decide = decide
    with pytest.raises(CONNECTION_ERRORS):
        put(client, event())
    endpoint.heal()
    put(client, event("after"))
    assert endpoint.messages("group", "stream") == ["after"]


@pytest.mark.parametrize("tls", [False, True])
def test_idle_and_half_open_connections_do_not_delay_a_stop(tls):
    before = set(threading.enumerate())
    with Endpoint(tls=tls) as endpoint:
        address = ("127.0.0.1", endpoint.port)
        with socket.create_connection(address), socket.create_connection(address) as half:
            half.sendall(b"POST / HTTP/1.1\r\nContent-Len")
            started_s = time.monotonic()
            endpoint.stop()
            assert time.monotonic() - started_s < 8, "each is given 10 s"
    assert set(threading.enumerate()) <= before


def test_wait_until_ends_with_a_timeout_that_tells_the_calls(endpoint, client):
    put(client, event())
    with pytest.raises(TimeoutError, match="PutLogEvents"):
        endpoint.wait_until(lambda: endpoint.event_count() == 2, timeout_s=0.1)


# --- HTTP ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "number"),
    [
        (b"hello\r\n\r\n", b"400"),
        (b"GET /stats HTTP/1.0\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nno colon\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\ncontent-length: 2\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"411"),
    ],
)
def test_malformed_http_is_a_violation_and_ends_the_connection(endpoint, sent, number):
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=30) as connection:
        connection.sendall(sent)
        with connection.makefile("rb") as answer:
            assert answer.readline().split()[1] == number
            answer.read()
    assert len(endpoint.violations) == 1


def test_a_client_that_waits_for_100_continue_gets_it(endpoint):
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=30) as connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
            b"Connection: close\r\n\r\n"
        )
        with connection.makefile("rb") as answer:
            assert answer.readline() == b"HTTP/1.1 100 Continue\r\n"
            connection.sendall(b"{}")
            assert b"UnknownOperationException" in answer.read()


def test_any_other_page_is_not_found(endpoint):
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=30)
    connection.request("GET", "/other")
    assert connection.getresponse().status == 404
    connection.close()


# --- counting, and by hand -------------------------------------------------------------------


def test_an_endpoint_that_keeps_nothing_counts_everything():
    with (
        Endpoint(keep=False, now_ms=lambda: NOW_MS) as endpoint,
        client_of(endpoint) as client,
    ):
        endpoint.create("group", "stream")
        put(client, event("a"), event("b"))
        refusal(put, client, event(""))
        assert endpoint.event_count("group", "stream") == 2
        assert endpoint.calls == []
        with pytest.raises(RuntimeError, match="keeps no events"):
            endpoint.messages("group", "stream")
        stats = endpoint.stats()
    assert stats["calls"] == {"PutLogEvents": 2}
    assert stats["outcomes"] == {"PutLogEvents": {"InvalidParameterException": 1, "ok": 1}}
    assert stats["events"] == 2
    assert stats["streams"] == {"group": {"stream": 2}}
    assert stats["wire_bytes"] == stats["decoded_bytes"] > 100
    assert len(stats["violations"]) == 1


def test_the_lateness_of_stored_events_is_counted_where_it_is_measured():
    with (
        Endpoint(measure_lateness=True, now_ms=lambda: NOW_MS) as endpoint,
        client_of(endpoint) as client,
    ):
        endpoint.create("group", "stream")
        assert endpoint.stats()["last_stored_ms"] is None
        too_old = event("a", NOW_MS - 15 * 86_400_000)
        put(client, too_old)
        assert endpoint.stats()["last_stored_ms"] is None
        late = [event("b", NOW_MS - 7), event("c", NOW_MS - 7), event("d", NOW_MS - 2)]
        put(client, too_old, *late)
        stats = endpoint.stats()
    assert stats["last_stored_ms"] == NOW_MS
    assert stats["lateness_ms"] == {"7": 2, "2": 1}


@pytest.fixture
def process(tmp_path):
    """
    The endpoint as a program of its own: (process, what it said first).
    """
    program = Path(cloudwatch.__file__)
    options = ["--tls", "--ca-file", tmp_path / "ca.pem", "--no-keep", "--no-signature"]
    with subprocess.Popen(
        [sys.executable, program, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        yield running, json.loads(running.stdout.readline())
        running.kill()


def test_as_a_program_it_serves_shows_stats_and_prints_them_at_the_end(process, tmp_path):
    running, said = process
    assert said["ca_file"] == str(tmp_path / "ca.pem")
    context = ssl.create_default_context(cafile=said["ca_file"])
    address = urlsplit(said["url"])
    connection = http.client.HTTPSConnection(address.netloc, context=context, timeout=30)
    connection.request("GET", "/stats")
    stats = json.loads(connection.getresponse().read())
    connection.close()
    assert stats["events"] == 0
    running.send_signal(signal.SIGTERM)
    output, errors = running.communicate(timeout=30)
    assert json.loads(output) == stats
    assert errors == b""
    assert running.returncode == 0


def test_as_a_program_it_refuses_and_accepts_by_signal(process):
    running, said = process
    address = ("127.0.0.1", urlsplit(said["url"]).port)

    def is_open():
        try:
            socket.create_connection(address, timeout=30).close()
        except ConnectionError:
            return False
        return True

    for number, expected in ((signal.SIGUSR1, False), (signal.SIGUSR2, True)):
        running.send_signal(number)
        until_s = time.monotonic() + 30
        while is_open() is not expected:
            assert time.monotonic() < until_s
            time.sleep(0.01)
