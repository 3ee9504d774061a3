"""
Rows as a table: each text in its column, whatever is in it and however little room there is.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.fitting import cells
from cli.tables import Shape, laid_out

TEXTS = st.text(alphabet=st.sampled_from("ab  漢\u0301\n"), max_size=60)
ROWS = st.lists(st.fixed_dictionaries({"n": st.integers(0, 99), "one": TEXTS, "two": TEXTS}))


def lines_of(rows: list[dict[str, Any]], shape: Shape, width: int) -> list[str]:
    return list(
        laid_out(rows, shape, width=width, text_of=lambda _, value: str(value), below_lines=2)
    )


def head_of(rows: list[dict[str, Any]], shape: Shape, width: int) -> list[str]:
    return lines_of(rows, shape, width)[0].split()


@given(ROWS, st.integers(24, 80))
def test_no_line_is_wider_than_the_room_and_no_word_is_lost(
    rows: list[dict[str, Any]], width: int
) -> None:
    lines = lines_of(rows, Shape(("n", "one", "two")), width)
    assert all(cells(line) <= width for line in lines)
    shown = sorted("".join("".join(lines[1:]).split()))
    assert shown == sorted("".join("".join(f"{r['n']}{r['one']}{r['two']}" for r in rows).split()))


def test_a_texts_own_lines_are_below_each_other_with_an_indent() -> None:
    rows = [{"id": 1, "message": "ERROR boom\n  at a.b.c(1)"}, {"id": 20, "message": "next"}]
    assert lines_of(rows, Shape(("id", "message")), 80) == [
        "id  message",
        " 1  ERROR boom",
        "        at a.b.c(1)",
        "20  next",
    ]


def test_what_does_not_fit_goes_on_below_and_breaks_at_spaces() -> None:
    rows = [{"id": 1, "message": "one two three four"}]
    assert lines_of(rows, Shape(("id", "message")), 13)[1:] == [
        " 1  one two",
        "    three",
        "    four",
    ]


@pytest.mark.parametrize(("width", "shown"), [(39, ["id"]), (40, ["id", "group"])])
def test_a_spare_column_is_there_when_there_is_room(width: int, shown: list[str]) -> None:
    rows = [{"id": 1, "group": "g" * 36}]
    assert head_of(rows, Shape(("id", "group"), spare=("group",)), width) == shown


def test_a_telling_column_is_there_where_rows_differ_in_it() -> None:
    shape = Shape(("id", "group"), spare=("group",), telling=("group",))
    rows = [{"id": 1, "group": "a" * 36}, {"id": 2, "group": "a" * 36}]
    assert head_of(rows, shape, 30) == ["id"]
    rows[0]["group"] = "b"
    assert head_of(rows, shape, 30) == ["id", "group"]


def test_an_occasional_column_is_there_where_a_row_has_it() -> None:
    shape = Shape(("id", "reason"), occasional=("reason",))
    assert head_of([{"id": 1, "reason": None}], shape, 80) == ["id"]
    assert head_of([{"id": 1, "reason": None}, {"id": 2, "reason": "x"}], shape, 80) == [
        "id",
        "reason",
    ]


def test_what_is_below_a_row_has_two_lines_and_the_last_tells_what_is_cut() -> None:
    rows = [{"id": 1, "error": "no way through to the endpoint"}, {"id": 2, "error": None}]
    assert lines_of(rows, Shape(("id",), below="error"), 20) == [
        "id",
        " 1",
        "    no way through",
        "    to the endpoint",
        " 2",
    ]
    assert lines_of(rows, Shape(("id",), below="error"), 16)[3] == "    through to…"


def test_without_rows_there_is_the_head_alone() -> None:
    assert lines_of([], Shape(("id", "message")), 80) == ["id  message"]


@given(ROWS, st.integers(1, 12))
def test_a_terminal_that_is_narrower_than_a_letter_still_gets_every_letter(
    rows: list[dict[str, Any]], width: int
) -> None:
    lines = lines_of(rows, Shape(("n", "one", "two")), width)
    shown = sorted("".join("".join(lines[1:]).split()))
    assert set("".join("".join(f"{r['one']}{r['two']}" for r in rows).split())) <= set(shown)


@pytest.mark.parametrize("text", ["漢" * 200_000, "e\u0301 " * 200_000, "a" * 4_000_000])
def test_a_line_of_any_length_is_broken_as_a_whole(text: str) -> None:
    lines = lines_of([{"id": 1, "message": text}], Shape(("id", "message")), 16)[1:]
    assert "".join("".join(lines).split()) == "1" + text.replace(" ", "")
