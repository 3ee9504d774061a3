"""
A spool that is full: what gives way, in which order, and what never does.
"""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from spool import budget as budget_module
from spool.budget import DEFAULT_BYTES, Budget, known_limit_bytes

MIB = 1024**2
LIMIT = 8 * MIB
LINE = "x" * 1_000

UNSENT = (
    "queued + (SELECT total(events) FROM batch"
    " WHERE stream_id = stream.id AND batch.state = 'sending')"
)

HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM events").fetchall()
print("ready", flush=True)
sys.stdin.readline()
"""


def fill(desk, budget, *, stream="s", at_most=100):
    """
    Append as long as there is room, as collecting does; how many events.
    """
    count = 0
    while count < at_most * 100 and budget.make_room():
        desk.put(*((count + n, f"{count + n} {LINE}") for n in range(100)), stream=stream)
        count += 100
    return count


def told(caplog):
    return [record.getMessage() for record in caplog.records]


def total(desk, column):
    return desk.rows(f"SELECT total({column}) FROM stream")[0][0]


def test_an_empty_spool_has_room(desk):
    assert Budget(desk.store, LIMIT).make_room()


def test_what_was_sent_first_leaves_first_whatever_its_age_and_collecting_goes_on(desk, caplog):
    budget = Budget(desk.store, LIMIT)
    for n in range(400):
        assert budget.make_room()
        desk.put(*((n, f"{n} {LINE}") for _ in range(50)))
        desk.send(now_ms=desk.now_ms + n)
        assert desk.store.used_bytes() < LIMIT
    left = [int(row[0].split()[0]) for row in desk.rows("SELECT message FROM events ORDER BY id")]
    assert left == [n for n in range(min(left), 400) for _ in range(50)]
    assert len(left) > 1_000
    assert desk.counts()["pruned"] == 20_000 - len(left)
    assert told(caplog) == []


def test_rejected_events_leave_next_and_are_counted_as_dropped(desk, caplog):
    budget = Budget(desk.store, LIMIT)
    desk.put(*((1, f"sent {LINE}") for _ in range(50)))
    desk.send()
    while desk.store.used_bytes() < LIMIT:
        desk.put(*((1, f"old {LINE}") for _ in range(100)), stream="old")
        desk.store.reject_outside(desk.stream("old"), oldest_ms=10, newest_ms=20)
    desk.put((1, "waits"))
    assert budget.make_room()
    assert desk.states("s") == {"waits": "unsent"}
    counts = desk.counts("old")
    assert counts["dropped"] > 0
    assert counts["rejected"] + counts["dropped"] == counts["collected"]
    assert told(caplog) == [f"the spool is full: {counts['dropped']} rejected events were dropped"]


def test_then_nothing_more_is_taken_until_some_was_sent(desk, caplog):
    """
    Promise 4: what waits stays. What delivery writes goes through all the while.
    """
    caplog.set_level("INFO")
    budget = Budget(desk.store, LIMIT)
    stored = fill(desk, budget)
    assert budget.is_blocked
    assert not budget.make_room()
    assert desk.counts() | {"queued": stored, "collected": stored, "dropped": 0} == desk.counts()
    while not budget.make_room():
        batch = desk.take()
        desk.store.note_failure(batch, "no way through", now_ms=1)
        desk.store.note_attempt(batch)
        desk.settle(batch)
    assert not budget.is_blocked
    assert told(caplog) == [
        "the spool is full (8.0 MiB) of events that wait: no more lines are collected until some"
        " were sent",
        "the spool has room again",
    ]
    assert fill(desk, budget) > 0


def test_or_the_oldest_unsent_events_leave_and_are_counted(desk, caplog):
    caplog.set_level("INFO")
    budget = Budget(desk.store, LIMIT, "drop-oldest")
    desk.put(*((n, f"on its way {n}") for n in range(10)), stream="taken")
    desk.take("taken")
    assert fill(desk, budget, at_most=120) == 12_000
    counts = desk.counts()
    assert counts["dropped"] > 2_000
    assert counts["queued"] == 12_000 - counts["dropped"]
    left = [row[0] for row in desk.rows("SELECT timestamp FROM events WHERE log_stream = 's'")]
    assert left == list(range(counts["dropped"], 12_000))
    assert len(desk.states("taken")) == 10
    while desk.take():
        pass
    for batch in desk.store.unsettled():
        desk.settle(batch)
    assert budget.make_room()
    assert told(caplog) == [
        "the spool is full (8.0 MiB) of events that wait: the oldest are dropped",
        f"the spool has room again; {counts['dropped']:,} unsent events were dropped",
    ]


def test_with_all_on_its_way_there_is_nothing_to_drop(desk):
    budget = Budget(desk.store, LIMIT, "drop-oldest")
    fill(desk, Budget(desk.store, LIMIT))
    desk.drain()
    assert not budget.make_room()
    assert desk.counts()["dropped"] == 0


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_no_unsent_event_is_lost_and_the_size_is_kept(desk, seed):
    dice = random.Random(seed)
    budget = Budget(desk.store, LIMIT)
    on_their_way = []
    times_full = 0
    for step in range(600):
        stream = dice.choice("abc")
        action = dice.random()
        is_outage = step % 300 < 200
        if action < 0.5 and budget.make_room():
            lines = [(dice.randrange(100), LINE) for _ in range(dice.randrange(1, 150))]
            desk.put(*lines, stream=stream)
        elif action < 0.6:
            desk.store.reject_outside(desk.stream(stream), oldest_ms=3, newest_ms=97)
        elif action < 0.8 and not is_outage and (batch := desk.take(stream)):
            on_their_way.append(batch)
        elif on_their_way and not is_outage:
            batch = on_their_way.pop(dice.randrange(len(on_their_way)))
            refused = (0, dice.randrange(batch.events), "refused")
            desk.settle(batch, refused, now_ms=dice.getrandbits(9))
        times_full += budget.is_blocked
        accounted = f"{UNSENT} + sent + rejected + pruned + dropped"
        assert total(desk, "collected") == total(desk, accounted)
        assert desk.store.used_bytes() < LIMIT
    assert times_full > 0
    assert total(desk, "pruned") > 0
    states = dict(desk.rows("SELECT state, count(*) FROM event_state GROUP BY state"))
    assert states["unsent"] == total(desk, UNSENT)


def test_other_processes_are_told_the_limit_and_what_is_the_matter(desk, open_desk):
    budget = Budget(desk.store, LIMIT)
    assert known_limit_bytes(desk.store) == DEFAULT_BYTES
    tell(desk, budget)
    assert known_limit_bytes(desk.store) == LIMIT
    fill(desk, budget)
    tell(desk, budget)
    assert "no more lines are collected" in notes(desk)["full"]
    for batch in desk.drain():
        desk.settle(batch)
    budget.make_room()
    tell(desk, budget)
    assert notes(desk) == {"max_size": str(LIMIT)}


def tell(desk, budget):
    for name, text in budget.notes.items():
        desk.store.note(name, text, now_ms=desk.now_ms)


def notes(desk):
    return dict(desk.rows("SELECT name, text FROM note"))


def test_room_can_be_asked_for_while_another_thread_writes(desk):
    """
    A connection is for one thread at a time.
    """
    budget = Budget(desk.store, LIMIT)
    with ThreadPoolExecutor() as pool:
        writing = pool.submit(lambda: [desk.put((n, LINE)) for n in range(200)])
        while not writing.done():
            assert budget.make_room()
            budget.watch_log()
        writing.result()


# The write-ahead log


def test_a_reader_that_holds_the_log_stops_collecting_before_it_fills_the_disk(
    desk, caplog, monkeypatch, begin_elsewhere
):
    caplog.set_level("INFO")
    monkeypatch.setattr(budget_module, "HELD_LOG_BYTES", MIB // 2)
    desk.put(*((n, LINE) for n in range(100)))
    budget = Budget(desk.store, LIMIT)
    reader = begin_elsewhere(HOLD, desk.path)
    stored = fill(desk, budget)
    budget.watch_log()
    assert stored > 0
    assert budget.is_blocked
    assert desk.store.log_bytes() < LIMIT
    assert desk.counts()["dropped"] == 0
    reader.communicate("\n")
    budget.watch_log()
    assert budget.make_room()
    assert desk.store.log_bytes() == 0
    first, second, third, fourth = told(caplog)
    assert "no more lines are collected until that one ends" in first
    assert "; at 2.0 MiB no more lines are collected" in second
    assert third == "nobody holds the write-ahead log any more"
    assert fourth == "the spool has room again"


def test_the_log_is_a_part_of_a_small_limit_and_returns_to_it_after_a_burst(desk):
    budget = Budget(desk.store, LIMIT)
    sizes = []
    for _ in range(10):
        assert budget.make_room()
        desk.put(*((n, LINE) for n in range(50)))
        sizes.append(desk.store.log_bytes())
    assert max(sizes) < LIMIT // 4 + MIB // 2
    desk.put(*((n, LINE) for n in range(4_000)))
    assert desk.store.log_bytes() > LIMIT // 4 + MIB
    desk.put((1, LINE))
    assert desk.store.log_bytes() <= LIMIT // 4


def test_what_was_read_out_of_a_log_that_was_held_is_given_back(desk, begin_elsewhere):
    desk.put((1, "one"))
    reader = begin_elsewhere(HOLD, desk.path)
    desk.put(*((n, LINE) for n in range(1_000)))
    assert not desk.store.empty_log()
    assert desk.store.log_bytes() > MIB
    reader.communicate("\n")
    assert desk.store.empty_log()
    assert desk.store.log_bytes() == 0
