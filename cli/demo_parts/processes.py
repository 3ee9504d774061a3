"""
`spool` as its user runs it: in processes of its own, through its command line.

Always holds: what is started here knows no AWS credentials, endpoint or proxy but the demo's, so
nothing can reach AWS; and it does not hear the Ctrl-C of the terminal, so that the demo ends it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.errors import Failure

__all__ = ["REGION", "Spool", "clean_environment", "end"]

REGION = "us-east-1"
ROUTE = f"cloudwatch://{REGION}?NOEC2&DELAY=1"
SPOOL = (sys.executable, "-P", "-m", "cli")
"""-P: not the `cli` of whatever folder the user is in."""

TIMEOUT_S = 30.0
STEERING = ("AWS_", "SPOOL_", "LOGSPOUT", "EXCLUDE_LABEL")
STEERING_NAMES = ("ROUTE_URIS", "DELAY", "NOEC2", "DEBUG", "BACKLOG", "TAIL", "ALLOW_TTY")


def clean_environment(port: int | None = None) -> dict[str, str]:
    """
    The environment of this process without what would steer the agent; AWS is 127.0.0.1:`port`.
    """
    mine = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(STEERING)
        and name not in STEERING_NAMES
        and not name.lower().endswith("_proxy")
    }
    return {
        **mine,
        "NO_PROXY": "*",
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo",
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or 1}",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def end(process: subprocess.Popen[bytes]) -> None:
    """
    Kill it if it still runs; it is gone on return.
    """
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


@dataclass(slots=True)
class Spool:
    """
    One spool in `folder`, the agent that may run on it, and the endpoint's port.
    """

    folder: Path
    containers: Path
    port: int
    agent: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def db(self) -> Path:
        """
        The file.
        """
        return self.folder / "spool.db"

    def start_agent(self) -> int:
        """
        Start `spool run`; returns its pid.
        """
        with (self.folder / "agent.log").open("ab") as log:
            self.agent = subprocess.Popen(
                [
                    *(*SPOOL, "run", ROUTE, "--db", self.db),
                    *("--source", "files", "--containers-dir", self.containers),
                    *("--pods-dir", self.folder / "pods"),
                ],
                env=clean_environment(self.port),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        return self.agent.pid

    def check_agent(self) -> None:
        """
        Raises Failure if the agent has ended by itself.
        """
        if self.agent and self.agent.poll() is not None:
            raise Failure(f"the agent has ended by itself; see {self.folder / 'agent.log'}")

    def kill_agent(self) -> None:
        """
        SIGKILL, if one runs.
        """
        if self.agent:
            end(self.agent)
            self.agent = None

    def stop_agent(self) -> int:
        """
        SIGTERM; the exit code.
        """
        agent, self.agent = self.agent, None
        if agent is None:
            raise Failure("no agent runs")
        try:
            agent.send_signal(signal.SIGTERM)
            return agent.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"the agent did not stop within {TIMEOUT_S:.0f} s") from error
        finally:
            end(agent)

    def status(self) -> dict[str, Any]:
        """
        What `spool status --json` says; empty where there is no spool yet.
        """
        if not self.db.exists():
            return {}
        answer = self._run("status", "--json")
        if answer.returncode != 0:
            return {}
        status: dict[str, Any] = json.loads(answer.stdout)
        return status

    def replay(self, *options: str) -> str:
        """
        Run `spool replay` with these options to its end; what it says. Raises Failure.
        """
        answer = self._run("replay", ROUTE, *options)
        if answer.returncode != 0:
            raise Failure(f"spool replay ended with {answer.returncode}: {answer.stderr}")
        return answer.stderr.strip()

    def _run(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [*SPOOL, command, *arguments, "--db", self.db],
                env=clean_environment(self.port),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                encoding="utf-8",
                timeout=TIMEOUT_S,
                check=False,
                process_group=0,
            )
        except subprocess.TimeoutExpired as error:
            raise Failure(f"spool {command} did not end within {TIMEOUT_S:.0f} s") from error
