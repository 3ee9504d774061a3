#!/usr/bin/env python3
"""
Stands in for Fluent Bit where there is none: takes its configuration, does its work without its
speed. One that is not as Fluent Bit's documents have it, it refuses.

    stand_in.py --version
    stand_in.py -c fluent-bit.yaml
"""

from __future__ import annotations

import json
import re
import signal
import ssl
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime
from pathlib import Path

import yaml

MAX_EVENTS = 5_000
STEP_S = 0.05
AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=AKID/20261122/us-east-1/logs/aws4_request,"
    f" SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature={'0' * 64}"
)


def main() -> None:
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write("Fluent Bit v0.0.0 (a stand-in)\n")
        return
    assert sys.argv[1] == "-c"
    config = yaml.safe_load(Path(sys.argv[2]).read_text())
    (tail,) = config["pipeline"]["inputs"]
    (output,) = config["pipeline"]["outputs"]
    assert tail["storage.type"] == "filesystem"
    assert config["service"]["storage.sync"] == "full"
    assert config["parsers"][0]["name"] == tail["parser"]
    assert re.fullmatch(r"[a-z0-9.]+", output["endpoint"]), "a host alone"
    assert "tls" not in output, "this output does not support TLS: it has nothing else"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    follow(tail["path"], Service(output), output)


class Service:
    """
    Calls of CloudWatch Logs; goes on trying while there is no way through.
    """

    def __init__(self, output: dict) -> None:
        self.url = f"https://{output['endpoint']}:{output['port']}"
        self.context = ssl.create_default_context(cafile=output["tls.ca_file"])

    def call(self, operation: str, **members: object) -> None:
        headers = {
            "X-Amz-Target": f"Logs_20140328.{operation}",
            "X-Amz-Date": "20261122T000000Z",
            "Content-Type": "application/x-amz-json-1.1",
            "Authorization": AUTHORIZATION,
        }
        body = json.dumps(members).encode()
        request = urllib.request.Request(self.url, body, headers)
        while True:
            try:
                urllib.request.urlopen(request, context=self.context).close()
            except urllib.error.HTTPError:
                raise
            except OSError:
                time.sleep(STEP_S)
            else:
                return


def follow(pattern: str, service: Service, output: dict) -> None:
    group, files = output["log_group_name"], {}
    service.call("CreateLogGroup", logGroupName=group)
    while True:
        for path in sorted(set(found(pattern)) - files.keys()):
            files[path] = Path(path).open()  # noqa: SIM115 - read until the end
            service.call("CreateLogStream", logGroupName=group, logStreamName=stream(path, output))
        for path, file in files.items():
            while events := read(file):
                name = stream(path, output)
                service.call(
                    "PutLogEvents", logGroupName=group, logStreamName=name, logEvents=events
                )
        time.sleep(STEP_S)


def found(pattern: str) -> list[str]:
    folder, _, rest = pattern.partition("*")
    return [str(path) for path in Path(folder).glob("*" + rest)]


def stream(path: str, output: dict) -> str:
    return output["log_stream_prefix"] + path.replace("/", ".")


def read(file) -> list[dict]:
    events = []
    while len(events) < MAX_EVENTS:
        position = file.tell()
        line = file.readline()
        if not line.endswith("\n"):
            file.seek(position)
            break
        record = json.loads(line)
        moment = datetime.fromisoformat(record["time"][:26] + "+00:00")
        events.append({"timestamp": int(moment.timestamp() * 1000), "message": record["log"]})
    return events


if __name__ == "__main__":
    main()
