"""
Replay: old events go back into the queue, and nothing is sent twice that is on its way already.
"""

import pytest

from spool import replay
from spool.audit import audit
from spool.replay import Amount, copy, newest_id, requeue, stream_ids, survey
from spool.selection import Selection
from spool.store import Chunk, Store

ALL = Selection()


@pytest.fixture
def mixed(desk):
    """
    Two sent events, two rejected ones, one on its way and one that waits.
    """
    desk.put((10, "sent 1"), (20, "sent 2"), (30, "rejected 1"))
    desk.settle(desk.take(), (2, 3, "too new"))
    desk.put((1, "rejected 2"))
    desk.store.reject_outside(desk.stream(), oldest_ms=5, newest_ms=99)
    desk.put((40, "on its way"))
    desk.take()
    desk.put((50, "waits"))
    return desk


def queued(desk):
    return [
        row[0]
        for row in desk.rows(
            "SELECT message FROM queue JOIN event ON event.id BETWEEN first_id AND last_id"
            " ORDER BY event.id"
        )
    ]


def test_what_was_sent_or_rejected_waits_again(mixed):
    assert requeue(mixed.store, ALL) == 4
    assert set(mixed.states().values()) == {"unsent"}
    assert queued(mixed) == ["sent 1", "sent 2", "rejected 1", "rejected 2", "waits"]
    assert mixed.rows("SELECT * FROM rejection") == []


def test_replaying_twice_sends_once(mixed):
    requeue(mixed.store, ALL)
    assert requeue(mixed.store, ALL) == 0
    [again] = mixed.drain()
    assert again.events == 5
    assert requeue(mixed.store, ALL) == 0, "it is on its way"


def test_an_event_on_its_way_is_settled_by_its_own_batch(mixed):
    [on_its_way] = mixed.store.unsettled()
    requeue(mixed.store, ALL)
    mixed.settle(on_its_way)
    assert mixed.states()["on its way"] == "sent"
    assert mixed.states()["sent 1"] == "unsent"


def test_an_event_sent_again_is_shown_with_its_last_batch(desk):
    desk.put((1, "one"), (2, "two"))
    desk.send()
    requeue(desk.store, Selection(until_ms=2))
    assert desk.rows("SELECT message, batch_id FROM events") == [("one", None), ("two", 1)]
    again = desk.take()
    assert desk.sent_as(again) == [(1, "one")]
    assert desk.rows("SELECT message, state, batch_id FROM events") == [
        ("one", "unsent", again.id),
        ("two", "sent", 1),
    ]
    desk.settle(again)
    assert desk.rows("SELECT message, state, batch_id FROM events") == [
        ("one", "sent", again.id),
        ("two", "sent", 1),
    ]


def test_a_rejected_event_can_be_rejected_again(desk):
    desk.put((1, "one"))
    desk.settle(desk.take(), (0, 1, "too new"))
    requeue(desk.store, ALL)
    desk.settle(desk.take(), (0, 1, "too old"))
    assert desk.rows("SELECT reason, batch_id FROM rejection") == [("too old", 2)]


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        (Selection(states=("sent",)), ["sent 1", "sent 2"]),
        (Selection(states=("rejected",)), ["rejected 1", "rejected 2"]),
        (Selection(states=("unsent",)), []),
        (Selection(since_ms=20), ["sent 2", "rejected 1"]),
        (Selection(until_ms=20), ["sent 1", "rejected 2"]),
        (Selection(since_ms=10, until_ms=20), ["sent 1"]),
        (Selection(batch_id=1), ["sent 1", "sent 2", "rejected 1"]),
        (Selection(batch_id=1, states=("sent",)), ["sent 1", "sent 2"]),
        (Selection(after_id=1, last_id=3), ["sent 2", "rejected 1"]),
        (Selection(group="g", stream="s"), ["sent 1", "sent 2", "rejected 1", "rejected 2"]),
        (Selection(group="other"), []),
        (Selection(stream="other"), []),
        (Selection(batch_id=99), []),
    ],
)
def test_only_what_is_chosen_waits_again(mixed, selection, chosen):
    assert requeue(mixed.store, selection) == len(chosen)
    assert queued(mixed) == [*chosen, "waits"]


def test_many_events_go_back_slice_by_slice(desk, monkeypatch):
    monkeypatch.setattr(replay, "SLICE_EVENTS", 7)
    desk.put(*((n, f"a {n}") for n in range(20)), stream="a")
    desk.put(*((n, f"b {n}") for n in range(20)), stream="b")
    desk.send("a")
    desk.send("b")
    assert requeue(desk.store, ALL) == 40
    assert queued(desk) == [f"{stream} {n}" for stream in "ab" for n in range(20)]


def test_what_was_pruned_is_not_found(desk):
    from spool.retention import prune

    desk.put((1, "pruned"), (2, "newest, so it stays"))
    desk.send()
    prune(desk.store, sent_before_ms=desk.now_ms + 1)
    assert requeue(desk.store, ALL) == 1


