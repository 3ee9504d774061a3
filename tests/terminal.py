"""
A terminal of a given size, for tests of what is shown on one.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from pathlib import Path

from agent import SPOOL, clean_environment, wait_until

__all__ = ["Terminal", "on_a_terminal", "plain"]

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
HOME = "\x1b[H"


def plain(shown: str) -> str:
    """
    Without the codes that colour text or move the cursor; trailing spaces are not seen either.
    """
    lines = CODES.sub("", shown).replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines)


def on_a_terminal(
    *arguments: str | Path,
    columns: int = 80,
    lines: int = 24,
    environment: dict[str, str] | None = None,
) -> str:
    """
    All that a terminal gets from `spool`, which must end with exit code 0.
    """
    terminal = Terminal(*arguments, columns=columns, lines=lines, environment=environment)
    with terminal:
        assert terminal.wait() == 0, terminal.shown
    return terminal.shown


class Terminal:
    """
    A `spool` that runs on a terminal of its own.
    """

    def __init__(
        self,
        *arguments: str | Path,
        columns: int = 80,
        lines: int = 24,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._ours, self._its = pty.openpty()
        self._data = b""
        self._set_size(columns, lines)
        self.settings = self.settings_now()
        extra = {"TERM": "xterm", **(environment or {})}
        full = clean_environment(extra)
        for name in ("COLUMNS", "LINES", *({"NO_COLOR", "FORCE_COLOR"} - extra.keys())):
            full.pop(name, None)
        self.process = subprocess.Popen(
            [*SPOOL, *map(str, arguments)],
            env=full,
            **dict.fromkeys(("stdin", "stdout", "stderr"), self._its),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._ours, 65_536):
                self._data += data
        except OSError:  # how Linux says that the other end is closed
            pass

    @property
    def shown(self) -> str:
        """
        All there was.
        """
        return self._data.decode(errors="replace")

    @property
    def frame(self) -> list[str]:
        """
        The lines of the last screen that was drawn whole, without codes and empty ends.
        """
        frames = self.shown.split(HOME)
        return plain(frames[-2] if len(frames) > 2 else "").rstrip("\n").split("\n")

    def wait_for(self, text: str) -> list[str]:
        """
        The first frame with this text.
        """
        found: list[str] = wait_until(
            lambda: frame if text in "\n".join(frame := self.frame) else None,
            what=f"{text!r} on the screen",
        )
        return found

    def wait_for_text(self, text: str) -> None:
        """
        Return when it was written, also in a screen that is not followed by another.
        """
        wait_until(lambda: text in plain(self.shown), what=f"{text!r} on the terminal")

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def resize(self, columns: int, lines: int) -> None:
        self._set_size(columns, lines)
        self.process.send_signal(signal.SIGWINCH)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def settings_now(self) -> list[object]:
        """
        Echo and the like; to be compared with `settings`, which were at the begin.
        """
        return termios.tcgetattr(self._its)

    def wait(self) -> int:
        """
        The exit code, once it has ended and all it wrote was read.
        """
        code = self.process.wait(60)
        self._hang_up()
        return code

    def _hang_up(self) -> None:
        """
        Close the end that the process had, so that reading comes to its end.
        """
        if self._its >= 0:
            self.settings_after = self.settings_now()
            os.close(self._its)
            self._its = -1
        self._reader.join(10)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._hang_up()
        os.close(self._ours)
