"""
Whether an agent is well, for those who would restart it.

Comes in: the agent's threads, the pulses of its loops, its stop, its spool. Goes out: a report,
with the reason in plain words where it is not well. Always holds: that CloudWatch cannot be reached
is no illness. A restart would not mend it, lines go on being stored, and `max_lag_ms` is there for
who wants to know.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from shipper.pulse import Pulse
from spool.clock import now_ms
from spool.errors import SpoolUnusable
from spool.vitals import Vitals
from spool.wording import counted, human_duration

__all__ = ["Health", "Report", "noting_deaths"]

log = logging.getLogger(__name__)

STANDSTILL_S = 300.0
"""A loop turns at least every 10 s. A checkpoint of a quarter of 1 GiB on a disk of 1,000 random
writes a second keeps it from that for a minute; after five nothing is moving any more."""


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
    the names of all that an error ended, `pulses` those of the loops that must turn.
    """

    def __init__(
        self,
        vitals: Vitals,
        stop: threading.Event,
        *,
        threads: Sequence[threading.Thread],
        deaths: Sequence[str],
        pulses: Sequence[Pulse] = (),
    ) -> None:
        self._vitals = vitals
        self._stop = stop
        self._threads = threads
        self._deaths = deaths
        self._pulses = pulses

    def report(self, *, max_lag_ms: int | None = None) -> Report:
        """
        How it is now; with `max_lag_ms` it is not well either while an event has waited longer.
        """
        reason = self._why_stopping() or self.why_not_running() or self._vitals.why_not_writable()
        try:
            totals = self._vitals.totals()
        except SpoolUnusable as error:
            return Report(reason or str(error))
        age_s = totals.oldest_unsent_age_s(now_ms())
        if reason is None and max_lag_ms is not None and age_s * 1000 > max_lag_ms:
            reason = f"the oldest unsent event is {age_s:.0f} s old"
        return Report(reason, unsent=totals.unsent, oldest_unsent_age_s=age_s)

    def summary(self, notes: Mapping[str, str | None]) -> str:
        """
        How things stand in one line: what is the matter, by `notes`, and what waits.
        """
        try:
            totals = self._vitals.totals()
        except SpoolUnusable as error:
            return str(error)
        waits = "all sent" if totals.collected else "nothing was collected yet"
        if totals.unsent:
            verb = "waits" if totals.unsent == 1 else "wait"
            age = human_duration(totals.oldest_unsent_age_s(now_ms()))
            waits = f"{counted(totals.unsent, 'event')} {verb}, the oldest for {age}"
        elif totals.rejected:
            waits = f"all sent but {totals.rejected:,} that CloudWatch rejected"
        return "; ".join([*filter(None, notes.values()), waits])

    def _why_stopping(self) -> str | None:
        return "the agent is stopping" if self._stop.is_set() else None

    def why_not_running(self) -> str | None:
        """
        What is dead or stuck, which a restart would mend; None where nothing is, or at a stop, when
        they end one by one.
        """
        if self._stop.is_set():
            return None
        ended = [thread.name for thread in self._threads if _has_ended(thread)]
        dead = [*self._deaths, *ended]
        if dead:
            return f"a part of the agent has ended: {dead[0]}; see its log"
        for pulse in self._pulses:
            if pulse.still_for_s() > STANDSTILL_S:
                return (
                    f"a part of the agent is stuck: {pulse.name}, for {pulse.still_for_s():.0f} s"
                )
        return None


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
