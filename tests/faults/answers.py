"""
Faults that are answers of the endpoint: errors, answers of somebody else, what is gone or refused.

Each is a generator over a `World`: what begins it, one yield, what ends it.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Generator

from agent import HOST_GROUP
from cloudwatch_endpoint import CUT_MID_ANSWER, Fault, Reply, Request, error, real_now_ms
from faults.world import World

__all__ = [
    "always",
    "cannot_create",
    "clock_at",
    "deleted",
    "deny_one_stream",
    "plain",
    "poison",
    "rejection_cut_off",
]

DAY_MS = 24 * 3_600_000

Over = Callable[[World], Generator[None]]


def always(*faults: Fault, operation: str | None = None) -> Over:
    """
    These answers in turn, to one operation or to all.
    """

    def over(world: World) -> Generator[None]:
        turn = itertools.cycle(faults)
        world.answer = lambda request: (
            next(turn) if operation in {None, request.operation} else None
        )
        yield
        world.calm()

    return over


def plain(number: int, body: str) -> Fault:
    """
    A status with a JSON body that is not in the service's form, as somebody else gives it.
    """
    reply = Reply(
        number, body.encode(), f"status_{number}", "application/json", is_of_service=False
    )
    return Fault(reply.outcome, reply=reply, sent="all")


def deny_one_stream(world: World) -> Generator[None]:
    """
    AccessDenied for `web`; meanwhile the others go on.
    """
    denied = error("AccessDeniedException", message="not authorized to perform logs:PutLogEvents")
    world.answer = lambda request: denied if request.stream == "web" else None
    yield
    if world.is_collecting:
        others = {line for line in world.written if line[0] != "web"}
        world.wait_for(lambda: others <= world.arrived().keys())
    world.calm()


class Poison:
    """
    From the first batch that comes one event is taken: no request that holds it is legal.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._message: str | None = None

    def __call__(self, request: Request) -> Fault | None:
        """
        The endpoint's answer.
        """
        messages = request.batch.messages if request.batch else []
        with self._lock:
            if self._message is None and messages:
                self._message = messages[len(messages) // 2]
        if self._message not in messages:
            return None
        text = f"Value '{self._message}' at 'logEvents.1.member.message' failed"
        return error("InvalidParameterException", message=text)


def poison(world: World) -> Generator[None]:
    """
    One event is refused for good, with all that share a request with it.
    """
    world.answer = Poison()
    yield  # and it never ends: the event has to be told apart


def deleted(*, is_group: bool) -> Over:
    """
    A stream, or the group with all of them, is deleted.
    """

    def over(world: World) -> Generator[None]:
        world.delete(None if is_group else "web")
        yield

    return over


def cannot_create(code: str) -> Over:
    """
    The group is gone, and may not be made again.
    """

    def over(world: World) -> Generator[None]:
        world.answer = lambda request: (
            error(code) if request.operation == "CreateLogGroup" else None
        )
        world.delete()
        yield
        world.calm()

    return over


def clock_at(shift_ms: int, retention_days: int | None = None) -> Over:
    """
    The service's clock is that far from ours: events have an age that it does not take.
    """

    def over(world: World) -> Generator[None]:
        if retention_days:
            world.endpoint.create(HOST_GROUP, retention_days=retention_days)
        world.endpoint.now_ms = lambda: real_now_ms() + shift_ms
        world.hush()  # what is held there was looked at by the old clock
        world.calm()
        yield
        world.endpoint.now_ms = real_now_ms

    return over


def rejection_cut_off(world: World) -> Generator[None]:
    """
    The service rejects events for their age, and the part of the answer that says so is lost.
    """
    world.endpoint.now_ms = lambda: real_now_ms() + 15 * DAY_MS
    world.hush()
    world.calm()
    world.answer = lambda _: CUT_MID_ANSWER
    yield
    world.endpoint.now_ms = real_now_ms
    world.calm()
