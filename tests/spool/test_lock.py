"""
One shipper per spool.
"""

import fcntl
import os
import signal
import stat
import threading
import time

import pytest

from spool.errors import SpoolHeld, SpoolUnusable
from spool.lock import ShipperLock, holder

HOLD = """
import sys
from pathlib import Path
from spool.lock import ShipperLock
lock = ShipperLock(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.read()
"""

TRY = """
import sys
from pathlib import Path
from spool.errors import SpoolHeld
from spool.lock import ShipperLock, holder
try:
    ShipperLock(Path(sys.argv[1]))
except SpoolHeld as error:
    print(error.pid, holder(Path(sys.argv[1])), error, sep="|")
"""


def test_a_second_shipper_is_told_who_holds_the_spool_and_leaves(db, elsewhere):
    """
    Promise 5.
    """
    with ShipperLock(db):
        pid, seen, message = elsewhere(TRY, db).strip().split("|")
        assert int(pid) == int(seen) == os.getpid()
        assert f"process {os.getpid()} ships from this spool already" in message
        assert "--db" in message
        with pytest.raises(SpoolHeld) as caught:
            ShipperLock(db)
        assert caught.value.pid == os.getpid()
    assert elsewhere(TRY, db) == ""


def test_a_killed_shipper_leaves_the_spool_free(db, begin_elsewhere):
    process = begin_elsewhere(HOLD, db)
    with pytest.raises(SpoolHeld) as caught:
        ShipperLock(db)
    assert caught.value.pid == holder(db) == process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert holder(db) is None
    with ShipperLock(db):
        assert holder(db) == os.getpid()


def test_whoever_looks_does_not_keep_a_shipper_from_starting(db):
    """
    `holder` takes the lock for a moment, to see whether it can: that is no shipper.
    """
    with ShipperLock(db):
        pass
    looking = os.open(db.with_name(db.name + ".lock"), os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    threading.Timer(0.1, os.close, [looking]).start()
    with ShipperLock(db):
        assert holder(db) == os.getpid()


def test_looking_and_starting_all_the_time_do_not_meet(db):
    is_over = threading.Event()

    def look():
        while not is_over.is_set():
            assert holder(db) in (None, os.getpid())

    looker = threading.Thread(target=look)
    looker.start()
    deadline_s = time.monotonic() + 0.5
    try:
        while time.monotonic() < deadline_s:
            with ShipperLock(db):
                pass
    finally:
        is_over.set()
        looker.join()


def test_nobody_holds_a_spool_that_nobody_ever_held(db):
    assert holder(db) is None
    assert not db.parent.exists(), "looking makes nothing"


def test_a_lock_file_that_was_left_behind_is_no_holder(db):
    with ShipperLock(db):
        pass
    assert db.with_name("spool.db.lock").read_text() == ""
    assert holder(db) is None


def test_a_shipper_knows_whether_the_one_before_ended_in_order(db):
    def was_released():
        with ShipperLock(db) as lock:
            return lock.was_released

    assert was_released()
    assert was_released()
    with pytest.raises(RuntimeError), ShipperLock(db):
        raise RuntimeError
    assert db.with_name("spool.db.lock").read_text() == f"{os.getpid()}\n"
    assert holder(db) is None
    assert not was_released()
    assert was_released()


def test_a_longer_pid_of_an_earlier_holder_leaves_no_digits(db):
    db.parent.mkdir()
    db.with_name("spool.db.lock").write_text("99999999999999999999\n")
    with ShipperLock(db):
        assert holder(db) == os.getpid()


def test_a_holder_that_cannot_be_named_is_still_a_holder(db):
    with ShipperLock(db):
        db.with_name("spool.db.lock").write_text("who?")
        with pytest.raises(SpoolHeld, match="another process ships") as caught:
            ShipperLock(db)
    assert caught.value.pid is None


def test_two_spools_of_one_folder_have_two_shippers(tmp_path):
    with ShipperLock(tmp_path / "a.db"), ShipperLock(tmp_path / "b.db"):
        pass


def test_the_lock_is_for_its_owner_only(db):
    with ShipperLock(db):
        modes = [path.stat().st_mode for path in (db.parent, db.with_name("spool.db.lock"))]
    assert [stat.S_IMODE(mode) for mode in modes] == [0o700, 0o600]


def test_a_folder_that_cannot_be_is_told_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SpoolUnusable, match="its folder cannot be written") as caught:
        ShipperLock(tmp_path / "file" / "spool.db")
    assert len(str(caught.value).splitlines()) == 1


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from spool.errors import SpoolUnusable
from spool.lock import ShipperLock
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    ShipperLock(Path(sys.argv[1]))
except SpoolUnusable as error:
    sys.stderr.write(str(error))
    raise SystemExit(len(str(error).splitlines()) != 1)
raise SystemExit("it was held")
"""


def test_a_disk_that_is_full_is_told_in_one_line(db, elsewhere):
    elsewhere(FULL_DISK, db)
