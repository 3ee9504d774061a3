"""
What happens in the demo, step by step, with what is measured at each.

Comes in: running containers, CloudWatch Logs, the relay between, a spool to be. Goes out: a
`Tally` for each stream. The steps follow the number of lines written, not the clock, so that they
happen on a slow machine as on a fast one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cli.demo_parts.cloudwatch import CloudWatchHere
from cli.demo_parts.containers import Containers
from cli.demo_parts.counting import Tally, tally
from cli.demo_parts.lines import SCRIPTS, TOTAL
from cli.demo_parts.processes import Spool
from cli.demo_parts.relay import Relay
from cli.errors import Failure
from cli.screen import Screen, Styled
from spool.clock import now_ms

__all__ = ["Story"]

LOOK_S = 0.2
TIMEOUT_S = 60.0
"""For one step; each takes seconds."""

CALM_LOOKS = 4
CALM_LINES = TOTAL // 10
"""Where looks take long, so much is written meanwhile; more would be missed of the next step."""

QUIET_S = 5.0
"""After so long with nothing unsent and nothing new, what is missing does not come any more."""

FLOW_UNTIL, CUT_UNTIL, DEAD_UNTIL, RESTARTED_UNTIL = (
    TOTAL * percent // 100 for percent in (25, 50, 65, 80)
)
REPLAYED = SCRIPTS[0].name
REPLAY_STREAM = "replayed"


@dataclass(frozen=True, slots=True)
class Numbers:
    """
    How many lines are where. `agent` is the pid of the one that runs, if any.
    """

    written: int = 0
    stored: int = 0
    unsent: int = 0
    delivered: int = 0
    agent: int | None = None

    def bars(self) -> dict[str, int]:
        """
        By the names that are shown.
        """
        return {
            "written": self.written,
            "stored": self.stored,
            "unsent": self.unsent,
            "delivered": self.delivered,
        }


@dataclass(slots=True)
class Story:
    """
    Told on `screen` by `tell`, once.
    """

    screen: Screen
    containers: Containers
    cloudwatch: CloudWatchHere
    relay: Relay
    spool: Spool
    _step: int = field(default=0, init=False)
    _outage_ms: tuple[int, int] = field(default=(0, 0), init=False)

    def tell(self) -> list[Tally]:
        """
        From the first line to the last; what became of each stream. Raises Failure.
        """
        self._start()
        self._cut_and_kill()
        self._recover()
        self._replay()
        return self._count()

    def _start(self) -> None:
        self._say("The agent starts: ", ("spool run", "bold"), f", pid {self.spool.start_agent()}.")
        self._until(lambda now: now.agent is not None)
        self.containers.begin()
        self._say("Lines flow: each is stored in spool.db, then sent.")
        self._until(lambda now: now.written >= FLOW_UNTIL)

    def _cut_and_kill(self) -> None:
        self.relay.cut()
        self._outage_ms = (now_ms(), 0)
        self._say(("The network is cut.", "bold red"), " What cannot be sent waits in spool.db.")
        self._until(lambda now: now.written >= CUT_UNTIL)
        self.spool.kill_agent()
        self._say(("The agent is killed", "bold red"), ", by SIGKILL. The containers write on.")
        self._until(lambda now: now.written >= DEAD_UNTIL)

    def _recover(self) -> None:
        pid = self.spool.start_agent()
        self._say(f"It is started again, pid {pid}, and reads what it missed. Still no network.")
        self._until(
            lambda now: now.agent == pid and min(now.written, now.stored) >= RESTARTED_UNTIL
        )
        self.relay.restore()
        self._outage_ms = (self._outage_ms[0], now_ms())
        self._say(("The network is back.", "bold green"), " The backlog drains.")
        drained_s = _Quiet()
        self._until(lambda now: now.written >= TOTAL and drained_s.is_over(now))
        self.containers.finish()
        code = self.spool.stop_agent()
        self.screen.say(f"   SIGTERM: the agent has stopped, exit code {code}.")
        if code != 0:
            raise Failure(f"the agent stopped with exit code {code}")

    def _replay(self) -> None:
        """
        What one container wrote during the outage, in whole seconds, to a stream of its own.
        """
        since_s, until_s = (moment_ms // 1000 for moment_ms in self._outage_ms)
        self._outage_ms = (since_s * 1000, until_s * 1000)
        self._say(f"Replay: what {REPLAYED} wrote in the outage, sent once more.")
        chosen = ("--stream", REPLAYED, "--to-stream", REPLAY_STREAM)
        times = ("--since", _utc(since_s), "--until", _utc(until_s))
        self.screen.say((f"   spool replay {' '.join(chosen)} \\", "bold"))
        self.screen.say((f"     {' '.join(times)}", "bold"))
        for line in self.spool.replay(*chosen, *times).splitlines():
            self.screen.say((f"   {line}", "dim"))

    def _count(self) -> list[Tally]:
        arrived = self.cloudwatch.arrived()
        since_ms, until_ms = self._outage_ms
        tallies = [
            tally(
                script.name,
                script.lines,
                (event.message for event in arrived if event.stream == script.name),
            )
            for script in SCRIPTS
        ]
        replayed = tally(
            REPLAY_STREAM,
            (
                event.message
                for event in arrived
                if event.stream == REPLAYED and since_ms <= event.timestamp_ms < until_ms
            ),
            (event.message for event in arrived if event.stream == REPLAY_STREAM),
        )
        return [*tallies, replayed]

    def _say(self, *parts: Styled) -> None:
        self._step += 1
        self.screen.say((f"{self._step}. ", "bold"), *parts)

    def _until(self, question: Callable[[Numbers], bool]) -> None:
        """
        Show the numbers until they satisfy `question`, and leave them on the screen.
        """
        deadline_s = time.monotonic() + TIMEOUT_S
        while not question(now := self._look()):
            self.screen.show(now.bars(), TOTAL)
            self.spool.check_agent()
            if time.monotonic() > deadline_s:
                raise Failure(f"not within {TIMEOUT_S:.0f} s; see {self.spool.folder}")
            time.sleep(LOOK_S)
        now = self._calm(now)
        self.screen.show({}, TOTAL)
        numbers = "   ".join(f"{name} {value:,}" for name, value in now.bars().items())
        self.screen.say((f"   {numbers}", "dim"))

    def _calm(self, now: Numbers) -> Numbers:
        """
        Numbers that were not taken in the middle of a request, if such are to be had soon.
        """
        most_written = now.written + CALM_LINES
        for _ in range(CALM_LOOKS):
            if now.stored - now.unsent == now.delivered or now.written > most_written:
                break
            now = self._look()
        return now

    def _look(self) -> Numbers:
        """
        Asked against the stream, so that no line is seen where it went and not where it was.
        """
        delivered = len(self.cloudwatch.arrived())
        status = self.spool.status()
        return Numbers(
            delivered=delivered,
            stored=sum(status.get(name, 0) for name in ("unsent", "sent", "rejected")),
            unsent=status.get("unsent", 0),
            agent=status.get("agent"),
            written=sum(self.containers.written().values()),
        )


class _Quiet:
    """
    Whether all that was written is through, or nothing comes any more.
    """

    def __init__(self) -> None:
        self._stored = -1
        self._since_s = 0.0

    def is_over(self, now: Numbers) -> bool:
        if now.unsent:
            return False
        if now.stored != self._stored:
            self._stored, self._since_s = now.stored, time.monotonic()
        return now.stored >= TOTAL or time.monotonic() - self._since_s > QUIET_S


def _utc(moment_s: int) -> str:
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
