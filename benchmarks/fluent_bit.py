"""
Fluent Bit beside us: the same files, the same endpoint, and as durable as we are: a position
database, chunks on disk with full sync.

After https://docs.fluentbit.io/manual/pipeline/inputs/tail and .../outputs/cloudwatch: a custom
`endpoint` is a host without a port; `port` is an option that all outputs have. This output always
speaks TLS, and 5.1 does not start where it is told `tls: on`.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from endpoint_process import EndpointProcess

from benchmarks.processes import Failed, Measured

__all__ = ["FluentBit", "configuration"]

CONFIGURATION = """\
service:
  flush: 1
  log_level: warn
  storage.path: {home}/fluent-bit
  storage.sync: full
parsers:
  - name: docker
    format: json
    time_key: time
    time_format: '%Y-%m-%dT%H:%M:%S.%L'
pipeline:
  inputs:
    - name: tail
      path: {containers}/*/*-json.log
      tag: bench.*
      parser: docker
      read_from_head: on
      refresh_interval: 1
      db: {home}/tail.db
      storage.type: filesystem
  outputs:
    - name: cloudwatch_logs
      match: '*'
      region: us-east-1
      endpoint: {host}
      port: {port}
      tls.verify: on
      tls.ca_file: {ca_file}
      log_group_name: fluent-bit
      log_stream_prefix: from-
      log_key: log
      auto_create_group: on
      retry_limit: no_limits
"""


def configuration(containers: Path, home: Path, *, url: str, ca_file: Path) -> str:
    """
    The file that tells it what to do.
    """
    address = urlsplit(url)
    return CONFIGURATION.format(
        containers=containers,
        home=home,
        host=address.hostname,
        port=address.port,
        ca_file=ca_file,
    )


class FluentBit:
    """
    An executable of it; live or not it goes on until it is told to end.
    """

    name = "fluent-bit"
    ends_by_itself = False

    def __init__(self, executable: Path) -> None:
        self.executable = executable

    def version(self) -> str:
        """
        Raises Failed if it is no program that tells one.
        """
        try:
            done = subprocess.run(
                [self.executable, "--version"], capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError) as problem:
            raise Failed(f"FLUENT_BIT={self.executable} does not run: {problem}") from None
        return done.stdout.splitlines()[0] if done.stdout else "unknown"

    def start(
        self,
        containers: Path,
        home: Path,
        endpoint: EndpointProcess,
        *,
        is_live: bool,
    ) -> Measured:
        config = home / "fluent-bit.yaml"
        config.write_text(
            configuration(containers, home, url=endpoint.url, ca_file=endpoint.ca_file)
        )
        environment = {**os.environ, **endpoint.environment}
        return Measured([self.executable, "-c", config], environment, home / "fluent-bit.log")
