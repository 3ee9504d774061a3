"""
Text in so many cells of a terminal.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.fitting import cells, padded, shared, shortened, spelled, wrapped

ANY_TEXT = st.text(alphabet=st.one_of(st.characters(), st.sampled_from("a 漢\u0301\x1b\u202e")))


@given(ANY_TEXT)
def test_all_that_is_not_seen_is_spelled_out(text: str) -> None:
    shown = spelled(text)
    assert shown.isprintable()
    assert text.isprintable() <= (len(shown) >= len(text))


@given(ANY_TEXT.map(spelled), st.integers(0, 40))
def test_a_shortened_text_is_no_wider_than_that(text: str, width: int) -> None:
    shown = shortened(text, width)
    assert cells(shown) <= width
    if cells(text) <= width:
        assert shown == text


@given(ANY_TEXT.map(spelled), st.integers(2, 40), st.integers(1, 5))
def test_wrapped_lines_are_as_many_and_as_wide_as_allowed(
    text: str, width: int, lines: int
) -> None:
    made = wrapped(text, width, lines=lines)
    assert 1 <= len(made) <= lines
    assert all(cells(line) <= width for line in made)
    if not made[-1].endswith("…"):
        assert "".join("".join(made).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("spool", 5, "spool"),
        ("0123456789", 5, "01…89"),
        ("0123456789", 6, "012…89"),
        ("0123456789", 1, "…"),
        ("漢漢漢漢", 5, "漢…漢"),
    ],
)
def test_what_is_too_wide_loses_its_middle(text: str, width: int, shown: str) -> None:
    assert shortened(text, width) == shown


def test_lines_end_at_spaces_where_there_are_some() -> None:
    assert wrapped("no way through to https://example.com/", 12, lines=9) == [
        "no way",
        "through to",
        "https://exam",
        "ple.com/",
    ]
    assert wrapped("one two three", 5, lines=2) == ["one", "two…"]


@pytest.mark.parametrize("word", ["漢" * 200_000, "e\u0301" * 200_000, "a" * 4_000_000])
def test_a_word_of_any_length_is_wrapped_as_a_whole(word: str) -> None:
    assert "".join(wrapped(word, 12, lines=len(word))) == word


def test_who_wants_little_room_gets_it() -> None:
    assert shared(40, 10, 20) == (10, 20)
    assert shared(40, 10, 99) == (10, 30)
    assert shared(40, 99, 10) == (30, 10)
    assert shared(41, 99, 99) == (20, 21)


def test_padding_counts_cells() -> None:
    assert padded("漢", 4) == "漢  "
    assert padded("漢", 4, right=True) == "  漢"
