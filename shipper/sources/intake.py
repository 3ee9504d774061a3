"""
What the sources of one agent have in common: which containers they take, into which stream, and
how their lines become events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shipper.batch import MAX_MESSAGE_BYTES
from shipper.collecting import Chooser
from shipper.containers import Container
from shipper.naming import Namer
from shipper.sources.lines import Joiner
from shipper.sources.multiline import Multiline, MultilineRule
from spool.store import Store

__all__ = ["Intake"]

STREAMS = ("stdout", "stderr")


@dataclass(frozen=True, slots=True)
class Intake:
    """
    The agent's rules, and the store that knows the ids of names. A longer message than
    `max_message_bytes` becomes several events.

    Of containers seen for the first time, without `backlog` what they had logged before is left
    out; with `tail` all but that many of their last lines.
    """

    store: Store
    chooser: Chooser
    namer: Namer
    multiline: MultilineRule | None = None
    keep_blank: bool = False
    max_message_bytes: int = MAX_MESSAGE_BYTES
    backlog: bool = True
    tail: int | None = None

    def takes(self, container: Container, source: Literal["files", "api"]) -> str | None:
        """
        None where that source collects the container, else the reason why it does not.
        """
        choice = self.chooser.choose(container)
        return None if choice.source == source else choice.reason

    def stream_id(self, container: Container) -> int:
        """
        The stream that a container's lines go to under its present name.
        """
        target = self.namer.target(container)
        return self.store.stream_id(target.group, target.stream)

    def joiner(self, container: Container, kind: type[Joiner] = Joiner) -> Joiner:
        """
        What makes events of a container's lines, which have the form that `kind` reads.
        """
        label = container.short_id
        source_ids = {name: self.store.source_id(f"{label}/{name}") for name in STREAMS}
        wanted = self.chooser.route.filter_sources
        rule = self.multiline
        applies = rule and rule.applies(container.env.get("LOGSPOUT_MULTILINE", ""))
        return kind(
            self.stream_id(container),
            source_ids,
            keep_blank=self.keep_blank,
            max_bytes=self.max_message_bytes,
            only=frozenset(source_ids[name] for name in wanted) if wanted else None,
            multiline=Multiline(rule, self.max_message_bytes) if rule and applies else None,
        )
