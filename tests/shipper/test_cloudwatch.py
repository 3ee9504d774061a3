"""
One request at a time: errors sorted by what to do next, credentials and clocks that go wrong, and
how a log group is made and kept.
"""

from __future__ import annotations

import gc
import json
import logging
import re
from contextlib import suppress
from pathlib import Path
from types import FrameType

import botocore.session
import pytest
from cloudwatch_endpoint import Endpoint, Fault, error, real_now_ms, status

from shipper.answers import ACTIONS
from shipper.cloudwatch import GROUP_CLASSES, CloudWatch
from shipper.errors import Action, DeliveryError

OPERATIONS = (
    "PutLogEvents",
    "CreateLogGroup",
    "CreateLogStream",
    "PutRetentionPolicy",
    "DescribeLogGroups",
)

MINUTE_MS = 60_000


def put(cloudwatch: CloudWatch, message: str = "hello") -> str:
    events = json.dumps([{"timestamp": cloudwatch.now_ms(), "message": message}])
    return cloudwatch.put("group", "web", events, events=1).request_id


def failure(cloudwatch: CloudWatch) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        put(cloudwatch)
    return caught.value


def test_the_table_knows_every_error_that_the_service_describes() -> None:
    """
    A new botocore that brings a new error of an operation of ours has to be thought about.
    """
    model = botocore.session.get_session().get_service_model("logs")
    described = {
        shape.name
        for operation in OPERATIONS
        for shape in model.operation_model(operation).error_shapes
    }
    assert len(described) >= 9
    assert described - {"ResourceAlreadyExistsException"} <= ACTIONS.keys()


def test_the_table_knows_what_botocore_takes_for_throttling() -> None:
    from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker

    throttled = set(ThrottledRetryableChecker._THROTTLED_ERROR_CODES)
    of_other_services = {
        "ProvisionedThroughputExceededException",
        "PriorRequestNotComplete",
        "TransactionInProgressException",
        "EC2ThrottledException",
        "LimitExceededException",  # here it means: no more log groups in this account
    }
    slowed = {code for code, (action, _) in ACTIONS.items() if action is Action.SLOW_DOWN}
    assert throttled - of_other_services <= slowed
    transient = set(TransientRetryableChecker._TRANSIENT_ERROR_CODES)
    assert transient - of_other_services <= ACTIONS.keys()


def test_the_service_knows_the_classes_that_may_be_asked_for() -> None:
    model = botocore.session.get_session().get_service_model("logs")
    shape = model.operation_model("CreateLogGroup").input_shape.members["logGroupClass"]
    assert set(GROUP_CLASSES) == set(shape.enum)


@pytest.mark.parametrize(
    ("fault", "action", "is_general"),
    [
        (error("ThrottlingException"), Action.SLOW_DOWN, True),
        (status(429, "slow down"), Action.SLOW_DOWN, True),
        (error("ServiceUnavailableException", 503), Action.WAIT, True),
        (error("SomethingNew", 500), Action.WAIT, True),
        (error("InvalidParameterException", 500), Action.WAIT, True),
        (status(502, "<html>bad gateway</html>"), Action.WAIT, True),
        (error("ExpiredTokenException"), Action.RENEW, True),
        (error("InvalidSignatureException", 403), Action.RENEW, True),
        (error("UnrecognizedClientException"), Action.OPERATOR, True),
        (error("AccessDeniedException"), Action.OPERATOR, False),
        (error("SomethingNew", 400), Action.OPERATOR, False),
        (error("OperationAbortedException"), Action.WAIT, False),
        (error("InvalidParameterException", message="an event"), Action.REFUSE, False),
        (
            error("InvalidParameterException", message="Value 'a:b' at 'logStreamName' is bad"),
            Action.OPERATOR,
            False,
        ),
        (status(413, "too large"), Action.REFUSE, False),
        (status(200, "<html>log in to the hotel's network</html>"), Action.WAIT, True),
    ],
)
def test_an_error_is_sorted_by_what_to_do_next(
    cloudwatch: CloudWatch, endpoint: Endpoint, fault: Fault, action: Action, *, is_general: bool
) -> None:
    endpoint.create("group", "web")
    endpoint.fail_next(fault)
    failed = failure(cloudwatch)
    assert (failed.action, failed.is_general) == (action, is_general), str(failed)
    assert put(cloudwatch), "the next one goes through"


def test_an_error_of_a_create_never_blames_the_events(
    cloudwatch: CloudWatch, endpoint: Endpoint
) -> None:
    endpoint.fail_next(error("InvalidParameterException"), operation="CreateLogStream")
    with pytest.raises(DeliveryError) as caught:
        cloudwatch.create("group", "web")
    assert caught.value.action is Action.OPERATOR


