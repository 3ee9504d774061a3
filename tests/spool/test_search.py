"""
Events that hold a text, the newest first.
"""

import pytest

from spool.errors import TooSlow
from spool.inspection import Inspection
from spool.search import find_newest
from spool.selection import Selection
from spool.window import open_for_strangers

LONG_S = 60.0


@pytest.fixture
def search(open_desk, db):
    """
    A function that looks into a spool of 5,000 events of two streams, in turns.
    """
    desk = open_desk(db)
    for begin in range(0, 5000, 100):
        events = [(begin + number, f"Request {begin + number} took 100%") for number in range(100)]
        desk.put(*events, stream="web" if begin % 200 else "worker")
    desk.put((9_000, "x" * 5_000), stream="long")
    desk.store.close()

    def look(text="", *, newest=100, limit_s=LONG_S, **chosen):
        with Inspection(db) as spool:
            return find_newest(
                spool, Selection(**chosen), text=text, newest=newest, limit_s=limit_s
            )

    return look


def messages(found):
    return [row["message"] for row in found.rows]


def test_the_newest_are_found_and_told_in_the_order_stored(search):
    found = search("request 4", newest=3)
    assert messages(found) == [f"Request {number} took 100%" for number in (4997, 4998, 4999)]
    older = search("request 4", newest=2, last_id=found.older_id)
    assert messages(older) == ["Request 4995 took 100%", "Request 4996 took 100%"]


def test_more_in_the_oldest_block_is_not_forgotten(search):
    found = search("request", newest=2, last_id=5)
    assert [row["id"] for row in found.rows] == [4, 5]
    assert [row["id"] for row in search("request", last_id=found.older_id).rows] == [1, 2, 3]


def test_all_is_found_where_the_number_allows(search):
    found = search("request 499", stream="web")
    assert len(found.rows) == 10
    assert found.older_id is None


@pytest.mark.parametrize(("text", "count"), [("100%", 5), ("1%0", 0), ("_equest", 0), ("\\", 0)])
def test_a_text_has_no_letters_with_a_meaning(search, text, count):
    assert len(search(text, newest=5).rows) == count


def test_what_cannot_be_looked_at_in_time_is_left_for_the_next_look(search):
    ids = []
    older_id = None
    while True:
        found = search("request 1", limit_s=0, newest=10_000, last_id=older_id)
        ids += [row["id"] for row in found.rows]
        if found.older_id is None:
            break
        assert older_id is None or found.older_id < older_id
        older_id = found.older_id
    assert len(ids) == len(set(ids)) == 1111


def test_a_long_message_is_cut_and_its_length_is_told(search):
    [row] = search("xxx").rows
    assert (len(row["message"]), row["characters"]) == (2_000, 5_000)


def test_a_question_that_takes_too_long_is_ended(search, db):
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    with Inspection(db) as spool:
        with pytest.raises(TooSlow), spool.within(0.05):
            list(spool.query(endless))
        assert list(spool.query("SELECT 1 AS one")) == [{"one": 1}], "and others go on"


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM event",
        "CREATE TEMP TABLE t (x)",
        "ATTACH DATABASE 'file::memory:' AS other",
        "SELECT length(randomblob(100000000))",
        "SELECT load_extension('/nowhere')",
    ],
)
def test_sql_of_strangers_neither_writes_nor_opens_nor_grows(search, db, sql):
    connection = open_for_strangers(db)
    try:
        with pytest.raises(Exception, match=r"readonly|too many|too big|not authorized"):
            connection.execute(sql).fetchall()
        assert connection.execute("SELECT count(*) FROM event").fetchone() == (5001,)
    finally:
        connection.close()
