"""
Whether there is a way to CloudWatch, for all streams and for each; and who is told.

Comes in: how requests ended. Goes out: when what failed may go again, and what is the matter in
plain words. Always holds: what goes on is told once; that one stream is refused holds up no other.

Not safe to call from several threads at a time: whoever owns it holds a lock. Times are seconds of
one clock that only goes forward.
"""

from __future__ import annotations

import logging
import math

from shipper.backoff import Backoff
from shipper.brake import Brake
from shipper.errors import Action, DeliveryError
from spool.store import Batch

__all__ = ["Way"]

log = logging.getLogger(__name__)

STREAM_FIRST_S = 1.0
STREAM_CAP_S = 60.0
"""For a stream that somebody has to mend."""


class Way:
    """
    Puts `brake` on and takes it off, and knows which streams fail by themselves.
    """

    def __init__(self, brake: Brake) -> None:
        self._brake = brake
        self._troubled: dict[int, Backoff] = {}
        self._failed_s: dict[int, float] = {}
        self._told: set[tuple[int, str]] = set()
        self.last_success_s = -math.inf
        self.notes: dict[str, str | None] = {"delivery": None, "speed": None}
        """What is the matter with all streams, for `spool status`."""

    def is_troubled(self, stream_id: int) -> bool:
        """
        Whether a stream failed last where others did not.
        """
        return stream_id in self._troubled

    def is_news(self, stream_id: int, what: str, *, is_so: bool) -> bool:
        """
        Whether it is so now, and was not so the last time.
        """
        was_so = (stream_id, what) in self._told
        (self._told.add if is_so else self._told.discard)((stream_id, what))
        return is_so and not was_so

    def succeeded(self, batch: Batch, now_s: float) -> bool:
        """
        A batch has arrived; returns whether nothing did before, so that all may go again.
        """
        self.last_success_s = now_s
        self._failed_s.pop(batch.stream_id, None)
        if self._troubled.pop(batch.stream_id, None):
            log.info("%s %s is delivered again", batch.group, batch.stream)
        was_on = self._brake.take_off(now_s)
        throttle = self._brake.throttle
        was_slow = throttle.rate
        throttle.speed_up(now_s)
        if was_slow and not throttle.rate:
            self._tell("speed", None)
            log.info("CloudWatch Logs takes as many requests as there are again")
        if was_on:
            self._tell("delivery", None)
            log.info("CloudWatch Logs takes lines again")
        return was_on

    def failed(self, batch: Batch, error: DeliveryError, *, sent_s: float, now_s: float) -> float:
        """
        A request that went out at `sent_s` failed; seconds until its batch may be sent again.
        """
        is_general = error.is_general and not self._others_get_through(batch, error)
        self._failed_s[batch.stream_id] = now_s
        if error.action is Action.SLOW_DOWN:
            if self._brake.throttle.rate is None:
                self._tell("speed", f"CloudWatch Logs wants fewer requests: {error}")
            self._brake.throttle.slow_down(sent_s, now_s)
            return 0
        if is_general:
            if self._brake.put_on(error, now_s):
                text = f"CloudWatch Logs takes nothing now, lines are kept: {error}"
                self._tell("delivery", text)
            return self._brake.pause_s(now_s) or 0
        if batch.stream_id not in self._troubled:
            log.warning("%s %s is not delivered: %s", batch.group, batch.stream, error)
            self._troubled[batch.stream_id] = Backoff(STREAM_FIRST_S, STREAM_CAP_S)
        return self._troubled[batch.stream_id].next_s()

    def _others_get_through(self, batch: Batch, error: DeliveryError) -> bool:
        """
        Whether it fails again while others succeed: then it is about this stream after all.
        """
        failed_s = self._failed_s.get(batch.stream_id)
        return (
            error.action is Action.WAIT and failed_s is not None and failed_s < self.last_success_s
        )

    def _tell(self, about: str, text: str | None) -> None:
        """
        Say what is the matter with all, None when it is over.
        """
        if text is not None:
            log.warning("%s", text)
        self.notes[about] = text