def test_without_credentials_it_waits_and_finds_those_that_appear(
    cloudwatch: CloudWatch, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key, secret = (endpoint.environment()[f"AWS_{name}"] for name in KEYS)
    for name in KEYS:
        monkeypatch.delenv(f"AWS_{name}")
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    endpoint.create("group", "web")
    missing = failure(cloudwatch)
    assert (missing.action, missing.is_general) == (Action.OPERATOR, True)
    write_credentials(file, "AKIDWRONG", "wrong")
    wrong = failure(cloudwatch)
    assert (wrong.action, wrong.is_general) == (Action.OPERATOR, True)
    assert "UnrecognizedClientException" in str(wrong)
    write_credentials(file, key, secret)
    assert put(cloudwatch)


KEYS = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")


def write_credentials(file: Path, key: str, secret: str) -> None:
    file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")


def test_a_profile_that_does_not_exist_is_waited_for(
    cloudwatch: CloudWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    failed = failure(cloudwatch)
    assert (failed.action, failed.is_general) == (Action.OPERATOR, True)
    assert "nobody" in str(failed)


@pytest.mark.parametrize(("minutes", "direction"), [(7, "behind"), (-7, "ahead of")])
def test_a_skewed_clock_is_told_with_how_much_and_which_way(
    minutes: int, direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Endpoint(verify_clock=True) as endpoint:
        endpoint.now_ms = lambda: real_now_ms() + minutes * MINUTE_MS
        for name, value in endpoint.environment().items():
            monkeypatch.setenv(name, value)
        endpoint.create("group", "web")
        cloudwatch = CloudWatch("us-east-1", connections=1)
        failed = failure(cloudwatch)
        assert failed.action is Action.RENEW
        seconds = r"4[12][0-9] s"
        assert re.search(f"clock is {seconds} {direction} the service's; set it", str(failed))
        assert abs(cloudwatch.now_ms() - endpoint.now_ms()) < MINUTE_MS
        endpoint.now_ms = real_now_ms
        assert put(cloudwatch)
        assert abs(cloudwatch.now_ms() - real_now_ms()) < MINUTE_MS


def test_no_error_quotes_the_password_of_a_proxy(
    cloudwatch: CloudWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("HTTP_PROXY", "http://me:pa55word@127.0.0.1:1")
    failed = failure(cloudwatch)
    assert failed.action is Action.WAIT
    assert "pa55word" not in str(failed)


def keeping(days: int) -> CloudWatch:
    return CloudWatch("us-east-1", connections=1, retention_days=days)


@pytest.mark.parametrize("fault", [error("ThrottlingException"), None], ids=["told", "cut off"])
def test_a_request_that_failed_is_forgotten_at_once(
    cloudwatch: CloudWatch, endpoint: Endpoint, fault: Fault | None
) -> None:
    """
    A megabyte of lines is not kept until Python looks for cycles: in an outage that is rarely.
    """
    if fault:
        endpoint.fail_always(fault)
    else:
        endpoint.refuse()
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            with suppress(DeliveryError):
                put(cloudwatch)
        kept = [one for one in gc.get_objects() if isinstance(one, FrameType)]
        assert not [frame for frame in kept if frame.f_code.co_name == "put"]
    finally:
        gc.enable()


@pytest.mark.parametrize("before", [None, 3])
def test_retention_is_set_where_it_is_missing_or_different(
    cloudwatch: CloudWatch, endpoint: Endpoint, before: int | None
) -> None:
    endpoint.create("group", retention_days=before)
    endpoint.create("group-of-another", retention_days=14)
    service = keeping(14)
    for _ in range(3):
        service.tend("group")
    assert endpoint.group("group").retention_days == 14
    assert endpoint.count("PutRetentionPolicy") == 1


def test_retention_that_is_right_is_left_alone(cloudwatch: CloudWatch, endpoint: Endpoint) -> None:
    endpoint.create("group", retention_days=14)
    service = keeping(14)
    for _ in range(3):
        service.tend("group")
    assert endpoint.count("PutRetentionPolicy") == 0
    assert endpoint.count("DescribeLogGroups") == 1


def test_retention_is_set_without_the_right_to_look(
    cloudwatch: CloudWatch, endpoint: Endpoint
) -> None:
    endpoint.create("group")
    endpoint.fail_always(error("AccessDeniedException"), operation="DescribeLogGroups")
    keeping(14).tend("group")
    assert endpoint.group("group").retention_days == 14


def test_retention_that_cannot_be_set_is_told_once_and_hinders_nothing(
    cloudwatch: CloudWatch, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.create("group")
    endpoint.fail_always(error("AccessDeniedException"), operation="PutRetentionPolicy")
    service = keeping(14)
    for _ in range(3):
        service.tend("group")
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "retention is not set" in warnings[0]


def test_a_group_that_was_deleted_and_made_again_gets_its_retention_again(
    cloudwatch: CloudWatch, endpoint: Endpoint
) -> None:
    service = keeping(14)
    for _ in range(2):
        service.create("group", "web")
        service.tend("group")
        assert endpoint.group("group").retention_days == 14
        endpoint.delete("group")


def test_a_group_is_made_in_the_class_that_was_asked_for(
    cloudwatch: CloudWatch, endpoint: Endpoint
) -> None:
    service = CloudWatch("us-east-1", connections=1, group_class="INFREQUENT_ACCESS")
    service.create("group", "web")
    cloudwatch.create("other", "web")
    assert endpoint.group("group").group_class == "INFREQUENT_ACCESS"
    assert endpoint.group("other").group_class == "STANDARD"
