"""
Whether an agent is well, for those who would restart it.

Comes in: the agent's threads, its stop, its spool. Goes out: a report, with the reason in plain
words where it is not well. Always holds: that CloudWatch cannot be reached is no illness. A restart
would not mend it, lines go on being stored, and `max_lag_ms` is there for who wants to know.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from shipper.upload import now_ms
from spool.errors import SpoolUnusable
from spool.vitals import Vitals

__all__ = ["Health", "Report", "noting_deaths"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """
    `reason` is None where all is well; the rest is None where the spool cannot be read.
    """

    reason: str | None
    unsent: int | None = None
    oldest_unsent_age_s: float | None = None


class Health:
    """
    The health of one agent. `threads` are those that must not end before the agent does, `deaths`
    the names of all that an error ended.
    """

    def __init__(
        self,
        vitals: Vitals,
        stop: threading.Event,
        *,
        threads: Sequence[threading.Thread],
        deaths: Sequence[str],
    ) -> None:
        self._vitals = vitals
        self._stop = stop
        self._threads = threads
        self._deaths = deaths

    def report(self, *, max_lag_ms: int | None = None) -> Report:
        """
        How it is now; with `max_lag_ms` it is not well either while an event has waited longer.
        """
        reason = self._why_not_running() or self._vitals.why_not_writable()
        try:
            totals = self._vitals.totals()
        except SpoolUnusable as error:
            return Report(reason or str(error))
        age_s = totals.oldest_unsent_age_s(now_ms())
        if reason is None and max_lag_ms is not None and age_s * 1000 > max_lag_ms:
            reason = f"the oldest unsent event is {age_s:.0f} s old"
        return Report(reason, unsent=totals.unsent, oldest_unsent_age_s=age_s)

    def _why_not_running(self) -> str | None:
        if self._stop.is_set():
            return "the agent is stopping"
        ended = [thread.name for thread in self._threads if _has_ended(thread)]
        dead = [*self._deaths, *ended]
        return f"a part of the agent has ended: {dead[0]}; see its log" if dead else None


def _has_ended(thread: threading.Thread) -> bool:
    return thread.ident is not None and not thread.is_alive()


@contextmanager
def noting_deaths() -> Iterator[Sequence[str]]:
    """
    The names of threads that an error ends from now on; each goes to the log.
    """
    deaths: list[str] = []

    def note(death: threading.ExceptHookArgs) -> None:
        if death.exc_type is SystemExit:
            return
        name = death.thread.name if death.thread else "a thread"
        deaths.append(name)
        trace = (death.exc_type, death.exc_value or death.exc_type(), death.exc_traceback)
        log.critical("%s has ended by an error", name, exc_info=trace)

    before, threading.excepthook = threading.excepthook, note
    try:
        yield deaths
    finally:
        threading.excepthook = before
