"""
Datasette over one spool, which it cannot change.

Comes in: the path of a spool. Goes out: a Datasette with our pages, descriptions and queries.
Always holds: each statement ends within SQL_S; a page is whole in memory before it is sent, so no
reader, however slow, keeps a transaction open and the write-ahead log growing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from datasette.app import Datasette
from datasette.database import Database
from datasette.plugins import pm

from cli.web_parts.descriptions import METADATA
from cli.web_parts.pages import Pages
from spool.opening import claim_driver, release_driver
from spool.window import open_for_strangers

__all__ = ["make_site"]

SQL_S = 2

HERE = Path(__file__).parent

SETTINGS = {
    "sql_time_limit_ms": SQL_S * 1000,
    "max_returned_rows": 1000,
    "default_page_size": 50,
    "truncate_cells_html": 1000,
    "suggest_facets": False,  # a look at every column of every event
    "allow_download": False,
    "allow_csv_stream": False,
    "default_cache_ttl": 0,
}


class SpoolFile(Database):
    """
    The spool as Datasette's database `spool`, whatever its file is called.
    """

    def connect(self, write: bool = False) -> Any:
        if write:
            raise PermissionError("the pages only read")
        connection = open_for_strangers(Path(self.path))
        self._all_file_connections.append(connection)
        return connection

    async def execute(self, sql: str, *arguments: Any, **options: Any) -> Any:
        # what was typed into a form may hold a line of a log
        return await super().execute(sql, *arguments, **{**options, "log_sql_errors": False})


@contextmanager
def make_site(db: Path) -> Iterator[Datasette]:
    """
    For as long as the block lasts the file is claimed for the driver that Datasette uses.
    """
    with ExitStack() as ends:
        ends.callback(release_driver, claim_driver(db, "sqlite3"))
        _use_no_plugin_but(Pages(db))
        site = Datasette(
            metadata=METADATA,
            settings=SETTINGS,
            template_dir=str(HERE / "templates"),
            static_mounts=[("-/spool", str(HERE / "static"))],
        )
        file = site.add_database(SpoolFile(site, path=str(db)), name="spool")
        site.remove_database("_memory")  # made where no file is given
        ends.callback(file.close)
        ends.callback(site.executor.shutdown, cancel_futures=True)  # what runs ends within SQL_S
        yield site


def _use_no_plugin_but(ours: Pages) -> None:
    """
    Others that are installed may offer to write, to read files, or to show pages to the world; and
    Datasette's own for errors prints what the variables held.
    """
    pm.unregister(name="datasette.handle_exception")
    for plugin, _ in pm.list_plugin_distinfo():
        pm.unregister(plugin)
    pm.register(ours)
