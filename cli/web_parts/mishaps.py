"""
What a page says when something is wrong with a question, or with us.

Always holds: nothing of it is printed but where it was and what kind of error; Datasette's own
handler prints every local variable, and these hold lines of logs.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import click
from datasette import Response
from datasette.utils.asgi import Base400
from datasette.views.base import DatasetteError

from cli.printable import printable
from spool.errors import SpoolError

__all__ = ["Mishap", "answer", "what_happened"]

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/-/spool/spool.css"></head>
<body><header><h1>{title}</h1><nav><a href="/">Now</a> <a href="/find">Find</a>
<a href="/spool">Datasette</a></nav></header>
<div class="finding bad" role="alert"><strong>{words}</strong></div></body></html>
"""


@dataclass(frozen=True, slots=True)
class Mishap:
    """
    An HTTP status, and what to tell.
    """

    status: int
    words: str


def what_happened(error: Exception) -> Mishap:
    """
    A bug is 500, and told on stderr, without what it was about.
    """
    if isinstance(error, SpoolError):
        return Mishap(503, str(error))
    if isinstance(error, Base400):
        return Mishap(error.status, str(error.args[0]) if error.args else "not found")
    if isinstance(error, DatasetteError):
        is_late = error.message_is_html  # the only one that is: the time limit, and the SQL again
        words = "interrupted: that takes too long; ask for less" if is_late else str(error.message)
        return Mishap(error.status, words)
    place = error.__traceback__
    while place and place.tb_next:
        place = place.tb_next
    where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else "nowhere"
    click.echo(f"spool web: {type(error).__name__} in {where}", err=True)
    return Mishap(500, "an error of the page itself; stderr says where")


def answer(mishap: Mishap, *, as_json: bool) -> Any:
    """
    As a page, or as the JSON that Datasette would give.
    """
    if as_json:
        body = {"ok": False, "error": mishap.words, "status": mishap.status, "title": None}
        return Response.json(body, status=mishap.status)
    title = f"Error {mishap.status}"
    page = PAGE.format(title=title, words=escape(printable(mishap.words)))
    return Response.html(page, status=mishap.status)
