"""
What the documents tell people to type works.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from importlib import import_module
from pathlib import Path

import pytest
from agent import SPOOL, LogWriter, clean_environment, spool, wait_until
from cloudwatch_endpoint import Endpoint

from cli.main import COMMANDS

ROOT = Path(__file__).parent.parent
QUERIES = re.findall(r"```sql\n(.*?)```", (ROOT / "docs" / "schema.md").read_text(), re.DOTALL)
TOLD_TO_END = (130, -signal.SIGINT)
"""The shell's, where that was told too."""
GO_ON = ("run", "top", "web")
"""Commands that end when they are told to."""

NEED_MORE = {
    "demo": "test_demo.py runs it",
    "doctor": "test_doctor.py runs it",
    "unit": "test_unit.py runs it, and not on this very system",
    "completion": "redirected into folders of the system",
}


PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
NO_COMMAND = ("COMMAND", "…", "─")
STANDS_FOR = {"ID": "4711", "HOST:PORT": "9090", "SIZE": "1MiB", "PATTERN": "x", "DIR": "/"}


def examples() -> list[str]:
    """
    What the help of each command shows.
    """
    found = []
    for name in COMMANDS:
        if name not in NEED_MORE:
            text = import_module(f"cli.{name}").command.help
            _, _, shown = text.partition("Example")
            lines = [line.strip() for line in shown.splitlines()[1:]]
            found += [line for line in lines if "spool" in line]
    return found


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A spool in which there is some of everything.
    """
    db = tmp_path_factory.mktemp("past") / "spool.db"
    now_ms = time.time_ns() // 1_000_000
    told = [("long ago", 1_577_836_800_000), ("order 4711", now_ms - 1000), ("waits", now_ms)]
    long_ago, order, waits = (
        json.dumps({"message": message, "timestamp": at_ms}) for message, at_ms in told
    )
    put = ("put", "--db", db, "--group", "app", "--stream", "web", "--json")
    assert spool(*put, stdin=f"{long_ago}\n{order}\n").returncode == 0
    with Endpoint() as endpoint:
        assert spool("replay", "--db", db, environment=endpoint.environment()).returncode == 0
    assert spool(*put, stdin=waits).returncode == 0
    return db


def test_there_are_ten_queries() -> None:
    assert len(QUERIES) == 10


@pytest.mark.parametrize("sql", QUERIES)
def test_a_documented_query_runs_in_the_command_and_in_a_plain_shell(past: Path, sql: str) -> None:
    done = spool("query", "--db", past, "--format", "json", sql)
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(f"file:{past}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute(sql)]
    assert json.loads(done.stdout) == rows


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("How much waits", [("app", "web", 1)]),
        ("What was refused", [("too old", 1)]),
        ("Whether every event", []),
    ],
)
def test_a_documented_query_answers_its_question(
    past: Path, words: str, answer: list[tuple[object, ...]]
) -> None:
    text = (ROOT / "docs" / "schema.md").read_text()
    sql = text[text.index(words) :].partition("```sql\n")[2].partition("```")[0]
    with closing(sqlite3.connect(f"file:{past}?mode=ro", uri=True)) as connection:
        rows = connection.execute(sql).fetchall()
    assert [row[: len(found)] for row, found in zip(rows, answer, strict=True)] == answer


def test_the_views_have_the_columns_that_are_documented(past: Path) -> None:
    text = (ROOT / "docs" / "schema.md").read_text()
    for view, end in (("events", "`batches`: one row"), ("batches", "The tables below")):
        part = text[text.index(f"`{view}`: one row") : text.index(end)]
        told = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", part, re.MULTILINE)))
        with closing(sqlite3.connect(f"file:{past}?mode=ro", uri=True)) as connection:
            there = [row[1] for row in connection.execute(f"PRAGMA table_info({view})")]
        assert sorted(told) == sorted(there)


def test_every_command_has_an_example_in_its_help() -> None:
    shown = " ".join(examples())
    for name in COMMANDS.keys() - NEED_MORE.keys():
        assert f"spool {name}" in shown, name
    for name in NEED_MORE:
        assert f"spool {name}" in (import_module(f"cli.{name}").command.help or ""), name


@pytest.fixture
def path(tmp_path: Path) -> str:
    """
    Where `spool` is found as a command; and a journal, which not every machine has.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, script in (("spool", f'exec {shlex.join(SPOOL)} "$@"'), ("journalctl", "echo one")):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.parametrize("example", examples())
