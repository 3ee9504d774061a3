"""
Which events a selection names.
"""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spool.selection import STATES, Selection

TIMES = st.integers(0, 5)
SELECTIONS = st.builds(
    Selection,
    group=st.sampled_from([None, "g", "h"]),
    stream=st.sampled_from([None, "a", "b"]),
    since_ms=st.none() | TIMES,
    until_ms=st.none() | TIMES,
    batch_id=st.none() | st.integers(1, 3),
    states=st.lists(st.sampled_from(STATES), unique=True).map(tuple),
    after_id=st.none() | st.integers(0, 12),
    last_id=st.none() | st.integers(0, 12),
    pattern=st.sampled_from([None, "^a", "[135]$"]),
)


@pytest.fixture(scope="module")
def shown(open_desk, tmp_path_factory):
    """
    A dozen events of all kinds, and what a selection finds of them.
    """
    desk = open_desk(tmp_path_factory.mktemp("spool") / "db")
    for stream in "ab":
        for start in (0, 3):
            desk.put(*((n, f"{stream}{n}") for n in range(start, start + 3)), stream=stream)
            if start == 0:
                desk.settle(desk.take(stream), (0, 1, "too old"))
    desk.take("b")
    desk.store._reader.create_scalar_function(
        "regexp", lambda pattern, message: bool(re.search(pattern, message.decode()))
    )
    yield desk
    desk.store.close()


def found(desk, selection):
    condition, values = selection.sql()
    with desk.store.reading() as db:
        return db.execute(f"SELECT id FROM events WHERE {condition} ORDER BY id", values).fetchall()


def matches(selection, event):
    event_id, group, stream, timestamp, message, state, batch_id = event
    wanted = (
        (selection.group, lambda value: group == value),
        (selection.stream, lambda value: stream == value),
        (selection.since_ms, lambda value: timestamp >= value),
        (selection.until_ms, lambda value: timestamp < value),
        (selection.batch_id, lambda value: batch_id == value),
        (selection.states or None, lambda value: state in value),
        (selection.after_id, lambda value: event_id > value),
        (selection.last_id, lambda value: event_id <= value),
        (selection.pattern, lambda value: re.search(value, message)),
    )
    return all(value is None or test(value) for value, test in wanted)


@settings(max_examples=200)
@given(selection=SELECTIONS)
def test_it_names_the_events_that_match_every_field_given(shown, selection):
    events = shown.rows(
        "SELECT id, log_group, log_stream, timestamp, message, state, batch_id FROM events"
    )
    assert len(events) == 12
    expected = [(event[0],) for event in sorted(events) if matches(selection, event)]
    assert found(shown, selection) == expected


def test_nothing_given_names_everything(shown):
    assert len(found(shown, Selection())) == 12


@pytest.mark.parametrize("value", ["'; DROP TABLE event; --", '"', "\0", "%", "é"])
def test_what_a_user_gives_is_a_value_and_never_sql(shown, value):
    selection = Selection(group=value, stream=value, pattern=value, states=(value,))
    assert found(shown, selection) == []
    assert value not in selection.sql()[0]
    assert len(found(shown, Selection())) == 12
