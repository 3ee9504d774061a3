"""
spool query: read-only SQL over the spool.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import click

from cli.options import db_option, format_option
from cli.output import write_rows
from cli.parameters import Text
from spool.inspection import Inspection

__all__ = ["command"]


@click.command(name="query")
@db_option
@format_option()
@click.argument("sql", type=Text(), metavar="SQL")
def command(*, db: Path, output_format: str | None, sql: str) -> None:
    """
    Run a reading SQL statement; the stable views are `events` and `batches`.

    \b
    Examples:
      spool query 'SELECT state, count(*) FROM events GROUP BY state'
      spool query --format csv 'SELECT * FROM batches'
    """
    with Inspection(db) as spool:
        rows = spool.query(sql, is_ours=False)
        first = next(rows, None)
        if first is None:
            if output_format == "json":
                click.echo("[]")
            return
        write_rows(chain([first], rows), columns=list(first), output_format=output_format)
