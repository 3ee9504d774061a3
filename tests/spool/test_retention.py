"""
What leaves the spool, and above all what does not.
"""

import sqlite3
import threading
from contextlib import closing

from spool.piece import Ages
from spool.replay import requeue
from spool.retention import prune, shrink
from spool.selection import Selection

HOUR_MS = 3_600_000


def sent_hours_ago(desk, hours, *events, stream="s"):
    desk.put(*events, stream=stream)
    return desk.send(stream, now_ms=desk.now_ms - hours * HOUR_MS)


def kept(desk):
    return [row[0] for row in desk.rows("SELECT message FROM event ORDER BY id")]


def test_sent_events_are_kept_for_so_long_and_no_longer(desk):
    for hours in (30, 25, 24, 23, 1):
        sent_hours_ago(desk, hours, (1, f"{hours} h"))
    assert prune(desk.store, sent_before_ms=desk.now_ms - 24 * HOUR_MS) == 2
    assert kept(desk) == ["24 h", "23 h", "1 h"]
    assert desk.counts() | {"sent": 3, "pruned": 2, "collected": 5} == desk.counts()


def test_what_counts_is_when_an_event_was_sent_and_not_its_own_time(desk):
    sent_hours_ago(desk, 0, (0, "from 1970"), (desk.now_ms, "of today"))
    assert prune(desk.store, sent_before_ms=desk.now_ms) == 0


def test_unsent_and_rejected_events_stay_however_old_they_are(desk):
    """
    Promises 3 and 4.
    """
    desk.put((1, "sent"), (2, "rejected"))
    desk.settle(desk.take(), (1, 2, "too new"), now_ms=1)
    desk.put((3, "too old"))
    desk.store.reject_outside(desk.stream(), oldest_ms=10, newest_ms=20)
    desk.put((11, "on its way"))
    desk.take()
    desk.put((12, "waits"))
    assert prune(desk.store, sent_before_ms=desk.now_ms) == 1
    assert kept(desk) == ["rejected", "too old", "on its way", "waits"]
    assert prune(desk.store, sent_before_ms=desk.now_ms) == 0


def test_an_event_that_waits_again_stays(desk):
    sent_hours_ago(desk, 30, (1, "replayed"), (2, "not replayed"), (3, "newest"))
    requeue(desk.store, Selection(until_ms=2), Ages(0, 2**62))
    assert prune(desk.store, sent_before_ms=desk.now_ms) == 1
    assert kept(desk) == ["replayed", "newest"]
    batch = desk.take()
    assert prune(desk.store, sent_before_ms=desk.now_ms) == 0
    desk.settle(batch, now_ms=desk.now_ms)
    assert prune(desk.store, sent_before_ms=desk.now_ms) == 0, "it was sent again just now"
    assert prune(desk.store, sent_before_ms=desk.now_ms + 1) == 1


def test_no_id_is_given_twice(desk):
    """
    The newest event stays until there is a newer one: SQLite would give its id again.
    """
    sent_hours_ago(desk, 30, (1, "a"), (2, "b"))
    prune(desk.store, sent_before_ms=desk.now_ms)
    assert kept(desk) == ["b"]
    desk.reopen()
    desk.put((3, "c"))
    assert desk.rows("SELECT id, message, state FROM events ORDER BY id") == [
        (2, "b", "sent"),
        (3, "c", "unsent"),
    ]
    assert prune(desk.store, sent_before_ms=desk.now_ms) == 1
    assert kept(desk) == ["c"]


def test_a_batch_is_on_record_as_long_as_one_of_its_events_is(desk):
    sent_hours_ago(desk, 30, (1, "a"))
    desk.put((1, "b"), (2, "rejected"))
    desk.settle(desk.take(), (1, 2, "too new"), now_ms=1)
    sent_hours_ago(desk, 1, (1, "c"))
    prune(desk.store, sent_before_ms=desk.now_ms - HOUR_MS * 2)
    assert desk.rows("SELECT id FROM batches ORDER BY id") == [(2,), (3,)]
    assert desk.rows("SELECT DISTINCT batch_id FROM run") == [(2,), (3,)]


