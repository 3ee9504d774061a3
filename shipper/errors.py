"""
What can go wrong in this package.

    ShipperError
    ├── RouteError      a route or a setting that cannot be meant: the operator mends it
    ├── CannotListen    the address of --metrics is taken, or not this host's
    └── DeliveryError   a request to CloudWatch did not succeed; it says what to do next
"""

from __future__ import annotations

import enum

__all__ = ["Action", "CannotListen", "DeliveryError", "RouteError", "ShipperError"]


class Action(enum.Enum):
    """
    What to do after an error of CloudWatch.
    """

    WAIT = "wait, then send it again"
    SLOW_DOWN = "send less often, and it again"
    CREATE = "create group and stream, then send it again"
    RENEW = "take fresh credentials, then send it again"
    OPERATOR = "send it again now and then: somebody has to act"
    REFUSE = "never send it again unchanged"


class ShipperError(Exception):
    """
    The root of all errors this package raises on purpose.
    """


class RouteError(ShipperError):
    """
    A route or a setting is wrong; nothing was started.

    The message is one line that says what is wrong, where it was read and what to do about it. It
    is made for the terminal, where it comes with exit code 2.
    """


class CannotListen(ShipperError):
    """
    There can be no server at an address; nothing was started. One line, as above, exit code 1.
    """


class DeliveryError(ShipperError):
    """
    A request did not succeed. `action` says what to do; `is_general` that it is not about this
    stream: any other request would have failed as well.

    The message is one line: operation, code, and what the service or the network said.
    """

    def __init__(self, text: str, action: Action, *, is_general: bool) -> None:
        super().__init__(text)
        self.action = action
        self.is_general = is_general
