"""
The door: help, versions, mistakes, and what they cost.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from agent import SPOOL, clean_environment, spool

from cli.main import COMMANDS
from spool import __version__

HEAVY = {
    *("boto3", "botocore", "docker", "rich", "sqlite_utils", "apsw", "watchdog", "moto"),
    *("datasette", "uvicorn"),
}


def test_help_lists_every_command() -> None:
    done = spool("--help")
    assert (done.returncode, done.stderr) == (0, "")
    listed = re.findall(r"^  ([a-z]+)  ", done.stdout.partition("Commands:")[2], re.MULTILINE)
    assert listed == list(COMMANDS)
    assert "Examples:" in done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--version"], ["nonsense"], []])
def test_the_door_loads_nothing_that_takes_time(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        "from cli.main import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit:\n"
        "    pass\n"
        f"print(sorted({HEAVY!r} & sys.modules.keys()), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "name", ["status", "top", "events", "batches", "query", "web", "put", "prune", "check"]
)
def test_commands_that_send_nothing_do_not_load_boto3(name: str) -> None:
    script = f"import sys, cli.{name}; print('boto3' in sys.modules, 'botocore' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False False\n"


def test_the_version_is_the_packages() -> None:
    assert spool("--version").stdout == f"spool, version {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    done = spool(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^  Examples?:\n    .*spool ", done.stdout, re.MULTILINE)
    assert "--db" in done.stdout or name == "demo"


def test_no_command_at_all_shows_the_help_and_is_wrong_usage() -> None:
    done = spool()
    assert done.returncode == 2
    assert "Commands:" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["evnts"], "No such command 'evnts'"),
        (["--frobnicate"], "No such option '--frobnicate'"),
        (["events", "--grop", "x"], "'--grep'"),
        (["run", "--dely", "2"], "'--delay'"),
        (["status", "too", "many"], "unexpected extra argument"),
        (["query"], "Missing argument 'SQL'"),
        (["events", "--format"], "--format"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_told_in_one_line_with_the_way_to_the_help(
    arguments: list[str], told: str
) -> None:
    done = spool(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "--help`" in done.stderr


@pytest.mark.parametrize("output_format", ["text", "table", "jsonl", "csv"])
def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path, output_format: str) -> None:
    db = tmp_path / "spool.db"
    lines = "\n".join(f"line {number}" for number in range(5_000))
    spool("put", "--db", db, "--group", "g", "--stream", "s", stdin=lines)
    with subprocess.Popen(
        [*SPOOL, "events", "--db", str(db), "--format", output_format],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_an_output_that_is_full_is_told_in_one_line(history: Any) -> None:
    for command in (["events"], ["status", "--json"], ["query", "SELECT 1"]):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [*SPOOL, *command, "--db", str(history.db)],
                env=clean_environment(),
                stdout=full,
                stderr=subprocess.PIPE,
                check=False,
            )
        assert done.returncode == 1
        assert done.stderr == b"spool: No space left on device\n"


@pytest.mark.parametrize("output_format", ["text", "table", "json", "csv"])
def test_a_closed_stdout_is_a_reader_that_has_seen_enough(history: Any, output_format: str) -> None:
    for command in (["status"], ["events"], ["query", "SELECT 1"]):
        arguments = [*SPOOL, *command, "--db", str(history.db), "--format", output_format]
        done = subprocess.run(
            ["/bin/sh", "-c", '"$@" >&-', "sh", *arguments],
            env=clean_environment(),
            stderr=subprocess.PIPE,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")


def test_a_closed_stdin_or_stderr_is_no_bug(history: Any, tmp_path: Path) -> None:
    put = ["put", "--db", str(tmp_path / "spool.db"), "--group", "g", "--stream", "s"]
    for closing, command, code, told in (
        ("<&-", put, 1, "spool: -: cannot be read: Bad file descriptor\n"),
        ("2>&-", ["status", "--db", f"{history.db}.none"], 1, ""),
    ):
        done = subprocess.run(
            ["/bin/sh", "-c", f'"$@" {closing}', "sh", *SPOOL, *command],
            env=clean_environment(),
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (code, told)


def test_no_error_steers_the_terminal_or_takes_more_than_a_line(tmp_path: Path) -> None:
    odd = "\x1b[31m\x9b31m\nx\u202e"
    for arguments in (
        ["status", "--db", tmp_path / odd],
        ["check", "--db", tmp_path / odd],
        ["put", "--group", "g", "--stream", "s", "--db", tmp_path / "spool.db", odd],
        [odd],
        [f"--{odd}"],
        ["query", "--db", tmp_path / "spool.db", "SELECT 1", odd],
        ["run", f"cloudwatch://{odd}"],
        ["names", "--source", "files", "--containers-dir", tmp_path / odd],
    ):
        told = spool(*arguments).stderr
        assert told.rstrip("\n").isprintable(), told
        assert told.count("\n") == 1


def test_the_spool_is_named_by_the_environment_too(history: Any) -> None:
    done = spool("status", "--json", environment={"SPOOL_DB": str(history.db)})
    assert json.loads(done.stdout)["sent"] == 5


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "top",
        "events",
        "batches",
        "query",
        "web",
        "run",
        "put",
        "replay",
        "prune",
        "check",
    ],
)
def test_a_spool_without_a_file_name_is_wrong_usage(command: str) -> None:
    arguments = {
        "query": ["SELECT 1"],
        "put": ["--group", "g", "--stream", "s"],
        "run": ["cloudwatch://us-east-1?NOEC2"],
    }.get(command, [])
    for db, told in (("", "the path is empty"), (".", "is a folder"), ("/", "is a folder")):
        done = spool(command, *arguments, "--db", db)
        assert (done.returncode, done.stdout) == (2, "")
        assert told in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_spool_whose_name_is_not_utf_8_is_wrong_usage(tmp_path: Path) -> None:
    for command in (["put", "--group", "g", "--stream", "s"], ["status"], ["run"]):
        done = spool(*command, "--db", os.fsdecode(bytes(tmp_path) + b"/\xff.db"))
        assert (done.returncode, done.stdout) == (2, "")
        assert "is not UTF-8 text" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["status", "check", "prune", "replay", "events"])
def test_only_what_stores_lines_makes_a_spool(tmp_path: Path, command: str) -> None:
    db = tmp_path / "spool.db"
    for made in (False, True):
        if made:
            db.touch()
        done = spool(command, "--db", db, environment={"AWS_REGION": "us-east-1"})
        assert done.returncode == 1
        assert "no spool" in done.stderr
        assert "`spool run` makes one" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert db.exists() == made
    assert db.stat().st_size == 0
    assert not list(tmp_path.glob("*-wal"))


def test_where_var_lib_cannot_be_written_the_spool_is_with_the_users_state(tmp_path: Path) -> None:
    done = spool("status", environment={"XDG_STATE_HOME": str(tmp_path)})
    if os.access("/var/lib/spool" if Path("/var/lib/spool").exists() else "/var/lib", os.W_OK):
        assert "/var/lib/spool/spool.db" in done.stderr + done.stdout
    else:
        assert f"{tmp_path}/spool/spool.db: no spool here" in done.stderr


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("spool ev", "events"),
        ("spool events --aro", "--around"),
        ("spool status --max", "--max-lag"),
    ],
)
def test_a_shell_completes_commands_and_options(words: str, wanted: str) -> None:
    parts = words.split()
    asked = {
        "_SPOOL_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(parts) - 1),
    }
    done = spool(environment=asked)
    assert f"plain,{wanted}" in done.stdout.splitlines()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_printed(shell: str) -> None:
    done = spool("completion", shell)
    assert done.returncode == 0, done.stderr
    assert "_SPOOL_COMPLETE" in done.stdout


def test_a_slip_of_the_pen_is_answered_with_what_was_meant() -> None:
    assert "did you mean 'status'?" in spool("statsu").stderr


AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def as_nobody(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*AS_NOBODY, *map(str, arguments)],
        env=clean_environment({}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def is_there_a_nobody() -> bool:
    """
    Who can run this very program, but is another user.
    """
    if os.geteuid() or not shutil.which("setpriv"):
        return False
    return as_nobody(sys.executable, "-c", "import cli").returncode == 0


@pytest.mark.parametrize("mode", [0o700, 0o755], ids=oct)
def test_another_user_is_told_to_ask_with_sudo(db: Path, mode: int) -> None:
    if not is_there_a_nobody():
        pytest.skip("only root can be another user")
    target = ("--group", "g", "--stream", "s")
    assert spool("put", "--db", db, *target, stdin="one\n").returncode == 0
    db.parent.chmod(mode)
    for arguments in (
        *(["status"], ["events"], ["check"], ["replay"], ["replay", "--dry-run"]),
        *(["put", *target], ["run", "cloudwatch://us-east-1?NOEC2"]),
    ):
        done = as_nobody(*SPOOL, *arguments, "--db", db)
        assert done.returncode == 1
        assert "it is another user's: use `sudo spool …`" in done.stderr, arguments
        assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def seen_by_all() -> Iterator[Path]:
    """
    A folder in which others may look, too; those of pytest are its user's alone.
    """
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_another_user_without_a_spool_is_told_of_the_hosts(seen_by_all: Path) -> None:
    if not is_there_a_nobody():
        pytest.skip("only root can be another user")
    host, home = seen_by_all / "host", seen_by_all / "home"
    host.mkdir(mode=0o700)
    home.mkdir()
    program = (
        "import cli.main, cli.options, os, pathlib\n"
        f"cli.options.HOST_FOLDER = pathlib.Path({str(host)!r})\n"
        f"os.environ['XDG_STATE_HOME'] = {str(home)!r}\n"
        "cli.main.main()"
    )
    told = f"; this host's is perhaps in {host}: use `sudo spool …`\n"
    for arguments in (["status"], ["events"], ["check"], ["replay"]):
        done = as_nobody(sys.executable, "-c", program, *arguments)
        assert (done.returncode, done.stderr.endswith(told)) == (1, True), done.stderr
    elsewhere = as_nobody(sys.executable, "-c", program, "status", "--db", str(home / "x.db"))
    assert "no spool here" in elsewhere.stderr
    assert "sudo" not in elsewhere.stderr
    host.rmdir()
    without = as_nobody(sys.executable, "-c", program, "status").stderr
    assert "no spool here" in without
    assert "sudo" not in without


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["run", "--retention-days", "²"], {}, "keeps events for one of these"),
        (["run", "--retention-days", "9" * 5_000], {}, "keeps events for one of these"),
        (["run", "--keep", "999999999999w"], {}, "longer than a hundred years"),
        (["prune", "--keep", "999999999999w"], {}, "longer than a hundred years"),
        (["top", "--interval", "999999999999w", "-n", "2"], {}, "longer than a hundred years"),
        (
            ["run", "cloudwatch://us-east-1?NOEC2"],
            {"MULTILINE_FLUSH_AFTER": "9" * 400},
            "is no number of milliseconds",
        ),
    ],
    ids=["retention", "long retention", "keep", "prune", "interval", "flush"],
)
def test_what_is_far_too_much_is_wrong_usage(
    db: Path, arguments: list[str], environment: dict[str, str], told: str
) -> None:
    done = spool(*arguments, "--db", db, environment=environment)
    assert (done.returncode, told in done.stderr) == (2, True), done.stderr
    assert len(done.stderr.splitlines()) == 1
