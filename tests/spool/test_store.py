"""
The store: what it has said yes to is safe, and every event is in just one state.
"""

import json
import os
import signal
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import pytest
from freezegun import freeze_time
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from spool import queue, replay, retention
from spool.audit import audit
from spool.piece import Ages
from spool.queue import Limits
from spool.retention import drop_rejected, drop_unsent, prune
from spool.selection import Selection
from spool.store import Chunk, Store

# Open and closed


def test_to_close_a_store_twice_is_to_close_it_once(db):
    store, other = Store(db), Store(db)
    store.close()
    store.close()
    stream_id = other.stream_id("g", "s")  # the other one has its own claim on the file still
    other.close()
    with Store(db) as again:
        assert again.stream_id("g", "s") == stream_id


HOLD_IT = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("ready", flush=True)
sys.stdin.read()
"""


def test_to_open_a_spool_that_is_there_waits_for_no_other_process(db, begin_elsewhere):
    Store(db).close()
    begin_elsewhere(HOLD_IT, db)
    with Store(db) as store:
        assert store.unsent() == 0


def test_who_is_to_hurry_waits_no_longer_for_another_process(desk, begin_elsewhere):
    """
    Neither in a wait that has begun, nor in a later one; what is not locked still works.
    """
    chunk = desk.chunk((1, "one"))
    other = begin_elsewhere(HOLD_IT, desk.path)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(desk.store.append, [chunk])
        with pytest.raises(TimeoutError):
            waiting.result(0.2)
        desk.store.hurry()
        with pytest.raises(apsw.BusyError):
            waiting.result(20)
    with pytest.raises(apsw.BusyError):
        desk.store.append([chunk])
    other.communicate()
    desk.store.append([chunk])
    assert desk.states() == {"one": "unsent"}


# Transactions that cannot begin, or cannot be undone


def test_a_name_that_another_thread_gives_counts_once_it_is_in_the_file(desk):
    given = []
    thread = threading.Thread(target=lambda: given.append(desk.store.stream_id("g", "new")))

    def name_it_and_fail():
        with desk.store.transaction():
            desk.store.stream_id("g", "new")
            thread.start()
            thread.join(0.3)  # where it does not wait for this, it ends at once
            raise RuntimeError("undone")

    with pytest.raises(RuntimeError, match="undone"):
        name_it_and_fail()
    thread.join()
    assert desk.rows("SELECT id FROM stream WHERE log_stream = 'new'") == [(given[0],)]


def test_after_a_transaction_that_could_not_be_undone_the_next_is_one_of_its_own(desk):
    with desk.store.idle_writer() as db:
        db.exec_trace = lambda _, sql, __: sql != "ROLLBACK"  # False: not done
        with pytest.raises(apsw.Error):
            desk.store.append([desk.chunk((1, "lost"), (2, None))])
        assert db.in_transaction
        db.exec_trace = None
    desk.put((3, "kept"))
    desk.reopen()
    assert desk.states() == {"kept": "unsent"}


def test_a_transaction_that_cannot_begin_leaves_no_name_and_the_next_one_works(desk):
    with desk.store.idle_writer() as db:
        db.exec_trace = lambda _, sql, __: sql != "BEGIN IMMEDIATE"
        with pytest.raises(apsw.Error):
            desk.put((1, "one"), stream="new")
        db.exec_trace = None
    desk.put((1, "one"), stream="new")
    desk.reopen()
    assert desk.states("new") == {"one": "unsent"}


# In


def test_a_checkpoint_and_its_events_are_stored_together(desk):
    desk.store.append([desk.chunk((1, "one"))], checkpoints={"file": "at 1"})
    desk.reopen()
    assert desk.states() == {"one": "unsent"}
    assert desk.store.checkpoint("file") == "at 1"


def test_a_source_that_is_new_has_no_checkpoint(desk):
    assert desk.store.checkpoint("file") is None


@pytest.mark.parametrize("bad", [None, b"bytes"])
def test_a_checkpoint_stays_where_it_was_when_its_events_cannot_be_stored(desk, bad):
    desk.store.append([desk.chunk((1, "one"))], checkpoints={"file": "at 1"})
    with pytest.raises(apsw.Error):
        desk.store.append(
            [desk.chunk((2, "two")), desk.chunk((3, "three"), (4, bad), stream="other")],
            checkpoints={"file": "at 4"},
            skipped={"blank": 1},
        )
    assert desk.store.checkpoint("file") == "at 1"
    assert desk.states() == {"one": "unsent"}
    assert desk.states("other") == {}
    assert desk.rows("SELECT * FROM skipped") == []


def test_events_are_not_stored_when_their_checkpoint_cannot_be(desk):
    with pytest.raises(apsw.Error):
        desk.store.append([desk.chunk((1, "one"))], checkpoints={"file": b"bytes"})
    assert desk.states() == {}


def test_a_source_that_has_ended_is_forgotten_with_its_last_events(desk):
    desk.store.append([], checkpoints={"file": "at 1", "other": "at 1"})
    desk.store.append([desk.chunk((2, "last"))], checkpoints={"file": None, "other": "at 2"})
    desk.reopen()
    assert desk.rows("SELECT source, position FROM checkpoint") == [("other", "at 2")]
    assert desk.states() == {"last": "unsent"}


def test_a_checkpoint_may_move_without_events(desk):
    desk.store.append([], checkpoints={"file": "behind blank lines"}, skipped={"blank": 2})
    desk.store.append([desk.chunk()], skipped={"blank": 1, "damaged": 1})
    assert desk.store.checkpoint("file") == "behind blank lines"
    assert desk.rows("SELECT * FROM skipped ORDER BY reason") == [("blank", 3), ("damaged", 1)]


STORE_UNTIL_KILLED = """
import sys
from pathlib import Path
from spool.store import Chunk, Store
store = Store(Path(sys.argv[1]))
stream, source = store.stream_id("g", "s"), store.source_id("test")
print("ready", flush=True)
for number in range(1, 1_000_000):
    events = [(stream, number, source, f"{number}.{part}") for part in range(3)]
    store.append([Chunk(stream, events)], checkpoints={"file": str(number)})
    print(number, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 20, 77])
