"""
Our own pages in Datasette: the start page, the search, and how cells are shown.

Comes in: requests that only read. Goes out: HTML; what is in it from a container is escaped by the
templates, and what cannot be seen is spelled out. Always holds: the spool is read in a thread, by
short queries.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from datasette import Response, hookimpl

from cli.printable import printable
from cli.web_parts import mishaps, words
from cli.web_parts.finding import find
from cli.web_parts.overview import WINDOWS, look
from cli.web_parts.queries import QUERIES
from spool.clock import now_ms
from spool.wording import human_duration

__all__ = ["Pages"]

SHOWN_CHARACTERS = 1_000
"""Of a cell in Datasette's tables."""


class Pages:
    """
    A plugin of Datasette's, for one spool.
    """

    __name__ = "spool-pages"

    def __init__(self, db: Path) -> None:
        self._db = db

    @hookimpl
    def register_routes(self) -> list[tuple[str, Any]]:
        return [(r"^/$", self.start), (r"^/find$", self.search)]

    @hookimpl
    def prepare_jinja2_environment(self, env: Any) -> None:
        env.filters["printable"] = printable
        env.filters["local_time"] = words.local_time
        env.filters["count"] = "{:,}".format

    @hookimpl
    def extra_css_urls(self) -> list[str]:
        return ["/-/spool/datasette.css"]

    @hookimpl
    def render_cell(self, value: Any) -> str | None:
        """
        Text that would steer the page's reader; Datasette shows the rest.
        """
        if not isinstance(value, str):
            return None
        shown = printable(value[:SHOWN_CHARACTERS])
        if shown == value[:SHOWN_CHARACTERS]:
            return None
        return shown + ("…" if len(value) > SHOWN_CHARACTERS else "")

    @hookimpl
    def handle_exception(self, request: Any, exception: Exception) -> Any:
        """
        Whatever a page could not answer.
        """
        path = request.path.partition("?")[0]
        return mishaps.answer(mishaps.what_happened(exception), as_json=path.endswith(".json"))

    async def start(self, request: Any, datasette: Any) -> Any:
        """
        The start page.
        """
        at_ms = now_ms()
        window = request.args.get("window")
        seen = await asyncio.to_thread(look, self._db, window=window, now_ms=at_ms)
        context = {
            "seen": seen,
            "windows": list(WINDOWS),
            "queries": QUERIES,
            "age": _age(seen.oldest_unsent, at_ms),
            "fields": {},
        }
        return Response.html(await datasette.render_template("start.html", context, request))

    async def search(self, request: Any, datasette: Any) -> Any:
        """
        What was found, and the command that sends it again.
        """
        typed = {name: request.args.get(name) for name in request.args}
        answer = await asyncio.to_thread(find, self._db, typed)
        context = {"answer": answer, "fields": answer.fields, "zone": words.zone()}
        html = await datasette.render_template("find.html", context, request)
        return Response.html(html, status=400 if answer.wrong else 200)


def _age(oldest_unsent: str | None, now_ms: int) -> str:
    if oldest_unsent is None:
        return "-"
    return human_duration(max(0.0, now_ms / 1000 - words.seconds(oldest_unsent)))
