"""
What the sources of one agent have in common: which containers they take, into which stream, and
how their lines become events.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Literal

from shipper.batch import MAX_MESSAGE_BYTES
from shipper.collecting import Chooser
from shipper.containers import Container
from shipper.naming import Namer, Target
from shipper.sources.lines import Joiner
from shipper.sources.multiline import Multiline, MultilineRule
from spool.store import Store

__all__ = ["Intake"]

log = logging.getLogger(__name__)

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
    _told: set[str] = field(default_factory=set)

    def takes(self, container: Container, source: Literal["files", "api"]) -> str | None:
        """
        None where that source collects the container, else the reason why it does not.
        """
        choice = self.chooser.choose(container)
        return None if choice.source == source else choice.reason

    def target(self, container: Container) -> Target:
        """
        Where a container's lines go under its present name. That a template gave none is told once
        a container, without the template: it may be of the container's environment.
        """
        named = self.namer.name(container)
        if named.error and not container.problem and container.id not in self._told:
            self._told.add(container.id)
            log.warning(
                "%s: LOGSPOUT_GROUP or LOGSPOUT_STREAM gives it no name, the default was taken;"
                " `spool names` says why",
                container.name,
            )
        return named.target

    def stream_id(self, container: Container) -> int:
        """
        The id of that stream.
        """
        target = self.target(container)
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
