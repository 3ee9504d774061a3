"""
A damaged spool is set aside, and what can be read of it goes on; everything else is left alone.
"""

import errno
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest
from agent import clean_environment

from spool import rescue as rescue_module
from spool.audit import audit
from spool.errors import NotASpool, SpoolDamaged, SpoolUnusable
from spool.inspection import Inspection
from spool.pages import opened
from spool.piece import Ages
from spool.replay import requeue
from spool.rescue import rescue
from spool.retention import prune
from spool.selection import Selection
from spool.store import Store

PAGE = 8192
NOW_MS = 1_795_345_711_289
EVER = Ages(0, 2**62)
STREAMS = ("web", "worker", "cron")
SEEDS = range(60)


def fill(desk, events=2_500):
    """
    A past of every kind: sent, refused, on its way, replayed, pruned, and messages of many pages.
    """
    dice = random.Random(20_261_122)
    number = 0
    while number < events:
        stream = dice.choice(STREAMS)
        lines = [
            (
                NOW_MS + n,
                f"line {n} " + "x" * (30_000 if n % 300 == 0 else dice.choice((0, 90, 400))),
            )
            for n in range(number, number + dice.randint(1, 120))
        ]
        number += len(lines)
        desk.store.append(
            [desk.chunk(*lines, stream=stream)],
            checkpoints={f"file of {stream}": str(number)},
            skipped={"blank lines": 1},
        )
        fate = dice.random()
        if fate < 0.6 and (batch := desk.take(stream)):
            refused = [(0, 2, "too odd")] if fate < 0.1 and batch.events > 2 else []
            desk.settle(batch, *refused, now_ms=NOW_MS + number)
        elif fate < 0.7 and (batch := desk.take(stream)):
            desk.store.split(batch, "no", now_ms=NOW_MS)
    prune(desk.store, sent_before_ms=NOW_MS + number // 4)
    requeue(desk.store, Selection(states=("sent",), since_ms=NOW_MS + number * 9 // 10), EVER)


@pytest.fixture(scope="module")
def original(tmp_path_factory, open_desk):
    """
    A sound spool, to be copied and then damaged; closed, so that it is one file.
    """
    path = tmp_path_factory.mktemp("original") / "spool.db"
    desk = open_desk(path)
    fill(desk)
    assert audit(desk.store) == []
    desk.store.close()
    leave_free_pages(path)
    return path


def leave_free_pages(path):
    """
    Pages that were given back, with what looks like events on them.
    """
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE gone (id INTEGER PRIMARY KEY, a, b, c, d)")
        connection.execute(
            "INSERT INTO gone SELECT id + 1000000, stream_id, timestamp, source_id, message"
            " FROM event WHERE id % 5 = 0"
        )
        connection.execute("DROP TABLE gone")


@pytest.fixture(scope="module")
def past(original):
    return Past(original)


class Past:
    """
    What was in the spool, and on which pages each event was.
    """

    def __init__(self, path):
        self.events, self.checkpoints = contents(path)
        self.states = Counter(event[3] for event in self.events.values())
        self.pages_of, self.table_pages = {}, {}
        with opened(path) as pages:
            self.page_count = pages.count
            self.free = {n for n in range(3, pages.count + 1) if pages.is_free(n)}
            for number in pages.tree(7):
                self._note(pages, number)
            self.interior = next(n for n in pages.tree(7) if pages.read(n)[0] == 5)
            self.freelist = int.from_bytes(pages.read(1)[32:36], "big")

    def _note(self, pages, number):
        page = pages.read(number)
        if page[0] != 13:
            return
        read, seen = pages.read, []
        pages.read = lambda n: seen.append(n) or read(n)
        for row in pages.rows(number, page):
            self.pages_of[row[0]] = {number, *(n for n in seen if n % 1639 != 2)}
            seen.clear()
        del pages.read

    def outside(self, damaged):
        return {n: event for n, event in self.events.items() if not self.pages_of[n] & damaged}


def contents(path):
    """
    (stream, timestamp, message, state) by id; checkpoints.
    """
    with Store(path) as store, store.reading() as db:
        rows = db.execute(
            "SELECT id, log_stream, timestamp, CAST(message AS BLOB), state FROM events"
        )
        events = {row[0]: (row[1], row[2], row[3].decode(errors="replace"), row[4]) for row in rows}
        return events, dict(db.execute("SELECT * FROM checkpoint"))


def findings(path):
    with Store(path) as store:
        return audit(store)


def aside(path):
    return sorted(p for p in path.parent.iterdir() if ".damaged-" in p.name)


@pytest.fixture
def db(tmp_path, original):
    return Path(shutil.copy(original, tmp_path / "spool.db"))


def change(path, page, data, at=0):
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE + at)
        file.write(data)


def saved(path, past, damaged, *, is_thorough=True, damage=None):
    """
    What is in the spool after a rescue, which is sound and has all that was not damaged.
    """
    before = path.read_bytes()
    facts = rescue(path, is_thorough=is_thorough, damage=damage)
    assert facts, "the damage is found"
    assert findings(path) == []
    assert [p.read_bytes() for p in aside(path)] == [before]
    events, checkpoints = contents(path)
    for number, event in past.outside(damaged).items():
        assert events[number][1:3] == event[1:3]
    stand_ins = {n for n, e in events.items() if e[1] == 0 and e[3] == "rejected"}
    assert events.keys() - past.events.keys() <= stand_ins, "what was pruned does not return"
    return facts, events, checkpoints


# --- nothing is wrong ----------------------------------------------------------------------------


def test_a_sound_spool_is_left_alone(db):
    before = db.read_bytes()
    assert rescue(db, is_thorough=True) == []
    assert db.read_bytes() == before
    assert aside(db) == []


def test_nothing_is_made_where_nothing_is(tmp_path):
    assert rescue(tmp_path / "none.db", is_thorough=True) == []
    (tmp_path / "empty.db").touch()
    assert rescue(tmp_path / "empty.db", is_thorough=True) == []
    assert [p.name for p in tmp_path.iterdir()] == ["empty.db"]


@pytest.mark.parametrize(
    "data",
    [b"hello\n", b"SQLite format 3\0", b"\0" * 100_000, b"x" * 300_000],
    ids=["text", "magic", "zeros", "large"],
)
def test_what_is_no_spool_is_never_set_aside(tmp_path, data):
    (tmp_path / "other").write_bytes(data)
    assert rescue(tmp_path / "other", is_thorough=True) == []
    with pytest.raises(NotASpool):
        Store(tmp_path / "other")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"other": data}


@pytest.mark.parametrize("is_damaged", [False, True])
def test_somebody_elses_database_is_never_set_aside(tmp_path, is_damaged):
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection, connection:
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        for number in range(20):
            connection.execute(f"CREATE TABLE t{number} (a INTEGER PRIMARY KEY, b, c, d, e)")
            connection.execute(f"INSERT INTO t{number} VALUES (1, 1, 1, 1, 'mine')")
    if is_damaged:
        change(other, 1, b"\xa5" * PAGE)
    before = other.read_bytes()
    assert rescue(other, is_thorough=True) == []
    assert other.read_bytes() == before
    assert aside(other) == []


def test_a_newer_spool_is_never_set_aside(db):
    change(db, 1, (2).to_bytes(4, "big"), at=60)
    change(db, 9, b"\xa5" * PAGE)
    assert rescue(db, is_thorough=True) == []
    assert aside(db) == []


# --- damage of one kind --------------------------------------------------------------------------


def test_a_rescue_without_any_damage_changes_nothing_that_is_seen(db, past):
    _, events, checkpoints = saved(db, past, set(), damage="somebody said so")
    assert (events, checkpoints) == (past.events, past.checkpoints)


def test_all_is_saved_where_the_page_that_says_what_it_is_is_lost(db, past):
    change(db, 1, bytes(PAGE))
    with pytest.raises(SpoolDamaged, match="spool replay"):
        Store(db)
    with pytest.raises(SpoolDamaged, match="spool replay"):
        Inspection(db)
    _, events, checkpoints = saved(db, past, {1}, is_thorough=False)
    assert (events, checkpoints) == (past.events, past.checkpoints)


def test_all_is_saved_where_the_pages_between_root_and_leaves_are_lost(db, past):
    change(db, past.interior, b"\xa5" * PAGE)
    _, events, _ = saved(db, past, {past.interior})
    assert events == past.events


def test_what_was_pruned_stays_so_where_the_list_of_free_pages_is_lost(db, past):
    assert past.freelist
    change(db, past.freelist, b"\xa5" * PAGE)
    _, events, _ = saved(db, past, {past.freelist})
    assert events == past.events


@pytest.mark.parametrize("byte", [0, 1, 2, 3, 5])
def test_what_was_pruned_stays_so_where_the_map_of_pages_is_lost(db, past, byte):
    assert past.free
    change(db, 2, bytes([byte, 9, 9, 9, 9]) * (PAGE // 5))
    _, events, _ = saved(db, past, {2})
    assert events == past.events


def test_what_cannot_be_read_is_counted_as_dropped(db, past):
    leaf = min(past.pages_of[max(past.events) - 400])
    lost = past.events.keys() - past.outside({leaf}).keys()
    change(db, leaf, bytes(PAGE))
    facts, events, _ = saved(db, past, {leaf})
    assert past.events.keys() - events.keys() == lost
    assert f"{len(events):,} events were saved, {len(lost):,} are lost" in facts
    with Inspection(db) as inspection:
        assert sum(stream["dropped"] for stream in inspection.streams()) == len(lost)


def test_one_byte_that_is_no_text_costs_that_character(db, past):
    number = next(n for n, event in past.events.items() if event[3] == "unsent")
    message = past.events[number][2].encode()
    content = db.read_bytes()
    at = content.index(message)
    db.write_bytes(content[: at + 2] + b"\xff" + content[at + 3 :])
    facts, events, _ = saved(db, past, past.pages_of[number])
    assert "UTF-8" in facts[0]
    assert events[number][2] == message.decode()[:2] + "\ufffd" + message.decode()[3:]
    assert len(events) == len(past.events)


@pytest.mark.parametrize("table", ["stream", "source", "queue", "batch", "run", "rejection"])
def test_every_event_is_saved_where_another_table_is_lost(db, past, table):
    with closing(sqlite3.connect(db)) as connection:
        root = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)
        ).fetchone()[0]
    change(db, root, b"\xa5" * PAGE)
    _, events, _ = saved(db, past, {root})
    assert events.keys() == past.events.keys()
    for number, event in past.events.items():
        if event[3] == "unsent" and table != "queue":
            assert events[number][3] == "unsent"
    if table == "stream":
        assert {event[0] for event in events.values()} == {"stream-1", "stream-2", "stream-3"}


def test_events_whose_fate_is_lost_are_sent_again(db, past):
    with closing(apsw.Connection(str(db))) as connection:
        batches = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'batch'").get
    change(db, batches, bytes(PAGE))
    facts, events, _ = saved(db, past, {batches})
    kept = {n for n, event in past.events.items() if event[3] == "rejected"}
    assert {n for n, event in events.items() if event[3] != "unsent"} == kept
    assert any("perhaps again" in fact for fact in facts)


def test_no_id_is_given_twice_where_the_newest_events_are_lost(db, past):
    newest = max(past.events)
    leaf = min(past.pages_of[newest])
    change(db, leaf, bytes(PAGE))
    saved(db, past, {leaf})
    with Store(db) as store:
        batches = {batch.id for batch in store.unsettled()}
        stream = store.stream_id("g", "new")
        store.append([rescue_chunk(store, stream)])
        with store.reading() as connection:
            given = connection.execute("SELECT id FROM event WHERE stream_id = ?", (stream,)).get
        taken = store.take(stream, limits(), now_ms=NOW_MS)
        assert given > newest
        assert taken.id > max(batches)


def rescue_chunk(store, stream):
    from spool.store import Chunk

    return Chunk(stream, [(stream, NOW_MS, store.source_id("test"), "new")])


def limits():
    from shipper.batch import LIMITS

    return LIMITS


def test_a_rescued_spool_can_be_rescued_again(db):
    for _ in range(2):
        leaves = sorted({min(pages) for pages in Past(db).pages_of.values()})
        change(db, leaves[-2], bytes(PAGE))
        assert rescue(db, is_thorough=True)
        assert findings(db) == []
    assert len(aside(db)) == 2


# --- damage of any kind --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_damaged_all_that_is_outside_is_saved_once(db, past, seed):
    """
    Zeros, garbage, flipped bytes, a lost tail: nothing outside is lost, changed or invented.
    """
    dice = random.Random(seed)
    damaged = ruin(db, dice, past.page_count)
    _, events, _ = saved(db, past, damaged, damage="for sure")
    for number, event in past.outside(damaged).items():
        if event[3] == "unsent" and 8 not in damaged:
            assert events[number][3] == "unsent", "nothing is taken for sent"


def ruin(path, dice, page_count):
    """
    The pages that are no longer what they were.
    """
    page = dice.randint(1, page_count)
    kind = dice.choice(["zeros", "garbage", "half", "flips", "flips", "tail", "end"])
    if kind == "zeros":
        change(path, page, bytes(PAGE))
    elif kind == "garbage":
        change(path, page, dice.randbytes(PAGE))
    elif kind == "half":
        change(path, page, dice.randbytes(PAGE // 2))
    elif kind == "flips":
        pages = {dice.randint(1, page_count) for _ in range(5)}
        for number in pages:
            at = dice.choice([dice.randrange(200), dice.randrange(PAGE - 1)])
            change(path, number, dice.randbytes(1), at=at)
        return pages
    else:
        page = dice.randint(12, page_count)  # of a file without its tables nobody knows whose it is
        if kind == "tail":
            change(path, page, bytes((page_count - page + 1) * PAGE))
        else:
            os.truncate(path, (page - 1) * PAGE + dice.choice([0, 0, 100]))
        return set(range(page, page_count + 1))
    return {page}


# --- the write-ahead log -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crashed(tmp_path_factory, open_desk):
    """
    Database and log as a crash leaves them, and what is in them.
    """
    folder = tmp_path_factory.mktemp("crashed")
    desk = open_desk(folder / "live.db")
    fill(desk, 1_200)
    for end in ("", "-wal"):
        shutil.copy(folder / f"live.db{end}", folder / f"spool.db{end}")
    desk.store.close()
    return folder / "spool.db", contents(folder / "live.db")


@pytest.fixture
def after_crash(crashed, tmp_path):
    for end in ("", "-wal"):
        shutil.copy(f"{crashed[0]}{end}", tmp_path / f"spool.db{end}")
    return tmp_path / "spool.db", tmp_path / "spool.db-wal"


FRAME = 24 + PAGE


def frames(wal):
    return (wal.stat().st_size - 32) // FRAME


def commits(wal):
    """
    The numbers of the frames that end a transaction.
    """
    content = wal.read_bytes()
    return [n for n in range(frames(wal)) if any(content[32 + n * FRAME + 4 : 32 + n * FRAME + 8])]


def test_an_ordinary_crash_is_no_damage(after_crash, crashed):
    db, wal = after_crash
    before = wal.read_bytes()
    assert rescue(db, is_thorough=True) == []
    assert wal.read_bytes() == before
    assert contents(db) == crashed[1]


@pytest.mark.parametrize("cut", [1, 100, FRAME, 3 * FRAME + 17])
def test_a_log_that_ends_too_early_is_an_ordinary_crash(after_crash, cut):
    db, wal = after_crash
    os.truncate(wal, wal.stat().st_size - cut)
    assert rescue(db, is_thorough=True) == []
    assert findings(db) == []


def test_a_hole_in_the_last_transaction_is_an_ordinary_power_cut(after_crash):
    db, wal = after_crash
    *_, before_last, last = commits(wal)
    with wal.open("r+b") as file:
        file.seek(32 + (before_last + 1) * FRAME)
        file.write(bytes(FRAME if last > before_last + 1 else 24))
    assert rescue(db, is_thorough=True) == []
    assert findings(db) == []


def test_what_is_left_of_an_earlier_log_is_no_damage(db, open_desk):
    desk = open_desk(db)
    fill(desk, 600)
    with desk.store.idle_writer() as connection:
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
    desk.put((NOW_MS, "one more"))
    copy = db.parent / "copy" / "spool.db"
    copy.parent.mkdir()
    for end in ("", "-wal"):
        shutil.copy(f"{db}{end}", f"{copy}{end}")
    desk.store.close()
    assert rescue(copy, is_thorough=True) == []
    assert contents(copy) == contents(db)


@pytest.mark.parametrize("part", ["page", "header", "frame", "log header"])
@pytest.mark.parametrize("seed", range(6))
def test_what_was_committed_behind_a_tear_is_saved(after_crash, crashed, part, seed):
    """
    SQLite would go on from before the tear, and say nothing.
    """
    db, wal = after_crash
    dice = random.Random(seed)
    number = dice.randrange(frames(wal) * 3 // 4)
    content = bytearray(wal.read_bytes())
    start, length = {
        "page": (32 + number * FRAME + 24 + dice.randrange(PAGE), 1),
        "header": (32 + number * FRAME + dice.randrange(24), 1),
        "frame": (32 + number * FRAME, FRAME),
        "log header": (dice.randrange(32), 1),
    }[part]
    for at in range(start, start + length):
        content[at] ^= 0xFF
    wal.write_bytes(content)
    facts = rescue(db, is_thorough=False)
    assert "torn" in facts[0]
    assert findings(db) == []
    assert [p.name.endswith("-wal") for p in aside(db)] == [False, True]
    assert aside(db)[1].read_bytes() == content
    events, checkpoints = contents(db)
    was, were = crashed[1]
    assert len(was.keys() - events.keys()) <= 250, "at most what was in one page"
    assert all(events[n][:3] == was[n][:3] for n in was.keys() & events.keys())
    if was.keys() <= events.keys():
        assert checkpoints == were or any("read again" in fact for fact in facts)
    else:
        assert any("read again" in fact for fact in facts), "rather twice than never"


def test_a_log_that_tells_of_a_huge_file_is_not_believed(after_crash, crashed):
    db, wal = after_crash
    content = bytearray(wal.read_bytes())
    *_, last = commits(wal)
    content[4] ^= 0xFF  # the header; then no frame can be proved
    content[32 + last * FRAME + 4] = 0x7F  # of the size of the database after the last one
    wal.write_bytes(content)
    assert rescue(db, is_thorough=False)
    assert findings(db) == []
    assert contents(db)[0].keys() == crashed[1][0].keys()


def test_a_log_beside_an_empty_file_is_saved(after_crash, crashed):
    """
    SQLite would remove it.
    """
    db, wal = after_crash
    db.write_bytes(b"")
    for opening in (Store, Inspection):
        with pytest.raises(SpoolDamaged, match="write-ahead log is not"):
            opening(db)
    assert wal.stat().st_size > 0
    assert rescue(db, is_thorough=False)
    assert findings(db) == []
    assert contents(db)[0].keys() == crashed[1][0].keys()


# --- others, and the end of the process ----------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from spool.store import Store
store = Store(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
"""


def test_what_another_process_has_open_is_not_set_aside(db, begin_elsewhere, monkeypatch):
    monkeypatch.setattr(rescue_module, "PATIENCE_S", 0.1)
    other = begin_elsewhere(HOLD, db)
    change(db, 8, b"\xa5" * PAGE)
    with pytest.raises(SpoolUnusable, match="another process has it open"):
        rescue(db, is_thorough=True)
    assert aside(db) == []
    other.stdin.close()
    other.wait()
    assert rescue(db, is_thorough=True)
    assert findings(db) == []


def test_a_full_disk_leaves_the_damaged_file_as_it_was(db, monkeypatch):
    change(db, 8, b"\xa5" * PAGE)
    before = db.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(rescue_module, "_fill", full)
    with pytest.raises(SpoolUnusable, match=r"No space left on device.*as it was") as caught:
        rescue(db, is_thorough=True)
    assert len(str(caught.value).splitlines()) == 1
    assert db.read_bytes() == before
    assert [p.name for p in db.parent.iterdir()] == ["spool.db"]


STEPS = """
import os, signal, sys
from pathlib import Path
from spool import rescue

def stepping(name, call):
    def step(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)
    return step

left = int(sys.argv[2])
for name in ("rename", "unlink", "exists"):
    setattr(Path, name, stepping(name, getattr(Path, name)))
for name in ("fsync", "open", "close"):
    setattr(os, name, stepping(name, getattr(os, name)))
rescue.salvage = stepping("salvage", rescue.salvage)
rescue.settle = stepping("settle", rescue.settle)
rescue.rescue(Path(sys.argv[1]), is_thorough=True)
"""


def test_a_kill_at_any_step_of_a_rescue_loses_nothing_and_counts_nothing_twice(tmp_path, crashed):
    """
    Whatever had been done, the next start ends it: the damaged file and its log are there under
    one name, and the new spool has everything.
    """
    steps = 0
    is_killed = True
    was = crashed[1][0]
    while is_killed:
        steps += 1
        folder = tmp_path / str(steps)
        folder.mkdir()
        db = folder / "spool.db"
        for end in ("", "-wal"):
            shutil.copy(f"{crashed[0]}{end}", f"{db}{end}")
        change(db, 1, b"\xa5" * 100)
        with Path(f"{db}-wal").open("r+b") as wal:
            wal.write(bytes(32))
        old = [Path(f"{db}{end}").read_bytes() for end in ("", "-wal")]
        is_killed = killed_at(db, steps)
        rescue(db, is_thorough=True)
        assert [p.read_bytes() for p in aside(db)] == old, f"step {steps}"
        assert {p.name for p in folder.iterdir()} == {"spool.db", *(p.name for p in aside(db))}
        assert findings(db) == []
        assert contents(db)[0].keys() == was.keys()
    assert steps > 20


def killed_at(db, step):
    done = subprocess.run(
        [sys.executable, "-c", STEPS, db, str(step)],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def test_nothing_is_stored_into_a_file_that_is_about_to_be_set_aside(db):
    db.with_name("spool.db.rescued-20261122T151200Z").write_bytes(db.read_bytes())
    for opening in (Store, Inspection):
        with pytest.raises(SpoolDamaged, match="not finished"):
            opening(db)
    assert len(rescue(db, is_thorough=False)) == 1
    Store(db).close()
    assert [p.name for p in aside(db)] == ["spool.db.damaged-20261122T151200Z"]


def test_one_who_opens_it_during_a_rescue_gets_the_new_file(db, past, monkeypatch):
    """
    An opening that began before the renaming must not end in the file that was set aside.
    """
    connect = sys.modules["spool.file"].connect
    has_come = []

    def late(path, patience):
        if not has_come:
            has_come.append(True)
            db.rename(db.with_name("spool.db.damaged-now"))
            shutil.copy(db.with_name("spool.db.damaged-now"), db)
            with closing(apsw.Connection(str(db.with_name("spool.db.damaged-now")))):
                return connect(db.with_name("spool.db.damaged-now"), patience)
        return connect(path, patience)

    monkeypatch.setattr("spool.file.connect", late)
    with Store(db) as store:
        store.stream_id("g", "stored late")
    with Inspection(db) as inspection:
        assert any(row["stream"] == "stored late" for row in inspection.streams())


@contextmanager
def umask(value):
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


def test_the_new_file_is_as_readable_as_the_old_one(db):
    db.chmod(0o600)
    change(db, 8, b"\xa5" * PAGE)
    with umask(0):
        rescue(db, is_thorough=True)
    assert db.stat().st_mode & 0o777 == 0o600
    assert aside(db)[0].stat().st_mode & 0o777 == 0o600
