"""
Exit codes, and the one line on stderr that goes with them.
"""

from __future__ import annotations

import click

__all__ = ["FAILED", "INTERRUPTED", "SOME_UNSENT", "USAGE", "Failure", "Full", "WrongUsage"]

FAILED = 1
USAGE = 2
SOME_UNSENT = 75
"""EX_TEMPFAIL of sysexits.h: try again later."""

INTERRUPTED = 130


class Failure(click.ClickException):
    """
    Ends the command with one line and an exit code.
    """

    exit_code = FAILED


class WrongUsage(Failure):
    """
    The command was given something that it cannot take.
    """

    exit_code = USAGE


class Full(Failure):
    """
    There is no room now; later there will be.
    """

    exit_code = SOME_UNSENT
