"""
In front of every page: who may ask, for what, and what a browser may do with the answer.

Comes in: requests. Goes out: those that only read, asked for under a name of this host, with
headers that keep the answer from scripts and caches. Always holds: nothing else reaches Datasette.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

__all__ = ["Guard"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

METHODS = ("GET", "HEAD")

OURS = re.compile(r"/(find)?")
PATHS = re.compile(r"/(find|favicon\.ico|-/(static|spool)/.*|spool([./].*)?)?")
"""Datasette's pages about itself and about permissions are not among them."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'{}; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
INLINE_STYLES = " 'unsafe-inline'"
"""Datasette's own templates have them."""

HEADERS = (
    (b"cache-control", b"no-store"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
)


class Guard:
    """
    An ASGI application around another one.
    """

    def __init__(self, app: App, *, is_public: bool) -> None:
        self._app = app
        self._is_public = is_public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        refusal = self._why_not(scope)
        if refusal:
            await _refuse(send, *refusal)
            return
        policy = POLICY.format("" if OURS.fullmatch(scope["path"]) else INLINE_STYLES)

        async def send_guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _guarded(message.get("headers", ()), policy)
            await send(message)

        await self._app(scope, receive, send_guarded)

    def _why_not(self, scope: Scope) -> tuple[int, str] | None:
        headers = dict(scope["headers"])
        if scope["method"] not in METHODS:
            return 405, "these pages only read\n"
        if not self._is_public and not _is_this_host(headers.get(b"host", b"")):
            return 403, "ask for 127.0.0.1 or localhost; other names may be another site's trick\n"
        site = headers.get(b"sec-fetch-site", b"none")
        if site == b"cross-site" and headers.get(b"sec-fetch-mode") != b"navigate":
            return 403, "another site's page asked for this\n"
        if not PATHS.fullmatch(scope["path"]):
            return 404, "there is no such page\n"
        return None


def _is_this_host(header: bytes) -> bool:
    """
    Whether a Host header names the loopback: a site's own name may point there, too, and then its
    scripts could read the answer.
    """
    name = re.sub(r":\d+$", "", header.decode("latin-1"))
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _guarded(headers: Any, policy: str) -> list[tuple[bytes, bytes]]:
    ours = {name for name, _ in HEADERS}
    kept = [(name, value) for name, value in headers if name.lower() not in ours]
    return [*kept, *HEADERS, (b"content-security-policy", policy.encode())]


async def _refuse(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
