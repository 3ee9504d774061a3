"""
A process with this folder on its PYTHONPATH resolves no name while the file NO_NAMES is there.
"""

import os
import socket
from pathlib import Path

_getaddrinfo = socket.getaddrinfo


def getaddrinfo(*arguments, **options):
    """
    As ever, or what a resolver says that has no server to ask.
    """
    if Path(os.environ["NO_NAMES"]).exists():
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    return _getaddrinfo(*arguments, **options)


if "NO_NAMES" in os.environ:
    socket.getaddrinfo = getaddrinfo
