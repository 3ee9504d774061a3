"""
spool web: Datasette over the spool, with a start page of our own.
"""

from __future__ import annotations

import signal
import webbrowser
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import click

from cli.errors import WrongUsage
from cli.options import db_option
from cli.parameters import MAX_PORT
from cli.web_parts.listening import is_loopback, listen, url_of
from spool.inspection import Inspection

__all__ = ["command"]


@click.command(name="web")
@db_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port",
    type=click.IntRange(0, MAX_PORT),
    default=8001,
    show_default=True,
    help="0 picks a free one.",
)
@click.option("--open/--no-open", "opens_browser", default=False, help="Open it in the browser.")
@click.option(
    "--public",
    is_flag=True,
    help="Allow a host that others can reach. There is no login: who can, reads every line.",
)
def command(*, db: Path, host: str, port: int, opens_browser: bool, public: bool) -> int:
    """
    Look at the spool in the browser: what waits, what arrived and when, how to send it again.

    It only reads, also beside a running agent, and is for this host alone. Ctrl-C ends it.

    \b
    Examples:
      spool web
      spool web --port 0 --open
    """
    if not (find_spec("datasette") and find_spec("uvicorn")):
        raise WrongUsage("the pages need Datasette: python -m pip install 'logspool[web]'")
    with Inspection(db):  # what is wrong with the file is told before anything else
        pass
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    with suppress(KeyboardInterrupt):
        _show(db, host=host, port=port, opens_browser=opens_browser, public=public)
    return 0


def _show(db: Path, *, host: str, port: int, opens_browser: bool, public: bool) -> None:
    from cli.web_parts.server import serve  # noqa: PLC0415 - needs Datasette, which is slow

    with listen(host, port) as listener:
        is_for_all = not is_loopback(listener)
        if is_for_all and not public:
            raise WrongUsage(
                f"{host} can be reached by others, and there is no login: log lines are secrets;"
                " add --public if that is meant"
            )
        url = url_of(listener)
        click.echo(url)
        if is_for_all:
            click.echo("spool web: whoever can reach this address can read every line", err=True)
        if opens_browser:
            webbrowser.open(url)
        serve(db, listener, is_public=is_for_all)
