"""
The logs of pods, through what the kubelet does with their files.
"""

from __future__ import annotations

import gzip
import os
import random
import threading
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path

import pytest
from agent import wait_until
from following import descriptors_below, follow, following, make_intake, skipped
from following import stored as messages
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)
from kubelet import POD_UID, PodWriter

from shipper.pods import container_folders
from shipper.sources import file_source
from shipper.sources.files import ContainerFiles, Place
from shipper.sources.pod_logs import PodLog, PodLogSource
from spool.store import Store

STREAM = "shop_web-0_app"


def source_of(pods: Path, store: Store) -> PodLogSource:
    return PodLogSource(pods, make_intake(store, pods.with_name("containers")))


def read_once(pods: Path, store: Store) -> None:
    follow(source_of(pods, store), store)


def reading(pods: Path, store: Store) -> AbstractContextManager[threading.Event]:
    return following(source_of(pods, store), store)


def stored(store: Store, stream: str = STREAM) -> list[str]:
    return messages(store, stream)


def streams(store: Store) -> set[str]:
    with store.reading() as db:
        return {row[0] for row in db.execute("SELECT DISTINCT log_stream FROM events")}


def test_what_was_read_is_not_read_again(store: Store, pods: Path) -> None:
    web = PodWriter(pods)
    web.write("one", "two")
    for _ in range(3):
        read_once(pods, store)
    web.write("three")
    read_once(pods, store)
    assert stored(store) == ["one", "two", "three"]


def test_wherever_it_is_cut_off_each_line_is_stored_once(store: Store, pods: Path) -> None:
    """
    Promise 1: some of its readings are stored, then it starts anew; rotations, restarts and parts
    of lines between.
    """
    dice = random.Random(20_261_122)
    writers = [PodWriter(pods, container=name) for name in ("app", "proxy")]
    wanted: dict[str, list[str]] = {writer.name: [] for writer in writers}
    for turn in range(40):
        for writer in writers:
            for number in range(dice.randrange(12)):
                text = f"{writer.name} {turn} {number}"
                cut = dice.randrange(len(text))
                writer.write(text[:cut], tag="P")
                writer.write(text[cut:])
                wanted[writer.name].append(text)
            if dice.random() < 0.3:
                writer.rotate(keep=20)
        readings = source_of(pods, store).readings(threading.Event(), once=True)
        for _ in range(dice.randrange(3)):
            if given := next(readings, None):
                store.append(given.chunks, checkpoints=given.checkpoints, skipped=given.skipped)
        readings.close()  # type: ignore[attr-defined]
    read_once(pods, store)
    assert {name: stored(store, name) for name in wanted} == wanted
    assert skipped(store) == {}


def test_files_that_were_rotated_and_compressed_are_read_in_order(store: Store, pods: Path) -> None:
    web = PodWriter(pods)
    for number in range(5):
        web.write(f"line {number}")
        web.rotate(keep=9)
    web.write("newest")
    assert [path.suffix for path in web.rotated()].count(".gz") == 4
    read_once(pods, store)
    assert stored(store) == [*(f"line {number}" for number in range(5)), "newest"]


def test_each_run_of_a_container_is_read_to_its_end(store: Store, pods: Path) -> None:
    """
    What a run left open does not go on in the next one, and does not wait for it.
    """
    web = PodWriter(pods)
    web.write("run 0")
    web.write("cut off by the crash", tag="P")
    with reading(pods, store):
        wait_until(lambda: stored(store) == ["run 0"])
        web.restart()
        web.write("run 1")
        wait_until(lambda: len(stored(store)) == 3)
        web.restart()
        web.write("run 2")
        wait_until(lambda: stored(store)[-1] == "run 2")
    assert sorted(stored(store)) == ["cut off by the crash", "run 0", "run 1", "run 2"]
    read_once(pods, store)
    assert len(stored(store)) == 4


def test_a_pod_that_is_removed_is_read_to_its_end(store: Store, pods: Path) -> None:
    web = PodWriter(pods)
    web.write("one")
    with reading(pods, store):
        wait_until(lambda: stored(store) == ["one"])
        web.write("two")
        web.write("unended", tag="P")
        web.remove()
        wait_until(lambda: stored(store) == ["one", "two", "unended"])


def test_no_descriptor_is_left_of_pods_that_are_gone(store: Store, pods: Path) -> None:
    writers = [PodWriter(pods, f"web-{number}", uid=f"u{number}") for number in range(20)]
    with reading(pods, store):
        for writer in writers:
            writer.write("one")
        wait_until(lambda: all(stored(store, writer.name) for writer in writers))
        wait_until(lambda: descriptors_below(pods) == 20)  # a look opens and closes
        for writer in writers:
            writer.remove()
        wait_until(lambda: descriptors_below(pods) == 0)


