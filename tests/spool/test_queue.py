"""
The queue: whole runs where that is right, single events where runs overlap.
"""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spool.queue import LOOK_EVENTS, Limits, consecutive
from spool.run import RUN_BYTES
from spool.schema import RUN_BLOCK


def at_most(events):
    """
    Limits by count alone.
    """

    def pack(runs):
        total = 0
        for count, run in enumerate(runs):
            total += run.events
            if total > events:
                return count
        return len(runs)

    return Limits(pack=pack, fit=lambda timestamps, sizes: min(events, len(sizes)))


def runs(desk, stream="s"):
    """
    (first id, last id, first timestamp, last timestamp, bytes) of what waits in a stream.
    """
    return desk.rows(
        "SELECT first_id, last_id, first_timestamp, last_timestamp, queue.bytes FROM queue"
        " JOIN stream ON stream.id = stream_id WHERE log_stream = ? ORDER BY first_id",
        stream,
    )


# Runs


@pytest.mark.parametrize(
    ("count", "lengths"),
    [
        (1, [1]),
        (254, [254]),
        (255, [255]),
        (256, [255, 1]),
        (511, [255, 256]),
        (512, [255, 256, 1]),
    ],
)
def test_a_run_ends_before_a_multiple_of_256(desk, count, lengths):
    desk.put(*((n, "x") for n in range(count)))
    assert [last - first + 1 for first, last, *_ in runs(desk)] == lengths
    assert RUN_BLOCK == 256


def test_lines_that_trickle_in_make_one_run_until_its_ids_end(desk):
    for n in range(127):
        desk.put((127 - n, "x"), (127 + n, "yy"))
    assert runs(desk) == [(1, 254, 1, 253, 381)]
    desk.put((5, "zzz"))
    desk.put((6, "zzzz"))
    assert runs(desk) == [(1, 255, 1, 253, 384), (256, 256, 6, 6, 4)]
    assert desk.store.waiting(desk.stream()) == (256, 388)


def test_of_a_chunk_the_begin_goes_on_with_the_run_before(desk):
    desk.put(*((n, "x") for n in range(250)))
    desk.put(*((1, "x") for _ in range(50)))
    assert [run[:2] for run in runs(desk)] == [(1, 255), (256, 300)]


