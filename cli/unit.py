"""
spool unit: the systemd service of this spool.

Comes in: the unit and the settings that lie beside this module, and where this command is
installed. Goes out: the unit on stdout, or a service that is enabled and runs. Always holds:
settings that are there are left as they are.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import click

from cli.errors import Failure, WrongUsage
from shipper.route import parse_route

__all__ = ["command"]

PARTS = files("cli") / "unit_parts"

UNIT = Path("etc/systemd/system/spool.service")
SETTINGS = Path("etc/spool/spool.env")

MARK = "#ROUTE_URIS="
AS_SHIPPED = "/usr/local/bin/spool"

PRIVATE = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - to refuse them
"""Closed to the service, by ProtectHome and PrivateTmp."""

HOW_TO = (
    "install it for all users: PIPX_HOME=/opt/pipx PIPX_BIN_DIR=/usr/local/bin pipx install"
    " logspool"
)


@click.command(name="unit")
@click.argument("route", required=False)
@click.option("--db", expose_value=False, help="As everywhere; here it is not read.")
@click.option(
    "--install",
    is_flag=True,
    help="Write it and /etc/spool/spool.env, and start the service, also at each boot.",
)
@click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path("/"),
    help="With --install: into the system below this folder, an image say; nothing is started.",
)
def command(*, route: str | None, install: bool, root: Path) -> None:
    """
    Print a systemd service that runs this very spool, or install it.

    With --install ROUTE is the first setting in /etc/spool/spool.env; on EC2 none is needed.
    Settings that are there are left as they are.

    \b
    Examples:
      spool unit
      sudo spool unit --install cloudwatch://us-east-1
      spool unit > spool.service && systemd-analyze security --offline=true spool.service
    """
    program = _program()
    text = PARTS.joinpath("spool.service").read_text().replace(AS_SHIPPED, str(program))
    if not install:
        if route:
            raise WrongUsage("a route goes with --install, into the settings of the service")
        click.echo(text, nl=False)
        return
    _check_reachable(program)
    _settle(root / SETTINGS, route)
    _write(root / UNIT, text, mode=0o644)
    _enable(root)
    click.echo(f"{root / UNIT} is enabled; settings are in {root / SETTINGS}")
    if root == Path("/"):
        _systemctl("daemon-reload")
        _systemctl("restart", "spool.service")


def _program() -> Path:
    """
    The path by which this command was called; a link that pipx or uv renews is kept as a link.
    """
    called = Path(sys.argv[0])
    found = called if called.name == "spool" else Path(shutil.which("spool") or AS_SHIPPED)
    path = Path(os.path.abspath(found))  # noqa: PTH100 - resolve() would follow links
    if not re.fullmatch(r"[\w/.+@-]+", str(path), re.ASCII):
        raise WrongUsage(f"{path}: systemd would read this path differently; {HOW_TO}")
    return path


def _check_reachable(program: Path) -> None:
    for path in (program, program.resolve(), Path(sys.prefix), Path(sys.base_prefix).resolve()):
        if any(path.is_relative_to(private) for private in PRIVATE):
            raise WrongUsage(f"{path}: closed to the service, as homes are; {HOW_TO}")


def _settle(path: Path, route: str | None) -> None:
    """
    Write the settings where there are none.
    """
    if route:
        parse_route(route, os.environ)
    if not path.exists():
        first = "ROUTE_URIS='{}'\n".format(route.replace("'", "%27")) if route else ""
        _write(
            path, PARTS.joinpath("spool.env").read_text().replace(MARK, first + MARK), mode=0o600
        )
    elif route:
        raise WrongUsage(f"{path}: there are settings already; change ROUTE_URIS in it")


def _write(path: Path, text: str, *, mode: int) -> None:
    """
    Replace a file at once.
    """
    new = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:  # noqa: PTH123 - the mode is there from the first byte
            file.write(text)
        new.chmod(mode)  # whatever the umask
        new.replace(path)
    except OSError as error:
        hint = "; run it with sudo" if isinstance(error, PermissionError) else ""
        raise Failure(f"{path}: cannot be written ({error.strerror}){hint}") from error


def _enable(root: Path) -> None:
    where = [] if root == Path("/") else [f"--root={root}"]
    _systemctl(*where, "enable", "spool.service")


def _systemctl(*arguments: str) -> None:
    called = f"systemctl {' '.join(arguments)}"
    try:
        done = subprocess.run(
            ["systemctl", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise Failure(f"{called}: there is no systemd here") from error
    if done.returncode:
        said = " ".join(done.stderr.split()) or "failed"
        raise Failure(f"{called}: {said}")
