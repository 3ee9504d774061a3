"""
The limits of PutLogEvents, at their edges and in whatever order events come.
"""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.batch import (
    LIMITS,
    MAX_BATCH_BYTES,
    MAX_BATCH_EVENTS,
    MAX_BATCH_SPAN_MS,
    MAX_MESSAGE_BYTES,
    OVERHEAD_BYTES,
    fit,
    is_full,
    pack,
)
from spool.audit import audit
from spool.run import Run
from spool.store import Chunk, Store

DAY_MS = 24 * 3600 * 1000
NOW_MS = 1_795_345_711_289


def is_legal(timestamps, sizes):
    """
    The rules as the service states them, in its words and numbers.
    """
    return (
        1 <= len(timestamps) <= 10_000
        and sum(sizes) + 26 * len(sizes) <= 1_048_576
        and max(timestamps) - min(timestamps) < DAY_MS
        and list(timestamps) == sorted(timestamps)
    )


def a_run(events, size, first=0, last=0):
    return Run(1, events, first, last, size, in_order=True)


# One batch


def test_the_numbers_are_the_services_own():
    assert (MAX_BATCH_EVENTS, MAX_BATCH_BYTES, OVERHEAD_BYTES) == (10_000, 1_048_576, 26)
    assert MAX_MESSAGE_BYTES == 1_048_550
    assert MAX_BATCH_SPAN_MS == DAY_MS - 1


@pytest.mark.parametrize(
    ("timestamps", "sizes", "count"),
    [
        ([], [], 0),
        ([0], [1], 1),
        ([0] * 10_000, [1] * 10_000, 10_000),
        ([0] * 10_001, [1] * 10_001, 10_000),
        ([0], [1_048_550], 1),
        ([0, 0], [1_048_550, 1], 1),
        ([0, 0], [1_048_523, 1], 2),
        ([0, 0], [1_048_523, 2], 1),
        ([0] * 10_000, [78] * 10_000, 10_000),
        ([0] * 10_000, [79] * 10_000, 9_986),
        ([0, DAY_MS - 1], [1, 1], 2),
        ([0, DAY_MS], [1, 1], 1),
        ([7, 7, DAY_MS + 6, DAY_MS + 7], [1, 1, 1, 1], 3),
    ],
)
def test_as_many_events_fit_as_the_service_takes(timestamps, sizes, count):
    assert fit(timestamps, sizes) == count


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3) | st.integers(DAY_MS - 2, DAY_MS + 2),
            st.sampled_from([1, 78, 100_000, 500_000, 1_048_523, 1_048_550]),
        ),
        min_size=1,
        max_size=30,
    ).map(sorted)
)
def test_what_fits_is_legal_and_one_more_would_not_be(events):
    timestamps, sizes = zip(*events, strict=True)
    count = fit(timestamps, sizes)
    assert is_legal(timestamps[:count], sizes[:count])
    assert count == len(events) or not is_legal(timestamps[: count + 1], sizes[: count + 1])


@pytest.mark.parametrize(
    ("runs", "count"),
    [
        ([], 0),
        ([a_run(10_000, 10_000)], 1),
        ([a_run(10_001, 10_001)], 0),
        ([a_run(9_999, 9_999), a_run(1, 1)], 2),
        ([a_run(9_999, 9_999), a_run(2, 2)], 1),
        ([a_run(1, 1_048_550)], 1),
        ([a_run(2, 1_048_524)], 1),
        ([a_run(2, 1_048_525)], 0),
        ([a_run(1, 1_048_523), a_run(1, 1)], 2),
        ([a_run(1, 1_048_523), a_run(1, 2)], 1),
        ([a_run(2, 2, 0, DAY_MS - 1)], 1),
        ([a_run(2, 2, 0, DAY_MS)], 0),
        ([a_run(1, 1, 5, 5), a_run(1, 1, DAY_MS + 4, DAY_MS + 4)], 2),
        ([a_run(1, 1, 5, 5), a_run(1, 1, DAY_MS + 5, DAY_MS + 5)], 1),
        ([a_run(2, 2, 5, DAY_MS), a_run(1, 1, 6, 6)], 2),
    ],
)
def test_runs_are_packed_while_all_of_them_are_legal_together(runs, count):
    assert pack(runs) == count


@pytest.mark.parametrize(
    ("events", "size", "full"),
    [
        (0, 0, False),
        (9_999, 9_999, False),
        (10_000, 10_000, True),
        (1, 1_048_549, False),
        (1, 1_048_550, True),
        (2, 1_048_523, False),
        (2, 1_048_524, True),
    ],
)
def test_a_batch_is_full_at_its_limits(events, size, full):
    assert is_full(events, size) is full


