"""
How much it costs to ship a million lines: one container's log, a TLS endpoint on loopback, one run.

    python benchmarks/drain.py [--lines 1000000]

Prints a table: wall and CPU seconds, peak memory, requests, bytes on the wire.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
MESSAGE_BYTES = 100
LINES_A_MS = 20
CONTAINER_ID = "5b" * 32
WORDS = [
    "GET",
    "/api/v1/orders",
    "200",
    "checkout",
    "user",
    "session",
    "cache",
    "miss",
    "upstream",
    "timeout",
    "retry",
    "queue",
    "worker",
]


@dataclass(frozen=True)
class Figures:
    wall_s: float
    cpu_s: float
    peak_mib: float
    requests: int
    events: int
    wire_mb: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--lines", type=int, default=1_000_000)
    lines = parser.parse_args().lines
    with tempfile.TemporaryDirectory(prefix="spool-bench-") as folder:
        containers = Path(folder) / "containers"
        write_container(containers, lines)
        with endpoint(Path(folder)) as (url, environment):
            figures = run_once(Path(folder), containers, environment, url)
    if figures.events != lines:
        sys.exit(f"the endpoint has {figures.events} of {lines} lines")
    for name, value, unit in (
        ("lines", f"{lines:,}", f"of {MESSAGE_BYTES} bytes, one stream"),
        ("wall", f"{figures.wall_s:.2f}", "s"),
        ("CPU", f"{figures.cpu_s:.2f}", "s"),
        ("CPU per line", f"{figures.cpu_s / lines * 1e6:.2f}", "µs"),
        ("peak memory", f"{figures.peak_mib:.0f}", "MiB"),
        ("PutLogEvents", f"{figures.requests:,}", ""),
        ("on the wire", f"{figures.wire_mb:.1f}", "MB"),
    ):
        print(f"{name:>14}  {value:>10}  {unit}".rstrip())


def write_container(folder: Path, lines: int) -> None:
    """
    A container as the engine keeps it, with so many ordinary lines in its json-file.
    """
    home = folder / CONTAINER_ID
    home.mkdir(parents=True)
    config = {"ID": CONTAINER_ID, "Name": "/bench", "Config": {}, "State": {"Running": False}}
    (home / "config.v2.json").write_text(json.dumps(config))
    (home / "hostconfig.json").write_text('{"LogConfig":{"Type":"json-file","Config":{}}}')
    begin = datetime.now(UTC) - timedelta(milliseconds=lines // LINES_A_MS + 1000)
    with (home / f"{CONTAINER_ID}-json.log").open("w") as file:
        for first in range(0, lines, LINES_A_MS):
            moment = begin + timedelta(milliseconds=first // LINES_A_MS)
            stamp = moment.strftime("%Y-%m-%dT%H:%M:%S.%f")
            for number in range(first, min(first + LINES_A_MS, lines)):
                time = f"{stamp}{number % 997:03}Z"
                file.write(f'{{"log":"{message(number)}\\n","stream":"stdout","time":"{time}"}}\n')


def message(number: int) -> str:
    """
    An ordinary line of MESSAGE_BYTES characters.
    """
    count = len(WORDS)
    words = [WORDS[(number * step) % count] for step in (1, 3, 5, 7, 11, 13, 17, 19, 23)]
    return f"{number:08d} id={number * 2654435761 % 2**32:08x} {' '.join(words)} {'.' * 60}"[
        :MESSAGE_BYTES
    ]


@contextmanager
def endpoint(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """
    The strict endpoint of the tests, as a process of its own; its URL, and the agent's environment.
    """
    ca_file = folder / "ca.pem"
    server = subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "tests" / "cloudwatch_endpoint.py"),
            "--tls",
            "--no-keep",
            "--no-signature",
            "--ca-file",
            str(ca_file),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        url = json.loads(server.stdout.readline())["url"]
        yield (
            url,
            {
                **os.environ,
                "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": url,
                "AWS_CA_BUNDLE": str(ca_file),
                "AWS_ACCESS_KEY_ID": "benchmark",
                "AWS_SECRET_ACCESS_KEY": "benchmark",
                "AWS_EC2_METADATA_DISABLED": "true",
            },
        )
    finally:
        server.terminate()
        server.wait()


def run_once(folder: Path, containers: Path, environment: dict[str, str], url: str) -> Figures:
    """
    `spool run --once` as a process, with what the system accounts for it.
    """
    command = [
        *(sys.executable, "-m", "cli", "run", "cloudwatch://us-east-1?NOEC2", "--once"),
        *("--source", "files", "--containers-dir", str(containers)),
        *("--pods-dir", str(folder / "pods")),
        *("--db", str(folder / "spool" / "spool.db")),
    ]
    begun = time.monotonic()
    agent = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(agent.pid, 0)
    wall_s = time.monotonic() - begun
    agent.returncode = os.waitstatus_to_exitcode(status)
    if agent.returncode != 0:
        sys.exit(f"spool run ended with {agent.returncode}")
    stats = read_stats(url, folder / "ca.pem")
    return Figures(
        wall_s=wall_s,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_mib=usage.ru_maxrss / 1024,
        requests=stats["outcomes"]["PutLogEvents"]["ok"],
        events=stats["events"],
        wire_mb=stats["wire_bytes"] / 1e6,
    )


def read_stats(url: str, ca_file: Path) -> dict:
    import ssl  # noqa: PLC0415 - beside its only use

    context = ssl.create_default_context(cafile=str(ca_file))
    with urllib.request.urlopen(f"{url}/stats", context=context) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main()
