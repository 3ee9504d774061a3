"""
The agent's own log, on stderr.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

__all__ = ["set_up_logs"]


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
        line = f"{_time(record)} {record.levelname.lower()} {_one_line(record.getMessage())}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _one_line(text: str) -> str:
    """
    Names come from containers: what would end the line, or move the cursor, is spelled out.
    """
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
