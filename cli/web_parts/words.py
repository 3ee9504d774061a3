"""
Numbers, times and names as the pages and the shell want them.

Always holds: what comes from a container can neither end the line it stands in, nor turn the text
around it, nor be more than one word to a shell.
"""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path

from cli.printable import printable
from spool.selection import Selection

__all__ = [
    "compact",
    "iso",
    "lag",
    "local_time",
    "replay_command",
    "seconds",
    "shell_word",
    "zone",
]


def compact(count: float) -> str:
    """
    `950`, `12k`, `1.5M`.
    """
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.3g}"


def lag(lag_ms: float) -> str:
    """
    `0.4 s`, `12 s`, `3 min`, `2.5 h`, `4 d`.
    """
    seconds = max(0.0, lag_ms / 1000)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return (
                f"{seconds / size:.2g} {unit}"
                if seconds < 10 * size
                else f"{seconds / size:.0f} {unit}"
            )
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def iso(at_ms: int) -> str:
    """
    ISO 8601 in UTC, to the millisecond: what `--since` and `--until` take.
    """
    moment = datetime.fromtimestamp(at_ms // 1000, UTC).replace(microsecond=at_ms % 1000 * 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds(at: str) -> float:
    """
    ISO 8601 as seconds since the epoch.
    """
    return datetime.fromisoformat(at).timestamp()


def local_time(at: str | int | None, layout: str = "%m-%d %H:%M:%S") -> str:
    """
    ISO 8601 or ms since the epoch, on this host's clock.
    """
    if at is None:
        return "-"
    try:
        at_s = at / 1000 if isinstance(at, int) else seconds(at)
        return datetime.fromtimestamp(at_s, UTC).astimezone().strftime(layout)
    except (ValueError, OverflowError, OSError):  # a container's clock says what it likes
        return str(at)


def zone() -> str:
    """
    The host's time zone: `CET, UTC+01:00`.
    """
    now = datetime.now().astimezone()
    offset = now.isoformat()[-6:]
    return "UTC" if now.tzname() == "UTC" else f"{now.tzname()}, UTC{offset}"


def shell_word(text: str) -> str:
    """
    One word for a shell. What cannot be seen is spelled out, as bash and zsh read it: a terminal
    would take it for keys that were pressed.
    """
    if printable(text) == text and "\t" not in text:
        return shlex.quote(text)
    letters = [
        char if char.isascii() and (char.isalnum() or char in " ._/-") else _octets(char)
        for char in text
    ]
    return f"$'{''.join(letters)}'"


def replay_command(db: Path, selection: Selection) -> str:
    """
    The command that sends these events again.
    """
    given = {
        "--db": str(db.absolute()),
        "--group": selection.group,
        "--stream": selection.stream,
        "--since": None if selection.since_ms is None else iso(selection.since_ms),
        "--until": None if selection.until_ms is None else iso(selection.until_ms),
        "--batch": None if selection.batch_id is None else str(selection.batch_id),
        "--state": ",".join(selection.states) or None,
    }
    words = [f"{name} {shell_word(value)}" for name, value in given.items() if value is not None]
    return " ".join(["spool replay", *words])


def _octets(char: str) -> str:
    return "".join(f"\\{octet:03o}" for octet in char.encode())
