"""
Faults on the way to the endpoint, and of who we are to it.

Each is a generator over a `World`: what begins it, one yield, what ends it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from pathlib import Path

from cloudwatch_endpoint import ACCESS_KEY, SECRET_KEY, error, real_now_ms
from faults.certificates import make_certificates
from faults.world import World

__all__ = [
    "NEW_SECRET",
    "greet_rightly",
    "greets_with",
    "no_credentials",
    "other_secret",
    "refused",
    "restarted",
    "rotated",
    "skewed",
    "unresolvable",
    "use_own_resolver",
]

NEW_KEY, NEW_SECRET = "AKIDROTATEDROTATED00", "another/fake/secret/of/the/endpoint"
HOURS_MS = 3 * 3_600_000

Over = Callable[[World], Generator[None]]


def refused(world: World) -> Generator[None]:
    """
    Nobody listens.
    """
    world.hush()
    yield
    world.calm()


def restarted(world: World) -> Generator[None]:
    """
    The endpoint is gone for a moment, again and again.
    """

    def restart() -> None:
        world.hush()
        world.calm()

    world.each_step = restart
    restart()
    yield
    world.each_step = lambda: None


def use_own_resolver(world: World) -> None:
    """
    The endpoint has a name, and NO_NAMES decides whether it can be resolved.
    """
    here = Path(__file__).resolve().parent
    world.environment |= {
        "PYTHONPATH": f"{here / 'resolver'}{os.pathsep}{here.parents[1]}",
        "NO_NAMES": str(world.folder / "no-names"),
        "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": f"http://localhost:{world.endpoint.port}",
    }


def unresolvable(world: World) -> Generator[None]:
    """
    Connections are cut, and the endpoint's name cannot be resolved any more.
    """
    flag = world.folder / "no-names"
    flag.touch()
    world.hush()
    world.calm()
    yield
    flag.unlink()


def greet_rightly(world: World) -> None:
    """
    TLS with a certificate of a CA that the processes trust.
    """
    made = make_certificates(world.folder / "certificates")
    world.endpoint.present(made.right)
    world.environment["AWS_CA_BUNDLE"] = str(made.ca)


def greets_with(name: str) -> Over:
    """
    Another certificate, for all connections from now on.
    """

    def over(world: World) -> Generator[None]:
        folder = world.folder / "certificates"
        world.hush()
        world.endpoint.present(folder / f"{name}.pem")
        world.calm()
        yield
        world.endpoint.present(folder / "right.pem")

    return over


def rotated(*, expires: bool) -> Over:
    """
    Our access key is no longer good; in the end somebody writes a new one into the file.
    """

    def over(world: World) -> Generator[None]:
        world.endpoint.keys = {NEW_KEY: NEW_SECRET}
        if expires:
            world.endpoint.expired_keys = {ACCESS_KEY}
        world.gate.open()
        yield
        world.write_credentials(NEW_KEY, NEW_SECRET)

    return over


def other_secret(world: World) -> Generator[None]:
    """
    The secret of our key is another one now: InvalidSignature, until the file has it.
    """
    world.endpoint.keys = {ACCESS_KEY: NEW_SECRET}
    yield
    world.write_credentials(ACCESS_KEY, NEW_SECRET)


def no_credentials(world: World) -> Generator[None]:
    """
    There are none for the process that starts now; then the file appears.
    """
    world.credentials.unlink()
    yield
    world.write_credentials(ACCESS_KEY, SECRET_KEY)


def skewed(world: World) -> Generator[None]:
    """
    The service's clock is hours ahead of ours, and it takes no signature of such an age.
    """
    world.endpoint.now_ms = lambda: real_now_ms() + HOURS_MS
    world.answer = lambda _: error(
        "InvalidSignatureException",
        message="Signature expired: 20261122T110831Z is now earlier than 20261122T140331Z",
    )
    yield
    world.endpoint.now_ms = real_now_ms
    world.calm()