def test_what_append_returned_from_outlives_a_kill(begin_elsewhere, open_desk, db, lines):
    process = begin_elsewhere(STORE_UNTIL_KILLED, db)
    seen = [process.stdout.readline() for _ in range(lines)]
    os.kill(process.pid, signal.SIGKILL)
    returned = [*seen, *process.stdout.read().splitlines(keepends=True)]
    last = max(int(line) for line in returned if line.endswith("\n"))
    process.wait()
    desk = open_desk(db)
    stored = int(desk.store.checkpoint("file"))
    assert last <= stored <= last + 1
    assert list(desk.states()) == [f"{n}.{part}" for n in range(1, stored + 1) for part in range(3)]
    assert audit(desk.store) == []
    desk.store.close()


def test_what_a_block_wrote_before_it_failed_is_undone(desk):
    def write_and_fail():
        with desk.store.transaction() as db:
            db.execute("INSERT INTO skipped VALUES ('blank', 1)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    assert desk.rows("SELECT * FROM skipped") == []
    desk.put((1, "one"))


def test_streams_and_sources_keep_their_ids(desk):
    ids = [desk.stream("a"), desk.stream("b"), desk.store.source_id("x"), desk.store.source_id("y")]
    assert ids[0] != ids[1]
    assert ids[2] != ids[3]
    desk.reopen()
    again = [
        desk.stream("a"),
        desk.stream("b"),
        desk.store.source_id("x"),
        desk.store.source_id("y"),
    ]
    assert again == ids


# Out


def test_nothing_waits_in_a_new_stream(desk):
    assert desk.take() is None
    assert desk.store.queues() == []
    assert desk.store.unsettled() == []
    assert desk.store.unsent() == 0
    assert desk.store.waiting(desk.stream()) == (0, 0)


def test_events_leave_in_the_order_of_their_time_whatever_the_order_they_came_in(desk):
    desk.put((30, "c"), (10, "a"))
    desk.put((20, "b"))
    assert desk.sent_as(desk.take()) == [(10, "a"), (20, "b"), (30, "c")]


def test_events_of_equal_time_leave_in_the_order_stored(desk):
    desk.put(*((5, f"first {n}") for n in range(20)))
    desk.put((5, "second"), (4, "older"))
    messages = [message for _, message in desk.sent_as(desk.take())]
    assert messages == ["older", *(f"first {n}" for n in range(20)), "second"]


def test_a_batch_holds_one_stream(desk):
    desk.put((1, "mine"))
    desk.put((1, "theirs"), stream="other")
    desk.put((2, "mine too"))
    batch = desk.take()
    assert desk.sent_as(batch) == [(1, "mine"), (2, "mine too")]
    assert (batch.group, batch.stream, batch.events) == ("g", "s", 2)
    assert (batch.bytes, batch.first_timestamp, batch.last_timestamp) == (12, 1, 2)
    assert desk.states("other") == {"theirs": "unsent"}


def test_an_event_that_arrives_late_is_not_swept_along(desk):
    """
    Promise 2: it is older than what is in flight, and between it, but was not in the request.
    """
    desk.put((10, "a"), (20, "b"), (30, "c"))
    batch = desk.take()
    desk.put((5, "before"), (10, "with"), (15, "between"), (30, "end"), (40, "behind"))
    desk.settle(batch)
    late = {"before": "unsent", "with": "unsent", "between": "unsent", "end": "unsent"}
    assert desk.states() == {"a": "sent", "b": "sent", "c": "sent", **late, "behind": "unsent"}
    assert [message for _, message in desk.sent_as(desk.take())] == [*late, "behind"]


def test_an_event_is_unsent_until_its_batch_is_settled(desk):
    desk.put((1, "one"))
    batch = desk.take()
    desk.store.note_failure(batch, "no way through", now_ms=desk.now_ms)
    desk.store.note_attempt(batch)
    assert desk.states() == {"one": "unsent"}
    assert desk.store.unsent() == 1
    assert desk.store.unsent([desk.stream()]) == 1
    assert desk.store.unsent([desk.stream("other")]) == 0
    desk.settle(batch)
    assert desk.states() == {"one": "sent"}
    assert desk.store.unsent() == 0


def test_a_batch_is_on_record_before_it_goes_out_and_survives_a_restart(desk):
    desk.put((1, "one"), (2, "two"))
    batch = desk.take()
    desk.put((3, "three"))
    desk.reopen()
    assert desk.store.unsettled() == [batch]
    assert desk.sent_as(batch) == [(1, "one"), (2, "two")]
    assert desk.rows("SELECT state, attempts FROM batches") == [("sending", 1)]
    desk.settle(batch)
    assert desk.states() == {"one": "sent", "two": "sent", "three": "unsent"}
    assert desk.store.unsettled() == []


def test_what_cloudwatch_refuses_is_kept_with_the_reason_and_the_rest_is_sent(desk):
    desk.put(*((n, f"event {n}") for n in range(10)))
    desk.settle(desk.take(), (0, 2, "too old"), (2, 3, "expired"), (9, 10, "too new"))
    assert [n for n, state in enumerate(desk.states().values()) if state == "rejected"] == [
        0,
        1,
        2,
        9,
    ]
    assert desk.rows("SELECT reason, batch_id FROM rejection ORDER BY id") == [
        ("too old", 1),
        ("too old", 1),
        ("expired", 1),
        ("too new", 1),
    ]
    assert desk.counts() | {"sent": 6, "rejected": 4} == desk.counts()


def test_refused_ranges_count_in_the_order_of_the_request(desk):
    desk.put((30, "c"), (10, "a"), (20, "b"), (10, "a too"))
    desk.settle(desk.take(), (0, 2, "too old"))
    assert desk.states() == {"c": "sent", "a": "rejected", "b": "sent", "a too": "rejected"}


def test_a_failure_is_shown_until_a_batch_comes_through(desk):
    desk.put((1, "one"))
    batch = desk.take()
    desk.store.note_failure(batch, "AccessDenied", now_ms=7)
    shown = "SELECT stream.error, error_at, batch.error, attempts FROM stream, batch"
    assert desk.rows(shown) == [("AccessDenied", 7, "AccessDenied", 1)]
    desk.store.note_attempt(batch)
    desk.settle(batch, now_ms=9)
    assert desk.rows(shown) == [(None, None, None, 2)]
    assert desk.rows("SELECT delivered_at FROM stream") == [(9,)]


@pytest.mark.parametrize("poison", [{0}, {99}, {50, 51}, {0, 33, 66, 99}, set(range(100))])
def test_splitting_finds_just_the_events_that_cannot_be_taken(desk, poison):
    desk.put(*((100 - n, f"{n}") for n in range(100)))
    batches = [desk.take()]
    while batches:
        batch = batches.pop()
        if poison & {int(message) for _, message in desk.sent_as(batch)}:
            batches += desk.store.split(batch, "no legal form", now_ms=desk.now_ms)
        else:
            desk.settle(batch)
    states = desk.states()
    assert {int(message) for message in states if states[message] == "rejected"} == poison
    assert set(desk.rows("SELECT reason FROM rejection")) == {("no legal form",)}
    assert desk.store.unsent() == 0


def test_the_parts_of_a_split_batch_survive_a_restart(desk):
    desk.put((2, "b"), (1, "a"), (3, "c"))
    parts = desk.store.split(desk.take(), "refused", now_ms=desk.now_ms)
    desk.reopen()
    assert desk.store.unsettled() == parts
    assert [desk.sent_as(part) for part in parts] == [[(1, "a")], [(2, "b"), (3, "c")]]
    assert desk.rows("SELECT state, error FROM batches ORDER BY id") == [
        ("refused", "refused"),
        ("sending", None),
        ("sending", None),
    ]


def test_events_outside_what_the_service_takes_are_rejected_before_they_are_sent(desk):
    desk.put((9, "old"), (10, "oldest"), (15, "good"), (20, "newest"), (21, "new"))
    assert desk.store.reject_outside(desk.stream(), oldest_ms=10, newest_ms=20) == 2
    assert desk.store.reject_outside(desk.stream(), oldest_ms=10, newest_ms=20) == 0
    assert [message for _, message in desk.sent_as(desk.take())] == ["oldest", "good", "newest"]
    assert dict(
        desk.rows("SELECT message, reason FROM rejection JOIN event ON event.id = rejection.id")
    ) == {"old": "too old", "new": "too new"}
    assert desk.states()["old"] == "rejected"


def test_rejecting_leaves_other_streams_and_what_is_on_its_way_alone(desk):
    desk.put((1, "on its way"))
    batch = desk.take()
    desk.put((1, "waits"))
    desk.put((1, "elsewhere"), stream="other")
    assert desk.store.reject_outside(desk.stream(), oldest_ms=10, newest_ms=20) == 1
    assert desk.states() == {"on its way": "unsent", "waits": "rejected"}
    assert desk.states("other") == {"elsewhere": "unsent"}
    desk.settle(batch)


def test_the_stream_that_waits_longest_is_first(desk):
    for stream, timestamp in (("young", 30), ("old", 10), ("middle", 20)):
        desk.put((timestamp + 100, "late"), (timestamp, "four"), stream=stream)
    desk.put((1, "sent"), stream="done")
    desk.send("done")
    waiting = desk.store.queues()
    assert [queue.stream for queue in waiting] == ["old", "middle", "young"]
    assert (waiting[0].events, waiting[0].message_bytes, waiting[0].oldest_ms) == (2, 8, 10)
    assert desk.store.waiting(desk.stream("old")) == (2, 8)


# Messages of every kind


@pytest.mark.parametrize(
    "message",
    [
        "\0",
        "before\0after\0",
        "\x01\x1f\x7f\x80\x9f",
        'tab\tquote"back\\slash/ \b\f\r\n',
        "\U0001f680\U0010ffff\U00010000",
        "line\u2028paragraph\u2029bom\ufeffnon\uffff",
        "\u00e9 e\u0301 \u202e \u200d",
        "'; DROP TABLE event; --",
        " ",
        "<&>",
    ],
)
def test_a_message_comes_out_as_it_went_in(desk, message):
    desk.put((1, message), (2, message + "x"))
    batch = desk.take()
    assert desk.sent_as(batch) == [(1, message), (2, message + "x")]
    assert batch.bytes == 2 * len(message.encode()) + 1
    assert desk.rows("SELECT message FROM events WHERE id = 1") == [(message,)]


@pytest.mark.parametrize("character", ["x", "\0", "\u00e9", "\U0001f680", '"'])
def test_the_longest_message_fills_a_batch_by_itself(desk, character):
    message = character * (1_048_550 // len(character.encode()))
    message += "." * (1_048_550 - len(message.encode()))
    desk.put((1, "a"), (2, message), (3, "b"))
    batches = desk.drain()
    assert [desk.sent_as(batch) for batch in batches] == [[(1, "a")], [(2, message)], [(3, "b")]]
    assert batches[1].bytes == 1_048_550


# Threads and processes


class Traffic:
    """
    Threads that store into three streams, and as many that send from them.
    """

    streams = ("a", "b", "c")
    writers = 6
    appends = 40

    def __init__(self, desk):
        self.desk = desk
        self.ids = {name: desk.stream(name) for name in self.streams}
        self.is_stored = threading.Event()
        self.sent = []

    def run(self):
        with ThreadPoolExecutor(self.writers + len(self.streams)) as pool:
            shipping = [pool.submit(self.ship, name) for name in self.streams]
            storing = [pool.submit(self.store, number) for number in range(self.writers)]
            failures = [error for done in storing if (error := done.exception())]
            self.is_stored.set()
            failures += [error for done in shipping if (error := done.exception())]
        return failures

    def store(self, number):
        for n in range(self.appends):
            events = ((n, f"{number} {n} {part}") for part in range(5))
            self.desk.put(*events, stream=self.streams[number % 3])

    def ship(self, name):
        while not self.is_stored.is_set() or self.desk.store.unsent([self.ids[name]]):
            if batch := self.desk.take(name):
                self.sent += [message for _, message in self.desk.sent_as(batch)]
                self.desk.settle(batch)


def test_many_threads_store_and_send_at_once(desk):
    """
    Nobody fails, nothing is lost, no event is in two batches.
    """
    traffic = Traffic(desk)
    assert traffic.run() == []
    count = traffic.writers * traffic.appends * 5
    assert len(traffic.sent) == len(set(traffic.sent)) == count
    assert sum(desk.counts(name)["sent"] for name in traffic.streams) == count


def test_a_reader_in_the_middle_of_its_rows_does_not_hold_up_the_writer(desk):
    desk.put(*((n, f"{n}") for n in range(5_000)))
    with desk.store.reading() as db:
        rows = iter(db.execute("SELECT id FROM event"))
        next(rows)
        desk.put((1, "meanwhile"))
        desk.send()
        assert len(list(rows)) == 4_999, "a reader sees one moment"
    assert desk.rows("SELECT count(*) FROM event") == [(5_001,)]


def test_the_store_has_no_clock_of_its_own(desk):
    with freeze_time("1999-12-31 23:59:59"):
        desk.put((desk.now_ms, "one"))
        batch = desk.take()
        desk.settle(batch, now_ms=desk.now_ms + 1)
    assert desk.rows("SELECT time, created_at, sent_at FROM events, batches") == [
        ("2026-11-22T11:08:31.289Z", "2026-11-22T11:08:31.289Z", "2026-11-22T11:08:31.290Z")
    ]


# Everything, in any order

STREAMS = ("a", "b")
COPIES = "copies"
TIMES = st.integers(0, 30)
MESSAGES = st.text(min_size=1, max_size=6)
SELECTIONS = st.just(Selection()) | st.builds(
    Selection,
    stream=st.sampled_from([None, "a", "b", COPIES]),
    since_ms=st.none() | TIMES,
    until_ms=st.none() | TIMES,
    batch_id=st.none() | st.integers(1, 6),
    states=st.sampled_from([(), ("sent",), ("rejected",), ("unsent",), ("sent", "rejected")]),
)


def small_limits():
    """
    A service that takes seven events of thirty bytes, over twenty milliseconds.
    """

    def is_legal(events, size, span):
        return events <= 7 and size <= 30 and span <= 20

    def pack(runs):
        for count in range(len(runs), 0, -1):
            chosen = runs[:count]
            first = min(run.first_timestamp for run in chosen)
            last = max(run.last_timestamp for run in chosen)
            size = sum(run.bytes for run in chosen)
            if is_legal(sum(run.events for run in chosen), size, last - first):
                return count
        return 0

    def fit(timestamps, sizes):
        for count in range(min(len(sizes), 7), 1, -1):
            span = timestamps[count - 1] - timestamps[0]
            if is_legal(count, sum(sizes[:count]), span):
                return count
        return 1

    return Limits(pack=pack, fit=fit)


EVER = Ages(0, 2**62)


class Life(RuleBasedStateMachine):
    """
    A store, and beside it what it should hold: events as dictionaries, batches as lists of ids.
    """

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "spool.db"
        self.store = Store(self.path)
        self.limits = small_limits()
        self.clock_ms = 1_000
        self.events = {}
        self.batches = {}
        self.taken = {}
        self.checkpoint = None
        self.pruned = 0
        self.dropped = 0
        self.collected = 0

    def teardown(self):
        self.store.close()
        self.folder.cleanup()

    # the model

    def new_event(self, stream, timestamp, message):
        self.collected += 1
        self.events[self.collected] = {
            "stream": stream,
            "timestamp": timestamp,
            "message": message,
            "state": "queued",
            "batch": None,
        }

    def queued(self, stream):
        found = [
            (event["timestamp"], key)
            for key, event in self.events.items()
            if event["stream"] == stream and event["state"] == "queued"
        ]
        return [key for _, key in sorted(found)]

    def shown_state(self, event):
        return "unsent" if event["state"] in ("queued", "sending") else event["state"]

    def selects(self, selection, key):
        event = self.events[key]
        return (
            (selection.stream is None or event["stream"] == selection.stream)
            and (selection.since_ms is None or event["timestamp"] >= selection.since_ms)
            and (selection.until_ms is None or event["timestamp"] < selection.until_ms)
            and (not selection.states or self.shown_state(event) in selection.states)
            and (
                selection.batch_id is None
                or key in self.batches.get(selection.batch_id, {"ids": []})["ids"]
            )
        )

    def record(self, batch, ids):
        self.batches[batch.id] = {
            "ids": ids,
            "state": "sending",
            "sent_at": None,
            "created_at": self.clock_ms,
        }
        self.taken[batch.id] = batch
        for key in ids:
            self.events[key] |= {"state": "sending", "batch": batch.id}

    # what happens

    @initialize(
        events=st.lists(st.tuples(TIMES, MESSAGES), min_size=5, max_size=15),
        other=st.lists(st.tuples(TIMES, MESSAGES), min_size=5, max_size=15),
    )
    def begin(self, events, other):
        self.append("b", events, other)

    @rule(
        stream=st.sampled_from(STREAMS),
        events=st.lists(st.tuples(TIMES, MESSAGES), min_size=1, max_size=20),
        other=st.lists(st.tuples(TIMES, MESSAGES), max_size=3),
    )
    def append(self, stream, events, other):
        self.clock_ms += 1
        ids = {name: self.store.stream_id("g", name) for name in STREAMS}
        source = self.store.source_id("test")
        parts = [(stream, events), (STREAMS[0], other)]
        self.store.append(
            [Chunk(ids[n], [(ids[n], time, source, text) for time, text in p]) for n, p in parts],
            checkpoints={"file": str(self.clock_ms)},
        )
        self.checkpoint = str(self.clock_ms)
        for name, part in parts:
            for timestamp, message in part:
                self.new_event(name, timestamp, message)

    @rule(events=st.lists(st.tuples(TIMES, MESSAGES), max_size=5))
    def append_in_vain(self, events):
        ids = {name: self.store.stream_id("g", name) for name in STREAMS}
        source = self.store.source_id("test")
        good = Chunk(ids["a"], [(ids["a"], time, source, text) for time, text in events])
        bad = Chunk(ids["b"], [(ids["b"], 1, source, None)])
        with pytest.raises(apsw.ConstraintError):
            self.store.append([good, bad], checkpoints={"file": "never"})

    @rule(stream=st.sampled_from([*STREAMS, COPIES]), most=st.integers(1, 3))
    def take(self, stream, most):
        for _ in range(most):
            self.take_one(stream)

    def take_one(self, stream):
        waiting = self.queued(stream)
        batch = self.store.take(
            self.store.stream_id("g", stream), self.limits, now_ms=self.clock_ms
        )
        if not waiting:
            assert batch is None
            return
        ids = waiting[: batch.events]
        events = [self.events[key] for key in ids]
        assert json.loads(self.store.log_events(batch)) == [
            {"timestamp": event["timestamp"], "message": event["message"]} for event in events
        ]
        assert batch.bytes == sum(len(event["message"].encode()) for event in events)
        assert batch.first_timestamp == events[0]["timestamp"]
        assert batch.last_timestamp == events[-1]["timestamp"]
        assert batch.bytes <= 30
        assert batch.last_timestamp - batch.first_timestamp <= 20
        self.record(batch, ids)

    @rule(stream=st.sampled_from([*STREAMS, COPIES]), data=st.data())
    def send(self, stream, data):
        self.take(stream, 2)
        self.settle(data, 3)

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), most=st.integers(1, 3))
    def settle(self, data, most):
        for _ in range(min(most, len(self.taken))):
            self.settle_one(data)

    def settle_one(self, data):
        batch = self.taken.pop(data.draw(st.sampled_from(sorted(self.taken))))
        old = data.draw(st.integers(0, min(2, batch.events)))
        new = data.draw(st.integers(max(old, batch.events - 1), batch.events))
        self.clock_ms += 1
        ranges = [(0, old, "too old"), (new, batch.events, "too new")]
        self.store.settle(batch, request_id="r", now_ms=self.clock_ms, refused=ranges)
        record = self.batches[batch.id]
        record |= {"state": "sent", "sent_at": self.clock_ms}
        for index, key in enumerate(record["ids"]):
            is_refused = index < old or index >= new
            self.events[key]["state"] = "rejected" if is_refused else "sent"

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def split(self, data):
        batch = self.taken.pop(data.draw(st.sampled_from(sorted(self.taken))))
        parts = self.store.split(batch, "refused", now_ms=self.clock_ms)
        record = self.batches[batch.id]
        record["state"] = "refused"
        if batch.events == 1:
            assert parts == []
            self.events[record["ids"][0]]["state"] = "rejected"
            return
        ids = iter(record["ids"])
        for part in parts:
            self.record(part, [next(ids) for _ in range(part.events)])
        assert list(ids) == []

    @rule(
        stream=st.sampled_from(STREAMS),
        oldest_ms=st.integers(0, 3),
        newest_ms=st.integers(27, 30),
    )
    def reject_outside(self, stream, oldest_ms, newest_ms):
        outside = [
            key
            for key in self.queued(stream)
            if not oldest_ms <= self.events[key]["timestamp"] <= newest_ms
        ]
        stream_id = self.store.stream_id("g", stream)
        found = self.store.reject_outside(stream_id, oldest_ms=oldest_ms, newest_ms=newest_ms)
        assert found == len(outside)
        for key in outside:
            self.events[key]["state"] = "rejected"

    @rule(selection=SELECTIONS)
    def requeue(self, selection):
        chosen = [
            key
            for key in self.events
            if self.selects(selection, key) and self.events[key]["state"] in ("sent", "rejected")
        ]
        assert replay.requeue(self.store, selection, EVER) == len(chosen)
        for key in chosen:
            self.events[key]["state"] = "queued"

    @precondition(lambda self: len(self.events) < 150)
    @rule(selection=SELECTIONS)
    def copy(self, selection):
        chosen = [key for key in self.events if self.selects(selection, key)]
        amount = replay.survey(self.store, selection, EVER)
        targets = replay.targets(self.store, amount.streams, None, COPIES)
        replay.copy(self.store, selection, EVER, targets)
        assert len(set(targets.values())) == bool(chosen)
        for key in chosen:
            self.new_event(COPIES, self.events[key]["timestamp"], self.events[key]["message"])

    @rule(age_ms=st.integers(-1, 2))
    def prune(self, age_ms):
        before_ms = self.clock_ms - age_ms
        newest = max(self.events, default=0)
        due = sorted(
            (record["sent_at"], key)
            for key, record in self.batches.items()
            if record["state"] == "sent" and record["sent_at"] < before_ms
        )
        count = 0
        for _, key in due:
            for event_id in self.batches[key]["ids"]:
                event = self.events.get(event_id)
                is_sent = event and (event["state"], event["batch"]) == ("sent", key)
                if is_sent and event_id != newest:
                    del self.events[event_id]
                    count += 1
            self.forget_if_empty(key)
        for key, record in list(self.batches.items()):
            if record["state"] == "refused" and record["created_at"] < before_ms:
                self.forget_if_empty(key)
        assert prune(self.store, sent_before_ms=before_ms) == count
        self.pruned += count

    def forget_if_empty(self, key):
        shown = [event for event in self.events.values() if event["state"] != "queued"]
        if any(event["batch"] == key for event in shown):
            return
        del self.batches[key]
        for event_id, event in self.events.items():
            if event["batch"] == key:
                before = [id_ for id_, record in self.batches.items() if event_id in record["ids"]]
                event["batch"] = max(before, default=None)

    @rule()
    def drop_rejected(self):
        newest = max(self.events)
        rejected = [
            key
            for key, event in sorted(self.events.items())
            if event["state"] == "rejected" and key != newest
        ][: queue.SLICE_EVENTS]
        assert next(drop_rejected(self.store), 0) == len(rejected)
        self.drop(rejected)

    @rule()
    def drop_unsent(self):
        """
        Which runs the queue has is its own affair: the oldest of one stream, up to some event.
        """
        newest = max(self.events)
        count = next(drop_unsent(self.store), 0)
        with self.store.reading() as db:
            left = {row[0] for row in db.execute("SELECT id FROM event")}
        gone = sorted(self.events.keys() - left)
        assert len(gone) == count
        assert newest in left
        assert {self.events[key]["state"] for key in gone} <= {"queued"}
        assert len({self.events[key]["stream"] for key in gone}) <= 1
        if gone:
            oldest = min(
                event["timestamp"]
                for key, event in self.events.items()
                if (event["state"] == "queued" and event["stream"] != self.events[newest]["stream"])
                or key in gone
            )
            assert oldest == min(self.events[key]["timestamp"] for key in gone)
        self.drop(gone)

    def drop(self, keys):
        for key in keys:
            del self.events[key]
        self.dropped += len(keys)

    @rule()
    def fail_and_restart(self):
        for batch in self.taken.values():
            self.store.note_failure(batch, "no way through", now_ms=self.clock_ms)
            self.store.note_attempt(batch)
        self.store.close()
        self.store = Store(self.path)
        assert [batch.id for batch in self.store.unsettled()] == sorted(self.taken)

    # what always holds

    @invariant()
    def every_event_is_accounted_for(self):
        assert audit(self.store) == []

    @invariant()
    def the_views_show_what_happened(self):
        with self.store.reading() as db:
            events = db.execute(
                "SELECT id, log_stream, timestamp, message, state, batch_id FROM events ORDER BY id"
            ).fetchall()
            batches = dict(db.execute("SELECT id, state FROM batches").fetchall())
            pruned = db.execute("SELECT total(pruned) FROM stream").get
            dropped = db.execute("SELECT total(dropped) FROM stream").get
            collected = db.execute("SELECT total(collected) FROM stream").get
        assert events == [
            (
                key,
                event["stream"],
                event["timestamp"],
                event["message"],
                self.shown_state(event),
                None if event["state"] == "queued" else event["batch"],
            )
            for key, event in sorted(self.events.items())
        ]
        assert batches == {key: record["state"] for key, record in self.batches.items()}
        assert (pruned, dropped) == (self.pruned, self.dropped)
        assert collected == self.collected

    @invariant()
    def the_checkpoint_moved_only_with_its_events(self):
        assert self.store.checkpoint("file") == self.checkpoint


def test_whatever_happens_in_whatever_order_every_event_is_where_it_should_be(monkeypatch):
    monkeypatch.setattr("spool.run.RUN_BLOCK", 4)
    monkeypatch.setattr("spool.queue.RUN_BLOCK", 4)
    monkeypatch.setattr(queue, "SLICE_EVENTS", 6)
    monkeypatch.setattr(retention, "SLICE_BATCHES", 3)
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
        ),
    )


@pytest.mark.parametrize("count", [254, 255, 256, 257, 600, 1_100])
def test_every_event_of_a_long_batch_is_found_in_it(desk, count):
    """
    Runs are cut at fixed ids, so that the one around an event is found at once.
    """
    desk.put((1, "before"))
    before = desk.send()
    desk.put(*((time, "x") for time in range(count)))
    desk.put((1, "of another stream"), stream="other")
    batch = desk.send()
    with desk.store.reading() as db:
        rows = db.execute("SELECT state, batch_id, count(*) FROM events GROUP BY 1, 2").fetchall()
    assert sorted(rows) == [
        ("sent", before.id, 1),
        ("sent", batch.id, count),
        ("unsent", None, 1),
    ]
