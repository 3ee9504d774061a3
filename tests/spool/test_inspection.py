"""
The window on a spool that another process writes to.
"""

import pytest

from spool.errors import SpoolError
from spool.inspection import Inspection
from spool.schema import VERSION
from spool.selection import Selection


@pytest.fixture
def inspected(open_desk, db):
    """
    A spool with two streams, closed and opened for inspection.
    """
    desk = open_desk(db)
    desk.store.append([], skipped={"damaged records": 2, "blank lines": 3})
    desk.put((1_000, "sent"), (2_000, "rejected"))
    desk.settle(desk.take(), (1, 2, "too new"), now_ms=9_000)
    desk.put((3_000, "on its way"))
    desk.store.note_failure(desk.take(), "no way through", now_ms=9_500)
    desk.put((4_000, "waits"))
    desk.put((5_500, "elsewhere"), stream="other")
    desk.stream("empty")
    desk.store.close()
    with Inspection(db) as inspection:
        yield inspection


def messages(rows):
    return [row["message"] for row in rows]


def test_each_stream_has_its_counts(inspected):
    names = ("group", "stream", "unsent", "sent", "rejected", "collected", "pruned", "dropped")
    rows = inspected.streams()
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("g", "empty", 0, 0, 0, 0, 0, 0),
        ("g", "other", 1, 0, 0, 1, 0, 0),
        ("g", "s", 2, 1, 1, 4, 0, 0),
    ]


def test_each_stream_has_its_times_and_its_last_error(inspected):
    names = ("stream", "oldest_unsent", "last_delivery", "last_error")
    assert [tuple(row[name] for name in names) for row in inspected.streams()] == [
        ("empty", None, None, None),
        ("other", "1970-01-01T00:00:05.500Z", None, None),
        ("s", "1970-01-01T00:00:03.000Z", "1970-01-01T00:00:09.000Z", "no way through"),
    ]


def test_an_error_comes_with_the_time_of_the_last_attempt_and_of_the_batch_that_failed_first(
    open_desk, db
):
    desk = open_desk(db)
    desk.put((3_000, "one"))
    desk.now_ms = 7_000
    batch = desk.take()
    for at_ms in (7_500, 9_500):
        desk.store.note_failure(batch, "no way through", now_ms=at_ms)
    desk.store.close()
    names = ("last_error", "last_error_at", "failing_since")
    with Inspection(db) as inspection:
        assert [inspection.streams()[0][name] for name in names] == [
            "no way through",
            "1970-01-01T00:00:09.500Z",
            "1970-01-01T00:00:07.000Z",
        ]


@pytest.mark.parametrize(("on_its_way", "waits"), [(10, 20), (20, 10), (10, None), (None, 10)])
def test_the_oldest_unsent_event_waits_or_is_on_its_way(open_desk, db, on_its_way, waits):
    desk = open_desk(db)
    if on_its_way:
        desk.put((on_its_way, "on its way"))
        desk.take()
    if waits:
        desk.put((waits, "waits"))
    desk.store.close()
    with Inspection(db) as inspection:
        assert inspection.streams()[0]["oldest_unsent"] == "1970-01-01T00:00:00.010Z"


def test_the_last_moment_that_has_a_name_is_shown(open_desk, db):
    desk = open_desk(db)
    desk.put((253_402_300_799_999, "the end"))
    desk.store.close()
    with Inspection(db) as inspection:
        assert inspection.streams()[0]["oldest_unsent"] == "9999-12-31T23:59:59.999Z"


def test_what_never_became_an_event_is_told_by_reason(inspected):
    assert inspected.skipped() == {"blank lines": 3, "damaged records": 2}


def test_the_size_is_what_it_takes_on_disk(inspected, db):
    parts = [db, db.with_name("spool.db-wal")]
    assert inspected.size_bytes() == sum(part.stat().st_size for part in parts if part.exists())
    assert inspected.size_bytes() > 50_000


def test_events_are_chosen_and_come_in_the_order_stored(inspected):
    everything = ["sent", "rejected", "on its way", "waits", "elsewhere"]
    assert messages(inspected.events(Selection())) == everything
    assert messages(inspected.events(Selection(states=("unsent",)))) == everything[2:]
    assert messages(inspected.events(Selection(stream="s", since_ms=2_000))) == everything[1:4]
    assert messages(inspected.events(Selection(batch_id=1))) == ["sent", "rejected"]
    assert messages(inspected.events(Selection(pattern="^(w|e)"))) == ["waits", "elsewhere"]


def test_the_newest_events_still_come_in_the_order_stored(inspected):
    assert messages(inspected.events(Selection(), newest=2)) == ["waits", "elsewhere"]
    assert messages(inspected.events(Selection(stream="s"), newest=1)) == ["waits"]
    assert messages(inspected.events(Selection(), newest=0)) == []
    assert len(messages(inspected.events(Selection(), newest=100))) == 5


def test_batches_are_chosen_by_what_they_held(inspected):
    assert [row["id"] for row in inspected.batches()] == [1, 2]
    assert [row["id"] for row in inspected.batches(state="sending")] == [2]
    assert [row["id"] for row in inspected.batches(group="g", stream="s", newest=1)] == [2]
    assert list(inspected.batches(stream="other")) == []
    assert next(inspected.batches())["request_id"] == "request-1"


