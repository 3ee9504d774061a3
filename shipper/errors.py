"""
What can go wrong in this package.

    ShipperError
    ├── RouteError      a route or a setting that cannot be meant: the operator mends it
    └── CannotListen    the address of --metrics is taken, or not this host's
"""

__all__ = ["CannotListen", "RouteError", "ShipperError"]


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
