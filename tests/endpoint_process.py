"""
The strict endpoint as a process of its own, for what is measured: its work is not the agent's.

    with EndpointProcess(folder) as endpoint:
        subprocess.run(command, env={**os.environ, **endpoint.environment})
        assert endpoint.stats()["events"] == 1000
"""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cloudwatch_endpoint import Endpoint

__all__ = ["EndpointProcess"]

SERVER = Path(__file__).parent / "cloudwatch_endpoint.py"
STEP_S = 0.05


class EndpointProcess:
    """
    Over TLS, with its CA in `folder`; it keeps no events and verifies no signatures. With
    `measure_lateness` its stats tell how late events came.

    `environment` is what a process needs, beside its own, to come here.
    """

    def __init__(self, folder: Path, *, measure_lateness: bool = False) -> None:
        self.ca_file = folder / "ca.pem"
        command = [
            *(sys.executable, str(SERVER), "--tls", "--ca-file", str(self.ca_file)),
            *("--no-keep", "--no-signature"),
            *(["--lateness"] if measure_lateness else []),
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self.url: str = json.loads(self._process.stdout.readline())["url"]
        self._context = ssl.create_default_context(cafile=str(self.ca_file))
        self.environment = Endpoint().environment() | {
            "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": self.url,
            "AWS_CA_BUNDLE": str(self.ca_file),
        }

    def stats(self) -> dict[str, Any]:
        """
        What arrived so far; OSError while it refuses.
        """
        with urllib.request.urlopen(f"{self.url}/stats", context=self._context) as answer:
            return dict(json.load(answer))

    def events(self) -> int:
        """
        How many events it has; 0 while it refuses.
        """
        try:
            return int(self.stats()["events"])
        except OSError:
            return 0

    def wait_for(
        self, events: int, *, timeout_s: float, check: Callable[[], None] = lambda: None
    ) -> None:
        """
        Return when it has so many.

        Raises TimeoutError, and what `check` raises: whether who sends them is still well.
        """
        until_s = time.monotonic() + timeout_s
        while (arrived := self.events()) < events:
            check()
            if time.monotonic() > until_s:
                raise TimeoutError(f"{arrived:,} of {events:,} events within {timeout_s:.0f} s")
            time.sleep(STEP_S)

    def refuse(self) -> None:
        """
        End all connections and refuse new ones, until `accept`.
        """
        self._process.send_signal(signal.SIGUSR1)

    def accept(self) -> None:
        """
        Listen again.
        """
        self._process.send_signal(signal.SIGUSR2)

    def __enter__(self) -> EndpointProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()