def test_a_new_pod_is_collected_when_it_comes(
    store: Store, pods: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_source, "QUIET_S", 0.3)
    monkeypatch.setattr(file_source, "RESCAN_S", 3600)
    with reading(pods, store):
        for number in range(3):
            threading.Event().wait(0.5)
            writer = PodWriter(pods, f"job-{number}", "init", uid=f"{number}")
            writer.write("hello")
            wait_until(lambda name=writer.name: stored(store, name) == ["hello"])


def test_a_folder_of_pods_that_comes_later_is_read(store: Store, tmp_path: Path) -> None:
    with reading(tmp_path / "later", store):
        threading.Event().wait(0.2)
        PodWriter(tmp_path / "later").write("there at last")
        wait_until(lambda: stored(store) == ["there at last"])


def test_a_rotation_that_the_runtime_refuses_is_undone_without_loss(
    store: Store, pods: Path
) -> None:
    """
    The kubelet renames the file back where ReopenContainerLog fails.
    """
    web = PodWriter(pods)
    web.write("one")
    with reading(pods, store):
        wait_until(lambda: stored(store) == ["one"])
        renamed = web.rename()
        web.write("between")
        wait_until(lambda: stored(store) == ["one", "between"])
        renamed.rename(web.live)
        web.write("two")
        web.rotate()
        web.write("three")
        wait_until(lambda: stored(store) == ["one", "between", "two", "three"])
    assert skipped(store) == {}


def test_a_live_file_that_never_comes_back_does_not_stop_the_reading(
    store: Store, pods: Path
) -> None:
    web = PodWriter(pods)
    for number in range(3):
        web.write(f"line {number}")
        web.rotate()
    web.live.unlink()
    read_once(pods, store)
    assert stored(store) == ["line 0", "line 1", "line 2"]


# --- what others may have put there -----------------------------------------------------------


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """
    A folder outside, with files that look like logs.
    """
    folder = tmp_path / "secret"
    folder.mkdir()
    line = b"2016-10-06T00:17:09.669794202Z stdout F secret\n"
    (folder / "0.log").write_bytes(line)
    (folder / "0.log.20261122-100000").write_bytes(line)
    (folder / "0.log.20261122-100000.gz").write_bytes(gzip.compress(line))
    return folder


def test_no_symbolic_link_is_followed(store: Store, pods: Path, secret: Path) -> None:
    """
    A pod that may write to the host's /var/log could show any file of the host.
    """
    web = PodWriter(pods)
    web.write("mine")
    (web.folder / "1.log").symlink_to(secret / "0.log")
    for name in ("0.log.20261122-100000", "0.log.20261122-100000.gz"):
        (web.folder / name).symlink_to(secret / name)
    (web.pod_folder / "side").symlink_to(secret)
    (pods / f"shop_web-1_{POD_UID}").symlink_to(secret.parent)
    (pods / f"shop_web-2_{POD_UID}").mkdir()
    (pods / f"shop_web-2_{POD_UID}" / "app").symlink_to(secret)
    read_once(pods, store)
    assert stored(store) == ["mine"]
    assert streams(store) == {STREAM}


@pytest.mark.parametrize("what", ["file", "folder", "pod"])
def test_a_link_that_is_put_in_its_place_later_is_not_opened(
    pods: Path, secret: Path, what: str
) -> None:
    """
    Between the look at a name and the opening of it.
    """
    web = PodWriter(pods)
    [folder] = container_folders(pods)
    log = PodLog(pods, folder, 0)
    log.open(web.live).close()
    web.close()
    outside = {"file": secret / "0.log", "folder": secret, "pod": secret.parent}[what]
    place = {"file": web.live, "folder": web.folder, "pod": web.pod_folder}[what]
    place.rename(pods / "away")
    place.symlink_to(outside)
    if what == "pod":
        (secret.parent / "app").symlink_to(secret)
    with pytest.raises(OSError, match=r"symbolic|Not a directory"):
        log.open(web.live)


def test_what_is_no_plain_file_is_not_waited_for(store: Store, pods: Path) -> None:
    web = PodWriter(pods)
    web.write("one")
    os.mkfifo(web.folder / "1.log")
    (web.folder / "2.log").mkdir()
    read_once(pods, store)
    assert stored(store) == ["one"]
    [folder] = container_folders(pods)
    with pytest.raises(OSError, match="no plain file"):
        PodLog(pods, folder, 1).open(web.folder / "1.log")


@pytest.mark.parametrize(
    "name",
    [
        "shop_web-0",
        "shop_web-0_uid_more",
        "_web-0_uid",
        "shop_.._uid",
        "shop_web\n_uid",
        "shop_web:*_uid",
        "shop_wéb_uid",
        "shop_web\udcff_uid",
        "shop_{{.Env.X}}_uid",
    ],
)
def test_a_folder_whose_name_is_no_pods_is_left_alone(store: Store, pods: Path, name: str) -> None:
    folder = pods / name / "app"
    folder.mkdir(parents=True)
    line = b"2016-10-06T00:17:09.669794202Z stdout F x\n"
    (folder / "0.log").write_bytes(line)
    PodWriter(pods).write("mine")
    read_once(pods, store)
    assert streams(store) == {STREAM}


