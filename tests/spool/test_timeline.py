"""
What was logged, delivered and waited, over time.
"""

import pytest

from spool.inspection import Inspection
from spool.piece import Ages
from spool.replay import requeue
from spool.selection import Selection
from spool.timeline import timeline

MINUTE_MS = 60_000
BEGIN_MS = 1_795_344_000_000
"""Begin of ten steps of a minute each."""


def at(minutes):
    return BEGIN_MS + round(minutes * MINUTE_MS)


def course(desk):
    """
    The ten minutes of a spool, and what is here.
    """
    desk.store.close()
    with Inspection(desk.path) as spool:
        drawn = timeline(spool, start_ms=BEGIN_MS, step_ms=MINUTE_MS, now_ms=at(9.9))
    desk.reopen()
    return drawn


def test_an_event_waits_from_its_own_time_until_it_is_delivered(desk):
    desk.put((at(2.5), "one"), (at(2.6), "two"))
    desk.send(now_ms=at(6.5))
    drawn = course(desk)
    assert drawn.logged == [0, 0, 2, 0, 0, 0, 0, 0, 0, 0]
    assert drawn.delivered == [0, 0, 0, 0, 0, 0, 2, 0, 0, 0]
    assert drawn.waiting == [0, 0, 2, 2, 2, 2, 0, 0, 0, 0]
    assert drawn.end_ms == at(10)


def test_what_waits_at_the_end_is_what_is_unsent(desk):
    desk.put((at(-30), "before"), (at(1), "sent"))
    desk.send(now_ms=at(1.5))
    desk.put((at(4), "on its way"))
    assert desk.take()
    desk.put((at(-300), "waits since before"), (at(8), "waits"))
    desk.put((at(99), "a clock that is ahead"), stream="other")
    assert course(desk).waiting[-1] == pytest.approx(4)


def test_the_lag_of_a_step_is_from_the_last_event_of_its_batches(desk):
    desk.put((at(1), "a"), (at(2), "b"))
    desk.send(now_ms=at(3))
    desk.put((at(3), "c"), (at(3), "d"), (at(3), "e"), stream="quick")
    desk.send("quick", now_ms=at(3) + 2_000)
    drawn = course(desk)
    assert drawn.longest_lag_ms[3] == MINUTE_MS
    assert drawn.mean_lag_ms[3] == pytest.approx((2 * MINUTE_MS + 3 * 2_000) / 5)
    assert drawn.longest_lag_ms[:3] + drawn.longest_lag_ms[4:] == [None] * 9


def test_a_batch_is_spread_over_the_time_of_its_events(desk):
    desk.put(*((at(2 + number), str(number)) for number in range(4)))
    desk.send(now_ms=at(7))
    assert course(desk).logged == [0, 0, 1, 1, 1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("is_sent", [True, False])
def test_a_replay_is_no_backlog_since_then(desk, is_sent):
    desk.now_ms = at(1.1)
    desk.put((at(1), "a"), (at(1), "b"))
    desk.send(now_ms=at(1.2))
    requeue(desk.store, Selection(), Ages(0, at(99)))
    if is_sent:
        desk.now_ms = at(8)
        desk.send(now_ms=at(8.2))
    drawn = course(desk)
    assert drawn.delivered == [0, 2, 0, 0, 0, 0, 0, 0, 0, 0]
    assert drawn.waiting[:9] == [0] * 9
    assert drawn.waiting[9] == (0 if is_sent else 2)
    assert drawn.replayed[8] == (2 if is_sent else 0)
    assert max(lag or 0 for lag in drawn.longest_lag_ms) == pytest.approx(0.2 * MINUTE_MS)


def test_a_batch_that_was_split_is_no_replay(desk):
    desk.put((at(1), "a"), (at(1), "b"))
    for part in desk.store.split(desk.take(), "refused", now_ms=at(5)):
        desk.settle(part, now_ms=at(5))
    drawn = course(desk)
    assert sum(drawn.replayed) == 0
    assert drawn.waiting == [0, 2, 2, 2, 2, 0, 0, 0, 0, 0]


def test_batches_that_were_sent_more_than_once_are_counted(desk):
    desk.put((at(1), "a"))
    batch = desk.take()
    desk.store.note_attempt(batch)
    desk.settle(batch, now_ms=at(2))
    desk.put((at(3), "b"))
    desk.send(now_ms=at(3.1))
    assert course(desk).maybe_twice == 1


def test_an_empty_spool_is_a_course_of_nothing(desk):
    drawn = course(desk)
    assert drawn.waiting == [0] * 10
    assert drawn.mean_lag_ms == [None] * 10
