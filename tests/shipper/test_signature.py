"""
A signature of ours is botocore's, whatever is signed.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from shipper.signature import SERVICE, authorization

printable = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)


def botocores(
    path: str, headers: dict[str, str], body: bytes, key_id: str, secret: str, region: str
) -> str:
    request = AWSRequest("POST", f"https://{headers['Host']}{path}", headers, body)
    request.context["timestamp"] = headers["X-Amz-Date"]
    signer = SigV4Auth(Credentials(key_id, secret), SERVICE, region)
    signature = signer.signature(
        signer.string_to_sign(request, signer.canonical_request(request)), request
    )
    names = signer.signed_headers(signer.headers_to_sign(request))
    scope = signer.scope(request)
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={signature}"


@given(
    path=st.sampled_from(["/", "/logs", "/a/b.c~d/", "/x%20y", "/\u00e9"]),
    extra=st.dictionaries(
        st.sampled_from(
            ["X-Amz-Target", "Content-Type", "X-Amz-Security-Token", "Content-Encoding"]
        ),
        printable,
    ),
    host=st.sampled_from(["logs.eu-west-1.amazonaws.com", "localhost:4566", "[::1]:8443"]),
    moment=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001
    body=st.binary(),
    key_id=printable.filter(lambda text: "/" not in text),
    secret=printable,
    region=st.sampled_from(["us-east-1", "cn-north-1"]),
)
def test_whatever_is_sent_is_signed_as_botocore_signs_it(
    path: str,
    extra: dict[str, str],
    host: str,
    moment: datetime,
    body: bytes,
    key_id: str,
    secret: str,
    region: str,
) -> None:
    headers = {**extra, "Host": host, "X-Amz-Date": f"{moment:%Y%m%dT%H%M%SZ}"}
    ours = authorization(path, headers, body, key_id=key_id, secret=secret, region=region)
    assert ours == botocores(path, headers, body, key_id, secret, region)


def test_a_signature_is_of_these_headers_and_this_body() -> None:
    headers = {"Host": "localhost", "X-Amz-Date": f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"}

    def signed(headers: dict[str, str], body: bytes) -> str:
        return authorization("/", headers, body, key_id="key", secret="s", region="us-east-1")

    whole = signed(headers, b"{}")
    assert whole != signed(headers, b"{ }")
    assert whole != signed({**headers, "Host": "elsewhere"}, b"{}")
    assert whole == signed(headers, b"{}")


@pytest.mark.parametrize("secret", ["wJalr/XUtn+FEMI", "with blanks"])
def test_a_signature_tells_nothing_of_the_secret(secret: str) -> None:
    headers = {"Host": "localhost", "X-Amz-Date": "20260101T000000Z"}
    text = authorization("/", headers, b"", key_id="key", secret=secret, region="us-east-1")
    assert secret not in text
