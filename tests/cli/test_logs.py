"""
The agent's own log: a line is a record, whatever containers are called and exceptions say.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from agent import ROUTE, LogWriter, clean_environment, spool
from cloudwatch_endpoint import Endpoint

WEB = "a" * 64
FORGED = "2026-01-01T00:00:00.000Z info started"
HOSTILE = f'web\n{FORGED}\r\x1b[2J\x1b]0;title\x07\x9b31m\u202eback\u2028line\x7f"}},{{"level":'
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
LEVELS = {"debug", "info", "warning", "error", "critical"}

RAISING = """
import logging, sys
from cli.logs import set_up_logs
set_up_logs(sys.argv[1], debug=True)
hostile = sys.argv[2].encode().decode("unicode_escape")
try:
    raise RuntimeError(hostile)
except RuntimeError:
    logging.getLogger("shipper.upload").exception("batch %s was not sent", hostile)
logging.getLogger("library").warning("to http://user:word@host/%s", "x" * 1_000_000)
logging.getLogger("library").info("of no interest")
logging.getLogger("spool").debug("half a character: %s", "\\udc80")
"""


def log_of_a_hostile_container(
    endpoint: Endpoint, db: Path, containers: Path, log_format: str, name: str
) -> str:
    LogWriter(containers, WEB, name).write("one")
    done = spool(
        *("run", ROUTE, "--once", "--db", db, "--containers-dir", containers),
        *("--log-format", log_format),
        environment=endpoint.environment(),
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def log_of_a_library(log_format: str) -> str:
    escaped = HOSTILE.encode("unicode_escape").decode()
    done = subprocess.run(
        [sys.executable, "-c", RAISING, log_format, escaped],
        env=clean_environment(),
        capture_output=True,
        check=True,
    )
    return done.stderr.decode()


def records(log: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in log.split("\n")[:-1]]


@pytest.mark.parametrize("name", [HOSTILE, "n" * 300_000], ids=["hostile", "long"])
def test_a_name_stays_within_its_line(
    endpoint: Endpoint, db: Path, containers: Path, name: str
) -> None:
    log = log_of_a_hostile_container(endpoint, db, containers, "text", name)
    lines = log.split("\n")[:-1]
    assert [line for line in lines if not TIME.match(line)] == []
    assert [line for line in lines if not line.isprintable()] == []
    assert [line for line in lines if line.startswith(FORGED)] == []
    assert max(map(len, lines)) < 5000
    assert any("collecting" in line for line in lines)


@pytest.mark.parametrize("name", [HOSTILE, "n" * 300_000], ids=["hostile", "long"])
def test_each_line_of_json_is_one_record(
    endpoint: Endpoint, db: Path, containers: Path, name: str
) -> None:
    log = log_of_a_hostile_container(endpoint, db, containers, "json", name)
    assert all(line.isprintable() and len(line) < 30_000 for line in log.split("\n"))
    for record in records(log):
        assert record.keys() == {"time", "level", "logger", "message"}
        assert TIME.fullmatch(record["time"])
        assert record["level"] in LEVELS
    shown = [record["message"] for record in records(log) if "collecting" in record["message"]]
    assert name[:20] in shown[0]


def test_an_exception_is_a_field_of_its_record() -> None:
    first, library, debug = records(log_of_a_library("json"))
    assert first["level"] == "error"
    assert first["logger"] == "shipper.upload"
    assert "RuntimeError" in first["exception"]
    assert FORGED in first["exception"]
    assert "user:word" not in library["message"]
    assert len(library["message"]) < 5000
    assert debug["message"] == "half a character: \udc80"


def test_an_exception_in_text_cannot_look_like_a_record() -> None:
    lines = log_of_a_library("text").split("\n")[:-1]
    heads = [line for line in lines if TIME.match(line)]
    assert [head.split()[1] for head in heads] == ["error", "warning", "debug"]
    assert [line for line in lines if not line.isprintable()] == []
    assert all(line.startswith("    ") for line in lines if line not in heads)
    assert any("RuntimeError" in line for line in lines)
    assert max(map(len, lines)) < 5000
