"""
Docker's json-file logs, from the folder to readings that are stored with the position behind them.
"""

from __future__ import annotations

import gzip
import logging
import os
import random
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from agent import LogWriter, wait_until
from following import descriptors_below, follow, following, make_intake, skipped
from following import stored as messages

from shipper.containers import Container
from shipper.sources import bell, file_source
from shipper.sources.docker_logs import DockerLog, JsonFileSource
from shipper.sources.multiline import rule_from
from shipper.sources.reading import Reading
from spool.store import Store

WEB, WORKER = "a" * 64, "b" * 64


def source_of(containers: Path, store: Store) -> JsonFileSource:
    return JsonFileSource(containers, make_intake(store, containers))


def read_once(containers: Path, store: Store) -> None:
    follow(source_of(containers, store), store)


def reading(containers: Path, store: Store) -> AbstractContextManager[threading.Event]:
    return following(source_of(containers, store), store)


def put_in(store: Store, reading: Reading) -> None:
    store.append(reading.chunks, checkpoints=reading.checkpoints, skipped=reading.skipped)


def stored(store: Store, stream: str = "web") -> list[str]:
    return messages(store, stream)


def test_what_was_read_is_not_read_again(store: Store, containers: Path) -> None:
    web = LogWriter(containers, WEB, "web")
    web.write("one", "two")
    for _ in range(3):
        read_once(containers, store)
    assert stored(store) == ["one", "two"]
    web.write("three")
    read_once(containers, store)
    assert stored(store) == ["one", "two", "three"]


def test_a_reading_that_was_not_stored_is_read_again(store: Store, containers: Path) -> None:
    """
    Promise 1: the position moves only with the events.
    """
    LogWriter(containers, WEB, "web").write("one", "two")
    dropped = list(source_of(containers, store).readings(threading.Event(), once=True))
    assert sum(len(chunk.events) for some in dropped for chunk in some.chunks) == 2
    assert stored(store) == []
    read_once(containers, store)
    assert stored(store) == ["one", "two"]


def test_wherever_it_is_cut_off_each_line_is_stored_once(store: Store, containers: Path) -> None:
    """
    Promise 1, again and again: some of its readings are stored, then it starts anew.
    """
    dice = random.Random(20_261_122)
    names = {"web": WEB, "worker": WORKER}
    writers = {name: LogWriter(containers, id_, name) for name, id_ in names.items()}
    wanted: dict[str, list[str]] = {name: [] for name in names}
    for turn in range(40):
        for name, writer in writers.items():
            lines = [f"{name} {turn} {number}" for number in range(dice.randrange(20))]
            wanted[name] += lines
            writer.write(*lines)
            if dice.random() < 0.3:
                writer.rotate(keep=20)
        readings = source_of(containers, store).readings(threading.Event(), once=True)
        for _ in range(dice.randrange(3)):
            store_one(store, next(readings, None))
        readings.close()  # type: ignore[attr-defined]
    read_once(containers, store)
    assert {name: stored(store, name) for name in names} == wanted


def store_one(store: Store, given: Reading | None) -> None:
    if given:
        store.append(given.chunks, checkpoints=given.checkpoints, skipped=given.skipped)


def test_large_files_are_read_in_readings_of_bounded_size(store: Store, containers: Path) -> None:
    for number in range(4):
        LogWriter(containers, f"{number:064x}", f"c{number}").write(*["x" * 1_000] * 3_000)
    sizes = [
        sum(len(event[3]) for chunk in given.chunks for event in chunk.events)
        for given in source_of(containers, store).readings(threading.Event(), once=True)
    ]
    assert sum(sizes) == 4 * 3_000 * 1_000
    assert max(sizes) <= file_source.READING_BYTES + 2_000_000


def test_files_that_were_rotated_away_and_compressed_are_read_in_order(
    store: Store, containers: Path
) -> None:
    web = LogWriter(containers, WEB, "web")
    for number in range(4):
        web.write(f"line {number}")
        web.rotate()
    for path in web.folder.glob("*.log.[234]"):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    web.write("newest")
    read_once(containers, store)
    assert stored(store) == ["line 0", "line 1", "line 2", "line 3", "newest"]


def test_a_file_that_was_truncated_is_read_from_its_start_and_counted(
    store: Store, containers: Path
) -> None:
    web = LogWriter(containers, WEB, "web")
    web.write("before")
    read_once(containers, store)
    with web.path.open("w"):
        pass
    web.write("a", "b")
    read_once(containers, store)
    assert stored(store) == ["before", "a", "b"]
    assert skipped(store) == {"files rotated away or truncated unread": 1}


