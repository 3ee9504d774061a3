"""
What arrived in CloudWatch, looked at by container: streams are named for containers, and the group
for this host.
"""

from __future__ import annotations

import socket

from agent import Agent, wait_until
from cloudwatch_endpoint import Endpoint

__all__ = ["Delivered"]

DELIVERY_TIMEOUT_S = 60.0


class Delivered:
    """
    The streams of an endpoint.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._group = socket.gethostname()

    def events(self, stream: str) -> list[tuple[int, str]]:
        """
        (timestamp in ms, message), as they arrived.
        """
        return self._endpoint.events(self._group, stream)

    def messages(self, stream: str) -> list[str]:
        """
        The messages in the order of their times, as CloudWatch shows them.
        """
        events = sorted(self.events(stream), key=lambda event: event[0])
        return [message for _, message in events]

    def wait_for(self, stream: str, count: int) -> None:
        """
        Return when at least so many events are in a stream.
        """
        wait_until(
            lambda: self._endpoint.event_count(self._group, stream) >= count,
            timeout_s=DELIVERY_TIMEOUT_S,
            what=f"{count} events in {stream}",
        )

    def all_of(self, agent: Agent, stream: str, count: int) -> list[str]:
        """
        All messages of a stream, after at least `count` arrived and the agent has sent the rest
        and ended.
        """
        try:
            self.wait_for(stream, count)
        finally:
            if agent.process.poll() is None:
                code = agent.stop()
                assert code == 0, f"exit code {code}\n{agent.log.read_text()}"
        return self.messages(stream)
