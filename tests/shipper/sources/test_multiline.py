"""
Stack traces become one event.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.batch import MAX_MESSAGE_BYTES
from shipper.errors import RouteError
from shipper.sources.multiline import Match, Multiline, rule_from

STDOUT, STDERR = 1, 2
TRACE = [
    "2026-11-22 ERROR request failed",
    "java.lang.IllegalStateException: no",
    "\tat a.B.c(B.java:1)",
    "\tat a.B.main(B.java:2)",
    "2026-11-22 INFO next",
]


def joined(lines: list[str], flag: str | None = None, **environ: str) -> list[str]:
    rule = rule_from(flag, {f"MULTILINE_{name}": value for name, value in environ.items()})
    assert rule is not None
    multiline = Multiline(rule)
    events = multiline.read([(7, number, STDOUT, line) for number, line in enumerate(lines)])
    return [message for *_, message in [*events, *multiline.flush(7)]]


def test_without_a_setting_there_is_no_rule() -> None:
    assert rule_from(None, {"PATH": "/bin", "MULTILINE_PATTERN": ""}) is None


def test_logspouts_default_joins_indented_lines_to_the_one_before() -> None:
    assert joined(["a", " b", "\tc", "d"], MATCH="nonfirst") == ["a\n b\n\tc", "d"]


def test_a_pattern_given_as_a_flag_tells_how_a_message_begins() -> None:
    assert joined(TRACE, r"^\d{4}-") == ["\n".join(TRACE[:4]), TRACE[4]]


@pytest.mark.parametrize("pattern", [r"^\s", r"^\s+at ", r"^[ \t]"])
def test_a_flag_that_finds_indented_lines_tells_how_a_message_goes_on(pattern: str) -> None:
    assert joined(["a", "    at b", "    at c", "d"], pattern) == ["a\n    at b\n    at c", "d"]


@pytest.mark.parametrize(
    ("match", "lines", "expected"),
    [
        ("first", ["<a", "b", "<c"], ["<a\nb", "<c"]),
        ("last", ["a", "b>", "c"], ["a\nb>", "c"]),
        ("nonfirst", ["a", "+b", "c"], ["a\n+b", "c"]),
        ("nonlast", ["a\\", "b", "c"], ["a\\\nb", "c"]),
    ],
)
def test_the_four_ways_to_match_are_logspouts(
    match: str, lines: list[str], expected: list[str]
) -> None:
    assert joined(lines, PATTERN=r"^<|>$|^\+|\\$", MATCH=match) == expected


def test_the_separator_is_a_setting() -> None:
    assert joined(["a", " b"], SEPARATOR=" | ") == ["a |  b"]


def test_the_time_of_a_message_is_that_of_its_first_line() -> None:
    rule = rule_from(r"^\S", {})
    assert rule is not None
    multiline = Multiline(rule)
    assert multiline.read([(7, 10, STDOUT, "a"), (7, 20, STDOUT, " b")]) == []
    assert multiline.read([(7, 30, STDOUT, "c")]) == [(7, 10, STDOUT, "a\n b")]


def test_stdout_and_stderr_are_joined_each_for_themselves() -> None:
    rule = rule_from(r"^\S", {})
    assert rule is not None
    multiline = Multiline(rule)
    lines = [(7, 1, STDOUT, "a"), (7, 2, STDERR, "x"), (7, 3, STDOUT, " b"), (7, 4, STDERR, " y")]
    assert multiline.read(lines) == []
    assert multiline.flush(7) == [(7, 1, STDOUT, "a\n b"), (7, 2, STDERR, "x\n y")]


def test_an_endless_message_is_cut_at_the_events_limit() -> None:
    lines = ["first", *[" " + "x" * 99_999] * 25]
    messages = joined(lines, r"^\S")
    assert len(messages) == 3
    assert max(len(message) for message in messages) <= MAX_MESSAGE_BYTES
    assert "\n".join(messages) == "\n".join(lines)


@given(st.lists(st.text("ab \t", max_size=4)), st.integers(0, 30), st.sampled_from(list(Match)))
def test_a_restart_in_the_middle_changes_nothing(lines: list[str], cut: int, match: Match) -> None:
    rule = rule_from(None, {"MULTILINE_MATCH": match.value})
    assert rule is not None
    events = [(7, number, STDOUT, line) for number, line in enumerate(lines)]
    whole, before, after = Multiline(rule), Multiline(rule), Multiline(rule)
    expected = whole.read(events) + whole.flush(7)
    first = before.read(events[:cut])
    after.resume(json.loads(json.dumps(before.position())))
    assert first + after.read(events[cut:]) + after.flush(7) == expected


@pytest.mark.parametrize(
    ("setting", "default", "expected"),
    [("true", "false", True), ("false", "true", False), ("", "true", True), ("x", "false", False)],
)
def test_a_container_may_ask_for_it_or_refuse_it(
    setting: str, default: str, expected: bool
) -> None:
    rule = rule_from(None, {"MULTILINE_ENABLE_DEFAULT": default})
    assert rule is not None
    assert rule.applies(setting) is expected


@pytest.mark.parametrize(
    ("flag", "environ"),
    [
        ("(", {}),
        (None, {"MULTILINE_PATTERN": "["}),
        (None, {"MULTILINE_MATCH": "middle"}),
        (None, {"MULTILINE_FLUSH_AFTER": "soon"}),
        (None, {"MULTILINE_ENABLE_DEFAULT": "maybe"}),
    ],
)
def test_a_bad_setting_is_one_line(flag: str | None, environ: dict[str, str]) -> None:
    with pytest.raises(RouteError) as caught:
        rule_from(flag, environ)
    assert len(str(caught.value).splitlines()) == 1
