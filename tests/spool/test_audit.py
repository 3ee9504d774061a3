"""
Whether an audit finds what can be wrong; that sound spools have no findings, all other tests tell.
"""

import apsw
import pytest

from spool.audit import audit
from spool.schema import PAGE_BYTES
from spool.store import Store


@pytest.fixture
def wronged(open_desk, db):
    """
    A spool with an event in each state, in which a test does something wrong.
    """
    desk = open_desk(db)
    desk.put((1, "sent"), (2, "rejected"))
    desk.settle(desk.take(), (1, 2, "too new"))
    desk.put((3, "on its way"))
    desk.take()
    desk.put((4, "waits"))
    assert audit(desk.store) == []
    yield desk
    desk.store.close()


def do(desk, sql):
    with desk.store.transaction() as db:
        db.execute(sql)


@pytest.mark.parametrize(
    ("wrong", "finding"),
    [
        ("DELETE FROM event WHERE id = 1", "0 events are sent, but 1 are counted"),
        ("DELETE FROM event WHERE id = 2", "0 events are rejected, but 1 are counted"),
        ("DELETE FROM event WHERE id = 3", "1 events are unsent, but 2 are counted"),
        ("DELETE FROM event WHERE id = 4", "1 events are unsent, but 2 are counted"),
        ("DELETE FROM queue", "1 events are unsent, but 2 are counted"),
        ("DELETE FROM rejection", "2 events are sent, but 1 are counted"),
        ("DELETE FROM batch WHERE state = 'sending'", "is not unsent 1 + sent 1"),
        ("UPDATE batch SET state = 'sent'", "2 events are sent, but 1 are counted"),
        ("UPDATE queue SET last_id = 3", "1 events are unsent, but 2 are counted"),
        ("UPDATE stream SET sent = sent + 1", "1 events are sent, but 2 are counted"),
        ("UPDATE stream SET collected = collected + 1", "collected 5 is not unsent 2"),
        ("UPDATE stream SET pruned = 1", "rejected 1 + pruned 1 + dropped 0"),
    ],
)
def test_an_event_that_is_lost_or_miscounted_is_found(wronged, wrong, finding):
    do(wronged, wrong)
    findings = audit(wronged.store)
    assert any(finding in line for line in findings), findings
    assert all(line.startswith("g s: ") for line in findings)


def test_damage_to_the_file_is_found(wronged):
    wronged.put(*((n, "x" * 200) for n in range(2_000)))
    wronged.store.close()
    with wronged.path.open("r+b") as file:
        for page in range(20, 30):
            file.seek(page * PAGE_BYTES)
            file.write(b"\xa5" * PAGE_BYTES)
    wronged.store = Store(wronged.path)
    findings = audit(wronged.store)
    assert findings
    assert findings[0].startswith("damaged: ")


def test_an_audit_and_an_agent_do_not_wait_for_each_other(desk):
    """
    On a large file it takes minutes, in which lines come and go.
    """
    desk.put((1, "one"))
    with Store(desk.path, create=False) as auditor, desk.store.transaction() as db:
        db.execute("UPDATE stream SET sent = sent + 1")
        assert audit(auditor) == [], "what is not committed is not seen"
        db.execute("UPDATE stream SET sent = sent - 1")


def test_an_audit_of_what_cannot_be_read_says_so(wronged):
    with wronged.store.transaction() as db:
        db.execute("DROP TABLE rejection")
    with pytest.raises(apsw.Error):
        audit(wronged.store)
