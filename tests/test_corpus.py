"""
What the real engine wrote and answered, with ground truth: 49 cases, 105,862 messages, each read
by one `spool run` from the files and one through the Engine API.
"""

from __future__ import annotations

import json
import struct
import tarfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from agent import spool
from cloudwatch_endpoint import Endpoint
from docker_engine import FakeContainer, FakeEngine

from shipper.batch import MAX_MESSAGE_BYTES

ARCHIVE = Path(__file__).parent / "data" / "docker.tar.gz"

Line = tuple[str, int, str]
"""(stdout or stderr, ms since the epoch, message)."""


@dataclass(frozen=True)
class Corpus:
    cases: Path
    stored: dict[str, list[Line]]
    status: dict[str, Any]
    log: str


def case_names() -> list[str]:
    with tarfile.open(ARCHIVE) as archive:
        members = [Path(name) for name in archive.getnames()]
    return sorted(path.parent.name for path in members if path.name == "case.json")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    The cases, unpacked.
    """
    folder = tmp_path_factory.mktemp("corpus")
    with tarfile.open(ARCHIVE) as archive:
        archive.extraction_filter = staticmethod(lambda member, _: member)  # the engine's own modes
        archive.extractall(folder)
    return next(folder.iterdir())


@pytest.fixture(scope="module")
def corpus(cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """
    The files of all cases' containers in one folder, collected once.
    """
    containers = tmp_path_factory.mktemp("containers")
    for path in cases.glob("*/containers/*"):
        (containers / path.name).symlink_to(path)
    options = ["--source", "files", "--containers-dir", containers]
    return collected(cases, tmp_path_factory.mktemp("files"), options, {})


@pytest.fixture(scope="module")
def api_corpus(cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """
    What the engine's API answered for the same containers, collected from an engine that says so.
    """
    folder = tmp_path_factory.mktemp("api")
    with FakeEngine(folder / "docker.sock") as engine:
        for path in cases.glob("*/api/*.logs"):
            add_container(engine, path)
        options = ["--source", "api"]
        return collected(cases, folder, options, {"DOCKER_HOST": engine.base_url})


def add_container(engine: FakeEngine, answer: Path) -> None:
    inspected = json.loads(answer.with_suffix(".inspect.json").read_text())
    body = answer.read_bytes()
    is_terminal = inspected["Config"]["Tty"]
    engine.containers[answer.stem] = FakeContainer(
        id=answer.stem,
        name=inspected["Name"].lstrip("/"),
        tty=is_terminal,
        driver=inspected["HostConfig"]["LogConfig"]["Type"],
        running=False,
        records=[("stdout", body[:30].decode(), body[31:])] if is_terminal else frames(body),
    )


def frames(body: bytes) -> list[tuple[str, str, bytes]]:
    """
    (stream, time, text) of an answer: behind 8 bytes of header, 30 of time and a blank.
    """
    found = []
    while body:
        kind, size = struct.unpack(">BxxxI", body[:8])
        payload, body = body[8 : 8 + size], body[8 + size :]
        found.append((("stdout", "stderr")[kind - 1], payload[:30].decode(), payload[31:]))
    return found


def collected(
    cases: Path, folder: Path, options: list[str | Path], environ: dict[str, str]
) -> Corpus:
    """
    One `spool run`, in which each container has its id as its stream.
    """
    db = folder / "spool" / "spool.db"
    with Endpoint() as endpoint:
        done = spool(
            *("run", "cloudwatch://us-east-1?NOEC2", "--once", "--db", db, *options),
            environment={
                **endpoint.environment(),
                **environ,
                "LOGSPOUT_STREAM": "{{.ID}}",
                "ALLOW_TTY": "true",
            },
        )
        assert done.returncode == 0, done.stderr
        assert endpoint.violations == []
    status = json.loads(spool("status", "--json", "--db", db).stdout)
    rows = spool("events", "--db", db, "--format", "jsonl").stdout.split("\n")[:-1]
    stored = defaultdict(list)
    for row in map(json.loads, rows):
        stored[row["log_stream"]].append(
            (row["source"].rpartition("/")[2], row["timestamp"], row["message"])
        )
    return Corpus(cases, stored, status, done.stderr)


@pytest.mark.parametrize("name", case_names())
def test_every_message_of_the_engine_arrives_as_it_was_printed(corpus: Corpus, name: str) -> None:
    case = json.loads((corpus.cases / name / "case.json").read_text())
    optional = Counter(map(line_of, case.get("optional", [])))
    for container in case["containers"]:
        expected = expected_lines(corpus.cases / name, container["id"])
        stored = corpus.stored.get(container["id"], [])
        missing = Counter(expected) - Counter(whole(stored))
        assert not missing - optional, name
        extra = Counter(whole(stored)) - Counter(expected)
        assert not extra - optional, name
        for stream in ("stdout", "stderr"):
            in_order = [line for line in expected if line[0] == stream and line not in optional]
            got = [line for line in whole(stored) if line[0] == stream and line not in optional]
            assert got == in_order, f"{name}: order of {stream}"


@pytest.mark.parametrize("name", case_names())
def test_every_message_arrives_through_the_engines_api_too(api_corpus: Corpus, name: str) -> None:
    case = json.loads((api_corpus.cases / name / "case.json").read_text())
    optional = Counter(map(line_of, case.get("optional", [])))
    for container in case["containers"]:
        if not (api_corpus.cases / name / "api" / f"{container['id']}.logs").exists():
            continue  # damaged files, and the largest: the engine was not asked
        expected = expected_lines(api_corpus.cases / name, container["id"], api=True)
        stored = whole(api_corpus.stored.get(container["id"], []))
        if name.endswith("max-file-1"):  # the engine itself reads only one of its two files
            expected = expected[-len(stored) :]
        assert not Counter(expected) - Counter(stored) - optional
        assert not Counter(stored) - Counter(expected) - optional


def test_damage_is_counted_and_said_once_a_file(corpus: Corpus) -> None:
    damaged = [
        damage
        for case in corpus.cases.glob("*/case.json")
        for damage in json.loads(case.read_text()).get("damaged", [])
    ]
    sure = [damage for damage in damaged if "optional" not in damage["collector"]]
    assert corpus.status["skipped"]["damaged records"] >= len(sure)
    for container in {damage["container"] for damage in sure}:
        assert corpus.log.count(f"damaged records in {container[:12]}") == 1


def test_blank_lines_are_counted_and_left_out(corpus: Corpus) -> None:
    blank = sum(
        not json.loads(line)["message"]
        for path in corpus.cases.glob("*/expected.jsonl")
        for line in path.read_text().split("\n")[:-1]
    )
    assert blank > 0
    assert corpus.status["skipped"]["blank lines"] == blank


def expected_lines(case: Path, container: str, *, api: bool = False) -> list[Line]:
    """
    The messages of one container that CloudWatch can take.
    """
    truth = case / "expected_api.jsonl"
    if not (api and truth.exists()):
        truth = case / "expected.jsonl"
    rows = map(json.loads, truth.read_text().split("\n")[:-1])
    return [
        line_of(row)
        for row in rows
        if row.get("container", container) == container and row["message"]
    ]


def line_of(row: dict[str, Any]) -> Line:
    return (row["stream"], row["time_ns"] // 1_000_000, row["message"])


def whole(lines: list[Line]) -> list[Line]:
    """
    Lines, those that were cut at the limit of an event put together again.
    """
    joined: list[Line] = []
    for stream, timestamp, message in lines:
        last = joined[-1] if joined else ("", 0, "")
        is_cut = len(last[2].encode()) >= MAX_MESSAGE_BYTES - 3
        if is_cut and last[:2] == (stream, timestamp):
            joined[-1] = (stream, timestamp, last[2] + message)
        else:
            joined.append((stream, timestamp, message))
    return joined
