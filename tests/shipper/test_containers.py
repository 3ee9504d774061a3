"""
Who a container is, from the folder that Docker keeps for it, whatever is in that folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.containers import CONTAINER_ID, MAX_CONFIG_BYTES, Container, read_container

ID = "0123456789abcdef" * 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """
    A container's folder, empty.
    """
    made = tmp_path / ID
    made.mkdir()
    return made


def write(folder: Path, config: Any, host_config: Any = None) -> None:
    (folder / "config.v2.json").write_text(json.dumps(config))
    if host_config is not None:
        (folder / "hostconfig.json").write_text(json.dumps(host_config))


def test_everything_docker_tells_is_read(folder: Path) -> None:
    config = {
        "ID": ID,
        "Name": "/my_web.1",
        "Config": {
            "Hostname": "0123456789ab",
            "Tty": True,
            "Env": ["A=1", "EMPTY=", "URL=http://x/?a=b", "A=2", "NO_VALUE"],
            "Labels": {"com.docker.compose.service": "web", "blank": ""},
        },
        "State": {"Running": True, "Pid": 17},
    }
    write(folder, config, {"LogConfig": {"Type": "local", "Config": {}}})
    assert read_container(folder) == Container(
        id=ID,
        name="my_web.1",
        hostname="0123456789ab",
        labels={"com.docker.compose.service": "web", "blank": ""},
        env={"A": "2", "EMPTY": "", "URL": "http://x/?a=b"},
        tty=True,
        running=True,
        log_driver="local",
    )


def test_secrets_of_the_environment_are_not_in_its_printed_form(folder: Path) -> None:
    write(folder, {"Name": "/web", "Config": {"Env": ["PASSWORD=hunter2"]}})
    container = read_container(folder)
    assert container.env["PASSWORD"] == "hunter2"
    assert "hunter2" not in repr(container)


def test_without_a_hostconfig_the_driver_is_dockers_default(folder: Path) -> None:
    write(folder, {"Name": "/web"})
    assert read_container(folder).log_driver == "json-file"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "config.v2.json is missing"),
        (b"", "config.v2.json is damaged"),
        (b'{"Name":"/we', "config.v2.json is damaged"),
        (b"\xff\xfe", "config.v2.json is damaged"),
        (b" " * (MAX_CONFIG_BYTES + 1) + b"{}", "config.v2.json is damaged"),
    ],
    ids=["missing", "empty", "cut off", "no text", "huge"],
)
def test_a_config_that_cannot_be_read_costs_the_name_and_says_why(
    folder: Path, content: bytes | None, problem: str
) -> None:
    if content is not None:
        (folder / "config.v2.json").write_bytes(content)
    container = read_container(folder)
    assert (container.id, container.name) == (ID, ID[:12])
    assert container.problem == problem


def test_a_config_that_is_a_folder_is_no_trap(folder: Path) -> None:
    (folder / "config.v2.json").mkdir()
    container = read_container(folder)
    assert container.name == ID[:12]
    assert container.problem == "config.v2.json cannot be read: no plain file"


@pytest.mark.parametrize("name", [None, "", "/", "//", 5, ["/web"], {}])
def test_a_container_without_a_name_is_called_by_its_id(folder: Path, name: Any) -> None:
    write(folder, {"Name": name})
    assert read_container(folder).name == ID[:12]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
KEYS = ["Name", "Config", "State", "LogConfig", "Env", "Labels", "Tty", "Running", "Hostname"]
CONFIGS = JSON | st.dictionaries(
    st.sampled_from(KEYS), JSON | st.dictionaries(st.sampled_from(KEYS), JSON)
)


@given(CONFIGS, CONFIGS)
def test_whatever_json_stands_there_it_is_a_container(
    folder: Path, config: Any, host_config: Any
) -> None:
    write(folder, config, host_config)
    container = read_container(folder)
    assert container.id == ID
    assert container.name
    texts = [container.name, container.hostname, container.log_driver]
    assert all(isinstance(text, str) for text in [*texts, *container.env.values()])
    assert all(isinstance(text, str) for text in container.labels.values())
    assert isinstance(container.running, bool)
    assert isinstance(container.tty, bool)


@given(st.binary(max_size=200))
def test_whatever_bytes_stand_there_it_is_a_container(folder: Path, content: bytes) -> None:
    for name in ("config.v2.json", "hostconfig.json"):
        (folder / name).write_bytes(content)
    assert read_container(folder).id == ID


def test_an_id_is_64_hex_digits() -> None:
    assert CONTAINER_ID.fullmatch(ID)
    for other in ("", ID[:-1], ID + "0", ID.upper(), "g" * 64, "../" + ID[3:]):
        assert not CONTAINER_ID.fullmatch(other)
