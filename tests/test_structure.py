"""
The fences between the packages: who imports whom, and where each foreign library lives.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("spool", "shipper", "cli")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

HOMES = {
    "apsw": (
        "spool/*",
        "shipper/capture.py",
        "shipper/delivery.py",
        "shipper/lineup.py",
        "shipper/upload.py",
        "shipper/agent.py",
        "shipper/upkeep.py",
    ),
    "boto3": ("shipper/service.py", "shipper/diagnosis/probe.py"),
    "botocore": ("shipper/service.py", "shipper/answers.py", "shipper/diagnosis/probe.py"),
    "click": ("cli/*",),
    "datasette": ("cli/web_parts/*",),
    "docker": ("shipper/sources/engine_api.py",),
    "isal": ("shipper/cloudwatch.py", "shipper/sources/log_file.py"),
    "moto": ("cli/demo.py", "cli/demo_parts/*"),
    "msgspec": ("shipper/*",),
    "prometheus_client": ("shipper/metrics.py",),
    "requests": ("shipper/sources/engine_api.py",),  # the errors that docker lets through
    "rich": ("cli/screen.py",),
    "sqlite_utils": ("spool/window.py",),
    "uvicorn": ("cli/web_parts/server.py",),
    "watchdog": ("shipper/sources/bell.py",),
}
"""Where a library may be imported; one that is not here, nowhere."""

ONLY_ERRORS = {"apsw": ("shipper/*", "cli/*")}
"""Where nothing of a library may be used but its `Error`."""

NOT_YET = {"docker"}
"""Declared already, and imported once the Engine API source comes."""


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


MODULES = {module_of(path): path for path in FILES}


def imports(path: Path) -> Iterator[str]:
    """
    Full names of what a file imports, anywhere in it; of `from a import b` it is `a.b` where that
    is a module of ours.
    """
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports here are absolute"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else str(node.module)


def foreign(path: Path) -> set[str]:
    """
    Libraries that a file imports: neither Python's own nor ours.
    """
    roots = {name.partition(".")[0] for name in imports(path)}
    return roots - set(sys.stdlib_module_names) - set(PACKAGES)


@pytest.mark.parametrize(
    ("package", "others"), [("spool", {"shipper", "cli"}), ("shipper", {"cli"}), ("cli", set())]
)
def test_no_package_imports_one_above_it(package: str, others: set[str]) -> None:
    for path in (path for path in FILES if path.is_relative_to(ROOT / package)):
        roots = {name.partition(".")[0] for name in imports(path)}
        assert not roots & (others | {"tests", "agent", "cloudwatch_endpoint"}), path


def test_no_imports_run_in_a_circle() -> None:
    graph = {
        module: {name for name in imports(path) if name in MODULES and name not in PACKAGES}
        for module, path in MODULES.items()
    }
    assert "spool.schema" in graph["spool.file"]
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_each_foreign_library_has_one_home() -> None:
    strays = [
        f"{path.relative_to(ROOT)} imports {library}"
        for path in FILES
        for library in sorted(foreign(path))
        if not any(fnmatch(str(path.relative_to(ROOT)), home) for home in HOMES.get(library, ()))
    ]
    assert strays == []


def test_outside_of_their_homes_only_the_errors_of_a_library_are_used() -> None:
    for library, places in ONLY_ERRORS.items():
        for path in FILES:
            if any(fnmatch(str(path.relative_to(ROOT)), place) for place in places):
                used = {
                    node.attr
                    for node in ast.walk(tree_of(path))
                    if isinstance(node, ast.Attribute)
                    and isinstance(node.value, ast.Name)
                    and node.value.id == library
                }
                assert used <= {"Error"}, path


def test_every_declared_library_is_imported_and_every_imported_one_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {library_of(entry) for entry in project["dependencies"]}
    extras = project["optional-dependencies"]
    extra = {library_of(entry) for name in ("demo", "web") for entry in extras[name]}
    imported = {library for path in FILES for library in foreign(path)}
    assert declared - imported <= NOT_YET
    assert extra <= imported
    # what comes with boto3 and with docker, and is their other half
    assert imported - declared - extra <= {"botocore", "requests"}


def library_of(requirement: str) -> str:
    """
    `sqlite-utils>=3.38,<5` is imported as sqlite_utils.
    """
    name = re.match(r"[A-Za-z0-9_-]+", requirement)
    assert name
    return name[0].replace("-", "_").lower()


def test_only_the_two_drivers_homes_open_sqlite() -> None:
    """
    Never both on one file in one process: so there is one place for each.
    """
    users = {str(path.relative_to(ROOT)) for path in FILES if "sqlite3" in set(imports(path))}
    assert users <= {"spool/window.py"}


def test_every_module_says_what_it_is() -> None:
    silent = [str(path.relative_to(ROOT)) for path in FILES if not ast.get_docstring(tree_of(path))]
    assert silent == []


def test_nothing_is_imported_from_what_a_module_keeps_to_itself() -> None:
    strays = [
        f"{path.relative_to(ROOT)}: {node.module}.{alias.name}"
        for path in FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in PACKAGES
        for alias in node.names
        if alias.name.startswith("_") and alias.name != "__version__"
    ]
    assert strays == []
