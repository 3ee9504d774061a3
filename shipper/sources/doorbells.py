"""
Who has written: streams that the engine follows, watched by one thread.

Comes in: open streams, armed under a key. Goes out: the keys of those that became readable, each
disarmed. What a stream says is not needed: the engine leaves records out and repeats others where
files rotate. It is kept until an answer that was asked for later has the same, because a container
that is removed gives no more answers.

A stream of which nothing is taken stands still, and the engine with it, after some 280 records; a
container that removes itself takes what the engine had still to say with it. So with these the
watching thread is `eager`: it takes what comes when it comes, as far as there is room.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

from shipper.sources.records import frames_end

__all__ = ["Doorbell", "Doorbells"]

DRAIN_BYTES = 1_000_000
"""At one time; of more there is no need, as the engine waits with the rest."""

EAGER_BYTES = 8_000_000
"""In hand for all that are listened to eagerly."""

MAX_BEGUN_BYTES = 500_000
"""Longer than any record, and leaves room to drain."""

LAST_WORDS_BYTES = 16 * 1024 * 1024
LAST_WORDS_S = 2.0
"""The engine has all of a removed container's log open, and ends the stream behind it."""


class Doorbell:
    """
    One stream. `drain`, `forget` and `last_words` are for the thread whose turn it is.
    """

    def __init__(self, opened: socket.socket, begun: bytes, *, is_eager: bool) -> None:
        self.socket = opened
        self.is_eager = is_eager
        self.has_ended = False
        self._lock = threading.Lock()
        self._kept = bytearray(begun)
        self._drained_bytes = 0
        opened.setblocking(False)

    @property
    def is_ringing(self) -> bool:
        """
        Whether something came that is not forgotten.
        """
        return bool(self._kept)

    @property
    def kept_bytes(self) -> int:
        """
        What is in hand.
        """
        return len(self._kept)

    def listen(self) -> bool:
        """
        Take what has come, so that it does not ring for it again; false where nothing has.
        """
        with self._lock:
            before = len(self._kept)
            while len(self._kept) < DRAIN_BYTES and not self.has_ended:
                try:
                    data = self.socket.recv(DRAIN_BYTES)
                except (BlockingIOError, ssl.SSLWantReadError):
                    break
                except OSError:
                    data = b""
                self._kept += data
                self.has_ended = not data
            return len(self._kept) > before

    def drain(self) -> bool:
        """
        Listen, before an answer is asked for; false where nothing came since the last time.
        """
        self.listen()
        had_rung = len(self._kept) > self._drained_bytes
        self._drained_bytes = len(self._kept)
        return had_rung

    def forget(self, *, is_framed: bool) -> None:
        """
        What was drained is also in the answer. The begin of a record stays.
        """
        with self._lock:
            drained = self._kept[: self._drained_bytes]
            end = frames_end(drained) if is_framed else drained.rfind(b"\n") + 1
            if len(drained) - end >= MAX_BEGUN_BYTES:
                end = len(drained)
            del self._kept[:end]
            self._drained_bytes -= end

    def last_words(self) -> Iterator[bytes]:
        """
        What was not forgotten, to the end of the stream.
        """
        with self._lock:
            self.is_eager = False
            kept, self._kept = bytes(self._kept), bytearray()
        yield kept
        self.socket.settimeout(LAST_WORDS_S)
        size = 0
        with suppress(OSError):
            while not self.has_ended and size < LAST_WORDS_BYTES:
                data = self.socket.recv(DRAIN_BYTES)
                size += len(data)
                self.has_ended = not data
                yield data


class Doorbells:
    """
    Armed streams. `wait` is for one thread, the other methods for any.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._to_arm: deque[tuple[str, socket.socket, Doorbell | None]] = deque()
        self._eager: set[Doorbell] = set()
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        self._woken.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, None)

    def arm(self, key: str, stream: socket.socket, bell: Doorbell | None = None) -> None:
        """
        Let `wait` return `key` when something is to be read from `stream`, or it has ended.
        """
        self._to_arm.append((key, stream, bell))
        self.wake()

    def wake(self) -> None:
        """
        End the present wait.
        """
        with suppress(OSError):
            self._waker.send(b"\0")

    def wait(self, timeout_s: float) -> list[str]:
        """
        The keys that have rung, after at most `timeout_s`.
        """
        rung: list[str] = []
        for selected, _ in self._selector.select(max(0.0, timeout_s)):
            if selected.data is None:
                with suppress(OSError):
                    self._woken.recv(4096)
                continue
            key, bell = selected.data
            rung.append(key)
            if not bell or not self._listen(bell):
                self._selector.unregister(selected.fileobj)
        self._arm_waiting()
        return rung

    def _listen(self, bell: Doorbell) -> bool:
        """
        Whether the bell was listened to and stays armed.
        """
        self._eager = {other for other in self._eager if other.socket.fileno() >= 0}  # not closed
        self._eager.add(bell)
        has_room = sum(other.kept_bytes for other in self._eager) < EAGER_BYTES
        stays = bell.is_eager and has_room and bell.listen() and not bell.has_ended
        if not stays:
            self._eager.discard(bell)
        return stays

    def close(self) -> None:
        """
        Watch no more; the streams stay open.
        """
        self._selector.close()
        self._waker.close()
        self._woken.close()

    def _arm_waiting(self) -> None:
        while self._to_arm:
            key, stream, bell = self._to_arm.popleft()
            with suppress(OSError, ValueError):  # closed meanwhile
                self._register(stream, (key, bell))

    def _register(self, stream: socket.socket, data: tuple[str, Doorbell | None]) -> None:
        armed = self._selector.get_map().get(stream.fileno())
        if armed and armed.fileobj is stream:
            return
        if armed:  # closed while it was armed, and its number has come back
            self._selector.unregister(armed.fileobj)
        self._selector.register(stream, selectors.EVENT_READ, data)
