"""
Streams that are listened to, and what of them is kept in hand.
"""

from __future__ import annotations

import socket

from shipper.sources.doorbells import DRAIN_BYTES, EAGER_BYTES, Doorbell, Doorbells


def rung(bells: Doorbells, kept: bytes) -> tuple[Doorbell, socket.socket]:
    """
    An eager bell that has rung once, with so much in hand before, and its stream.
    """
    stream, engine = socket.socketpair()
    bell = Doorbell(stream, kept, is_eager=True)
    bells.arm("web", stream, bell)
    bells.wait(0)
    engine.send(b"more")
    bells.wait(1)
    engine.close()
    return bell, stream


def test_what_was_hung_up_takes_no_room_from_those_that_are_listened_to() -> None:
    bells = Doorbells()
    for _ in range(EAGER_BYTES // DRAIN_BYTES):
        _, stream = rung(bells, b"x" * (DRAIN_BYTES - len(b"more")))
        stream.close()
    bell, stream = rung(bells, b"")
    assert bell.kept_bytes == len(b"more")
    stream.close()
    bells.close()
