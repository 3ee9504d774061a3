"""
What is released is whole, and says one version everywhere.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from agent import spool

from shipper.cloudwatch import CloudWatch
from shipper.errors import DeliveryError
from spool import __version__

ROOT = Path(__file__).parent.parent
PACKAGES = ("spool", "shipper", "cli")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
VERSION = re.compile(r"^## \[([^\]]+)\](?: - (\d{4}-\d\d-\d\d))?$", re.MULTILINE)
SECTIONS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")


MEASURED = ROOT / "docs" / "benchmarks.md"
"""Tells which version its figures are of."""


def test_the_version_is_written_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["tool"]["hatch"]["version"]["path"] == "spool/__init__.py"
    named = [
        str(path.relative_to(ROOT))
        for folder in (*PACKAGES, "docs", "deploy", ".")
        for path in (ROOT / folder).glob("*" if folder == "." else "**/*")
        if path.is_file() and path.suffix in (".py", ".md", ".toml", ".service", "")
        if path != MEASURED
        if re.search(rf"(?<![\d.=<>]){re.escape(__version__)}(?![\d.])", path.read_text())
    ]
    assert sorted(set(named)) == ["CHANGELOG.md"] * (f"[{__version__}]" in CHANGELOG) + [
        "spool/__init__.py"
    ]


def test_the_command_says_it() -> None:
    assert spool("--version").stdout == f"spool, version {__version__}\n"


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """
    A URL, and the User-Agent of each request that came there.
    """
    agents: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            agents.append(self.headers["User-Agent"])
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_error(500)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", agents
        server.shutdown()
        thread.join()


def test_the_service_is_told_it(
    asked: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, agents = asked
    for name, value in (
        ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", url),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("NO_PROXY", "127.0.0.1"),
    ):
        monkeypatch.setenv(name, value)
    with pytest.raises(DeliveryError):
        CloudWatch("us-east-1", connections=1).put("g", "s", "[]", events=0)
    assert agents[0].startswith(f"spool/{__version__} ")


def test_the_changelog_is_kept() -> None:
    """
    The newest version is the package's, below what is not released yet; dates fall, and each
    version has the sections that there are, once.
    """
    found = VERSION.findall(CHANGELOG)
    assert found[0][0] == "Unreleased"
    released = found[1:]
    assert not released or released[0][0] == __version__
    assert all(date for _, date in released)
    dates = [date for _, date in released]
    assert dates == sorted(dates, reverse=True)
    for part in VERSION.split(CHANGELOG)[3::3]:
        sections = re.findall(r"^### (.*)$", part, re.MULTILINE)
        assert sections == [name for name in SECTIONS if name in sections]


@pytest.mark.timeout(300)
def test_the_wheel_has_every_file_of_the_packages(tmp_path: Path) -> None:
    """
    Templates, styles, the unit and the marks that there are types, too.
    """
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--disable-pip-version-check", "--wheel-dir", tmp_path, ROOT),
        ],
        check=True,
        capture_output=True,
        timeout=280,
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"logspool-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as opened:
        packed = set(opened.namelist())
    files = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files - packed == set()
    assert {name.partition("/")[0] for name in packed} == {
        *PACKAGES,
        f"logspool-{__version__}.dist-info",
    }
