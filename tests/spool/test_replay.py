"""
Replay: old events go back into the queue, and nothing is sent twice that is on its way already.
"""

import random

import pytest

from spool import replay
from spool.audit import audit
from spool.piece import Ages, blocks, pieces
from spool.replay import Amount, Restamp, newest_id, request_s
from spool.retention import prune
from spool.selection import Selection
from spool.store import EXPIRED, Store

ALL = Selection()
EVER = Ages(0, 2**62)


def requeue(store, selection, ages=EVER, **options):
    return replay.requeue(store, selection, ages, **options)


def survey(store, selection, ages=EVER, **options):
    return replay.survey(store, selection, ages, **options)


def copy(store, selection, *, group, stream, ages=EVER, **options):
    """
    As `spool replay --to-...` does it; returns the ids of the streams that got some.
    """
    chosen = survey(store, selection, ages, with_stale="restamp" in options)
    targets = replay.targets(store, chosen.streams, group, stream)
    replay.copy(store, selection, ages, targets, **options)
    return set(targets.values())


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
    monkeypatch.setattr(replay, "SLICE_BLOCKS", 1)
    desk.put(*((n, f"a {n}") for n in range(2_000)), stream="a")
    desk.put(*((n, f"b {n}") for n in range(2_000)), stream="b")
    desk.send("a")
    desk.send("b")
    told = []
    assert requeue(desk.store, ALL, tell=lambda *how_far: told.append(how_far)) == 4_000
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert queued(desk) == [f"{stream} {n}" for stream in "ab" for n in range(2_000)]


def test_a_replay_that_is_interrupted_leaves_a_sound_spool_and_can_go_on(desk, monkeypatch):
    monkeypatch.setattr(replay, "SLICE_BLOCKS", 1)
    desk.put(*((n, f"{n}") for n in range(3_000)))
    desk.send()

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        requeue(desk.store, ALL, tell=interrupt)
    assert audit(desk.store) == []
    assert 0 < desk.counts()["queued"] < 3_000
    requeue(desk.store, ALL)
    assert desk.counts()["queued"] == 3_000


def test_what_was_pruned_is_not_found(desk):
    desk.put((1, "pruned"), (2, "newest, so it stays"))
    desk.send()
    prune(desk.store, sent_before_ms=desk.now_ms + 1)
    assert requeue(desk.store, ALL) == 1


# How much


def test_a_survey_counts_without_changing_anything(mixed):
    mixed.put((1, "é"), stream="other")
    before = mixed.states()
    s, other = mixed.stream(), mixed.stream("other")
    size = 6 * 2 + 10 * 2 + 10 + 5
    assert survey(mixed.store, ALL) == Amount({s: (6, size), other: (1, 2)}, unsent=3)
    assert survey(mixed.store, Selection(states=("sent",))) == Amount({s: (2, 12)})
    assert survey(mixed.store, Selection(group="nobody's")) == Amount()
    assert (Amount({1: (2, 3), 2: (4, 5)}).events, Amount({1: (2, 3), 2: (4, 5)}).bytes) == (6, 8)
    assert mixed.states() == before


def test_the_newest_event_is_known(desk):
    assert newest_id(desk.store) == 0
    desk.put((1, "one"), (1, "two"))
    assert newest_id(desk.store) == 2


def test_how_long_requests_took_is_known_once_there_was_one(desk):
    desk.put((1, "one"))
    assert request_s(desk.store) is None
    desk.send(now_ms=desk.now_ms + 250)
    assert request_s(desk.store) == 0.25


# Pieces


@pytest.mark.parametrize("seed", range(6))
def test_pieces_name_what_the_view_shows_however_streams_and_states_lie(desk, seed):
    """
    Some thousand events of three streams, in long stretches and in short ones, sent, rejected,
    on their way, queued again and pruned: what is chosen is what the view `events` has.
    """
    lots = random.Random(seed)
    for _ in range(12):
        live(desk, lots)
    for selection in selections(lots):
        with desk.store.reading() as db:
            condition, values = selection.sql()
            wanted = db.execute(
                "SELECT id, state, timestamp, octet_length(message) FROM events"
                f" WHERE {condition} ORDER BY id",
                values,
            ).fetchall()
            ages = Ages(lots.randrange(3_000), 6_000)
            found = list(pieces(db, selection, blocks(db, selection), ages))
        assert [
            (event_id, piece.state)
            for piece in found
            for event_id in range(piece.first_id, piece.last_id + 1)
        ] == [row[:2] for row in wanted]
        by_id = {row[0]: row for row in wanted}
        for piece in found:
            rows = [by_id[event_id] for event_id in range(piece.first_id, piece.last_id + 1)]
            times = [row[2] for row in rows]
            assert (piece.first_timestamp, piece.last_timestamp) == (min(times), max(times))
            assert piece.bytes == sum(row[3] for row in rows)
            assert {not ages.hold(time, time) for time in times} == {bool(piece.is_stale)}