# All batches


STREAMS = ("a", "b", "c")
CHUNKS = st.tuples(
    st.sampled_from(STREAMS),
    st.sampled_from([1, 2, 7, 300, 999, 1_000, 1_001, 2_600]),  # events
    st.sampled_from([0, 1, 5_000, DAY_MS // 2, DAY_MS - 1, DAY_MS, 3 * DAY_MS]),  # their start
    st.sampled_from([-70_000, -1, 0, 0, 1, 40, 90_000]),  # ms from one to the next
    st.sampled_from([6, 6, 30, 78, 1_000, 60_000, 524_000, 1_048_523, 1_048_550]),  # bytes
    st.sampled_from("x\u00e9\U0001f680"),
)
MOST_BYTES = 5_000_000


def events_of(chunk, number):
    """
    The (timestamp, message) of a chunk; messages are numbered, and of so many UTF-8 bytes.
    """
    _, count, start_ms, step_ms, size, character = chunk
    count = min(count, max(1, MOST_BYTES // size))
    events = []
    for n in range(count):
        message = f"{number + n:06d}"
        message += character * ((size - 6) // len(character.encode()))
        message += "." * (size - len(message.encode()))
        events.append((NOW_MS + start_ms + n * step_ms, message))
    return events


@settings(max_examples=25)
@given(
    appends=st.lists(st.lists(CHUNKS, min_size=1, max_size=3), min_size=1, max_size=5),
    taken_between=st.integers(0, 2),
)
def test_every_event_is_in_one_legal_batch_and_batches_follow_time(
    tmp_path_factory, appends, taken_between
):
    """
    Promise 6, with any chunks of any sizes and times over several streams.
    """
    with Store(tmp_path_factory.mktemp("spool") / "db") as store:
        source = store.source_id("test")
        ids = {name: store.stream_id("g", name) for name in STREAMS}
        put = {name: [] for name in STREAMS}
        early = {name: [] for name in STREAMS}
        for chunks in appends:
            parts = []
            for chunk in chunks:
                events = events_of(chunk, len(put[chunk[0]]))
                put[chunk[0]] += events
                stream = ids[chunk[0]]
                parts.append(Chunk(stream, [(stream, time, source, text) for time, text in events]))
            store.append(parts)
            early[STREAMS[taken_between]] += taken(store, ids[STREAMS[taken_between]], most=1)
        for name in STREAMS:
            rest = taken(store, ids[name])
            assert rest == sorted(rest, key=lambda event: event[0])
            assert sorted([*early[name], *rest]) == sorted(put[name])
            if not early[name]:
                assert rest == sorted(put[name], key=lambda event: event[0])
        assert store.unsent() == sum(map(len, put.values()))
        for batch in store.unsettled():
            store.settle(batch, request_id="", now_ms=NOW_MS)
        assert store.unsent() == 0
        assert audit(store) == []


def taken(store, stream_id, *, most=1_000):
    """
    The events of the next batches, which are legal.
    """
    events = []
    for _ in range(most):
        batch = store.take(stream_id, LIMITS, now_ms=NOW_MS)
        if batch is None:
            break
        sent = [(e["timestamp"], e["message"]) for e in json.loads(store.log_events(batch))]
        sizes = [len(message.encode()) for _, message in sent]
        assert is_legal([timestamp for timestamp, _ in sent], sizes)
        assert (batch.events, batch.bytes) == (len(sent), sum(sizes))
        assert (batch.first_timestamp, batch.last_timestamp) == (sent[0][0], sent[-1][0])
        events += sent
    return events


def test_a_backlog_of_small_lines_makes_full_batches(tmp_path):
    with Store(tmp_path / "db") as store:
        stream, source = store.stream_id("g", "s"), store.source_id("test")
        for start in range(0, 30_000, 5_000):
            events = [(stream, n, source, "short line") for n in range(start, start + 5_000)]
            store.append([Chunk(stream, events)])
        counts = []
        while batch := store.take(stream, LIMITS, now_ms=NOW_MS):
            counts.append(batch.events)
    assert counts == [10_000] * 3


def test_a_backlog_of_long_lines_makes_batches_that_are_nearly_full(tmp_path):
    with Store(tmp_path / "db") as store:
        stream, source = store.stream_id("g", "s"), store.source_id("test")
        for start in range(0, 4_000, 500):
            events = [(stream, n, source, "x" * 1_000) for n in range(start, start + 500)]
            store.append([Chunk(stream, events)])
        sizes = []
        while batch := store.take(stream, LIMITS, now_ms=NOW_MS):
            sizes.append(batch.bytes + 26 * batch.events)
    assert min(sizes[:-1]) > 0.85 * MAX_BATCH_BYTES