def test_a_run_is_small_in_bytes_too(desk):
    half = "x" * (RUN_BYTES // 2)
    desk.put((1, half))
    desk.put((2, half))
    desk.put((3, "one too many"))
    assert [run[:2] for run in runs(desk)] == [(1, 2), (3, 3)]
    desk.put(*((n, half) for n in range(5)), stream="at once")
    assert [last - first + 1 for first, last, *_ in runs(desk, "at once")] == [2, 2, 1]


def test_events_of_two_streams_are_never_in_one_run(desk):
    for n in range(3):
        desk.put((n, "x"), stream="a")
        desk.put((n, "x"), stream="b")
    assert [run[:2] for run in runs(desk, "a")] == [(1, 1), (3, 3), (5, 5)]
    assert [run[:2] for run in runs(desk, "b")] == [(2, 2), (4, 4), (6, 6)]


def test_a_run_does_not_grow_once_it_was_taken(desk):
    desk.put((1, "x"))
    batch = desk.take()
    desk.put((2, "y"))
    assert runs(desk) == [(2, 2, 2, 2, 1)]
    assert desk.sent_as(batch) == [(1, "x")]


@given(st.sets(st.integers(1, 60)))
def test_runs_name_each_number_once_and_never_touch(ids):
    found = consecutive(list(ids))
    assert [n for first, last in found for n in range(first, last + 1)] == sorted(ids)
    assert all(later[0] > earlier[1] + 1 for earlier, later in pairwise(found))


# What is taken


def test_a_batch_is_full_where_runs_do_not_overlap(desk):
    desk.limits = at_most(2_500)
    desk.put(*((n, f"{n}") for n in range(3_000)))
    assert [batch.events for batch in desk.drain()] == [2_500, 500]


def test_a_batch_takes_part_of_runs_that_overlap(desk):
    """
    What is left of them waits on, and is the oldest of the next batch.
    """
    desk.put((10, "a1"), (30, "a2"), (50, "a3"))
    desk.put((99, "elsewhere"), stream="other")  # so that these are three runs
    desk.put((20, "b1"), (40, "b2"), (60, "b3"))
    desk.put((99, "elsewhere"), stream="other")
    desk.put((35, "c1"), (36, "c2"))
    assert len(runs(desk)) == 3
    desk.limits = at_most(4)
    first = desk.take()
    assert desk.sent_as(first) == [(10, "a1"), (20, "b1"), (30, "a2"), (35, "c1")]
    assert [run[:2] for run in runs(desk)] == [(3, 3), (6, 7), (10, 10)]
    assert desk.store.waiting(desk.stream()) == (4, 8)
    assert desk.sent_as(desk.take()) == [(36, "c2"), (40, "b2"), (50, "a3"), (60, "b3")]


def test_one_run_that_is_more_than_a_batch_is_taken_in_parts(desk):
    desk.put(*((n % 10, f"{n}") for n in range(1_000)))
    desk.limits = at_most(300)
    batches = desk.drain()
    assert [batch.events for batch in batches] == [300, 300, 300, 100]
    messages = [message for batch in batches for _, message in desk.sent_as(batch)]
    assert messages == [f"{n}" for n in sorted(range(1_000), key=lambda n: (n % 10, n))]


def test_events_of_equal_time_keep_their_order_over_batches_too(desk):
    """
    The later run begins earlier, and ends where the earlier one begins.
    """
    desk.put((5, "first"), (9, "last"))
    desk.put((99, "elsewhere"), stream="other")
    desk.put((3, "oldest"), (5, "second"))
    desk.limits = at_most(2)
    batches = [desk.sent_as(batch) for batch in desk.drain()]
    assert batches == [[(3, "oldest"), (5, "first")], [(5, "second"), (9, "last")]]


def test_what_is_taken_from_one_stream_leaves_the_others(desk):
    desk.put((1, "mine"))
    desk.put((1, "theirs"), stream="other")
    desk.drain()
    assert desk.store.waiting(desk.stream()) == (0, 0)
    assert desk.store.waiting(desk.stream("other")) == (1, 6)


TIMES = st.integers(0, 5) | st.integers(0, 40)  # equal ones are where it is hard
EVENTS = st.lists(st.tuples(TIMES, st.integers(1, 9)), min_size=1, max_size=25)


@settings(max_examples=120)
@given(
    appends=st.lists(st.tuples(st.sampled_from("ab"), EVENTS), min_size=1, max_size=8),
    run_block=st.sampled_from([1, 2, 4]),
    batch_events=st.integers(1, 9),
)
def test_batches_are_the_events_in_order_of_time_cut_somewhere(
    open_desk, tmp_path_factory, monkeypatch, appends, run_block, batch_events
):
    """
    A world in miniature, so that runs and batches overlap in all ways.
    """
    monkeypatch.setattr("spool.run.RUN_BLOCK", run_block)
    monkeypatch.setattr("spool.queue.RUN_BLOCK", run_block)
    desk = open_desk(tmp_path_factory.mktemp("spool") / "db", at_most(batch_events))
    put = {"a": [], "b": []}
    for stream, events in appends:
        texts = [
            (time, f"{len(put[stream]) + n}".zfill(size)) for n, (time, size) in enumerate(events)
        ]
        desk.put(*texts, stream=stream)
        put[stream] += texts
    for stream, events in put.items():
        batches = desk.drain(stream)
        assert all(1 <= batch.events <= batch_events for batch in batches)
        taken = [event for batch in batches for event in desk.sent_as(batch)]
        assert taken == sorted(events, key=lambda event: event[0])
        assert desk.store.waiting(desk.stream(stream)) == (0, 0)
    desk.store.close()


def test_more_overlapping_events_than_are_looked_at_are_still_each_sent_once(open_desk, db):
    """
    Order within a batch holds; from one batch to the next it may not.
    """
    desk = open_desk(db)
    count = LOOK_EVENTS + 5_000
    for first in range(0, count, 9_000):
        desk.put(*(((n * 7_919) % count, f"{n}") for n in range(first, min(first + 9_000, count))))
    batches = desk.drain()
    assert all(batch.events <= 10_000 for batch in batches)
    sent = []
    for batch in batches:
        events = desk.sent_as(batch)
        assert events == sorted(events, key=lambda event: event[0])
        sent += [int(message) for _, message in events]
    assert sorted(sent) == list(range(count))
    desk.store.close()


# What is outside


def test_only_runs_with_something_outside_are_touched(desk):
    desk.put((15, "good"))
    desk.put((99, "elsewhere"), stream="other")
    desk.put((15, "good too"), (9, "old"), (16, "good as well"), (21, "new"), (17, "last"))
    desk.store.reject_outside(desk.stream(), oldest_ms=10, newest_ms=20)
    assert [run[:2] for run in runs(desk)] == [(1, 1), (3, 3), (5, 5), (7, 7)]
    assert desk.store.waiting(desk.stream()) == (4, 28)


def test_a_stream_that_is_all_outside_is_empty_then(desk):
    desk.put(*((n, "x") for n in range(1_500)))
    rejected = desk.store.reject_outside(desk.stream(), oldest_ms=2_000, newest_ms=3_000)
    assert rejected == 1_500
    assert desk.take() is None
    assert desk.counts() | {"queued": 0, "rejected": 1_500} == desk.counts()
