"""
How a signal becomes a stop.
"""

import os
import signal
import threading
from queue import SimpleQueue

import pytest

from shipper.stopping import stopping_on_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_wakes_also_what_the_main_thread_holds_a_lock_of(number: int) -> None:
    """
    As it does for a moment whenever it waits for an Event.
    """
    lock = threading.Lock()
    taken: SimpleQueue[bool] = SimpleQueue()
    with stopping_on_signals() as stop:
        stop.wakes(lambda: taken.put(lock.acquire(timeout=5)))
        with lock:
            os.kill(os.getpid(), number)
        assert taken.get(timeout=10)
        assert stop.event.is_set()


def test_without_a_signal_nothing_is_stopped_and_nothing_is_left() -> None:
    before = signal.getsignal(signal.SIGTERM)
    threads = threading.active_count()
    with stopping_on_signals() as stop:
        pass
    assert not stop.event.is_set()
    assert signal.getsignal(signal.SIGTERM) is before
    for thread in threading.enumerate():
        if thread.name == "stop":
            thread.join(10)
    assert threading.active_count() == threads
