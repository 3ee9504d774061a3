"""
The network between the agent and CloudWatch Logs, which can be cut.

Comes in: TCP connections to a port of its own on 127.0.0.1. Goes out: the same bytes to another
port there. Always holds: while cut, new connections are refused and none is open; the port stays
ours, so that nobody else answers on it meanwhile.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

__all__ = ["Relay"]

HOST = "127.0.0.1"
PIECE_BYTES = 65_536


class Relay:
    """
    Passes connections on to `target_port` until `close`; `cut` and `restore` in between.
    """

    def __init__(self, target_port: int) -> None:
        self._target = (HOST, target_port)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._holder = _bound(0)  # never listens: a connect is refused, and the port is taken
        self.port: int = self._holder.getsockname()[1]
        self.restore()

    def cut(self) -> None:
        """
        Refuse new connections and drop those that are open.
        """
        with self._lock:
            listener, self._listener = self._listener, None
            dropped, self._open = self._open, set()
        if listener:
            _drop(listener)
        for connection in dropped:
            _drop(connection)

    def restore(self) -> None:
        """
        Take connections (again).
        """
        with self._lock:
            if self._listener:
                return
            self._listener = _bound(self.port)
            self._listener.listen(128)
            thread = threading.Thread(target=self._accept, args=[self._listener], daemon=True)
        thread.start()

    def close(self) -> None:
        """
        Cut for good.
        """
        self.cut()
        self._holder.close()

    def _accept(self, listener: socket.socket) -> None:
        with listener, suppress(OSError):  # that is how it ends when cut
            while True:
                near, _ = listener.accept()
                threading.Thread(target=self._join, args=[listener, near], daemon=True).start()

    def _join(self, listener: socket.socket, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self._target)
        except OSError:
            near.close()
            return
        with self._lock:
            is_cut = self._listener is not listener
            if not is_cut:
                self._open |= {near, far}
        if not is_cut:
            back = threading.Thread(target=_pump, args=[far, near], daemon=True)
            back.start()
            _pump(near, far)
            back.join()
        with self._lock:
            self._open -= {near, far}
        near.close()
        far.close()


def _bound(port: int) -> socket.socket:
    """
    On Linux several sockets may have one port as long as none of them listens yet.
    """
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((HOST, port))
    return made


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(PIECE_BYTES):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _drop(connection: socket.socket) -> None:
    """
    End what other threads wait for on this socket; they close it.
    """
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
