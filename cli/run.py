"""
spool run: collect and ship.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from cli.errors import SOME_UNSENT, WrongUsage
from cli.logs import set_up_logs
from cli.options import (
    containers_dir_option,
    db_option,
    max_size_option,
    pods_dir_option,
    source_option,
)
from cli.parameters import Address, Duration, Size
from cli.rules import make_chooser, make_namer
from shipper.agent import Settings
from shipper.batch import MAX_BATCH_BYTES
from shipper.cloudwatch import GROUP_CLASSES, RETENTION_DAYS
from shipper.ec2 import Metadata, find_region
from shipper.given import parse_delay_s
from shipper.lives import run
from shipper.route import parse_route
from shipper.service import configured_region
from shipper.sources.files import is_missing
from shipper.sources.multiline import rule_from
from spool.budget import WhenFull

__all__ = ["command"]

MIN_EVENT_BYTES = 1024


class RetentionDays(click.ParamType[int]):
    """
    A number of days that CloudWatch has.
    """

    name = "days"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).strip()
        days = [str(number) for number in RETENTION_DAYS]
        if text not in days:
            self.fail(f"CloudWatch keeps events for one of these: {', '.join(days)}", param, ctx)
        return int(text)


@click.command(name="run")
@click.argument("route", required=False)
@db_option
@source_option
@containers_dir_option
@pods_dir_option
@click.option("--delay", envvar="SPOOL_DELAY", help="Seconds between two flushes. [default: 4]")
@click.option(
    "--keep",
    "keep_ms",
    envvar="SPOOL_KEEP",
    type=Duration(),
    default="24h",
    show_default=True,
    help="How long sent events stay for replay.",
)
@max_size_option(
    default="1GiB",
    help_text="How large the spool may become. When it is full, sent events leave whatever their"
    " age, then rejected ones; then --when-full tells.",
)
@click.option(
    "--when-full",
    envvar="SPOOL_WHEN_FULL",
    type=click.Choice(["block", "drop-oldest"]),
    default="block",
    show_default=True,
    help="With nothing left that was sent: collect no more until some was, while Docker's files"
    " hold the rest; or delete the oldest unsent events, and count them.",
)
@click.option(
    "--concurrency",
    envvar="SPOOL_CONCURRENCY",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="Requests at a time.",
)
@click.option(
    "--gzip/--no-gzip",
    "use_gzip",
    envvar="SPOOL_GZIP",
    default=True,
    show_default=True,
    help="Compress requests.",
)
@click.option(
    "--retention-days",
    envvar="SPOOL_RETENTION_DAYS",
    type=RetentionDays(),
    help="How long CloudWatch keeps events: set on groups where it is missing or different.",
)
@click.option(
    "--log-group-class",
    "group_class",
    envvar="SPOOL_LOG_GROUP_CLASS",
    type=click.Choice(GROUP_CLASSES, case_sensitive=False),
    help="The class of log groups that are made here. [default: CloudWatch's, STANDARD]",
)
@click.option(
    "--multiline",
    envvar="SPOOL_MULTILINE",
    metavar="PATTERN",
    help="Join lines to one event: PATTERN matches the first line of each, or, if it matches"
    " indented lines, those that go on.",
)
@click.option(
    "--keep-blank",
    envvar="SPOOL_KEEP_BLANK",
    is_flag=True,
    help="Send a blank line as a single space; CloudWatch takes no empty one.",
)
@click.option(
    "--max-event",
    "max_event_bytes",
    envvar="SPOOL_MAX_EVENT",
    type=Size(),
    default="1MiB",
    show_default=True,
    help="Split longer lines into events of at most this; CloudWatch counts 26 bytes more a line.",
)
@click.option(
    "--metrics",
    envvar="SPOOL_METRICS",
    type=Address(),
    metavar="HOST:PORT",
    help="Serve /metrics (Prometheus), /healthz and /livez there; without HOST to this host alone.",
)
@click.option("--once", is_flag=True, help="Collect what is there, ship it, exit.")
@click.option(
    "--log-format",
    envvar="SPOOL_LOG_FORMAT",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="The agent's own log, on stderr.",
)
def command(
    *,
    route: str | None,
    db: Path,
    source: str,
    containers_dir: Path,
    pods_dir: Path,
    delay: str | None,
    keep_ms: int,
    max_size_bytes: int,
    when_full: WhenFull,
    concurrency: int,
    use_gzip: bool,
    retention_days: int | None,
    group_class: str | None,
    multiline: str | None,
    keep_blank: bool,
    max_event_bytes: int,
    metrics: tuple[str, int] | None,
    once: bool,
    log_format: str,
) -> int:
    """
    Collect container logs and ship them to CloudWatch Logs.

    ROUTE is cloudwatch://REGION?OPTIONS; REGION may be `auto`. It runs until SIGTERM or SIGINT,
    then stores what it has read, tries one last flush and exits 0.

    \b
    Examples:
      spool run cloudwatch://us-east-1
      spool run 'cloudwatch://auto?DELAY=2'
      spool run 'cloudwatch://eu-west-1?NOEC2' --db /data/spool.db --once
    """
    parsed = parse_route(route, os.environ)
    set_up_logs(log_format, debug=parsed.debug)
    delay_s = parsed.delay_s if delay is None else parse_delay_s(delay, "in --delay")
    if not MIN_EVENT_BYTES <= max_event_bytes <= MAX_BATCH_BYTES:
        raise WrongUsage("--max-event is between 1KiB and 1MiB, which is what CloudWatch takes")
    metadata = Metadata(os.environ, use_ec2=parsed.use_ec2)
    region = find_region(parsed, metadata, environ=os.environ, configured=configured_region)
    if source == "files" and once and is_missing(containers_dir) and is_missing(pods_dir):
        raise WrongUsage(
            f"{containers_dir}, {pods_dir}: no such folders; give Docker's with --containers-dir,"
            " or that of pods with --pods-dir"
        )
    settings = Settings(
        db=db,
        region=region,
        source=source,
        containers_dir=containers_dir,
        pods_dir=pods_dir,
        delay_s=delay_s,
        keep_ms=keep_ms,
        max_size_bytes=max_size_bytes,
        when_full=when_full,
        concurrency=concurrency,
        use_gzip=use_gzip,
        retention_days=retention_days,
        group_class=group_class,
        once=once,
        chooser=make_chooser(parsed, source, containers_dir),
        namer=make_namer(parsed, metadata, lambda: region),
        multiline=rule_from(multiline, os.environ),
        keep_blank=keep_blank,
        max_event_bytes=max_event_bytes,
        metrics=metrics,
    )
    return 0 if run(settings) else SOME_UNSENT
