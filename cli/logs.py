"""
The agent's own log, on stderr.

Comes in: records of ours and of libraries. Goes out: text, or a JSON object a line. Always holds:
whatever containers are called and exceptions say, a record cannot look like two, steer a terminal,
fill the disk or tell a password.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from cli.fitting import spelled
from shipper.redaction import without_secrets

__all__ = ["set_up_logs"]

MAX_CHARS = 4_000
"""Of a message; names come from containers, and may be long."""

MAX_TRACE_CHARS = 20_000
"""Of an exception: its end, where it says what happened."""


def set_up_logs(log_format: str, *, debug: bool) -> None:
    """
    One line for each record; libraries speak up from warnings on.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if log_format == "json" else _Text())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # it takes its own end for an error; what fails is raised, and told by who watches
    logging.getLogger("watchdog").setLevel(logging.CRITICAL)
    for name in ("shipper", "spool"):
        logging.getLogger(name).setLevel(logging.DEBUG if debug else logging.INFO)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname.lower()} {spelled(_message(record))}"
        trace = _trace(self, record).splitlines()
        return "\n".join([line, *(f"    {spelled(part)}" for part in trace)])


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        if record.exc_info:
            fields["exception"] = _trace(self, record)
        return json.dumps(fields).replace("\x7f", "\\u007f")


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message(record: logging.LogRecord) -> str:
    text = without_secrets(record.getMessage())
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]}…"


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    if not record.exc_info:
        return ""
    return without_secrets(formatter.formatException(record.exc_info))[-MAX_TRACE_CHARS:]
