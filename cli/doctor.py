"""
spool doctor: what keeps this host from shipping, and what to do about it.
"""

from __future__ import annotations

import difflib
import json
import logging
import os
import platform
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from cli.errors import FAILED
from cli.options import containers_dir_option, db_option, pods_dir_option, source_option
from cli.parameters import Name, Size
from cli.rules import GIVE_THE_SAME, POD_UID, make_chooser, make_namer, other_route
from cli.run import command as run_command
from cli.screen import write_check
from shipper.diagnosis.case import Case
from shipper.diagnosis.examination import examine
from shipper.diagnosis.finding import Finding, State, failed, ok, told, warning
from shipper.ec2 import Metadata
from shipper.errors import RouteError
from shipper.given import parse_delay_s
from shipper.naming import NODE_NAME
from shipper.route import Route, parse_route
from shipper.service import configured_region
from shipper.sources.multiline import rule_from
from spool import __version__
from spool.connection import sqlite_version
from spool.wording import counted

__all__ = ["command"]

NEAR = 0.8
"""How alike two names are where one is most likely a slip of the other."""


@click.command(name="doctor")
@click.argument("route", required=False)
@db_option
@source_option
@containers_dir_option
@pods_dir_option
@click.option(
    "--max-size",
    "max_size_bytes",
    envvar="SPOOL_MAX_SIZE",
    type=Size(),
    default="1GiB",
    show_default=True,
    help="What the spool may grow to, compared with the free space.",
)
@click.option("--group", type=Name(), help="Ask for permissions on this log group.")
@click.option("--stream", type=Name(), help="Likewise, on log streams that begin like this.")
@click.option(
    "--write",
    "writes",
    is_flag=True,
    help="Send a real event to the group, to stream spool-doctor or --stream. It stays there.",
)
@click.option("--json", "as_json", is_flag=True, help="A list of {check, state, found, remedy}.")
def command(
    *,
    route: str | None,
    db: Path,
    source: str,
    containers_dir: Path,
    pods_dir: Path,
    max_size_bytes: int,
    group: str | None,
    stream: str | None,
    writes: bool,
    as_json: bool,
) -> int:
    """
    Test what `spool run` needs here: settings, paths, Docker, credentials, region, endpoint, clock
    and permissions; with the remedy for what is not as it should be. Takes the route and the
    environment of `spool run`. Changes nothing, and makes nothing at AWS, unless --write says so.
    Exits 1 if a check failed.

    \b
    Examples:
      spool doctor cloudwatch://us-east-1
      spool doctor --group /docker/web --write
      spool doctor --json
    """
    logging.getLogger().addHandler(logging.NullHandler())  # what goes wrong is a finding, no log
    settings = _Settings(route)
    metadata = Metadata(os.environ, use_ec2=settings.route.use_ec2)

    def region() -> str:
        return settings.route.region or metadata.region() or configured_region() or ""

    case = Case(
        route=settings.route,
        environ=os.environ,
        db=db.absolute(),
        max_size_bytes=max_size_bytes,
        source=source,
        containers_dir=containers_dir,
        pods_dir=pods_dir,
        chooser=make_chooser(settings.route, source, containers_dir),
        namer=make_namer(settings.route, metadata, region),
        metadata=metadata,
        group=group,
        stream=stream,
        writes=writes,
        retention_days=settings.values.get("retention_days"),
        group_class=settings.values.get("group_class"),
    )
    states = _show(_all(settings, case), as_json=as_json)
    return FAILED if states[State.FAILED] else 0


def _all(settings: _Settings, case: Case) -> Iterator[Finding]:
    yield ok(
        "version",
        f"spool {__version__}, Python {platform.python_version()},"
        f" SQLite {sqlite_version()}, boto3 {version('boto3')}",
    )
    yield from settings.findings
    if doubt := other_route(case.db, settings.given, os.environ):
        yield warning("settings", doubt, GIVE_THE_SAME)
    yield from examine(case)


def _show(findings: Iterator[Finding], *, as_json: bool) -> Counter[State]:
    """
    Show them as they come; how many there were of each state.
    """
    shown: list[Finding] = []
    for finding in findings:
        shown.append(finding)
        if not as_json:
            write_check(finding.state, finding.check, finding.found, finding.remedy)
    states = Counter(finding.state for finding in shown)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in shown], indent=2))
    else:
        parts = (f"{states[state]:,} {state}" for state in State)
        click.echo(f"{counted(len(shown), 'finding')}: {', '.join(parts)}")
    return states


class _Settings:
    """
    The route and the environment, read as `spool run` reads them; a part that is wrong is told in
    `findings`, and left out.
    """

    def __init__(self, route: str | None) -> None:
        self.values: dict[str, Any] = {}
        self.findings: list[Finding] = []
        self.given = route
        self.route = self._read_route(route)
        self._read_variables()
        self._read_rules()
        self.findings += _slips()
        if not self.findings:
            given = route or os.environ.get("ROUTE_URIS", "").strip()
            what = "the route and the environment" if given else "no route; the environment"
            self.findings.append(ok("settings", f"{what} can be read"))

    def _read_route(self, route: str | None) -> Route:
        """
        The route; where it is wrong, as much of it as can be read.
        """
        try:
            return parse_route(route, os.environ)
        except RouteError as error:
            self.findings.append(told("settings", error))
        given = route or os.environ.get("ROUTE_URIS", "")
        for text, environ in ((given.partition("?")[0], os.environ), ("cloudwatch://", {})):
            with suppress(RouteError):
                return parse_route(text, environ)
        return Route()

    def _read_variables(self) -> None:
        context = click.Context(run_command)
        for option in run_command.params:
            text = option.value_from_envvar(context) if option.envvar else None
            if not option.name or text is None:
                continue
            try:
                self.values[option.name] = option.type_cast_value(context, text)
            except click.BadParameter as error:
                found = f"{option.envvar}: {error.message}"
                self.findings.append(failed("settings", found, f"mend or unset {option.envvar}"))

    def _read_rules(self) -> None:
        try:
            if delay := self.values.get("delay"):
                parse_delay_s(delay, "in SPOOL_DELAY")
            rule_from(self.values.get("multiline"), os.environ)
        except RouteError as error:
            self.findings.append(told("settings", error))


def _slips() -> Iterator[Finding]:
    """
    Variables that look like one of ours, but are none.
    """
    options = (*run_command.params, *command.params)
    known = {str(option.envvar) for option in options if option.envvar} | {NODE_NAME, POD_UID}
    for name in sorted(os.environ.keys() - known):
        if name.startswith("SPOOL_") and (near := difflib.get_close_matches(name, known, 1, NEAR)):
            yield warning("settings", f"{name} is no setting of spool", f"did you mean {near[0]}?")