# How much


def test_a_survey_counts_without_changing_anything(mixed):
    mixed.put((1, "é"), stream="other")
    before = mixed.states()
    assert survey(mixed.store, ALL) == Amount(
        events=7, bytes=6 * 2 + 10 * 2 + 10 + 5 + 2, streams=2
    )
    assert survey(mixed.store, Selection(states=("sent",))) == Amount(2, 12, 1)
    assert survey(mixed.store, Selection(group="nobody's")) == Amount(0, 0, 0)
    assert mixed.states() == before


def test_the_newest_event_is_known(desk):
    assert newest_id(desk.store) == 0
    desk.put((1, "one"), (1, "two"))
    assert newest_id(desk.store) == 2


def test_streams_are_named_by_group_and_stream(desk):
    a, b = desk.stream("a"), desk.stream("b")
    c = desk.stream("a", "other group")
    assert stream_ids(desk.store, ALL) == set(), "there are no events in them"
    for stream_id in (a, b, c):
        desk.store.append([Chunk(stream_id, [(stream_id, 1, desk.store.source_id("x"), "one")])])
    assert stream_ids(desk.store, ALL) == {a, b, c}
    assert stream_ids(desk.store, Selection(stream="a")) == {a, c}
    assert stream_ids(desk.store, Selection(group="g", stream="a")) == {a}
    assert stream_ids(desk.store, Selection(group="nobody's")) == set()


# Elsewhere


def test_a_copy_waits_elsewhere_and_the_old_events_stay_as_they_are(mixed):
    before = mixed.states()
    targets = copy(mixed.store, ALL, group=None, stream="copy")
    assert targets == {mixed.stream("copy")}
    assert mixed.states() == before
    assert mixed.states("copy") == dict.fromkeys(before, "unsent")
    [batch] = mixed.drain("copy")
    assert (batch.group, batch.stream, batch.events) == ("g", "copy", 6)


def test_a_copy_keeps_time_and_source(desk):
    desk.put((10, "one"), source="web/stdout")
    desk.put((11, "two"), source="web/stderr")
    copy(desk.store, ALL, group="other", stream=None)
    assert desk.rows(
        "SELECT log_stream, timestamp, message, source FROM events WHERE log_group = 'other'"
    ) == [("s", 10, "one", "web/stdout"), ("s", 11, "two", "web/stderr")]


def test_a_copy_to_another_group_keeps_the_streams_apart(desk):
    desk.put((1, "in a"), stream="a")
    desk.put((1, "in b"), stream="b")
    targets = copy(desk.store, Selection(group="g"), group="copy", stream=None)
    assert targets == {desk.stream("a", "copy"), desk.stream("b", "copy")}
    assert desk.rows("SELECT log_stream, message FROM events WHERE log_group = 'copy'") == [
        ("a", "in a"),
        ("b", "in b"),
    ]


def test_a_copy_of_many_streams_into_one_is_in_the_order_stored(desk, monkeypatch):
    monkeypatch.setattr(replay, "SLICE_EVENTS", 3)
    for n in range(10):
        desk.put((1, f"{n}"), stream="ab"[n % 2])
    copy(desk.store, Selection(group="g"), group="copy", stream="all")
    assert list(desk.states("all")) == [f"{n}" for n in range(10)]


def test_a_copy_into_the_stream_itself_ends(desk):
    desk.put((1, "one"), (2, "two"))
    copy(desk.store, ALL, group=None, stream=None)
    assert desk.counts()["collected"] == 4


def test_a_copy_of_nothing_makes_no_stream(desk):
    desk.put((1, "one"))
    assert copy(desk.store, Selection(states=("sent",)), group=None, stream="copy") == set()
    assert desk.rows("SELECT log_stream FROM stream") == [("s",)]


class BusyStore(Store):
    """
    While a copy is being prepared, the agent beside it goes on.
    """

    meanwhile = None

    def stream_id(self, group, stream):
        if self.meanwhile:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return super().stream_id(group, stream)


@pytest.mark.parametrize("states", [(), ("sent",)])
def test_a_copy_beside_a_running_agent_has_what_was_chosen_when_it_began(open_desk, db, states):
    """
    Another stream gets its first event, and its first sent one, just then.
    """
    desk = open_desk(db)
    desk.store.close()
    desk.store = BusyStore(db)
    desk.put((1, "sent before"))
    desk.send()
    desk.put((1, "waits"), stream="busy")

    def meanwhile():
        desk.send("busy")
        desk.put((2, "new"), stream="new")
        desk.send("new")

    desk.store.meanwhile = meanwhile
    copy(desk.store, Selection(states=states), group=None, stream="copy")
    copied = desk.states("copy")
    assert list(copied) == (["sent before"] if states else ["sent before", "waits"])
    assert audit(desk.store) == []
    desk.store.close()
