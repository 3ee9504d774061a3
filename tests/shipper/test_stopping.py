"""
Being told to stop, at whatever moment and in whichever thread the signal comes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from queue import SimpleQueue

import pytest
from agent import clean_environment, wait_until

from shipper.stopping import stopping_on_signals

WAITS = """
import os, signal, sys, threading, time
from shipper.stopping import stopping_on_signals

number = int(sys.argv[1])
with stopping_on_signals() as stop:
    woken = threading.Event()
    stop.wakes(woken.set)
    if sys.argv[2] == "elsewhere":
        # as when it comes just before the main thread goes to sleep: nothing interrupts that
        threading.Timer(0.2, lambda: signal.pthread_kill(threading.get_ident(), number)).start()
    print("ready", flush=True)
    while not stop.event.is_set():
        woken.wait(3600)
        woken.clear()
    if sys.argv[2] == "twice":
        print("stops", flush=True)
        time.sleep(3600)
    assert signal.getsignal(number) is not signal.SIG_DFL
assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)
print("stopped", flush=True)
"""

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def waiting(number: int, how: str) -> subprocess.Popen[str]:
    """
    A process that waits for a stop, and for nothing else.
    """
    return subprocess.Popen(
        [sys.executable, "-c", WAITS, str(int(number)), how],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("how", ["elsewhere", "from outside"])
def test_a_signal_stops_it_also_when_it_does_not_interrupt_the_main_thread(
    number: signal.Signals, how: str
) -> None:
    with waiting(number, how) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        if how == "from outside":
            process.send_signal(number)
        try:
            assert process.wait(60) == 0
        finally:
            process.kill()
        assert process.stdout.read() == "stopped\n"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_second_signal_ends_it_at_once(number: signal.Signals) -> None:
    with waiting(number, "twice") as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == "stops\n"
        process.send_signal(number)
        try:
            wait_until(lambda: process.poll() is not None)
        finally:
            process.kill()
        assert process.returncode == 128 + number


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_wakes_also_what_the_main_thread_holds_a_lock_of(number: int) -> None:
    """
    As it does for a moment whenever it waits for an Event.
    """
    lock = threading.Lock()
    taken: SimpleQueue[bool] = SimpleQueue()
    with stopping_on_signals() as stop:
        stop.wakes(lambda: taken.put(lock.acquire(timeout=30)))
        with lock:
            os.kill(os.getpid(), number)
        assert taken.get(timeout=60)
        assert stop.event.is_set()


def test_without_a_signal_nothing_is_stopped_and_nothing_is_left() -> None:
    before = signal.getsignal(signal.SIGTERM)
    threads = set(threading.enumerate())
    with stopping_on_signals() as stop:
        pass
    assert not stop.event.is_set()
    assert signal.getsignal(signal.SIGTERM) is before
    for thread in threading.enumerate():
        if thread.name == "stop":
            thread.join(10)
    assert set(threading.enumerate()) <= threads
