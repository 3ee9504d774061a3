"""
Answers on a socket, until Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import socket
from pathlib import Path

import uvicorn

from cli.web_parts.guard import Guard
from cli.web_parts.site import make_site

__all__ = ["serve"]

STOP_S = 1
"""For answers that are on their way when it ends; a browser may be reading one for ever."""

MAX_CONNECTIONS = 64


def serve(db: Path, listener: socket.socket, *, is_public: bool) -> None:
    """
    Ends with the KeyboardInterrupt that uvicorn raises again when it has stopped.
    """
    with make_site(db) as site:
        config = uvicorn.Config(
            Guard(site.app(), is_public=is_public),
            lifespan="off",
            ws="none",
            log_config=None,  # an address holds what was searched for
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=STOP_S,
        )
        uvicorn.Server(config).run(sockets=[listener])
