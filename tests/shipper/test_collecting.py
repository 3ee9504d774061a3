"""
Which containers are collected, by logspout's rules.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper import collecting
from shipper.collecting import Chooser, own_container_id, own_pod_uid, path_match
from shipper.containers import Container
from shipper.route import Route

WEB = Container(id="ab" * 32, name="web", labels={"tier": "front", "com.x/y": "a"})


def chooser(route: Route | None, source: str) -> Chooser:
    return Chooser(route or Route(), source, Path("/nowhere"), own_id="cd" * 32)


def choose(container: Container, route: Route | None = None, source: str = "files") -> str | None:
    return chooser(route, source).choose(container).source


def reason(container: Container, route: Route | None = None, source: str = "files") -> str:
    return chooser(route, source).choose(container).reason


def test_what_cannot_be_read_here_comes_through_the_engine(tmp_path: Path) -> None:
    """
    logspout's users mount the socket and nothing else.
    """
    auto = Chooser(Route(), "auto", tmp_path, own_id=None)
    assert auto.choose(WEB).source == "api"
    (tmp_path / WEB.id).mkdir()
    assert auto.choose(WEB).source == "files"
    (tmp_path / WEB.id / f"{WEB.id}-json.log").touch(mode=0o640)
    assert auto.choose(WEB).source == "files"


def test_an_ordinary_container_is_collected_from_its_file() -> None:
    assert choose(WEB) == "files"


def test_the_agents_own_container_is_never_collected() -> None:
    assert choose(replace(WEB, id="cd" * 32)) is None
    assert "own container" in reason(replace(WEB, id="cd" * 32))


@pytest.mark.parametrize("value", ["ignore", "IGNORE", "Ignore"])
def test_a_container_may_ask_to_be_ignored(value: str) -> None:
    assert choose(replace(WEB, env={"LOGSPOUT": value})) is None


def test_another_value_of_logspout_ignores_nothing() -> None:
    assert choose(replace(WEB, env={"LOGSPOUT": "ignored"})) == "files"


def test_a_terminal_is_collected_only_when_allowed() -> None:
    terminal = replace(WEB, tty=True)
    assert choose(terminal) is None
    assert "ALLOW_TTY" in reason(terminal)
    assert choose(terminal, Route(allow_tty=True)) == "files"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"logs": "true"}, None),
        ({"logs": "TRUE"}, None),
        ({"logs": "yes"}, "files"),
        ({"other": "true"}, "files"),
        ({"tier": "back"}, None),
    ],
)
def test_excluded_labels_exclude_by_value_whatever_its_case(
    labels: dict[str, str], expected: str | None
) -> None:
    route = Route(exclude_labels=(("logs", "true"), ("tier", "back")))
    assert choose(replace(WEB, labels=labels), route) == expected


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (Route(filter_name="w*"), "files"),
        (Route(filter_name="w"), None),
        (Route(filter_name="*_db"), None),
        (Route(filter_id="abab"), "files"),
        (Route(filter_id="ba"), None),
        (Route(filter_labels=("tier:f*",)), "files"),
        (Route(filter_labels=("tier:b*",)), None),
        (Route(filter_labels=("tier:f*", "missing:x")), None),
        (Route(filter_labels=("missing:*",)), "files"),
        (Route(filter_name="web", filter_labels=("tier:front",)), "files"),
    ],
    ids=str,
)
def test_filters_are_those_of_logspouts_routes(route: Route, expected: str | None) -> None:
    assert choose(WEB, route) == expected


@pytest.mark.parametrize(
    ("driver", "source", "expected"),
    [
        ("json-file", "files", "files"),
        ("json-file", "api", "api"),
        ("local", "auto", "api"),
        ("journald", "auto", "api"),
        ("local", "files", None),
        ("none", "auto", None),
        ("none", "api", None),
    ],
)
def test_the_source_follows_the_log_driver(driver: str, source: str, expected: str | None) -> None:
    container = replace(WEB, log_driver=driver)
    assert choose(container, source=source) == expected
    if expected is None:
        assert driver in reason(container, source=source)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("*", "anything", True),
        ("*", "a/b", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[^a-c]x", "dx", True),
        (r"\*", "*", True),
        (r"\*", "x", False),
        ("[", "[", False),
        ("a.b", "axb", False),
        ("[[]", "[", True),
        ("web-*-[0-9]", "web-eu-1", True),
    ],
)
def test_patterns_are_gos_path_match(pattern: str, text: str, expected: bool) -> None:
    assert path_match(pattern, text) is expected


MOUNTS = """\
600 500 0:50 / / rw - overlay overlay rw
601 600 254:0 /lib/docker/containers/{other}/mounts/shm /var/lib/docker/containers/{other} rw - ext4
602 600 254:0 /lib/docker/containers/{own}/resolv.conf /etc/resolv.conf rw - ext4 /dev/vda rw
"""


def test_the_agent_knows_its_own_container_among_those_mounted_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(MOUNTS.format(own="0f" * 32, other="f0" * 32))
    monkeypatch.setattr(collecting, "MOUNTINFO", mountinfo)
    assert own_container_id() == "0f" * 32


def test_outside_of_docker_there_is_no_own_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "MOUNTINFO", tmp_path / "missing")
    assert own_container_id() is None


POD_MOUNTS = """\
600 500 0:50 / / rw - overlay overlay rw
601 600 254:0 /log/pods /var/log/pods ro - ext4 /dev/vda rw
{line}
"""


@pytest.mark.parametrize(
    "line",
    [
        "602 600 254:0 /var/lib/kubelet/pods/{own}/etc-hosts /etc/hosts rw - ext4 /dev/vda rw",
        "602 600 254:9 /pods/{own}/etc-hosts /etc/hosts rw - xfs /dev/vdb rw",
        "602 600 254:0 /var/lib/kubelet/pods/{own}/containers/spool/1a2b /dev/termination-log rw -",
    ],
)
def test_the_agent_knows_its_own_pod_by_what_the_kubelet_mounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    mountinfo = tmp_path / "mountinfo"
    own = "0f5e1c1c-8f0e-4c6b-9d5e-3c1a6f1f0a11"
    mountinfo.write_text(POD_MOUNTS.format(line=line.format(own=own)))
    monkeypatch.setattr(collecting, "MOUNTINFO", mountinfo)
    assert own_pod_uid() == own
    assert own_container_id() is None


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "a-b-c-", False),
        ("*b*", "a/b", False),
        ("a**b", "a--b", True),
        ("*a*/*b", "xay/zb", True),
        (r"[\d]", "d", True),
        (r"[\d]", "1", False),
        (r"[\]]", "]", True),
        (r"[a\-c]", "b", False),
        (r"[a\-c]", "-", True),
        ("[a^]", "^", True),
    ],
)
def test_stars_and_brackets_are_gos_too(pattern: str, text: str, expected: bool) -> None:
    assert path_match(pattern, text) is expected


def matches(pattern: str, text: str) -> bool:
    """
    Of letters, stars and question marks, as one would write it down.
    """
    if not pattern:
        return not text
    if pattern[0] == "*":
        ends = range(text.find("/") + 1 or len(text) + 1)
        return any(matches(pattern[1:], text[end:]) for end in ends)
    is_one = bool(text) and (text[0] == pattern[0] or (pattern[0] == "?" and text[0] != "/"))
    return is_one and matches(pattern[1:], text[1:])


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_a_pattern_with_stars_matches_what_it_means(pattern: str, text: str) -> None:
    assert path_match(pattern, text) is matches(pattern, text)


def test_no_label_is_long_enough_to_hold_up_the_agent() -> None:
    """
    The time would grow with the fourth power of the length.
    """
    assert not path_match("*a*b*a*c*", "ab" * 50_000)
    assert path_match("*a*b*a*c*", "ab" * 50_000 + "c")
