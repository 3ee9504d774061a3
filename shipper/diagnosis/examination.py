"""
All checks, one after another; none stops the others, whatever it meets.

Comes in: a case. Goes out: findings, as they are made. Always holds: it ends within TOTAL_S; a
check that hangs is left behind in its thread after CHECK_S.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

from shipper.diagnosis.aws import credentials, metadata, region
from shipper.diagnosis.case import Case
from shipper.diagnosis.collection import collection
from shipper.diagnosis.finding import Finding, failed, skipped
from shipper.diagnosis.limits import limits
from shipper.diagnosis.network import clock, endpoint
from shipper.diagnosis.permissions import permissions, try_event
from shipper.diagnosis.place import place
from shipper.diagnosis.waiting import within
from shipper.redaction import redacted

__all__ = ["CHECK_S", "TOTAL_S", "examine"]

TOTAL_S = 28.0
CHECK_S = 5.0

Check = Callable[[Case], Iterator[Finding]]

CHECKS: tuple[tuple[str, Check, str], ...] = (
    ("spool", place, "its disk does not answer: look at its mount, or put the spool on another"),
    ("docker", collection, "look at the mount of the containers folder, and at the engine"),
    ("limits", limits, "look at /proc"),
    ("metadata", metadata, "outside EC2 set NOEC2"),
    ("region", region, "write it into the route, as in cloudwatch://us-east-1"),
    (
        "credentials",
        credentials,
        "whoever gives them does not answer: look at credential_process, at the way to STS, or at"
        " the role's endpoint",
    ),
    ("endpoint", endpoint, "look at DNS and at the way to the endpoint"),
    ("clock", clock, "look at the endpoint"),
    ("permissions", permissions, "look at the endpoint, and try again"),
    ("event", try_event, "look at the endpoint, and try again"),
)
"""Name, check, and what to do where it hangs."""


def examine(case: Case) -> Iterator[Finding]:
    """
    The findings of all checks.
    """
    deadline_s = time.monotonic() + TOTAL_S
    for name, check, remedy in CHECKS:
        findings: list[Finding] = []
        limit_s = min(CHECK_S, deadline_s - time.monotonic())
        if limit_s <= 0:
            yield skipped(name, "there was no time left, as checks before it hung")
            continue
        try:
            within(limit_s, partial(_collect, check, case, findings))
        except TimeoutError:
            findings.append(failed(name, f"no end within {limit_s:.0f} s", remedy))
        except Exception as error:  # noqa: BLE001 - a check's own mistake must not hide the rest
            found = f"could not be checked: {type(error).__name__}: {redacted(str(error))}"
            findings.append(failed(name, found, "tell the makers of spool: it is their mistake"))
        yield from tuple(findings)


def _collect(check: Check, case: Case, findings: list[Finding]) -> None:
    for finding in check(case):
        findings.append(finding)  # noqa: PERF402 - one by one: what was found stays if it hangs then
