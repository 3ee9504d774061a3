"""
CloudWatch Logs on this machine: moto in a process of its own, and what it holds.

It is read past the relay, over plain HTTP as the service speaks it: what is counted is what the
service would show anybody, whatever the agent believes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cli.demo_parts.processes import REGION, clean_environment, end
from cli.errors import Failure, WrongUsage

__all__ = ["Arrived", "CloudWatchHere", "require_moto"]

TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Arrived:
    """
    An event that CloudWatch Logs holds.
    """

    stream: str
    timestamp_ms: int
    message: str


def require_moto() -> None:
    """
    Raises WrongUsage where moto is not installed.
    """
    if not (find_spec("moto") and find_spec("flask")):
        raise WrongUsage("the demo needs moto: python -m pip install 'logspool[demo]'")


class CloudWatchHere:
    """
    Runs from here on, until `close`.
    """

    def __init__(self, log: Path) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "cli.demo_parts.moto_server"],
                env=clean_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                process_group=0,
            )
        assert self._process.stdout is not None  # noqa: S101 - for mypy: it is a pipe
        answer = self._process.stdout.readline()
        if not answer.strip().isdigit():
            self.close()
            raise Failure(f"moto did not start; see {log}")
        self.port = int(answer)

    def close(self) -> None:
        """
        End it, with all it holds.
        """
        end(self._process)

    def arrived(self) -> list[Arrived]:
        """
        All events of all groups.
        """
        return [
            Arrived(event["logStreamName"], event["timestamp"], event["message"])
            for group in self._pages("DescribeLogGroups", "logGroups")
            for event in self._pages(
                "FilterLogEvents", "events", logGroupName=group["logGroupName"]
            )
        ]

    def _pages(self, operation: str, member: str, **parameters: str) -> Iterator[dict[str, Any]]:
        token: str | None = ""
        while token is not None:
            page = self._ask(operation, {**parameters, **({"nextToken": token} if token else {})})
            yield from page[member]
            token = page.get("nextToken")

    def _ask(self, operation: str, parameters: dict[str, str]) -> dict[str, Any]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        try:
            connection.request(
                "POST",
                "/",
                body=json.dumps(parameters),
                headers={
                    "Content-Type": "application/x-amz-json-1.1",
                    "X-Amz-Target": f"Logs_20140328.{operation}",
                    # moto verifies no signature; it finds service and region in here
                    "Authorization": "AWS4-HMAC-SHA256 "
                    f"Credential=demo/20260101/{REGION}/logs/aws4_request",
                },
            )
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        except (OSError, ValueError) as error:
            raise Failure(f"the demo's CloudWatch Logs does not answer: {error}") from error
        finally:
            connection.close()
        return answer
