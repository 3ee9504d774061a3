"""
A few pages over HTTP, to be read by a monitor.

Comes in: GET and HEAD. Goes out: what the page's function gives. Always holds: a client has
CLIENT_S in all to ask and again to take the answer, MAX_CLIENTS are served at a time and more are
turned away; nothing that a client or a page does goes further than its own connection.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import cast
from urllib.parse import parse_qsl, urlsplit

from shipper.errors import CannotListen
from shipper.timed import TimedBytes

__all__ = ["TEXT", "Address", "Answer", "Page", "PageServer"]

log = logging.getLogger(__name__)

CLIENT_S = 5.0
MAX_CLIENTS = 8
STOP_LOOK_S = 0.2

TEXT = "text/plain; charset=utf-8"

Address = tuple[str, int]
"""Host (a name, or an address without brackets) and port; port 0 is any free one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    One page, ready to be sent.
    """

    status: HTTPStatus
    body: bytes
    content_type: str = TEXT


Page = Callable[[Mapping[str, str]], Answer]
"""Gets the query's parameters."""


class PageServer(socketserver.ThreadingTCPServer):
    """
    Listens from the moment it is made, answers from `start` to `close`.

    Raises `CannotListen`.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: Address) -> None:
        self.pages: Mapping[str, Page] = {}
        self._places = threading.BoundedSemaphore(MAX_CLIENTS)
        self._thread: threading.Thread | None = None
        try:
            found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
            self.address_family = found[0]
            super().__init__(cast(Address, found[4]), _Handler)
        except (OSError, UnicodeError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise CannotListen(
                f"{_joined(*address)}: cannot listen there ({reason}); give another with --metrics"
            ) from error

    def start(self, pages: Mapping[str, Page]) -> None:
        """
        Answer, by path.
        """
        self.pages = pages
        self._thread = threading.Thread(
            target=self.serve_forever, args=[STOP_LOOK_S], name="pages", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """
        Listen no more; may be called twice.
        """
        if self._thread:
            self.shutdown()
            self._thread = None
        self.server_close()

    @property
    def url(self) -> str:
        """
        Where it listens.
        """
        return f"http://{_joined(*self.server_address[:2])}"

    @property
    def is_public(self) -> bool:
        """
        Whether others than this host may ask.
        """
        return not ipaddress.ip_address(str(self.server_address[0])).is_loopback

    def process_request(self, request: socket.socket, client_address: Address) -> None:  # type: ignore[override]
        """
        Called by socketserver for each connection.
        """
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: socket.socket, client_address: Address) -> None:  # type: ignore[override]
        """
        Called by socketserver in a thread of its own.
        """
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """
        Called by socketserver: a client has gone, or was too slow.
        """
        log.debug("a client of the metrics was not answered", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """
    One connection, one request.
    """

    server: PageServer

    def setup(self) -> None:
        super().setup()
        self.rfile = TimedBytes(self.connection, time.monotonic() + CLIENT_S).makefile()

    def do_GET(self) -> None:
        answer = self._answer()
        self.connection.settimeout(CLIENT_S)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(answer.body)

    do_HEAD = do_GET  # noqa: N815 - likewise

    def _answer(self) -> Answer:
        url = urlsplit(self.path)
        page = self.server.pages.get(url.path)
        if page is None:
            known = ", ".join(sorted(self.server.pages))
            return Answer(HTTPStatus.NOT_FOUND, f"not here; there are {known}\n".encode())
        try:
            return page(dict(parse_qsl(url.query, keep_blank_values=True)))
        except Exception:  # the monitor is told, and asks again
            log.debug("a page failed", exc_info=True)
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"this page failed\n")

    def version_string(self) -> str:
        return "spool"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """
        Who asked is not logged.
        """


def _joined(host: object, port: object) -> str:
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
