"""
spool check: is the spool sound?
"""

from __future__ import annotations

from pathlib import Path

import click

from cli.errors import FAILED
from cli.options import db_option
from cli.output import printable
from spool.audit import audit
from spool.errors import HINT
from spool.store import Store

__all__ = ["command"]


@click.command(name="check")
@db_option
def command(*, db: Path) -> int:
    """
    Verify the file, and that each collected event is unsent, sent, rejected, pruned or dropped.

    \b
    Example:
      spool check
    """
    with Store(db, create=False) as store:
        findings = audit(store)
    for finding in findings:
        click.echo(printable(finding))
    if any(finding.startswith("damaged") for finding in findings):
        click.echo(f"spool check: the spool is damaged; {HINT}", err=True)
    if findings:
        return FAILED
    click.echo("sound: every event is accounted for")
    return 0
