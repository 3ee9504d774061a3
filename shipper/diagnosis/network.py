"""
The way to the endpoint: name, connection, TLS, a first answer, and the clock it shows.

Comes in: where boto3 would send. Always holds: of a proxy or an endpoint only host and port are
told; what is sent is not signed, and asks for nothing that would be given.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from shipper.answers import CLOCK_REFUSED_S, CLOCK_WORTH_SAYING_S
from shipper.diagnosis.case import Case
from shipper.diagnosis.finding import Finding, failed, ok, skipped, warning
from shipper.diagnosis.probe import CONNECT_TIMEOUT_S, NoAnswer, Probe
from shipper.errors import DeliveryError

__all__ = ["clock", "endpoint"]

REMEDIES = {
    "untrusted": "where a proxy of yours looks into TLS, or the endpoint is your own, give its CA:"
    " AWS_CA_BUNDLE=/path/to/ca.pem",
    "no tls": "what listens there speaks no TLS that one can talk to: look at the endpoint's"
    " address (http or https, the port) and at proxies",
    "proxy": "look at HTTPS_PROXY, HTTP_PROXY and at the proxy's own log; NO_PROXY names what goes"
    " past it",
    "silent": "it took the connection and says nothing: look at firewalls and proxies between",
    "cut": "it took the connection and cut it: look at firewalls and proxies between",
    "other": "what answers is not CloudWatch Logs: look at the endpoint's address, and at proxies",
}

BLOCKED = (
    "allow TCP to it: security group, firewall, a NAT gateway or a VPC endpoint for logs; where a"
    " proxy leads out, set HTTPS_PROXY"
)


class _Unreached(Exception):
    """
    The endpoint, or the proxy before it, cannot be reached.
    """

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(found)
        self.remedy = remedy


def endpoint(case: Case) -> Iterator[Finding]:
    """
    Finding `endpoint`.
    """
    if case.probe is None or case.region is None:
        yield skipped("endpoint", "none is known without a region")
        return
    try:
        found = _reach(case, case.probe)
    except DeliveryError as error:
        remedy = "mend what it names: variables AWS_*, or the profile in ~/.aws"
        yield failed("endpoint", str(error).removeprefix("endpoint: "), remedy)
    except _Unreached as error:
        yield failed("endpoint", str(error), error.remedy)
    else:
        case.is_reached = True
        yield ok("endpoint", found)


def clock(case: Case) -> Iterator[Finding]:
    """
    Finding `clock`.
    """
    if case.clock_offset_ms is None:
        yield skipped("clock", "no answer has shown the endpoint's time")
        return
    off_s = abs(case.clock_offset_ms) // 1000
    if off_s < CLOCK_WORTH_SAYING_S:
        yield ok("clock", f"right, to within {max(off_s, 1)} s")
        return
    found = f"{off_s:,} s {'behind' if case.clock_offset_ms > 0 else 'ahead of'} the endpoint's"
    remedy = "set it, and keep it right by NTP: timedatectl set-ntp true, or start chronyd"
    if off_s < CLOCK_REFUSED_S:
        yield warning("clock", found, remedy)
    else:
        yield failed("clock", f"{found}; AWS refuses what is signed so", remedy)


def _reach(case: Case, probe: Probe) -> str:
    url, proxy = probe.url(), probe.proxy()
    is_tls = url.startswith("https:")
    target = _host_and_port(url)
    hop = _host_and_port(proxy) if proxy else target
    authorities = probe.authorities() if is_tls else None
    if authorities and not os.access(authorities, os.R_OK):
        raise _Unreached(
            f"its CAs are to be read from {authorities}, which cannot be read",
            "mend the path in AWS_CA_BUNDLE, ca_bundle of the profile or REQUESTS_CA_BUNDLE",
        )
    _connect(*hop, is_proxy=bool(proxy))
    through = f" through the proxy {_shown(hop)}" if proxy else ""
    try:
        case.clock_offset_ms = probe.first_answer()
    except NoAnswer as error:
        told = {
            "untrusted": f"its certificate is not trusted ({error}); CAs: {_named(authorities)}",
            "silent": "no answer in time",
        }.get(error.kind, str(error))
        found = f"{_shown(target)}{through}: {told}"
        raise _Unreached(found, REMEDIES[error.kind]) from error
    trust = f"TLS, trusted by {_named(authorities)}" if is_tls else "without TLS"
    return f"{_shown(target)} answers{through}; {trust}"


def _connect(host: str, port: int, *, is_proxy: bool) -> None:
    who = f"the proxy {_shown((host, port))}" if is_proxy else _shown((host, port))
    advice = "look at HTTPS_PROXY and HTTP_PROXY; " if is_proxy else ""
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        socket.create_connection((host, port), CONNECT_TIMEOUT_S).close()
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else "no legal name"
        raise _Unreached(
            f"{who}: its name is not resolved ({reason})",
            f"{advice}look at the region's spelling and /etc/resolv.conf, in a container at --dns;"
            " in a VPC without a way out, at the private DNS of its endpoint for logs",
        ) from error
    except ConnectionRefusedError as error:
        raise _Unreached(
            f"{who}: connection refused",
            f"{advice}nothing listens there, or a firewall says no: look at"
            " AWS_ENDPOINT_URL_CLOUDWATCH_LOGS and at firewalls",
        ) from error
    except TimeoutError as error:
        raise _Unreached(f"{who}: no connection in time", f"{advice}{BLOCKED}") from error
    except OSError as error:
        raise _Unreached(f"{who}: {error.strerror or error}", f"{advice}{BLOCKED}") from error


def _named(authorities: str | None) -> str:
    return authorities or "the CAs that come with botocore"


def _host_and_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        port = parts.port
    except ValueError:
        port = None
    return parts.hostname or "", port or (443 if parts.scheme == "https" else 80)


def _shown(place: tuple[str, int]) -> str:
    return f"{place[0]}:{place[1]}"