def test_the_end_of_a_line_is_waited_for_while_its_container_runs(
    store: Store, containers: Path
) -> None:
    web = LogWriter(containers, WEB, "web")
    web.write("begun", newline=False)
    read_once(containers, store)
    assert stored(store) == []
    web.configure(name="web", running=False)
    read_once(containers, store)
    assert stored(store) == ["begun"]
    read_once(containers, store)
    assert stored(store) == ["begun"]


def test_half_a_record_waits_for_its_other_half(store: Store, containers: Path) -> None:
    web = LogWriter(containers, WEB, "web")
    web.write("one", "two")
    content = web.path.read_bytes()
    web.path.write_bytes(content[:-20])
    with reading(containers, store):
        wait_until(lambda: stored(store) == ["one"])
        with web.path.open("ab") as file:
            file.write(content[-20:])
        wait_until(lambda: stored(store) == ["one", "two"])


def test_a_stop_stores_what_was_just_written(store: Store, containers: Path) -> None:
    web = LogWriter(containers, WEB, "web")
    web.write("one")
    with reading(containers, store) as stop:
        wait_until(lambda: stored(store) == ["one"])
        web.write("last words")
        stop.set()
    assert stored(store) == ["one", "last words"]


def test_a_container_without_a_log_file_is_collected_once_it_has_one(
    store: Store, containers: Path
) -> None:
    web = LogWriter(containers, WEB, "web")
    web.path.unlink()
    with reading(containers, store):
        time.sleep(0.3)
        web.write("the first line")
        wait_until(lambda: stored(store) == ["the first line"])


def test_a_removed_container_keeps_its_stream_to_the_last_line(
    store: Store, containers: Path
) -> None:
    """
    `docker rm` takes one file after the other; the configuration may be the first.
    """
    web = LogWriter(containers, WEB, "web")
    web.write("one")
    with reading(containers, store):
        wait_until(lambda: stored(store) == ["one"])
        (web.folder / "config.v2.json").unlink()
        time.sleep(0.3)
        web.write("two")
        web.write("unended", newline=False)
        wait_until(lambda: stored(store) == ["one", "two"])
        for path in web.folder.iterdir():
            path.unlink()
        web.folder.rmdir()
        wait_until(lambda: stored(store) == ["one", "two", "unended"])
    with store.reading() as db:
        assert [row[0] for row in db.execute("SELECT log_stream FROM stream")] == ["web"]


def test_where_a_removed_container_was_read_to_is_forgotten(store: Store, containers: Path) -> None:
    """
    Hosts start thousands of containers a day; the file keeps no row for each for ever.
    """
    brief, web = LogWriter(containers, WORKER, "brief"), LogWriter(containers, WEB, "web")
    with reading(containers, store):
        web.write("stays")
        brief.write("one", "two")
        brief.write("unended", newline=False)
        wait_until(lambda: stored(store, "brief") == ["one", "two"])
        brief.remove()
        wait_until(lambda: store.checkpoint(f"docker:{WORKER}") is None)
    assert stored(store, "brief") == ["one", "two", "unended"]
    assert store.checkpoint(f"docker:{WEB}")


def test_no_descriptor_is_left_of_containers_that_are_gone(store: Store, containers: Path) -> None:
    writers = [LogWriter(containers, f"{number:064x}", f"c{number}") for number in range(20)]
    with reading(containers, store):
        for writer in writers:
            writer.write("one")
        wait_until(lambda: all(stored(store, writer.name) for writer in writers))
        wait_until(lambda: descriptors_below(containers) == 20)  # a look opens and closes
        for writer in writers:
            writer.remove()
        wait_until(lambda: descriptors_below(containers) == 0)


def test_after_a_quiet_time_a_line_rings(
    store: Store, containers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_source, "QUIET_S", 0.3)
    monkeypatch.setattr(file_source, "RESCAN_S", 3600)
    web = LogWriter(containers, WEB, "web")
    web.write("one")
    with reading(containers, store):
        wait_until(lambda: stored(store) == ["one"])
        for count in range(2, 5):
            time.sleep(0.6)
            web.write(f"line {count}")
            wait_until(lambda wanted=count: len(stored(store)) == wanted)
        time.sleep(0.6)
        web.configure(name="renamed")
        while not stored(store, "renamed"):
            web.write("after the rename")
            time.sleep(0.05)
        time.sleep(0.6)
        LogWriter(containers, WORKER, "worker").write("new")
        wait_until(lambda: stored(store, "worker") == ["new"])