def live(desk, lots):
    """
    A chunk comes in, and something else happens.
    """
    stream = lots.choice("abc")
    count = lots.choice((1, 3, 50, 1_500))
    desk.put(
        *((lots.randrange(9_000), "x" * lots.randrange(1, 9)) for _ in range(count)), stream=stream
    )
    what = lots.choice(("send", "send", "refuse", "take", "replay", "prune", "nothing"))
    if what == "replay":
        requeue(desk.store, Selection(since_ms=lots.randrange(9_000), stream=lots.choice("abc")))
    elif what == "prune":
        prune(desk.store, sent_before_ms=desk.now_ms + 1)
    elif what != "nothing" and (batch := desk.take(lots.choice("abc"))) and what != "take":
        desk.settle(batch, *([(0, 1, EXPIRED)] if what == "refuse" else []))


def selections(lots):
    """
    All, and each way to choose fewer.
    """
    since, after = lots.randrange(9_000), lots.randrange(3_000)
    return [
        ALL,
        Selection(stream="a"),
        Selection(group="g", since_ms=since),
        Selection(until_ms=since),
        Selection(since_ms=since, until_ms=since + 500, stream="b"),
        Selection(after_id=after),
        Selection(last_id=after),
        Selection(batch_id=lots.randrange(1, 6)),
        Selection(states=("sent",)),
        Selection(states=("unsent",)),
        Selection(states=("rejected",)),
        Selection(states=("rejected", "unsent"), stream="c"),
        Selection(states=("sent",), since_ms=since, after_id=after),
    ]


# What CloudWatch would refuse for its age


RECENT = Ages(100, 200)


def test_what_is_too_old_or_too_new_is_left_as_it_is_and_counted(desk):
    desk.put((99, "old"), (100, "good"), (200, "good too"), (201, "new"))
    desk.send()
    chosen = survey(desk.store, ALL, RECENT)
    assert (chosen.events, chosen.stale) == (2, 2)
    assert requeue(desk.store, ALL, RECENT) == 2
    assert desk.states() == {"old": "sent", "good": "unsent", "good too": "unsent", "new": "sent"}


NEW_TIME = Restamp(now_ms=150, max_message_bytes=1_000)


def test_restamped_they_get_the_present_time_and_the_old_one_in_front_of_the_message(desk):
    desk.put((99, "old"), (100, "good"))
    desk.store.reject_outside(desk.stream(), oldest_ms=100, newest_ms=200)
    desk.send()
    assert survey(desk.store, ALL, RECENT, with_stale=True).stale == 1
    assert requeue(desk.store, ALL, RECENT, restamp=NEW_TIME) == 2
    assert desk.counts() == {
        **dict.fromkeys(("sent", "rejected", "pruned", "dropped"), 0),
        "collected": 2,
        "queued": 2,
    }
    [batch] = desk.drain()
    assert desk.sent_as(batch) == [(100, "good"), (150, "1970-01-01T00:00:00.099Z old")]


def test_what_was_rejected_for_its_groups_retention_is_restamped_too(desk):
    desk.put((120, "expired"))
    desk.settle(desk.take(), (0, 1, EXPIRED))
    assert requeue(desk.store, ALL, RECENT, restamp=NEW_TIME) == 1
    assert desk.sent_as(desk.take()) == [(150, "1970-01-01T00:00:00.120Z expired")]


def test_nothing_is_lost_of_a_message_that_gets_too_long(desk):
    message = "é" * 500
    desk.put((99, message), (98, "short"))
    desk.send()
    requeue(desk.store, ALL, RECENT, restamp=NEW_TIME)
    assert desk.counts()["collected"] == 3
    long, short, tail = (text for _, text in desk.sent_as(desk.take()))
    assert short == "1970-01-01T00:00:00.098Z short"
    assert len(long.encode()) in (999, 1_000)
    assert long + tail == f"1970-01-01T00:00:00.099Z {message}"


def test_a_copy_is_restamped_and_the_old_events_stay_as_they_are(desk):
    desk.put((99, "é" * 500), (120, "good"))
    desk.send()
    copy(desk.store, ALL, group="g", stream="copy", ages=RECENT, restamp=NEW_TIME)
    assert set(desk.states()) == {"é" * 500, "good"}
    times = desk.rows("SELECT timestamp FROM events WHERE log_stream = 'copy' ORDER BY id")
    assert times == [(150,), (150,), (120,)]


def test_a_copy_leaves_out_what_would_be_refused(desk):
    desk.put((99, "old"), (120, "good"))
    desk.send()
    copy(desk.store, ALL, group="g", stream="copy", ages=RECENT)
    assert list(desk.states("copy")) == ["good"]


def test_a_time_beyond_the_calendar_is_restamped_as_a_number(desk):
    desk.put((2**60, "far"))
    desk.send()
    requeue(desk.store, ALL, RECENT, restamp=NEW_TIME)
    assert desk.sent_as(desk.take()) == [(150, f"{2**60} far")]


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
    monkeypatch.setattr(replay, "SLICE_BLOCKS", 1)
    for n in range(1_500):
        desk.put((1, f"{n}"), stream="ab"[n % 2])
    copy(desk.store, Selection(group="g"), group="copy", stream="all")
    assert list(desk.states("all")) == [f"{n}" for n in range(1_500)]


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
