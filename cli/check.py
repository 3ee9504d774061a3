"""
spool check: is the spool sound?
"""

from __future__ import annotations

from pathlib import Path

import click

from cli.errors import FAILED
from cli.options import db_option, format_option
from cli.output import write_rows
from spool.audit import audit
from spool.errors import HINT
from spool.skipped import listed
from spool.store import Store
from spool.vitals import Vitals

__all__ = ["command"]


@click.command(name="check")
@db_option
@format_option("text")
def command(*, db: Path, output_format: str) -> int:
    """
    Verify the file, and that each collected event is unsent, sent, rejected, pruned or dropped.

    \b
    Examples:
      spool check
      spool check --format json
    """
    with Store(db, create=False) as store:
        findings = audit(store)
        lost = listed(Vitals(store).totals().skipped, lost=True)
    rows = [{"finding": finding} for finding in findings]
    write_rows(rows, columns=["finding"], output_format=output_format)
    if any(finding.startswith("damaged") for finding in findings):
        click.echo(f"spool check: the spool is damaged; {HINT}", err=True)
    if findings:
        return FAILED
    if output_format == "text":
        click.echo("sound: every event is accounted for")
        if lost:
            click.echo(f"before they became events lines may have been lost: {lost}")
    return 0
