"""
What a check found: the one thing that leaves this package.

Always holds: `found` and `remedy` hold no credential, no message and no password; what is not ok
has a remedy where there is one.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Finding", "State", "failed", "ok", "skipped", "told", "warning"]


class State(enum.StrEnum):
    """
    How good or bad a finding is.
    """

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One line: which check, how it went, what was found; and what to type or change, on one line or,
    where something is to be copied, on more.
    """

    check: str
    state: State
    found: str
    remedy: str | None = None


def ok(check: str, found: str) -> Finding:
    """
    As it should be.
    """
    return Finding(check, State.OK, found)


def warning(check: str, found: str, remedy: str) -> Finding:
    """
    It works, but not for long, not well, or not for everybody.
    """
    return Finding(check, State.WARNING, found, remedy)


def failed(check: str, found: str, remedy: str) -> Finding:
    """
    The agent cannot do its work like this.
    """
    return Finding(check, State.FAILED, found, remedy)


def skipped(check: str, found: str, remedy: str | None = None) -> Finding:
    """
    Not looked at, or of no account here.
    """
    return Finding(check, State.SKIPPED, found, remedy)


def told(check: str, error: Exception, remedy: str = "see `spool run --help`") -> Finding:
    """
    One of our own errors, which say what to do about it behind their last semicolon.
    """
    text, separator, advice = str(error).rpartition("; ")
    return failed(check, text, advice) if separator else failed(check, str(error), remedy)
