"""
Words of others, before they are logged or kept: what may be secret in them is left out.

Comes in: the text of an error that a library or the service made. Goes out: the same without
messages, credentials and passwords. Always holds: in doubt more is left out; time grows with the
length of the text and no faster.
"""

from __future__ import annotations

import re

__all__ = ["MAX_ERROR_LENGTH", "redacted", "without_secrets"]

MAX_ERROR_LENGTH = 300

MAX_USER_CHARS = 1_000
"""Without an end to it, a text of nothing but `://` would take the square of its length."""

_RULES = tuple(
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), instead)
    for pattern, instead in (
        # a validation error quotes what was wrong, which may be a message; the last of several
        # ends the quote, as a message may hold what looks like an end
        (r"\bValue '(?:.*(?=' at ')'|.*)", "Value"),
        # a refused signature quotes the request, with the session's token
        (r"The (?:Canonical String|String-to-Sign).*", "…"),
        (r"\bAuthorization=.*", "Authorization=…"),
        (r"(x-amz-security-token[:=]\s*)\S+", r"\1…"),
        (r"\b(?-i:(?:AKIA|ASIA)[A-Z0-9]{12,})", "…"),
        # a user and password in a URL; unescaped ones may hold a slash
        (rf"(?<=://)[^\s\"'<>]{{1,{MAX_USER_CHARS}}}@", "…@"),
        # what a program that gives credentials wrote on stderr
        (r"(Error when retrieving credentials from [\w.-]+):.*", r"\1"),
    )
)


def without_secrets(text: str) -> str:
    """
    The text as it is, but for what may be secret.
    """
    for rule, instead in _RULES:
        text = rule.sub(instead, text)
    return text


def redacted(text: str) -> str:
    """
    Likewise, on one line and cut.
    """
    return " ".join(without_secrets(text).split())[:MAX_ERROR_LENGTH]
