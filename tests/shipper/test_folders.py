"""
The folders of logs: which of them are missed, and when.
"""

from __future__ import annotations

import errno
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from shipper.folders import Folders
from shipper.sources.docker_logs import JsonFileSource
from shipper.sources.file_source import FileSource
from shipper.sources.intake import Intake
from shipper.sources.pod_logs import PodLogSource

NO_INTAKE = cast(Intake, None)
DOCKER, PODS = Path("/docker/containers"), Path("/pods")


@dataclass
class Engine:
    """
    One that answers, or not, or nobody knows.
    """

    answers: bool | None


def sources(docker: int, pods: int) -> list[FileSource]:
    """
    With these errors when their folders are listed; 0 for none.
    """
    made = [JsonFileSource(DOCKER, NO_INTAKE), PodLogSource(PODS, NO_INTAKE)]
    for source, number in zip(made, (docker, pods), strict=True):
        source.unlisted = OSError(number, os.strerror(number)) if number else None
    return made


@pytest.mark.parametrize(
    ("docker", "pods", "engine", "told"),
    [
        (0, 0, None, None),
        (0, errno.ENOENT, None, None),
        (errno.ENOENT, 0, Engine(False), None),
        (errno.ENOENT, errno.ENOENT, Engine(True), None),
        (errno.ENOENT, errno.ENOENT, Engine(None), None),
        (errno.ENOENT, errno.ENOENT, Engine(False), "no such folders, and no engine answers,"),
        (errno.ENOENT, errno.ENOENT, None, "no such folders, so nothing"),
        (errno.EACCES, 0, None, "/docker/containers: cannot be read (Permission denied)"),
        (errno.EACCES, 0, Engine(False), "run as root"),
        (errno.EACCES, errno.ENOENT, Engine(None), None),
        (errno.ENOTDIR, 0, Engine(False), "with --containers-dir"),
        (errno.ENOENT, errno.ENOTDIR, Engine(True), "with --pods-dir"),
        (0, errno.EACCES, Engine(True), "/pods: cannot be read (Permission denied)"),
    ],
)
def test_a_folder_is_missed_where_nothing_else_gives_its_lines(
    docker: int, pods: int, engine: Any, told: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    folders = Folders(sources(docker, pods), engine)
    found = folders.look()
    assert folders.look() == folders.reason == folders.why_not() == found
    if told is None:
        assert found is None
        assert caplog.text == ""
    else:
        assert told in str(found)
        assert caplog.messages == [found]


def test_where_the_engine_gives_the_lines_instead_only_the_log_tells(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    engine = Engine(True)
    both = sources(errno.EACCES, errno.ENOENT)
    folders = Folders(both, engine)
    assert folders.look() is None
    assert "are read through the Engine API" in caplog.text
    engine.answers = False
    assert "so nothing is collected from there" in str(folders.look())
    both[0].unlisted = None
    assert folders.look() is None
    assert caplog.messages[-1] == "all logs can be read again"
    assert len(caplog.messages) == 3


def test_without_folders_to_look_in_none_is_missed() -> None:
    assert Folders([], Engine(False)).look() is None
    assert Folders([], None).look() is None


def test_a_log_that_cannot_be_opened_is_named_and_others_are_mentioned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    docker, pods = sources(0, 0)
    folders = Folders([docker, pods], None)
    barred = OSError(errno.EACCES, os.strerror(errno.EACCES))
    docker.unopened = {DOCKER / "b": barred, DOCKER / "a": barred}
    pods.unopened = {PODS / "web": OSError(errno.EMFILE, os.strerror(errno.EMFILE))}
    found = folders.look()
    assert found == (
        "/docker/containers/a: cannot be read (Permission denied), so it is not collected, nor are"
        " others below /docker/containers; run as root, or as a user who may read it;"
        " /pods/web: cannot be read (Too many open files), so it is not collected"
    )
    assert folders.look() == found
    assert len(caplog.messages) == 2
    docker.unopened = {}
    pods.unopened = {}
    assert folders.look() is None
