"""
What a replay is about: which events, how many and how much, and what stays behind.
"""

from __future__ import annotations

from dataclasses import dataclass

import click

from shipper.batch import (
    MAX_AGE_MS,
    MAX_AHEAD_MS,
    MAX_MESSAGE_BYTES,
    acceptable_ms,
    requests_for,
)
from shipper.stopping import Stop
from spool import replay
from spool.clock import now_ms
from spool.piece import Ages
from spool.selection import Selection
from spool.store import Store
from spool.wording import counted, human_bytes, human_duration

__all__ = ["CONCURRENCY", "Plan", "make_plan"]

CONCURRENCY = 4
"""Requests at a time."""

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

USUAL_REQUEST_S = 0.2
"""How long a request takes, as long as none was sent from this spool."""


@dataclass(slots=True)
class Plan:
    """
    What was chosen, and how it is put back into the queue.
    """

    store: Store
    selection: Selection
    ages: Ages
    restamp: replay.Restamp | None
    to_group: str | None
    to_stream: str | None
    amount: replay.Amount

    def tell(self, verb: str, rate: int | None) -> None:
        """
        How much it is, and what stays behind, and why.
        """
        if self.amount.events:
            self._tell_amount(verb, rate)
        if others := self._others():
            click.echo(
                f"and with them {counted(others, 'event')} of the same streams that waited before:"
                " of a stream the oldest go first",
                err=True,
            )
        if self.amount.stale:
            click.echo(self._about_stale(), err=True)

    def _tell_amount(self, verb: str, rate: int | None) -> None:
        requests = sum(requests_for(events, size) for events, size in self.amount.streams.values())
        duration_s = requests * (replay.request_s(self.store) or USUAL_REQUEST_S) / CONCURRENCY
        if rate:
            duration_s = max(duration_s, self.amount.bytes / rate)
        click.echo(
            f"{verb} {counted(self.amount.events, 'event')}"
            f" of {counted(len(self.amount.streams), 'stream')}, {human_bytes(self.amount.bytes)},"
            f" in {counted(requests, 'request')}: about {human_duration(duration_s)}",
            err=True,
        )

    def _others(self) -> int:
        """
        Events that were not chosen and go out all the same, as they wait in the same streams.
        """
        if self.to_group or self.to_stream:
            return 0
        return self.store.unsent(set(self.amount.streams)) - self.amount.unsent

    def _about_stale(self) -> str:
        stale = counted(self.amount.stale, "event")
        if self.restamp:
            return f"{stale} of these with the present time, the original in front of the message"
        return (
            f"not sent: {stale} older than {MAX_AGE_MS // DAY_MS} days, or more than"
            f" {MAX_AHEAD_MS // HOUR_MS} hours ahead, which CloudWatch refuses; --restamp sends"
            " them with the present time"
        )

    def queue(self, stop: Stop, *, is_drain: bool) -> set[int]:
        """
        Put back what is chosen; returns the streams in which it waits.

        Raises KeyboardInterrupt at a stop, when only a part waits.
        """

        def go_on(_done: int, _total: int) -> None:
            if stop.event.is_set():
                raise KeyboardInterrupt

        streams = set(self.amount.streams)
        chosen = (self.store, self.selection, self.ages)
        if self.to_group or self.to_stream:
            targets = replay.targets(self.store, streams, self.to_group, self.to_stream)
            replay.copy(*chosen, targets, restamp=self.restamp, tell=go_on)
            return set(targets.values())
        if not is_drain:
            replay.requeue(*chosen, restamp=self.restamp, tell=go_on)
        return streams


def make_plan(
    store: Store,
    selection: Selection,
    *,
    restamp: bool,
    to_group: str | None,
    to_stream: str | None,
) -> Plan:
    """
    What of a selection would be sent now, and with `restamp` also what is too old or too new.
    """
    now = now_ms()
    ages = Ages(*acceptable_ms(now))
    return Plan(
        store=store,
        selection=selection,
        ages=ages,
        restamp=replay.Restamp(now, MAX_MESSAGE_BYTES) if restamp else None,
        to_group=to_group,
        to_stream=to_stream,
        amount=replay.survey(store, selection, ages, with_stale=restamp),
    )