def test_a_users_query_gives_rows_by_name(inspected):
    assert list(inspected.query("SELECT 1 AS one, :two AS two", {"two": 2})) == [
        {"one": 1, "two": 2}
    ]
    assert list(inspected.query("SELECT ? AS one", [1])) == [{"one": 1}]


@pytest.mark.parametrize(
    "sql",
    [
        "SELEC 1",
        "SELECT * FROM nowhere",
        "SELECT message FROM events WHERE message REGEXP '('",
        "DELETE FROM event",
        "DROP TABLE event",
        "PRAGMA user_version = 9",
        "VACUUM",
        "INSERT INTO skipped VALUES ('x', 1) RETURNING *",
    ],
)
def test_a_query_that_is_wrong_or_writes_is_refused_in_one_line(inspected, db, sql):
    before = db.read_bytes()
    with pytest.raises(SpoolError) as caught:
        list(inspected.query(sql))
    assert len(str(caught.value).splitlines()) == 1
    assert str(db) in str(caught.value)
    assert db.read_bytes() == before
    assert len(list(inspected.events(Selection()))) == 5


# Beside a writer

READ_SLOWLY = """
import sys
from pathlib import Path
from spool.inspection import Inspection
from spool.selection import Selection
inspection = Inspection(Path(sys.argv[1]))
rows = inspection.events(Selection())
next(rows)
print("ready", flush=True)
sys.stdin.readline()
print(1 + len(list(rows)), len(list(inspection.events(Selection()))), flush=True)
"""


def test_a_reader_that_stands_still_does_not_hold_up_the_writer(desk, begin_elsewhere):
    desk.put(*((n, f"{n}") for n in range(3_000)))
    process = begin_elsewhere(READ_SLOWLY, desk.path)
    for n in range(20):
        desk.put((n, "meanwhile"))
    desk.send()
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "3000 3020\n", "one moment for each query"


STAND_STILL = """
import sys
from pathlib import Path
from spool.inspection import Inspection
from spool.selection import Selection
inspection = Inspection(Path(sys.argv[1]))
rows = eval(sys.argv[2])
print(next(rows) and "ready", flush=True)
sys.stdin.readline()
print(1 + len(list(rows)), flush=True)
"""


@pytest.mark.parametrize(
    "rows",
    [
        "inspection.events(Selection())",
        "inspection.events(Selection(stream='s', states=('sent',)), newest=2_500)",
        "inspection.batches()",
        "inspection.query('SELECT * FROM events')",
        "inspection.query('PRAGMA table_info(event)')",
    ],
)
def test_a_reader_that_stands_still_does_not_hold_the_write_ahead_log(desk, begin_elsewhere, rows):
    """
    As with a pager at the end of a pipe: the log would grow until somebody types.
    """
    many = "batches" in rows
    for n in range(3_000 if many else 1):
        desk.put(*((n, f"{n}") for n in range(1 if many else 3_000)))
        desk.send()
    process = begin_elsewhere(STAND_STILL, desk.path, rows)
    desk.put((1, "meanwhile"))
    assert desk.store.empty_log()
    assert desk.store.log_bytes() == 0
    process.stdin.write("\n")
    process.stdin.flush()
    assert int(process.stdout.readline()) in (5, 2_500, 3_000)


def test_a_result_larger_than_memory_should_hold_is_read_whole(inspected):
    sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000)"
    rows = inspected.query(f"{sql} SELECT i, printf('%1000d', i) AS text, x'00' AS blob FROM n")
    for number, row in enumerate(rows, 1):
        assert (row["i"], int(row["text"]), row["blob"]) == (number, number, b"\0")
    assert number == 20_000


def test_pages_end_with_much_text_too(open_desk, db):
    desk = open_desk(db)
    desk.put(*((n, f"{n} " + "x" * 400_000) for n in range(20)))
    desk.store.close()
    with Inspection(db) as inspection:
        rows = list(inspection.events(Selection()))
    assert [row["timestamp"] for row in rows] == list(range(20))


INSPECT = """
import sys
from pathlib import Path
from spool.inspection import Inspection
from spool.selection import Selection
with Inspection(Path(sys.argv[1])) as inspection:
    print([row["message"] for row in inspection.events(Selection())])
"""


def test_it_sees_what_a_running_agent_has_just_stored(desk, elsewhere):
    desk.put((1, "\0\U0001f680\u2028"))
    assert elsewhere(INSPECT, desk.path) == ascii_list(["\0\U0001f680\u2028"])


def ascii_list(values):
    return f"{values!r}\n"


def test_it_reads_a_spool_whose_writer_was_killed(open_desk, db, begin_elsewhere, elsewhere):
    """
    What was committed is in the write-ahead log only.
    """
    code = """
import sys, time
from pathlib import Path
from spool.store import Chunk, Store
store = Store(Path(sys.argv[1]))
stream = store.stream_id("g", "s")
store.append([Chunk(stream, [(stream, 1, store.source_id("test"), "one")])])
print("ready", flush=True)
time.sleep(60)
"""
    process = begin_elsewhere(code, db)
    process.kill()
    process.wait()
    assert elsewhere(INSPECT, db) == "['one']\n"
    assert VERSION == 1
