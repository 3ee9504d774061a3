"""
Capturing: one reading is stored while the source reads the next, and no further.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import apsw
import pytest
from agent import wait_until

from shipper import capture as module
from shipper.capture import capture
from shipper.sources.reading import Reading
from shipper.trouble import Trouble


class Spool:
    """
    Stores readings, unless told not to; the last bytes of each are its number.
    """

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.works = threading.Event()
        self.works.set()
        self.error: apsw.Error | None = None

    def append(self, chunks: Any, *, checkpoints: dict[str, str], skipped: Any) -> None:
        if self.error:
            raise self.error
        assert self.works.wait(60)
        self.stored.append(checkpoints["position"])


class Numbers:
    """
    A source of numbered readings; raises once before the number `fails_at`.
    """

    def __init__(self, spool: Spool, count: int, *, fails_at: int | None = None) -> None:
        self.spool, self.count, self.fails_at = spool, count, fails_at
        self.begun_at: list[int] = []
        self.asked = 0

    def readings(self, stop: threading.Event, *, once: bool = False) -> Iterator[Reading]:
        begin = len(self.spool.stored)
        self.begun_at.append(begin)
        for number in range(begin, self.count):
            if stop.is_set():
                return
            self.asked = number + 1
            if number == self.fails_at:
                self.fails_at = None
                raise apsw.IOError("the disk")
            yield Reading(checkpoints={"position": str(number)})

    def wake(self) -> None: ...


@pytest.fixture
def spool(monkeypatch: pytest.MonkeyPatch) -> Spool:
    monkeypatch.setattr(module, "RETRY_S", 0.02)
    return Spool()


def capturing(source: Numbers, stop: threading.Event) -> threading.Thread:
    trouble = Trouble(logging.getLogger(), begins="%s", ends="over")
    options: Any = {"once": True, "trouble": trouble, "on_stored": lambda: None}
    thread = threading.Thread(target=capture, args=(source, source.spool, stop), kwargs=options)
    thread.start()
    return thread


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def test_readings_are_stored_in_the_order_read(spool: Spool) -> None:
    capturing(Numbers(spool, 500), threading.Event()).join(60)
    assert spool.stored == numbers(500)


def test_while_one_is_being_stored_the_next_is_read_and_no_more(spool: Spool) -> None:
    spool.works.clear()
    source = Numbers(spool, 10)
    thread = capturing(source, threading.Event())
    wait_until(lambda: source.asked == 2)
    thread.join(0.2)
    assert source.asked == 2
    spool.works.set()
    thread.join(60)
    assert spool.stored == numbers(10)


def test_what_cannot_be_stored_is_tried_again_and_nothing_overtakes_it(spool: Spool) -> None:
    spool.error = apsw.FullError("full")
    source = Numbers(spool, 10)
    thread = capturing(source, threading.Event())
    wait_until(lambda: source.asked == 2)
    thread.join(0.2)
    assert (source.asked, spool.stored) == (2, [])
    spool.error = None
    thread.join(60)
    assert spool.stored == numbers(10)


def test_a_stop_ends_it_also_while_nothing_can_be_stored(spool: Spool) -> None:
    spool.error = apsw.FullError("full")
    stop = threading.Event()
    source = Numbers(spool, 10)
    thread = capturing(source, stop)
    wait_until(lambda: source.asked == 2)
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    assert spool.stored == []


def test_a_source_that_fails_begins_anew_behind_what_it_gave(spool: Spool) -> None:
    source = Numbers(spool, 10, fails_at=5)
    capturing(source, threading.Event()).join(60)
    assert spool.stored == numbers(10)
    assert source.begun_at == [0, 5]
