"""
spool demo: show it all working, on this machine alone.
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType

import click

from cli.demo_parts.cloudwatch import CloudWatchHere, require_moto
from cli.demo_parts.containers import start_containers
from cli.demo_parts.counting import Tally
from cli.demo_parts.processes import Spool
from cli.demo_parts.relay import Relay
from cli.demo_parts.story import Story
from cli.errors import FAILED, INTERRUPTED
from cli.output import write_rows
from cli.screen import Screen, screen
from spool.wording import counted

__all__ = ["command"]

COLUMNS = ("stream", "written", "delivered", "lost", "twice")
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command(name="demo")
@click.option("--files", "use_files", is_flag=True, help="Use no Docker Engine, only its format.")
def command(*, use_files: bool) -> int:
    """
    Show it all working, with no AWS: containers log, the network is cut, the agent is killed, and
    at the end every line is counted.

    CloudWatch Logs is moto's, on 127.0.0.1; nothing leaves this machine. The containers are real
    where a Docker Engine is at hand, else they are files in its format. Takes half a minute; exits
    1 if a line was lost.

    \b
    Examples:
      spool demo
      spool demo --files
    """
    require_moto()
    folder = Path(tempfile.mkdtemp(prefix="spool-demo-"))
    try:
        with _interruptible():
            with screen() as shown:
                tallies = _tell(shown, folder, use_files=use_files)
            return _conclude(tallies, folder)
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)
        click.echo("interrupted; nothing of the demo is left", err=True)
        return INTERRUPTED


def _tell(shown: Screen, folder: Path, *, use_files: bool) -> list[Tally]:
    with ExitStack() as ends:
        cloudwatch = CloudWatchHere(folder / "moto.log")
        ends.callback(cloudwatch.close)
        relay = Relay(cloudwatch.port)
        ends.callback(relay.close)
        _introduce(shown, "CloudWatch Logs", f"moto's, on 127.0.0.1:{cloudwatch.port}")
        containers, reason = start_containers(folder / "containers", use_files=use_files)
        ends.callback(containers.close)
        _introduce(shown, "containers", containers.description)
        if reason:
            _introduce(shown, "", reason)
        spool = Spool(folder, folder / "containers", relay.port)
        ends.callback(spool.kill_agent)
        _introduce(shown, "spool", str(spool.db))
        shown.say()
        return Story(shown, containers, cloudwatch, relay, spool).tell()


def _introduce(shown: Screen, what: str, description: str) -> None:
    shown.say((f"{what:<17}", "bold"), description)


def _conclude(tallies: list[Tally], folder: Path) -> int:
    click.echo()
    write_rows((asdict(row) for row in tallies), columns=COLUMNS, output_format="table")
    click.echo()
    lost = sum(row.lost for row in tallies)
    db = folder / "spool.db"
    with screen() as shown:
        if any(row.twice for row in tallies):
            shown.say("Twice: CloudWatch had them when the cut or the kill took its answer away.")
        if lost:
            shown.say((f"{counted(lost, 'line')} lost; see {folder}", "bold red"))
            return FAILED
        shown.say(("Nothing was lost.", "bold green"), " The spool is still there; look into it:")
        for line in (
            f"{_name()} status --db {db}",
            f"{_name()} events --db {db} -n 5",
            f"sqlite3 {db} 'SELECT count(*) FROM events'",
        ):
            shown.say(f"  {line}")
    return 0


def _name() -> str:
    """
    How this `spool` can be called again.
    """
    called = Path(sys.argv[0])
    return str(called) if called.name == "spool" and not shutil.which("spool") else "spool"


@contextmanager
def _interruptible() -> Iterator[None]:
    """
    The first of Ctrl-C, SIGTERM and SIGHUP is a KeyboardInterrupt; the rest must not keep it from
    cleaning up.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in caught:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    caught = [number for number in ENDINGS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in caught}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
