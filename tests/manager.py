"""
A service manager of sd_notify's protocol: what systemd would be told.
"""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path

from agent import wait_until

__all__ = ["Manager"]


@dataclass
class Manager:
    """
    Listens at `address` as NOTIFY_SOCKET gives it: a path, or @ and a name.
    """

    address: str
    told: list[dict[str, str]] = field(default_factory=list)

    def __enter__(self) -> Manager:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address.replace("@", "\0", 1))
        self._thread = threading.Thread(target=self._listen, name="manager")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", self.address.replace("@", "\0", 1))
        self._thread.join()
        self._socket.close()
        if not self.address.startswith("@"):
            Path(self.address).unlink()

    def _listen(self) -> None:
        while datagram := self._socket.recv(65_536):
            fields = (line.partition("=") for line in datagram.decode().split("\n"))
            self.told.append({name: value for name, _, value in fields})

    def environment(self, *, watchdog_s: float | None = None) -> dict[str, str]:
        """
        What a service is started with.
        """
        watchdog = {} if watchdog_s is None else {"WATCHDOG_USEC": f"{watchdog_s * 1e6:.0f}"}
        return {"NOTIFY_SOCKET": self.address, **watchdog}

    def values(self, name: str) -> list[str]:
        """
        What was told under this name, in order.
        """
        return [fields[name] for fields in list(self.told) if name in fields]

    def wait_for(self, name: str, containing: str = "") -> str:
        """
        The first value of this name with that in it.
        """
        return str(
            wait_until(
                lambda: next((one for one in self.values(name) if containing in one), None),
                what=f"{name} with {containing!r} among {self.told}",
            )
        )
