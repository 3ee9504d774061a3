"""
moto's AWS as a process of its own: python -m cli.demo_parts.moto_server. Alone imports moto.

Goes out: the port on 127.0.0.1, as one line on stdout. It ends when its stdin does, and so with
the process that started it, however that ends.
"""

from __future__ import annotations

import logging
import sys

from moto.server import ThreadedMotoServer

__all__ = ["main"]


def main() -> None:
    """
    Serve until stdin ends.
    """
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