def test_an_example_of_the_help_works(
    example: str, past: Path, tmp_path: Path, endpoint: Endpoint, path: str
) -> None:
    """
    On a spool and an endpoint of its own; what goes on for ever is told to end a while after it has
    said something.
    """
    db = tmp_path / "spool.db"
    shutil.copy(past, db)
    (tmp_path / "app.log").write_text('{"time": "2026-11-22T10:00:00Z", "message": "one"}\n')
    containers = tmp_path / "containers"
    LogWriter(containers, "a" * 64, "web").write("hello")
    told = {"SPOOL_DB": str(db), "SPOOL_CONTAINERS_DIR": str(containers), "PATH": path}
    line = example.replace("/data/spool.db", str(db)).replace("4711", "1")
    goes_on = any(f"spool {name}" in line for name in GO_ON) and "--once" not in line
    said = [tmp_path / "said", tmp_path / "minute.csv"]
    with (
        said[0].open("wb") as output,
        subprocess.Popen(
            ["/bin/sh", "-c", line],
            cwd=tmp_path,
            env=clean_environment({**endpoint.environment(), **told}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        ) as process,
    ):
        if goes_on:
            wait_until(lambda: any(path.exists() and path.stat().st_size for path in said))
            time.sleep(1)
            os.killpg(process.pid, signal.SIGINT)
        code = process.wait(90)
    text = said[0].read_text()
    assert code in ((0, *TOLD_TO_END) if goes_on else (0,)), text
    assert "Traceback" not in text


def prose(page: Path) -> str:
    return BLOCK.sub("", page.read_text())


def documented_commands() -> list[tuple[str, str]]:
    """
    Each `spool ...` that a page shows, in a block or within a line, with the page's name.
    """
    found = []
    for page in PAGES:
        blocks = [block.replace("\\\n", " ") for block in BLOCK.findall(page.read_text())]
        lines = [line for block in blocks for line in block.splitlines()]
        for text in [*lines, *re.findall(r"`([^`]+)`", prose(page))]:
            begun = re.match(r"(?:\$ )?(?:sudo )?(spool .*)", text.strip())
            if begun and not any(word in text for word in NO_COMMAND):
                found.append((page.name, begun[1]))
    return sorted(set(found))


@pytest.mark.parametrize(("page", "line"), documented_commands())
def test_a_documented_command_has_the_options_it_is_given(page: str, line: str) -> None:
    """
    It is parsed, and not run.
    """
    words = shlex.split(line.partition(" > ")[0].partition(" | ")[0], comments=True)[1:]
    if words[0] in ("--help", "--version"):
        return
    if "://" in words[0]:
        words.insert(0, "run")
    name, *arguments = [STANDS_FOR.get(word, word) for word in words]
    assert name in COMMANDS, page
    if arguments:
        import_module(f"cli.{name}").command.make_context(name, arguments)


def test_many_commands_are_documented() -> None:
    shown = {line.split()[1] for _, line in documented_commands()}
    assert len(documented_commands()) > 40
    assert COMMANDS.keys() - shown <= {"completion"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_between_the_pages_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        leads_to = (page.parent / path).resolve() if path else page
        assert leads_to.exists(), target
        heads = re.findall(r"^#+ (.*)$", leads_to.read_text(), re.MULTILINE) if anchor else []
        anchors = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
        assert not anchor or anchor in anchors, target


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "CONTRIBUTING.md"], ids=lambda page: page.name
)
def test_a_page_that_users_are_told_of_is_there(page: Path) -> None:
    for name in re.findall(r"\bdocs/(\w+\.md)\b", prose(page)):
        assert (ROOT / "docs" / name).exists(), name


def test_the_settings_are_those_of_the_code() -> None:
    """
    `make docs` writes the page.
    """
    made = subprocess.run(
        [sys.executable, ROOT / "docs" / "settings.py"], capture_output=True, text=True, check=True
    )
    assert (ROOT / "docs" / "settings.md").read_text() == made.stdout


def test_every_setting_of_logspout_and_its_adapter_has_its_row_in_the_guide() -> None:
    """
    All that their code reads from the environment or from a route (818dd82 and 32a9fb8).
    """
    known = """
        ALLOW_TTY BACKLOG DEBUG DELAY DOCKER_HOST EXCLUDE_LABEL EXCLUDE_LABELS HTTP_BIND_ADDRESS
        HTTP_PORT INACTIVITY_TIMEOUT LOGSPOUT_GROUP LOGSPOUT_STREAM MULTILINE_ENABLE_DEFAULT
        MULTILINE_FLUSH_AFTER MULTILINE_MATCH MULTILINE_PATTERN MULTILINE_SEPARATOR NOEC2 PORT
        RAW_FORMAT RETRY_COUNT ROUTESPATH ROUTE_URIS SYSLOG_DATA SYSLOG_FORMAT SYSLOG_HOSTNAME
        SYSLOG_PID SYSLOG_PRIORITY SYSLOG_STRUCTURED_DATA SYSLOG_TAG SYSLOG_TCP_FRAMING
        SYSLOG_TIMESTAMP TAIL append_tag filter.id filter.labels filter.name filter.sources
        structured_data LOGSPOUT_MULTILINE
    """
    rows = "".join(
        line for line in (ROOT / "docs" / "migrating.md").read_text().splitlines() if "| " in line
    )
    assert [name for name in known.split() if f"`{name}`" not in rows] == []


def test_the_readme_is_one_screen_and_a_half() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100
