"""
Lines of every form, printed by a container of the real Docker Engine, arrive as they were printed.

Their order is that of their timestamps; here it is not looked at, as two requests may overtake.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from agent import Agent
from cloudwatch_endpoint import EVENT_OVERHEAD_BYTES, MAX_EVENT_BYTES
from engine.delivered import Delivered
from engine.docker_cli import Container

Run = Callable[..., Container]

MAX_MESSAGE_BYTES = MAX_EVENT_BYTES - EVENT_OVERHEAD_BYTES


def test_a_long_line_that_docker_cuts_arrives_whole(
    run: Run, agent: Agent, delivered: Delivered
) -> None:
    container = run(
        "long", "echo before; yes 0123456789 | head -n 4096 | tr -d '\\n'; echo; echo after"
    )
    container.wait()
    messages = delivered.all_of(agent, container.name, 3)
    assert sorted(messages) == ["0123456789" * 4_096, "after", "before"]


@pytest.mark.parametrize(
    ("character", "count"),
    [("x", 1_258_291), ("😀", 314_573)],
    ids=["of ASCII", "of four bytes a character"],
)
def test_a_line_beyond_the_limit_is_split_between_characters(
    run: Run, agent: Agent, delivered: Delivered, character: str, count: int
) -> None:
    container = run("huge", f"yes {character} | head -n {count} | tr -d '\\n'; echo; echo after")
    container.wait()
    parts = delivered.all_of(agent, container.name, 3)
    parts.remove("after")
    assert "".join(parts) == character * count
    assert len(parts) == 2
    assert all(len(part.encode()) <= MAX_MESSAGE_BYTES for part in parts)


def test_parts_of_both_streams_that_docker_mixes_are_joined_by_stream(
    run: Run, agent: Agent, delivered: Delivered
) -> None:
    container = run(
        "mixed",
        "yes o | head -n 20000 | tr -d '\\n'; yes e | head -n 20000 | tr -d '\\n' >&2;"
        "usleep 100000; yes o | head -n 20000 | tr -d '\\n'; echo; echo >&2",
    )
    container.wait()
    messages = delivered.all_of(agent, container.name, 2)
    assert sorted(messages) == ["e" * 20_000, "o" * 40_000]


def test_a_last_line_without_a_newline_arrives(
    run: Run, agent: Agent, delivered: Delivered
) -> None:
    container = run("unended", "echo first; printf 'last, unended'")
    container.wait()
    assert sorted(delivered.all_of(agent, container.name, 2)) == ["first", "last, unended"]


def test_blank_lines_are_not_delivered(run: Run, agent: Agent, delivered: Delivered) -> None:
    container = run("blank", "echo; echo one; echo; echo; echo ' '; echo two; echo")
    container.wait()
    assert sorted(delivered.all_of(agent, container.name, 3)) == [" ", "one", "two"]


@pytest.mark.parametrize(
    "text",
    [
        "Grüße, 世界, مرحبا, नमस्ते",
        "😀 👩‍👩‍👧‍👦 🇩🇪 𐍈",
        'a "quoted" \\back\\slash\\ <b>&amp;</b>',
        "tab\tbell\x07escape\x1b[31mred\x1b[0m delete\x7f",
        "separators \u2028 \u2029 \u0085 \ufeff \u200b end",
        "noncharacters \ufffe \uffff \U0010ffff",
        "cr\rin the middle",
        "  blanks around  ",
        '{"log":"a record in a record\\n","stream":"stdout","time":"2020-01-01T00:00:00Z"}',
    ],
    ids=lambda text: text.split(" ")[0].rstrip(","),
)
def test_text_arrives_as_it_was_printed(
    run: Run, agent: Agent, delivered: Delivered, text: str
) -> None:
    container = run("text", 'printf "%s\\n" "$TEXT"', "--env", f"TEXT={text}")
    container.wait()
    assert delivered.all_of(agent, container.name, 1) == [text]


def test_bytes_that_are_no_text_arrive_as_docker_has_them(
    run: Run, agent: Agent, delivered: Delivered
) -> None:
    container = run("bytes", r"printf 'a\377b\nc\342\202d\ne\000f\n'")
    container.wait()
    messages = delivered.all_of(agent, container.name, 3)
    assert sorted(messages) == ["a\ufffdb", "c\ufffd\ufffdd", "e\0f"]


def test_a_terminals_lines_arrive(run: Run, agent: Agent, delivered: Delivered) -> None:
    container = run("terminal", "echo one; echo two >&2; echo; echo three", "--tty")
    container.wait()
    messages = delivered.all_of(agent, container.name, 3)
    printed = [text for message in messages if (text := message.rstrip("\r"))]
    assert sorted(printed) == ["one", "three", "two"]
