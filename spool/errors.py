"""
What can be wrong with a spool.

SpoolError
├── SpoolUnusable      the file cannot be opened, made or written
│   ├── NoSpool        there is none yet
│   ├── SpoolBusy      another process has it to itself
│   ├── NotASpool      it holds something else
│   ├── NewerSpool     a newer version of this program wrote it
│   └── SpoolDamaged   it is ours, and cannot be read as a whole
│       └── NotText    but for a text that is not UTF-8
├── SpoolHeld          another shipper ships from it
├── TooSlow            a question took longer than it may
└── TwoDrivers         this process has the file open through the other SQLite already

Each message is one line: what, where, and what to do about it.
"""

from __future__ import annotations

__all__ = [
    "HINT",
    "NOT_TEXT",
    "NewerSpool",
    "NoSpool",
    "NotASpool",
    "NotText",
    "SpoolBusy",
    "SpoolDamaged",
    "SpoolError",
    "SpoolHeld",
    "SpoolUnusable",
    "TooSlow",
    "TwoDrivers",
]


HINT = (
    "`spool run` or `spool replay` sets it aside, saves every event that can be read, and goes on"
)
"""What to do about a damaged spool."""

NOT_TEXT = "a text in it is not UTF-8"


class SpoolError(Exception):
    """
    Something is wrong with a spool; the message says what and what to do.
    """


class SpoolUnusable(SpoolError):
    """
    The file cannot be opened, made or written.
    """


class NoSpool(SpoolUnusable):
    """
    There is no spool at `path` yet, and who asked makes none.
    """

    def __init__(self, path: object, what: str = "no spool here") -> None:
        self.path = path
        super().__init__(f"{path}: {what}; `spool run` makes one, or give another path with --db")


class SpoolBusy(SpoolUnusable):
    """
    Another process has had the file to itself for longer than one waits.
    """

    def __init__(self, path: object) -> None:
        super().__init__(
            f"{path}: another process has it to itself; an agent that rescues a damaged spool may"
            " take minutes, and its log tells when it is done"
        )


class NotASpool(SpoolUnusable):
    """
    The file holds something else; it was not touched.
    """

    def __init__(self, path: object) -> None:
        super().__init__(
            f"{path}: not a spool (it holds something else); it was not touched; "
            "give another path with --db"
        )


class NewerSpool(SpoolUnusable):
    """
    A newer version wrote the file, in format `version`; it was not touched.
    """

    def __init__(self, path: object, version: int, *, known: int) -> None:
        super().__init__(
            f"{path}: written by a newer version of spool (format {version}, this one knows "
            f"{known}); install that version, or give another path with --db"
        )


class SpoolDamaged(SpoolUnusable):
    """
    The file is a spool, and damaged; what can be read of it can be saved.
    """

    def __init__(self, path: object, reason: object) -> None:
        super().__init__(f"{path}: damaged ({reason}); {HINT}")


class NotText(SpoolDamaged):
    """
    A text in the file is not UTF-8.
    """

    def __init__(self, path: object) -> None:
        super().__init__(path, NOT_TEXT)


class SpoolHeld(SpoolError):
    """
    Another shipper ships from this spool, and goes on doing so.
    """

    def __init__(self, path: str, pid: int | None) -> None:
        self.pid = pid
        holder = f"process {pid}" if pid else "another process"
        super().__init__(
            f"{path}: {holder} ships from this spool already; "
            "stop it first, or give this one a spool of its own with --db"
        )


class TooSlow(SpoolError):
    """
    A question took longer than the one who asked would wait.
    """


class TwoDrivers(SpoolError):
    """
    One process may use one copy of SQLite on one file: closing the file in one copy drops the
    locks that the other holds on it.
    """
