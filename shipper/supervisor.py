"""
What the agent tells the service manager that started it, by sd_notify's protocol.

Comes in: `NOTIFY_SOCKET` and `WATCHDOG_USEC` as systemd sets them, and from `watch` on the agent's
health. Goes out: READY once it collects and the spool is open, STATUS in a plain line, WATCHDOG as
long as a restart would mend nothing, STOPPING. Always holds: nothing here fails or waits for
anyone; without a socket nothing is told, and no thread is started.

The protocol is a datagram of `NAME=value` lines: https://www.freedesktop.org/software/systemd/man/sd_notify.html
"""

from __future__ import annotations

import faulthandler
import logging
import os
import re
import socket
import threading
from collections.abc import Callable, Mapping

from shipper.health import Health

__all__ = ["Supervisor"]

log = logging.getLogger(__name__)

LOOK_S = 10.0
"""Between two looks, or half of what the watchdog allows where that is less."""

EXTEND_S = 60
"""A start may take so much longer, said at each look: after a crash a large spool is looked
through, and a damaged one is rescued."""

END_S = 2.0
"""For a look that is under way at the end."""

_MICROSECONDS = re.compile(r"[0-9]{1,15}")
"""30 years at most; systemd's number for never has 20 digits."""

MAX_STATUS_CHARS = 300

Describe = Callable[[], str]


class Supervisor:
    """
    The service manager, from the start of the agent to its end; there may be none.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        watchdog_s = _watchdog_s(environ)
        self._period_s = min(LOOK_S, watchdog_s / 2) if watchdog_s else LOOK_S
        self._watched: tuple[Health, Describe] | None = None
        self._status = "starting"
        self._is_unwell = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="supervisor", daemon=True)

    def __enter__(self) -> Supervisor:
        if self._address:
            # on SIGABRT, the watchdog's, where each thread stands goes to the log; no values do
            faulthandler.enable()
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._address:
            self._thread.join(END_S)

    def prepare(self, status: str) -> None:
        """
        From now on it takes as long as it takes: the start, or a rescue in between.
        """
        self._watched = None
        self._status = status
        self._look()

    def watch(self, health: Health, describe: Describe) -> None:
        """
        It collects: from now on it must stay well, and `describe` says how things stand.
        """
        self._watched = health, describe
        self._tell("READY=1", *self._state())

    def stopping(self) -> None:
        """
        It ends, in its own time.
        """
        self._ended.set()
        self._tell("STOPPING=1", "STATUS=stopping: what was read is stored, and sent if it can be")

    def _look_on(self) -> None:
        while not self._ended.wait(self._period_s):
            self._look()

    def _look(self) -> None:
        try:
            self._tell(*self._state())
        except Exception:  # the one who would notice that this thread has ended is this thread
            log.exception("the service manager was told nothing")

    def _state(self) -> list[str]:
        if self._watched is None:
            return [
                f"EXTEND_TIMEOUT_USEC={EXTEND_S * 1_000_000}",
                "WATCHDOG=1",
                f"STATUS={_line(self._status)}",
            ]
        health, describe = self._watched
        reason = health.why_not_running()
        if reason and not self._is_unwell:
            log.critical("%s; the watchdog is told no more that all is well", reason)
        self._is_unwell = reason is not None
        alive = [] if reason else ["WATCHDOG=1"]
        return [*alive, f"STATUS={_line(reason or describe())}"]

    def _tell(self, *fields: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
                manager.setblocking(False)
                manager.sendto("\n".join(fields).encode(errors="replace"), self._address)
        except OSError as error:
            log.debug("the service manager was not told: %s", error.strerror)


def _address(text: str) -> str:
    """
    A path, or a name in the abstract space, which begins with @ and for the kernel with a 0 byte;
    empty for what is neither.
    """
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else ""


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """
    How long the manager waits for a sign of life; None where it does not, or not for this process.
    """
    microseconds = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 1e6 or None if _MICROSECONDS.fullmatch(microseconds) else None


def _line(text: str) -> str:
    """
    One line: what follows a line break would be another field.
    """
    line = " ".join(text.split())
    return line if len(line) <= MAX_STATUS_CHARS else line[: MAX_STATUS_CHARS - 1] + "…"