def test_without_inotify_watches_it_looks_instead(
    store: Store,
    containers: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    The system has a limit of them, which other programs may have used up.
    """

    class NoObserver:
        def schedule(self, *_: Any, **__: Any) -> None:
            raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(bell, "Observer", NoObserver)
    monkeypatch.setattr(file_source, "QUIET_S", 0.2)
    monkeypatch.setattr(file_source, "RESCAN_S", 3600)
    web = LogWriter(containers, WEB, "web")
    with reading(containers, store):
        time.sleep(0.4)
        web.write("seen")
        wait_until(lambda: stored(store) == ["seen"])
        LogWriter(containers, WORKER, "worker").write("seen too")
        wait_until(lambda: stored(store, "worker") == ["seen too"])
    assert caplog.text.count("cannot watch") == 1


def test_a_containers_folder_that_cannot_be_read_is_told_once_and_tried_again(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    containers = tmp_path / "later"
    with reading(containers, store):
        wait_until(lambda: "cannot list" in caplog.text)
        time.sleep(0.5)
        assert caplog.text.count("cannot list") == 1
        LogWriter(containers, WEB, "web").write("there at last")
        wait_until(lambda: stored(store) == ["there at last"])


@pytest.mark.parametrize("name", [f"{WEB}-json.log", "config.v2.json"])
def test_a_named_pipe_is_not_waited_for(store: Store, containers: Path, name: str) -> None:
    LogWriter(containers, WEB, "web").write("one")
    LogWriter(containers, WORKER, "worker").write("two")
    (containers / WEB / name).unlink()
    os.mkfifo(containers / WEB / name)
    source = source_of(containers, store)
    follow(source, store)
    assert stored(store, "worker") == ["two"]
    if name == "config.v2.json":
        assert stored(store, WEB[:12]) == ["one"]
    else:
        [(path, error)] = source.unopened.items()
        assert (path.name, error.strerror) == (name, "no plain file")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record: record[: len(record) // 2] + b"\n",
        lambda record: b"\0" * 500 + b"\n",
        lambda record: b"[]\n",
        lambda record: b'{"log":5,"stream":"stdout","time":"2026-11-22T11:08:31Z"}\n',
        lambda record: b'{"log":"x\\n","stream":"stdout","time":"soon"}\n',
        lambda record: b'{"log":"x\\n","stream":"stdin","time":"2026-11-22T11:08:31Z"}\n',
        lambda record: b"\xff\xfe\n",
    ],
    ids=["cut", "a hole", "a list", "no text", "no time", "no stream", "no UTF-8"],
)
def test_a_damaged_line_costs_itself_alone(
    store: Store, containers: Path, spoil: Callable[[bytes], bytes]
) -> None:
    web = LogWriter(containers, WEB, "web")
    web.write("before", "spoiled", "after")
    before, record, after = web.path.read_bytes().splitlines(keepends=True)
    web.path.write_bytes(before + spoil(record) + after)
    read_once(containers, store)
    assert stored(store) == ["before", "after"]
    assert skipped(store).get("damaged records", 0) <= 1


# --- what a review has found ---------------------------------------------------------------------


def test_messages_that_were_open_are_kept_when_lines_are_joined_no_more(
    store: Store, containers: Path
) -> None:
    web = LogWriter(containers, WEB, "web")
    web.write("first line", "  more of it")
    rule = rule_from(r"^\s", {})
    joined = JsonFileSource(containers, make_intake(store, containers, multiline=rule))
    with following(joined, store):
        wait_until(lambda: store.checkpoint(f"docker:{WEB}"))
    web.write("later")
    read_once(containers, store)
    assert stored(store) == ["first line\n  more of it", "later"]


def test_a_message_that_grows_for_hours_is_not_written_anew_with_each_line(
    store: Store, containers: Path
) -> None:
    """
    A pattern that no line matches makes one message of all lines, up to the longest there may be.
    """
    web = LogWriter(containers, WEB, "web")
    web.write("first line")
    rule = rule_from(r"^first", {"MULTILINE_FLUSH_AFTER": "600000"})
    source = JsonFileSource(containers, make_intake(store, containers, multiline=rule))
    source._scan()
    written = 0
    for number in range(1_000):
        web.write(f"line {number:04d} of a message that has no end")
        for given in source._read_all(once=False):
            put_in(store, given)
            written += sum(len(text or "") for text in given.checkpoints.values())
    assert written < 3 * web.path.stat().st_size
    stop = threading.Event()
    stop.set()
    for given in source.readings(stop):
        put_in(store, given)
    web.path.unlink()  # what was read is on record at a stop
    web.write("first line of another", "first line of a third")
    follow(JsonFileSource(containers, source._intake), store)
    whole, *others = stored(store)
    assert whole.count("\n") == 1_000
    assert others == ["first line of another", "first line of a third"]


def test_messages_that_were_open_need_no_later_line(store: Store, containers: Path) -> None:
    LogWriter(containers, WEB, "web").write("first line", "  more of it")
    rule = rule_from(r"^\s", {})
    joined = JsonFileSource(containers, make_intake(store, containers, multiline=rule))
    with following(joined, store):
        wait_until(lambda: store.checkpoint(f"docker:{WEB}"))
    read_once(containers, store)
    assert stored(store) == ["first line\n  more of it"]


def test_files_that_are_held_are_read_when_the_container_is_removed(
    store: Store, containers: Path
) -> None:
    web = LogWriter(containers, WEB, "web")
    web.write("a1", "a2")
    source = source_of(containers, store)
    readings = source.readings(threading.Event(), once=True)
    put_in(store, next(readings))
    web.rotate()
    web.write("b1")
    [followed] = source._logs.values()
    followed.files.hold_newer()
    shutil.rmtree(containers / WEB)
    for reading in readings:
        put_in(store, reading)
    assert stored(store) == ["a1", "a2", "b1"]


def test_a_line_that_is_written_just_before_the_container_is_removed_is_read(
    store: Store, containers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = LogWriter(containers, WEB, "web")
    web.write("one")
    is_gone = DockerLog.is_gone

    def written_and_removed(log: DockerLog) -> bool:
        if (containers / WEB).exists():
            web.write("last")
            shutil.rmtree(containers / WEB)
        return is_gone(log)

    monkeypatch.setattr(DockerLog, "is_gone", written_and_removed)
    read_once(containers, store)
    assert stored(store) == ["one", "last"]


@pytest.mark.parametrize("options", [{"backlog": False}, {"tail": 1}], ids=str)
def test_what_is_written_while_the_agent_is_down_is_read_without_backlog_too(
    store: Store, containers: Path, options: dict[str, Any]
) -> None:
    """
    Of a container that was silent until then, and of one that was made meanwhile.
    """

    def read() -> None:
        follow(JsonFileSource(containers, make_intake(store, containers, **options)), store)

    web = LogWriter(containers, WEB, "web")
    web.write("zero", "one")
    read()
    before = stored(store)
    web.write("two", "three")
    LogWriter(containers, WORKER, "worker").write("four", "five")
    read()
    assert stored(store) == [*before, "two", "three"]
    assert stored(store, "worker") == ["four", "five"]
    assert before == ([] if options == {"backlog": False} else ["one"])


def test_no_file_is_held_of_a_container_that_is_not_collected(
    store: Store, containers: Path
) -> None:
    web = LogWriter(containers, WEB, "web", tty=True)
    web.write("one")
    source = source_of(containers, store)
    with following(source, store):
        wait_until(lambda: source._logs)
        for _ in range(3):
            web.rotate()
            web.write("more")
        LogWriter(containers, WORKER, "worker").write("after the rotations")
        wait_until(lambda: stored(store, "worker"))
        wait_until(lambda: descriptors_below(containers / WEB) == 0)  # a look opens and closes


def test_a_log_that_cannot_be_opened_is_not_tried_without_end(
    store: Store, containers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    To look at a container is to open files, and each opening has the folders looked at.
    """
    LogWriter(containers, WEB, "web").write("one")
    (containers / WEB / f"{WEB}-json.log").unlink()
    os.mkfifo(containers / WEB / f"{WEB}-json.log")
    container, looks = DockerLog.container, []

    def counted(log: DockerLog) -> Container:
        looks.append(log.title)
        return container(log)

    monkeypatch.setattr(DockerLog, "container", counted)
    source = source_of(containers, store)
    with following(source, store):
        wait_until(lambda: source.unopened)
        LogWriter(containers, WORKER, "worker").write("two")
        wait_until(lambda: stored(store, "worker") == ["two"])
        time.sleep(1)
    assert len(looks) < 10
