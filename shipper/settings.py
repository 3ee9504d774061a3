"""
The names that an operator may use, as logspout and its CloudWatch adapter have them: one table, of
which the route reads its part, and from which documents are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "AGENT",
    "CONTAINER",
    "DEFAULT_GROUP_TEMPLATE",
    "DEFAULT_STREAM_TEMPLATE",
    "ROUTE",
    "SETTINGS",
    "Setting",
]

DEFAULT_GROUP_TEMPLATE = "{{.LoggerHost}}"
DEFAULT_STREAM_TEMPLATE = "{{.Name}}"

ROUTE = "route"
AGENT = "environment"
CONTAINER = "container"


@dataclass(frozen=True, slots=True)
class Setting:
    """
    A name the operator may use.

    `where` holds the places it is read from, the weakest first; `default` is as one would write
    it, empty when there is none. A blank value in the environment counts as not given.
    """

    name: str
    where: tuple[str, ...]
    meaning: str
    default: str = ""


_ENTRIES = (
    Setting(
        "ROUTE_URIS",
        (AGENT,),
        "the route, when the command line has none, or a bare cloudwatch://auto",
    ),
    Setting("DELAY", (ROUTE, AGENT), "seconds a line may wait for others to share its batch", "4"),
    Setting("NOEC2", (AGENT, ROUTE), "do not ask the EC2 metadata service"),
    Setting("DEBUG", (AGENT, ROUTE), "log each step"),
    Setting(
        "LOGSPOUT_GROUP",
        (AGENT, ROUTE, CONTAINER),
        "the log group, a Go template",
        DEFAULT_GROUP_TEMPLATE,
    ),
    Setting(
        "LOGSPOUT_STREAM",
        (AGENT, ROUTE, CONTAINER),
        "the log stream, a Go template",
        DEFAULT_STREAM_TEMPLATE,
    ),
    Setting("LOGSPOUT", (CONTAINER,), "ignore: this container is not collected"),
    Setting("filter.name", (ROUTE,), "collect containers whose name matches this pattern"),
    Setting("filter.id", (ROUTE,), "collect containers whose id begins like this"),
    Setting(
        "filter.labels", (ROUTE,), "collect containers with all these label:pattern, by commas"
    ),
    Setting("filter.sources", (ROUTE,), "stdout, stderr or both, by a comma", "stdout,stderr"),
    Setting(
        "EXCLUDE_LABELS",
        (AGENT,),
        "leave out containers with any of these label:value, by semicolons; the value is true"
        " where none is given",
    ),
    Setting("EXCLUDE_LABEL", (AGENT,), "the same, where EXCLUDE_LABELS is not given"),
    Setting("ALLOW_TTY", (AGENT,), "true: collect containers that have a terminal", "false"),
    Setting("BACKLOG", (AGENT,), "false: leave out what was logged before the start", "true"),
    Setting("TAIL", (AGENT,), "how many of the lines that are there to read at the start", "all"),
)
SETTINGS: Mapping[str, Setting] = {entry.name: entry for entry in _ENTRIES}
