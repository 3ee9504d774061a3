"""
spool unit: the service, as systemd sees it.
"""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from agent import spool

from cli import unit
from cli.errors import WrongUsage
from shipper import agent, supervisor
from shipper.health import STANDSTILL_S

SERVICE = (Path(unit.__file__).parent / "unit_parts" / "spool.service").read_text()
NEEDS_SYSTEMD = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd is not installed here"
)
MOST_EXPOSURE = 2.0
"""Of 10; the root user and the network, which it needs, are 1.4 of it."""


def setting(name: str) -> str:
    found = re.findall(rf"^{name}=(.*)$", SERVICE, re.MULTILINE)
    return str(found[-1])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """
    The service, with a program that exists on every machine.
    """
    path = tmp_path / "spool.service"
    path.write_text(SERVICE.replace(unit.AS_SHIPPED, "/bin/true"))
    return path


@NEEDS_SYSTEMD
def test_systemd_understands_every_line_of_it(file: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@NEEDS_SYSTEMD
def test_it_is_as_closed_as_can_be(file: Path) -> None:
    done = subprocess.run(
        [
            *("systemd-analyze", "security", "--no-pager", "--offline=true"),
            *(f"--threshold={MOST_EXPOSURE * 10:.0f}", str(file)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    exposure = re.search(r"Overall exposure level.*?([0-9.]+) ", done.stdout)
    assert exposure
    assert float(exposure[1]) <= MOST_EXPOSURE


def test_it_waits_longer_than_the_agent_takes() -> None:
    """
    For a stop; and at a start for as long as the agent asks for.
    """
    assert int(setting("TimeoutStopSec").removesuffix("s")) > agent.STOP_BUDGET_S + 10
    watchdog_s = int(setting("WatchdogSec").removesuffix("min")) * 60
    assert watchdog_s >= STANDSTILL_S > 10 * supervisor.LOOK_S
    assert supervisor.EXTEND_S > 3 * supervisor.LOOK_S
    assert setting("Type") == "notify"


def test_no_setting_of_it_is_written_twice_in_the_tree() -> None:
    folder = Path(unit.__file__).parent.parent / "deploy" / "systemd"
    parts = Path(unit.__file__).parent / "unit_parts"
    assert (folder / "spool.service").resolve() == parts / "spool.service"
    assert (folder / "spool.env.example").resolve() == parts / "spool.env"


def test_it_is_printed_as_it_is_installed() -> None:
    done = spool("unit")
    assert done.returncode == 0
    assert "[Service]" in done.stdout
    assert re.search(r"^ExecStart=/\S+ run$", done.stdout, re.MULTILINE)


def called_as(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [str(program), "unit"])


@NEEDS_SYSTEMD
def test_it_is_installed_into_an_image_and_settings_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit, "PRIVATE", ())
    program = tmp_path / "bin" / "spool"
    called_as(program, monkeypatch)
    root = tmp_path / "image"
    root.mkdir()
    for _ in range(2):
        unit.command.main(["--install", "--root", str(root)], standalone_mode=False)
        settings = root / "etc/spool/spool.env"
        assert stat.S_IMODE(settings.stat().st_mode) == 0o600
        settings.write_text("ROUTE_URIS=cloudwatch://eu-west-1\n")
    unit.command.main(["--install", "--root", str(root)], standalone_mode=False)
    assert settings.read_text() == "ROUTE_URIS=cloudwatch://eu-west-1\n"
    written = (root / "etc/systemd/system/spool.service").read_text()
    assert f"ExecStart={program} run" in written
    wanted = root / "etc/systemd/system/multi-user.target.wants/spool.service"
    assert wanted.is_symlink()
    assert not list(root.rglob("*.new"))


@NEEDS_SYSTEMD
def test_a_route_is_the_first_setting_and_later_ones_are_written_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called_as(Path("/opt/spool/bin/spool"), monkeypatch)
    monkeypatch.setattr(unit, "PRIVATE", ())
    told = ["cloudwatch://us-east-1?LOGSPOUT_STREAM={{.Name}}'s", "--install"]
    unit.command.main([*told, "--root", str(tmp_path)], standalone_mode=False)
    settings = (tmp_path / "etc/spool/spool.env").read_text()
    assert "\nROUTE_URIS='cloudwatch://us-east-1?LOGSPOUT_STREAM={{.Name}}%27s'\n" in settings
    with pytest.raises(WrongUsage, match="settings already"):
        unit.command.main([*told, "--root", str(tmp_path)], standalone_mode=False)
    with pytest.raises(WrongUsage, match="goes with --install"):
        unit.command.main(told[:1], standalone_mode=False)


def test_a_route_that_is_none_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    done = spool("unit", "--install", "cloudwatch://mars", "--root", tmp_path)
    assert done.returncode == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("program", ["/root/.local/bin/spool", "/home/ann/bin/spool"])
def test_a_program_that_the_service_could_not_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    called_as(Path(program), monkeypatch)
    with pytest.raises(WrongUsage, match="closed to the service"):
        unit.command.main(["--install", "--root", str(tmp_path)], standalone_mode=False)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_systemd_would_read_differently_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called_as(Path("/opt/100% of it/spool"), monkeypatch)
    with pytest.raises(WrongUsage, match="differently"):
        unit.command.main([], standalone_mode=False)


def test_where_it_may_not_be_written_one_line_says_so(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("a file\n")
    done = spool("unit", "--install", "--root", tmp_path, environment={"PATH": "/nowhere"})
    assert done.returncode in (1, 2)
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("spool: ")


def test_every_setting_in_the_example_is_one_that_there_is() -> None:
    from cli.run import command as run
    from shipper.settings import SETTINGS

    text = (Path(unit.__file__).parent / "unit_parts" / "spool.env").read_text()
    names = re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE)
    known = {parameter.envvar for parameter in run.params} | SETTINGS.keys()
    assert names
    assert {name for name in names if not name.startswith("AWS_")} <= known
