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
        (r"[\^a]", "^", True),
        ("[^b-a]", "x", True),
        ("[b-a]", "b", False),
        ("[^]", "^", False),
        ("[a-]", "-", False),
        ("[-a]", "-", False),
        ("[]a]", "]", False),
        ("[a-c-e]", "b", False),
        ("*[^a]b", "x/b", True),
        ("[*]*", "*a", True),
    ],
)
def test_stars_and_brackets_are_gos_too(pattern: str, text: str, expected: bool) -> None:
    assert path_match(pattern, text) is expected


LETTERS = "ab/c-"
TAKEN = {"?": "abc-", "[ab]": "ab", "[^a]": "b/c-", "[a-c]": "abc", "[^b-c]": "a/-"}
"""What a part of a pattern takes of `LETTERS`; these alone take themselves."""


def chunk_of_go(tokens: list[str], text: str) -> str | None:
    """
    What is left of a text that begins with what these tokens take.
    """
    is_taken = (
        letter in TAKEN.get(token, token) for token, letter in zip(tokens, text, strict=False)
    )
    if len(tokens) > len(text) or not all(is_taken):
        return None
    return text[len(tokens) :]


def match_of_go(tokens: list[str], text: str) -> bool:
    """
    Match of Go's path package, step by step: what follows a star is looked for from the left, and
    once found it is never looked for again.
    """
    while tokens:
        is_star = tokens[0] == "*"
        tokens = tokens[1:] if is_star else tokens
        if tokens and tokens[0] == "*":
            continue
        end = tokens.index("*") if "*" in tokens else len(tokens)
        chunk, tokens = tokens[:end], tokens[end:]
        if is_star and not chunk:
            return "/" not in text
        reach = len(text.partition("/")[0]) if is_star else 0
        rests = [chunk_of_go(chunk, text[skipped:]) for skipped in range(reach + 1)]
        found = [rest for rest in rests if rest is not None and (tokens or not rest)]
        if not found:
            return False
        text = found[0]
    return not text


@given(st.lists(st.sampled_from(["*", "*", *LETTERS, *TAKEN])), st.text(LETTERS))
def test_any_pattern_matches_what_gos_algorithm_does(tokens: list[str], text: str) -> None:
    assert path_match("".join(tokens), text) is match_of_go(tokens, text)


def brackets_of_go(inside: str, letter: str) -> bool:
    """
    Whether Go's `[inside]` takes the letter, character by character; not where it is no pattern.
    """
    left = list(f"{inside}]")
    is_negated = left[0] == "^"
    del left[:is_negated]
    is_found = False
    try:
        while True:
            ends = [_end_of_go(left)]
            if left[0] == "-":
                del left[0]
                ends.append(_end_of_go(left))
            is_found |= ends[0] <= letter <= ends[-1]
            if left[0] == "]":
                return len(left) == 1 and is_found is not is_negated
    except IndexError:
        return False


def _end_of_go(left: list[str]) -> str:
    if left[0] in "-]":
        raise IndexError
    del left[: left[0] == "\\"]
    return left.pop(0)


@given(st.text(r"ac-^]\[&~|", max_size=7), st.sampled_from(r"abc-^]\[&~|/"))
def test_any_brackets_take_what_gos_do(inside: str, letter: str) -> None:
    assert path_match(f"[{inside}]", letter) is brackets_of_go(inside, letter)


def test_no_label_is_long_enough_to_hold_up_the_agent() -> None:
    """
    The time would grow with the fourth power of the length.
    """
    assert not path_match("*a*b*a*c*", "ab" * 50_000)
    assert path_match("*a*b*a*c*", "ab" * 50_000 + "c")
