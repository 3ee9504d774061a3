"""
Any events, stored in any chunks: each leaves in exactly one request that the service takes, or is
rejected for its age.

The rules are written here once more, in the service's words; nothing of `shipper.batch` checks
itself.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from cloudwatch_endpoint import read_batch
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.batch import LIMITS, acceptable_ms
from spool.audit import audit
from spool.store import Batch, Chunk, Store

NOW_MS = 1_795_345_711_289
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
OLDEST_MS, NEWEST_MS = NOW_MS - 14 * DAY_MS, NOW_MS + 2 * HOUR_MS
STREAMS = 3

EDGES = [NOW_MS, OLDEST_MS, NEWEST_MS, NOW_MS - DAY_MS, NOW_MS - 3 * DAY_MS]
TIMES = st.one_of(
    st.builds(int.__add__, st.sampled_from(EDGES), st.integers(-2, 2)),  # ties, and both sides
    st.integers(OLDEST_MS, NEWEST_MS),
    st.integers(0, 2**62),
)
CHARACTERS = st.characters(exclude_categories=["Cs"])
MESSAGES = st.one_of(
    st.text(CHARACTERS, min_size=1, max_size=40),
    st.builds(
        lambda character, size: (character * size).encode()[:size].decode(errors="ignore") or "x",
        st.sampled_from("x\u00e9\u20ac\U0001f680\0\u2028"),
        st.sampled_from([1, 78, 349_500, 524_262, 1_048_523, 1_048_549, 1_048_550]),
    ),
)
Event = tuple[int, str]
EVENTS = st.lists(st.tuples(TIMES, MESSAGES), min_size=1, max_size=12)
CHUNKS = st.tuples(st.integers(0, STREAMS - 1), EVENTS)
APPENDS = st.lists(st.lists(CHUNKS, min_size=1, max_size=3), min_size=1, max_size=6)


def problems(request: Sequence[Event]) -> list[str]:
    """
    What the service would not take.
    """
    sizes = [len(message.encode()) + 26 for _, message in request]
    times = [at_ms for at_ms, _ in request]
    rules = {
        "1 to 10,000 events": 1 <= len(request) <= 10_000,
        "at most 1,048,576 bytes": sum(sizes) <= 1_048_576,
        "in chronological order": all(first <= then for first, then in pairwise(times)),
        "no event from beyond 14 days or 2 hours": all(OLDEST_MS <= t <= NEWEST_MS for t in times),
        "less than 24 hours": max(times) - min(times) < DAY_MS,
        "a character at least": all(message for _, message in request),
    }
    return [rule for rule, is_kept in rules.items() if not is_kept]


def next_request(store: Store, stream_id: int) -> tuple[Batch, list[Event]] | None:
    """
    As the uploader makes it, without the network.
    """
    oldest_ms, newest_ms = acceptable_ms(NOW_MS)
    store.reject_outside(stream_id, oldest_ms=oldest_ms, newest_ms=newest_ms)
    batch = store.take(stream_id, LIMITS, now_ms=NOW_MS)
    if batch is None:
        return None
    text = store.log_events(batch)
    read_batch(json.loads(text), now_ms=NOW_MS, retention_days=None)
    return batch, [(event["timestamp"], event["message"]) for event in json.loads(text)]


def rejected(store: Store) -> dict[int, Counter[tuple[int, str, str]]]:
    """
    (time, message, reason) of what was rejected, by stream.
    """
    found = {stream_id: Counter() for stream_id in range(1, STREAMS + 1)}
    with store.reading() as db:
        for stream_id, *rest in db.execute(
            "SELECT stream_id, timestamp, message, reason FROM rejection JOIN event USING (id)"
        ):
            found[stream_id][tuple(rest)] += 1
    return found


@settings(max_examples=30)
@given(appends=APPENDS, data=st.data())
def test_any_events_leave_in_one_legal_request_each_or_are_rejected_for_their_age(
    tmp_path_factory: pytest.TempPathFactory, appends: list, data: st.DataObject
) -> None:
    """
    Promises 3 and 6: also where requests are made between the chunks.
    """
    with Store(tmp_path_factory.mktemp("spool") / "db") as store:
        source = store.source_id("test")
        ids = [store.stream_id("group", f"stream-{number}") for number in range(STREAMS)]
        put = {stream_id: Counter() for stream_id in ids}
        sent = {stream_id: Counter() for stream_id in ids}

        def send(stream_id: int, most: int) -> None:
            for _ in range(most):
                made = next_request(store, stream_id)
                if made is None:
                    return
                batch, request = made
                assert problems(request) == []
                assert (batch.events, batch.first_timestamp) == (len(request), request[0][0])
                sent[stream_id].update(request)
                store.settle(batch, request_id="", now_ms=NOW_MS)

        for chunks in appends:
            for number, events in chunks:
                put[ids[number]].update(events)
            store.append(
                [
                    Chunk(ids[number], [(ids[number], at, source, text) for at, text in events])
                    for number, events in chunks
                ]
            )
            send(data.draw(st.sampled_from(ids)), most=data.draw(st.integers(0, 2)))
        for stream_id in ids:
            send(stream_id, most=1_000)
        refused = rejected(store)
        for stream_id in ids:
            aged = Counter(
                {
                    (at, text, "too old" if at < OLDEST_MS else "too new"): count
                    for (at, text), count in put[stream_id].items()
                    if not OLDEST_MS <= at <= NEWEST_MS
                }
            )
            assert refused[stream_id] == aged
            good = {event: n for event, n in put[stream_id].items() if problems([event]) == []}
            assert sent[stream_id] == good
        assert store.unsent() == 0
        assert audit(store) == []