def test_a_batch_id_is_not_given_twice_either(desk):
    sent_hours_ago(desk, 30, (1, "a"))
    desk.put((1, "b"))
    prune(desk.store, sent_before_ms=desk.now_ms)
    assert desk.rows("SELECT id FROM batches") == []
    assert desk.take().id == 2


def test_each_stream_counts_its_own(desk):
    sent_hours_ago(desk, 30, (1, "a"), (2, "b"), stream="one")
    sent_hours_ago(desk, 30, (1, "c"), stream="two")
    desk.put((1, "d"), stream="two")
    assert prune(desk.store, sent_before_ms=desk.now_ms) == 3
    assert (desk.counts("one")["pruned"], desk.counts("two")["pruned"]) == (2, 1)


def test_a_file_that_somebody_made_one_that_never_shrinks_is_left_so(desk):
    for n in range(10):
        sent_hours_ago(desk, 30, *((n, "x" * 1_000) for _ in range(500)))
    desk.store.close()
    with closing(sqlite3.connect(desk.path)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA auto_vacuum = 0")
        db.execute("VACUUM")
    desk.reopen()
    assert prune(desk.store, sent_before_ms=desk.now_ms) == 4_999  # the newest event stays
    shrink(desk.store)
    assert desk.path.stat().st_size > 5_000_000


def test_the_file_shrinks_again(desk):
    for n in range(10):
        sent_hours_ago(desk, 30, *((n, "x" * 1_000) for _ in range(500)))
    desk.put((1, "waits"))
    desk.reopen()  # all of it in the main file
    full = desk.path.stat().st_size
    assert prune(desk.store, sent_before_ms=desk.now_ms) == 5_000
    shrink(desk.store)
    assert full > 5_000_000
    assert desk.path.stat().st_size < 200_000
    assert kept(desk) == ["waits"]


def test_after_a_drained_backlog_the_file_is_small_again_and_lines_come_in_meanwhile(desk):
    """
    Given back in slices, between which others write.
    """
    for _ in range(100):
        desk.put(*((1, "x" * 10_000) for _ in range(100)))
    while desk.take():
        pass
    for batch in desk.store.unsettled():
        desk.settle(batch, now_ms=1)
    assert desk.store.empty_log()
    assert desk.path.stat().st_size > 100_000_000
    assert prune(desk.store, sent_before_ms=2) == 10_000 - 1
    done = threading.Event()
    between = []

    def write():
        while not done.is_set():
            desk.put((2, "meanwhile"))
            between.append(desk.store.used_bytes())

    writer = threading.Thread(target=write)
    writer.start()
    shrink(desk.store)
    done.set()
    writer.join()
    assert len(between) > 1
    desk.store.empty_log()
    assert desk.path.stat().st_size < 2_000_000


def test_nothing_is_left_of_batches_that_cloudwatch_refused_or_whose_events_went_elsewhere(desk):
    """
    The tables of batches and runs do not grow for ever.
    """
    desk.put(*((n, f"{n}") for n in range(8)))
    for part in desk.store.split(desk.take(), "refused", now_ms=1):
        desk.settle(part, now_ms=2)
    requeue(desk.store, Selection(), Ages(0, 2**62))
    desk.send(now_ms=3)
    desk.put((9, "bad"))
    assert desk.store.split(desk.take(), "refused", now_ms=4) == []
    desk.put((10, "newest"))
    assert prune(desk.store, sent_before_ms=3) == 0
    assert desk.rows("SELECT id FROM batch") == [(1,), (4,), (5,)]
    assert prune(desk.store, sent_before_ms=desk.now_ms + 1) == 8
    assert desk.rows("SELECT id FROM batch") == desk.rows("SELECT batch_id FROM run") == [(5,)]
    assert desk.states() == {"bad": "rejected", "newest": "unsent"}


def test_an_empty_spool_has_nothing_to_prune(desk):
    assert prune(desk.store, sent_before_ms=desk.now_ms) == 0
