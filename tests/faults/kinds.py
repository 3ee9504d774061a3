"""
What can go wrong: each fault appears, stays for a while, and goes.

`FAULTS` at the end is the table. To add a fault, write a generator over a `World` that begins it,
yields, and ends it, and give it a line there.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cloudwatch_endpoint import (
    CUT_AFTER,
    CUT_BEFORE,
    CUT_MID_ANSWER,
    HANG,
    HANG_AFTER,
    THROTTLED,
    error,
    slow,
    status,
)
from faults.access import (
    greet_rightly,
    greets_with,
    no_credentials,
    other_secret,
    refused,
    restarted,
    rotated,
    skewed,
    unresolvable,
    use_own_resolver,
)
from faults.answers import (
    always,
    cannot_create,
    clock_at,
    deleted,
    deny_one_stream,
    plain,
    poison,
    rejection_cut_off,
)
from faults.local import ended_by, frozen, locked, removed, rotates, truncated
from faults.world import World

__all__ = ["FAULTS", "Kind"]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
PORTAL = "<html><body>Please accept our terms of use</body></html>"

Over = Callable[[World], Generator[None]]
"""Written as a generator: what begins it, one yield, what ends it."""

Prepare = Callable[[World], None]


def nothing(_: World) -> None:
    """
    Nothing has to be prepared.
    """


@dataclass(frozen=True)
class Kind:
    """
    One fault. `prepare` is called before any process runs; `rejected` are the reasons for which
    lines may end as rejected.

    Where it `needs_process`, one runs before the fault begins; where it `needs_agent`, one that
    has read what the fault spoils; where it `needs_start`, none; where it `needs_requests`, one
    that goes on to make them. A fault that `is_local` goes before a process that was told to stop
    can end.
    """

    name: str
    over: Over
    lasts_s: float = 1.5
    prepare: Prepare = nothing
    needs_process: bool = False
    needs_agent: bool = False
    needs_start: bool = False
    needs_requests: bool = False
    is_local: bool = False
    is_tls: bool = False
    rejected: tuple[str, ...] = ()

    @contextmanager
    def begun(self, world: World) -> Iterator[None]:
        """
        The fault, from its beginning to its end.
        """
        yield from self.over(world)


NO_JSON = ("<html>asked for</html>", "")
STATUSES = (429, 500, 502, 503, 504)

FAULTS = (
    Kind("connection refused", refused),
    Kind("endpoint restarts", restarted),
    Kind("no name resolution", unresolvable, prepare=use_own_resolver),
    Kind("reset before answer", always(CUT_BEFORE)),
    Kind("reset after storing", always(CUT_AFTER)),
    Kind("reset in the answer", always(CUT_MID_ANSWER)),
    Kind("hangs, then cut", always(HANG)),
    Kind("stores, then hangs", always(HANG_AFTER)),
    Kind("hangs till timeout", always(HANG), lasts_s=24.0),
    Kind("slow answers", always(slow(0.7)), lasts_s=2.5),
    Kind("TLS untrusted", greets_with("untrusted"), prepare=greet_rightly, is_tls=True),
    Kind("TLS expired", greets_with("expired"), prepare=greet_rightly, is_tls=True),
    Kind("TLS wrong host", greets_with("wrong_host"), prepare=greet_rightly, is_tls=True),
    Kind("captive portal", always(status(200, PORTAL))),
    Kind("redirect", always(status(302, PORTAL), status(307, PORTAL))),
    Kind("half a 200", always(status(200, '{"nextSequenceTo'), status(200, ""))),
    Kind("JSON portal", always(plain(200, '{"login": "/terms"}'))),
    Kind("5xx, 429 not JSON", always(*(status(n, body) for n in STATUSES for body in NO_JSON))),
    Kind("5xx, 429 JSON", always(*(plain(n, '{"message":null}') for n in STATUSES))),
    Kind("ThrottlingException", always(THROTTLED), lasts_s=6.0),
    Kind("ServiceUnavailable", always(error("ServiceUnavailableException", 503))),
    Kind("InternalFailure", always(error("InternalFailure"))),
    Kind("OperationAborted", always(error("OperationAbortedException"))),
    Kind("token expired", rotated(expires=True)),
    Kind("keys rotated", rotated(expires=False)),
    Kind("secret rotated", other_secret),
    Kind("no credentials", no_credentials, needs_start=True),
    Kind("clock skew", skewed),
    Kind("AccessDenied, stream", deny_one_stream),
    Kind("AccessDenied, all", always(error("AccessDeniedException"))),
    Kind("stream deleted", deleted(is_group=False), needs_process=True),
    Kind("group deleted", deleted(is_group=True), needs_process=True),
    Kind("group not allowed", cannot_create("AccessDeniedException")),
    Kind("LimitExceeded", cannot_create("LimitExceededException")),
    Kind("poisonous event", poison, rejected=("InvalidParameterException",)),
    Kind("too old for service", clock_at(15 * DAY_MS), needs_requests=True, rejected=("too old",)),
    Kind(
        "past retention",
        clock_at(2 * DAY_MS, 1),
        needs_requests=True,
        rejected=("older than the group",),
    ),
    Kind("too new for service", clock_at(-3 * HOUR_MS), needs_requests=True, rejected=("too new",)),
    Kind("rejection cut off", rejection_cut_off, needs_requests=True),
    Kind("SIGKILL", ended_by(signal.SIGKILL), needs_process=True),
    Kind("SIGTERM", ended_by(signal.SIGTERM), needs_process=True),
    Kind("frozen for 5 s", frozen, lasts_s=5.0, needs_process=True, is_local=True),
    Kind("spool locked for 3 s", locked, lasts_s=3.0, is_local=True),
    Kind("logs rotated", rotates),
    Kind("logs truncated", truncated, needs_agent=True),
    Kind("container removed", removed, needs_agent=True),
)
