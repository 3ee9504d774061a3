"""
The socket of the pages.

Comes in: a host and a port. Goes out: a socket that listens, and what to call it. Always holds:
whether others can reach it is told by the address that it has, not by the name that was given.
"""

from __future__ import annotations

import ipaddress
import socket

from cli.errors import Failure

__all__ = ["is_loopback", "listen", "url_of"]

BACKLOG = 64


def listen(host: str, port: int) -> socket.socket:
    """
    A listening socket; port 0 is any free one. Raises `Failure`.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Failure(
            f"{host}:{port}: cannot listen there ({reason}); give another with --host or --port"
        ) from error


def is_loopback(listener: socket.socket) -> bool:
    """
    Whether only this host can reach it.
    """
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def url_of(listener: socket.socket) -> str:
    """
    Where a browser finds it.
    """
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
