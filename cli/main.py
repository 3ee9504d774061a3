"""
The door: finds the subcommand, and turns every error into one line and an exit code.

A subcommand is imported when it is called, so that `spool --help` loads no boto3, docker or rich.
"""

from __future__ import annotations

import ctypes
import gc
import io
import os
import signal
import sys
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module

import click

from cli.errors import FAILED, INTERRUPTED, USAGE
from spool import __version__

__all__ = ["main"]

GC_OBJECTS = 100_000
"""
The collector of cycles looks after so many new objects, not after 700: what is imported stays, and
each chunk of lines makes thousands of tuples that are in no cycle. 4 % of the CPU of `spool run`.
"""

M_ARENA_MAX = -8
"""Of glibc's malloc.h."""

COMMANDS = {
    "run": "Collect container logs and ship them to CloudWatch Logs.",
    "put": "Store lines of files or stdin as events.",
    "replay": "Send events again, or drain what is unsent.",
    "status": "What is here, what was sent, what is wrong.",
    "top": "The same, live.",
    "events": "Show stored events.",
    "batches": "Show the PutLogEvents requests and their outcomes.",
    "names": "What would happen to each container, and why.",
    "query": "Read-only SQL over the spool.",
    "web": "Look at the spool in the browser: plots, search, SQL.",
    "prune": "Delete old sent events.",
    "check": "Verify the file, and that every event is accounted for.",
    "doctor": "What keeps this host from shipping, with the remedy for each.",
    "unit": "Print the systemd service, or install it.",
    "completion": "What your shell needs to complete commands and options.",
    "demo": "Show it all working, with no AWS and no Docker.",
}


class Commands(click.Group):
    """
    Subcommands by name; `spool ROUTE` is `spool run ROUTE`.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and "://" in args[0]:
            args = ["run", *args]
        if args[:1] == ["run"]:
            _end_on_signals()
            _use_one_arena()
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            self._fail_unknown(ctx, args[0])
        return super().resolve_command(ctx, args)

    def _fail_unknown(self, ctx: click.Context, name: str) -> None:
        near = get_close_matches(name, COMMANDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        ctx.fail(f"No such command {name!r}{hint}")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="spool")
def spool() -> None:
    """
    Docker container logs, kept in one SQLite file, delivered to Amazon CloudWatch Logs.

    \b
    Examples:
      spool run cloudwatch://us-east-1
      spool status
      spool replay --since 2h
    """


def _end_on_signals() -> None:
    """
    `run` exits 0 on these, also while it starts: then there is nothing yet to store or send. The
    first process of a container would not be ended by them without a handler.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))


def _use_one_arena() -> None:
    """
    Let the threads share what memory one of them gave back. By default glibc keeps apart what each
    has used, which is 15 MB more for `run`. Another C library does as it likes.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def main() -> None:
    """
    Run the command line of this process and end it.
    """
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # not every terminal has every letter
    gc.set_threshold(GC_OBJECTS)
    sys.exit(_run(sys.argv[1:]))


def _open_closed_streams() -> None:
    """
    What a shell has closed with `>&-` takes all and keeps nothing, but for stdin, which is none.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_WRONLY)  # cannot be read, which is what is to be told
            setattr(sys, name, os.fdopen(null, mode))


def _run(arguments: list[str]) -> int:
    try:
        result = spool.main(arguments, prog_name="spool", standalone_mode=False)
        sys.stdout.flush()
    except (click.exceptions.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.ClickException as error:
        return _tell(error)
    except BrokenPipeError:  # the reader has seen enough
        _write_no_more()
        return 0
    except SystemExit:  # likewise: click and rich end so, with 1
        return 0
    except Exception as error:  # noqa: BLE001 - sorted there, and raised again if unknown
        return _tell_known(error)
    return result if isinstance(result, int) else 0


def _write_no_more() -> None:
    """
    What is left in the buffer of stdout would fail once more at the end of the process.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(error: click.ClickException) -> int:
    command = "spool"
    hint = ""
    if isinstance(error, click.UsageError):
        if error.ctx is not None:
            command = error.ctx.command_path
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            click.echo(error.format_message())
            return USAGE
        hint = f" (see `{command} --help`)"
    _say(f"{command}: {' '.join(error.format_message().split())}{hint}")
    return error.exit_code


def _say(text: str) -> None:
    """
    One line, which may quote what steers a terminal, or ends a line.
    """
    from cli.printable import tell  # noqa: PLC0415 - an error is no time to save, a start is

    tell(text)


def _tell_known(error: Exception) -> int:
    """
    Errors that the packages name themselves; anything else is a bug, and goes on with its trace.
    """
    from spool.errors import HINT, SpoolError  # noqa: PLC0415 - as above

    if isinstance(error, SpoolError):
        _say(f"spool: {error}{_elsewhere(error)}")
        return FAILED
    shipper_errors = sys.modules.get("shipper.errors")
    apsw = sys.modules.get("apsw")
    if apsw and isinstance(error, apsw.Error):
        from spool.damage import is_damage  # noqa: PLC0415 - as above

        told = f"is damaged: {error}; {HINT}" if is_damage(error) else f"cannot be written: {error}"
        _say(f"spool: the spool {told}")
        return FAILED
    if shipper_errors and isinstance(error, shipper_errors.ShipperError):
        _say(f"spool: {error}")
        return USAGE if isinstance(error, shipper_errors.RouteError) else FAILED
    if isinstance(error, OSError) and error.strerror:  # stdout is a full disk, say
        _write_no_more()
        where = f"{error.filename}: " if error.filename else ""
        _say(f"spool: {where}{error.strerror}")
        return FAILED
    raise error


def _elsewhere(error: Exception) -> str:
    """
    Where the host's spool may be, if none was found in the place for a user who may not write that.
    """
    from cli.options import HOST_FOLDER, default_db  # noqa: PLC0415 - as above
    from spool.errors import NoSpool  # noqa: PLC0415 - as above

    is_default = isinstance(error, NoSpool) and error.path == default_db()
    if is_default and default_db().parent != HOST_FOLDER and HOST_FOLDER.exists():
        return f"; this host's is perhaps in {HOST_FOLDER}: use `sudo spool …`"
    return ""