@pytest.mark.parametrize("name", ["00.log", "a.log", "0.log.tmp", "0.log.1", "0.logs", "-1.log"])
def test_a_file_whose_name_is_no_logs_is_left_alone(store: Store, pods: Path, name: str) -> None:
    web = PodWriter(pods)
    web.write("mine")
    (web.folder / name).write_bytes(b"2016-10-06T00:17:09.669794202Z stdout F x\n")
    (web.folder / "0.log.20261122-100000.gz.tmp").write_bytes(b"x")
    read_once(pods, store)
    assert stored(store) == ["mine"]


# --- everything, in any order -----------------------------------------------------------------


class Life(RuleBasedStateMachine):
    """
    The kubelet and the runtime do what they do, and a reader looks from time to time.
    """

    pods: Path
    numbers = count()

    def __init__(self) -> None:
        super().__init__()
        self.writer = PodWriter(self.pods / f"{next(self.numbers)}")
        [folder] = container_folders(self.writer.pod_folder.parent)
        self.log = PodLog(self.writer.pod_folder.parent, folder, 0)
        self.files = ContainerFiles(self.log)
        self.wanted: list[bytes] = []
        self.lines: list[bytes] = []
        self.half = b""
        self.renamed: Path | None = None

    def teardown(self) -> None:
        try:
            self.write(0)
            self.check_all()
            assert (self.files.lost, self.files.torn) == (0, 0)
        finally:
            self.files.close()
            self.writer.close()

    def check_all(self) -> None:
        while self.read_some():
            pass
        complete = self.wanted[:-1] if self.half else self.wanted
        assert self.lines == complete

    @rule(lines=st.integers(1, 5), text=st.sampled_from([b"", b"", b"x" * 5_000]))
    def write(self, lines: int, text: bytes = b"") -> None:
        new = [b"%b line %d" % (text, len(self.wanted) + number) for number in range(lines)]
        self.wanted += new
        self.writer.write_bytes(self.half + b"".join(line + b"\n" for line in new))
        self.half = b""

    @precondition(lambda self: not self.half)
    @rule()
    def write_half(self) -> None:
        line = b" line %d" % len(self.wanted)
        self.wanted.append(line)
        self.writer.write_bytes(line[:4])
        self.half = line[4:] + b"\n"

    @rule()
    def read(self) -> None:
        self.read_some()

    def read_some(self) -> bool:
        data = self.files.read_lines()
        self.lines += data.split(b"\n")[:-1]
        assert self.lines == self.wanted[: len(self.lines)]
        return bool(data)

    @rule()
    def begin_anew(self) -> None:
        place = self.files.place
        self.files.close()
        self.files = ContainerFiles(self.log, place=place and Place(place.head, place.offset))

    @precondition(lambda self: self.renamed is None and self.writer.live.stat().st_size)
    @rule()
    def rename(self) -> None:
        self.writer.compress()
        self.renamed = self.writer.rename()

    @precondition(lambda self: self.renamed)
    @rule(is_refused=st.sampled_from([False, False, True]))
    def reopen(self, is_refused: bool) -> None:
        if is_refused:
            assert self.renamed
            self.renamed.rename(self.writer.live)
        else:
            if self.half:
                self.write(0)
            self.writer.reopen()
        self.renamed = None

    @precondition(lambda self: self.renamed is None)
    @rule()
    def compress(self) -> None:
        self.writer.compress()

    @rule()
    def drain(self) -> None:
        self.check_all()


def test_every_line_is_read_once_and_in_order_whatever_happens_to_the_files(
    tmp_path: Path,
) -> None:
    """
    Promise 1.
    """
    Life.pods = tmp_path
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=120,
            stateful_step_count=40,
        ),
    )


def test_every_line_is_read_once_and_in_order_while_the_kubelet_works(
    store: Store, pods: Path
) -> None:
    """
    The same as a race: a thread writes and rotates as fast as it can.
    """
    web = PodWriter(pods)

    def work() -> None:
        for turn in range(120):
            web.write(*(f"{turn} {number}" for number in range(20)))
            web.rotate(keep=500)

    with reading(pods, store):
        writer = threading.Thread(target=work)
        writer.start()
        writer.join()
        web.write("end")
        wait_until(lambda: stored(store)[-1:] == ["end"])
    wanted = [f"{turn} {number}" for turn in range(120) for number in range(20)]
    assert stored(store) == [*wanted, "end"]
    assert skipped(store) == {}
