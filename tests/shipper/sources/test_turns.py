"""
Turns are given to each key that rings, to one thread at a time; readings are handed over in order.
"""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
from agent import wait_until

from shipper.sources import outbox as outbox_module
from shipper.sources.outbox import Closed, Outbox
from shipper.sources.reading import Reading
from shipper.sources.turns import Turns


def test_no_ring_is_lost_and_no_key_is_worked_on_twice_at_once() -> None:
    turns = Turns()
    worked: Counter[str] = Counter()
    seen: dict[str, int] = {}
    rung: Counter[str] = Counter()
    working: set[str] = set()
    clashes: list[str] = []

    def work() -> None:
        while (key := turns.take()) is not None:
            if key in working:
                clashes.append(key)
            working.add(key)
            seen[key] = rung[key]
            time.sleep(0.0005)
            worked[key] += 1
            working.discard(key)
            turns.done(key, pause_s=0.001)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(1_000):
        key = str(number % 7)
        rung[key] += 1
        turns.ring(key, in_s=0.002 * (number % 2))
        if number % 50 == 0:
            time.sleep(0.002)
    wait_until(turns.is_idle)
    turns.close()
    for thread in threads:
        thread.join()
    assert seen == rung
    assert not clashes
    assert all(count < 200 for count in worked.values())


def test_the_earlier_of_two_rings_counts_and_a_pause_is_kept() -> None:
    turns = Turns()
    turns.ring("a", in_s=60)
    turns.ring("a")
    assert turns.take() == "a"
    turns.ring("a")
    begun_s = time.monotonic()
    turns.done("a", pause_s=0.2)
    assert turns.take() == "a"
    assert time.monotonic() - begun_s >= 0.2


def test_what_was_dropped_has_no_more_turns() -> None:
    turns = Turns()
    turns.ring("a")
    assert turns.take() == "a"
    turns.ring("a")
    turns.drop("a")
    assert turns.is_idle()
    turns.ring("b")
    assert turns.take() == "b"


def reading(text: str, *, size: int = 0, count: int = 0) -> Reading:
    made = Reading(checkpoints={"source": text}, bytes=size)
    made.skip("blank", count)
    return made


def test_what_gathers_is_one_reading() -> None:
    outbox = Outbox()
    outbox.put(reading("one", count=1, size=5))
    outbox.put(reading("two", count=2, size=6))
    taken = outbox.take(1)
    assert taken == Reading(checkpoints={"source": "two"}, skipped={"blank": 3}, bytes=11)
    assert outbox.take(0) is None


def test_who_has_too_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "MAX_BYTES", 10)
    outbox = Outbox()
    put: list[int] = []

    def fill() -> None:
        try:
            for number in range(100):
                outbox.put(reading(str(number), size=6))
                put.append(number)
        except Closed:
            put.append(-1)

    thread = threading.Thread(target=fill)
    thread.start()
    wait_until(lambda: len(put) == 2)
    time.sleep(0.05)
    assert put == [0, 1]
    outbox.take(1)
    wait_until(lambda: len(put) == 4)
    outbox.close()
    thread.join()
    assert put == [0, 1, 2, 3, -1]
    assert outbox.take(0) is not None


def test_a_wake_ends_the_wait() -> None:
    outbox = Outbox()
    threading.Timer(0.05, outbox.wake).start()
    begun_s = time.monotonic()
    assert outbox.take(60) is None
    assert time.monotonic() - begun_s < 30
