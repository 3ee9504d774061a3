"""
What is left out of the words of others.
"""

from __future__ import annotations

import pytest

from shipper.redaction import MAX_ERROR_LENGTH, redacted, without_secrets


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Value 'secret' at 'logEvents' failed", "Value at 'logEvents' failed"),
        ("Value 'secret' at 'a secret' at 'logEvents' failed", "Value at 'logEvents' failed"),
        ("Value 'secret without an end", "Value"),
        ("Value 'a secret\nof two lines' at 'logEvents'", "Value at 'logEvents'"),
        ("mismatch.\n\nThe Canonical String for this\nsecret", "mismatch. …"),
        ("no date. Authorization=AWS4 secret, secret", "no date. Authorization=…"),
        ("x-amz-security-token:secret\nhost:x", "x-amz-security-token:… host:x"),
        ("key AKIAIOSFODNN7EXAMPLE is unknown", "key … is unknown"),
        ('connect to "http://user:secret@host:1/path"', 'connect to "http://…@host:1/path"'),
        ("connect to http://user:sec/ret@host", "connect to http://…@host"),
        ("connect to http://user:sec@ret@host", "connect to http://…@host"),
        ("Error when retrieving credentials from custom-process: secret\nsecret", None),
    ],
)
def test_a_secret_is_left_out_and_the_rest_kept(text: str, left: str | None) -> None:
    assert redacted(text) == (left or "Error when retrieving credentials from custom-process")


@pytest.mark.parametrize(
    "text",
    [
        "User: arn:aws:iam::1:user/x is not authorized to perform: logs:PutLogEvents",
        "The specified log group does not exist.",
        'Could not connect to the endpoint URL: "http://127.0.0.1:1/"',
        "collecting me@example as group stream",
        "collecting asiapacificcustomers as group stream",
    ],
)
def test_what_is_not_secret_is_kept(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize("part", ["://", " ", "Value '", "' at '", "AKIA", "Authorization", "\n"])
def test_a_text_made_to_be_slow_is_not(part: str) -> None:
    """
    pytest-timeout ends what takes the square of the length.
    """
    assert len(without_secrets(part * 300_000)) <= len(part) * 300_000
    assert len(redacted(part * 300_000)) <= MAX_ERROR_LENGTH
