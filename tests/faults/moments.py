"""
When it goes wrong: each moment brings a world to a point, lets the fault come, stay and go, and
sees that all is delivered in the end.

A moment is a function of a `World` and a `Kind`. `MOMENTS` at the end is the table.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

from cloudwatch_endpoint import Request
from faults.kinds import Kind
from faults.world import LAZY, NAMES, World

__all__ = ["MOMENTS", "Moment"]

FULL_BATCH = 10_000
SOME_UNSENT = 75
REPLAYS = 6


@dataclass(frozen=True)
class Moment:
    """
    One moment; with `has_agent`, one reads lines when the fault comes; with `is_start`, nothing
    runs yet; with `is_end`, what runs makes a last try.
    """

    name: str
    live: Callable[[World, Kind], None]
    has_agent: bool = True
    is_start: bool = False
    is_end: bool = False

    def suits(self, kind: Kind) -> bool:
        """
        Whether such a fault can be then.
        """
        return (
            (self.has_agent or not kind.needs_agent)
            and (self.is_start or not kind.needs_start)
            and not (self.is_end and kind.needs_requests)
        )


def of(operation: str, *, after: int = 0) -> Callable[[Request], bool]:
    """
    Is it a request of that kind, and not one of the first?
    """
    seen = 0

    def is_of(request: Request) -> bool:
        nonlocal seen
        seen += request.operation == operation
        return request.operation == operation and seen > after

    return is_of


def suffer(world: World, kind: Kind) -> None:
    """
    The fault comes, meets the requests that are held, stays and goes.
    """
    with kind.begun(world):
        world.gate.open()
        world.stay(kind.lasts_s)


def finish(world: World) -> None:
    """
    All is delivered, and the agent ends when told.
    """
    world.write(2)
    world.wait_settled()
    world.end(signal.SIGTERM)


def begin(world: World) -> None:
    """
    An agent delivers the first lines.
    """
    world.know_streams()
    world.write(3)
    world.launch()
    world.wait_settled()


# --- moments --------------------------------------------------------------------------------------


def at_start(world: World, kind: Kind) -> None:
    """
    A backlog waits in the file, and more in the logs; the fault is there first.
    """
    world.know_streams()
    world.put(1_500)
    meet_at_start(world, kind)


def at_the_first_request(world: World, kind: Kind) -> None:
    """
    There is no spool, no group and no stream yet.
    """
    meet_at_start(world, kind)


def meet_at_start(world: World, kind: Kind) -> None:
    """
    An agent starts into the fault; or meets it at its first request, if the fault is one for a
    process that runs.
    """
    world.write(20)
    if kind.needs_process:
        world.gate.close(of("PutLogEvents"))
        world.launch()
        world.wait_for(lambda: world.gate.held)
        suffer(world, kind)
    else:
        with kind.begun(world):
            world.launch()
            if not kind.is_local:
                world.wait_for(lambda: " started" in world.log.read_text())
            world.stay(kind.lasts_s + 0.5)
    finish(world)


def in_a_trickle(world: World, kind: Kind) -> None:
    """
    A few lines a second come in.
    """
    begin(world)
    world.stay(0.3)
    suffer(world, kind)
    world.stay(0.3)
    finish(world)


def in_a_burst(world: World, kind: Kind) -> None:
    """
    Several full batches are at the endpoint, and more wait.
    """
    begin(world)
    world.gate.close(of("PutLogEvents"))
    world.write(FULL_BATCH + 1_500)
    world.wait_for(lambda: world.gate.held >= len(NAMES))
    suffer(world, kind)
    finish(world)


def in_a_drain(world: World, kind: Kind) -> None:
    """
    An outage is over and the first batch has gone through.
    """
    begin(world)
    world.hush()
    world.write(4_000)
    world.wait_stored()
    world.gate.close(of("PutLogEvents", after=1))
    world.calm()
    world.wait_for(lambda: world.gate.held)
    suffer(world, kind)
    finish(world)


def in_the_last_flush(world: World, kind: Kind) -> None:
    """
    The agent was told to stop and sends what waits; the next one sends the rest.
    """
    world.know_streams()
    world.write(300)
    world.launch(LAZY)
    world.wait_stored()
    world.gate.close(of("PutLogEvents"))
    world.signal(signal.SIGTERM)
    world.wait_for(lambda: world.gate.held)
    process = world.process
    assert process
    with kind.begun(world):
        world.gate.open()
        if world.process is process and process.returncode is None and not kind.is_local:
            world.wait_ended()
        else:
            world.stay(kind.lasts_s)
    if process.returncode is None:
        world.wait_ended()
    world.relaunch()
    finish(world)


def in_a_replay(world: World, kind: Kind) -> None:
    """
    `spool replay` sends, without an agent, what was sent once and what was not.
    """
    begin(world)
    world.end(signal.SIGTERM)
    world.put(300)
    world.gate.close(of("PutLogEvents"))
    world.written.update(world.arrived().keys())
    world.launch_replay("--since", "1h")
    world.wait_for(lambda: world.gate.held)
    suffer(world, kind)
    for _ in range(REPLAYS):
        if world.wait_ended(timeout_s=60) != SOME_UNSENT:
            break
        world.relaunch()


def in_the_creation_of_a_stream(world: World, kind: Kind) -> None:
    """
    A new container's stream is being made.
    """
    begin(world)
    world.gate.close(of("CreateLogStream"))
    world.add_container("fresh", 20)
    world.wait_for(lambda: world.gate.held)
    suffer(world, kind)
    finish(world)


# --- the table ------------------------------------------------------------------------------------

MOMENTS = (
    Moment("start", at_start, has_agent=False, is_start=True),
    Moment("first", at_the_first_request, has_agent=False, is_start=True),
    Moment("live", in_a_trickle),
    Moment("burst", in_a_burst),
    Moment("drain", in_a_drain),
    Moment("stop", in_the_last_flush, has_agent=False, is_end=True),
    Moment("replay", in_a_replay, has_agent=False),
    Moment("create", in_the_creation_of_a_stream),
)
