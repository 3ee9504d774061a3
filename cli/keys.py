"""
Single keys from a terminal, and what ends a command that draws on one.

Comes in: keys, SIGINT, SIGTERM, SIGHUP, SIGWINCH. Goes out: whether to end. Always holds: at the
end the terminal's settings and the handlers of signals are as before; no signal interrupts what is
being drawn.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

__all__ = ["ending"]

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
QUIT = (b"q", b"Q")


@contextmanager
def ending() -> Iterator[Callable[[float], bool]]:
    """
    A function that waits so many seconds, or less where the terminal gets another size, and says
    whether somebody wants an end: by `q` where stdin is a terminal, or by a signal.
    """
    caught: set[int] = set()

    def note(number: int, _frame: object) -> None:
        caught.add(number)

    def is_over(seconds: float) -> bool:
        wants_end = _wait(reader, keyboard, seconds)
        return wants_end or not caught.isdisjoint(ENDINGS)

    reader, writer = os.pipe()
    os.set_blocking(writer, False)  # as Python wants it
    before = {number: signal.signal(number, note) for number in (*ENDINGS, signal.SIGWINCH)}
    wakes = signal.set_wakeup_fd(writer)
    try:
        with _single_keys() as keyboard:
            yield is_over
    finally:
        signal.set_wakeup_fd(wakes)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def _wait(reader: int, keyboard: int | None, seconds: float) -> bool:
    """
    Whether `q` was pressed. A signal writes to the pipe `reader`, and so ends the wait, too.
    """
    inputs = [reader] if keyboard is None else [reader, keyboard]
    ready, _, _ = select.select(inputs, [], [], max(0.0, seconds))
    if reader in ready:
        os.read(reader, 1024)
    if keyboard is not None and keyboard in ready:
        try:
            keys = os.read(keyboard, 1024)
        except OSError:
            keys = b""
        return not keys or any(key in keys for key in QUIT)  # none: the terminal is gone
    return False


@contextmanager
def _single_keys() -> Iterator[int | None]:
    """
    Stdin without echo, and without waiting for the end of a line; None where it is no terminal.
    """
    if not sys.stdin.isatty():
        yield None
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    mine = termios.tcgetattr(keyboard)
    mine[3] &= ~(termios.ICANON | termios.ECHO)
    mine[6][termios.VSUSP] = b"\0"  # Ctrl-Z would leave the drawing on the terminal
    termios.tcsetattr(keyboard, termios.TCSANOW, mine)
    try:
        yield keyboard
    finally:
        with suppress(termios.error):  # likewise
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
