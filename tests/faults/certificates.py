"""
Certificates for an endpoint: a right one, and three that no client may trust.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from cloudwatch_endpoint import CA_NAME, HOSTS, VALID_TO, certificate, server_pem
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["Certificates", "make_certificates"]

LONG_AGO = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Certificates:
    """
    Files: the CA that clients trust, and what a server may greet with.
    """

    ca: Path
    right: Path
    untrusted: Path
    expired: Path
    wrong_host: Path


def make_certificates(folder: Path) -> Certificates:
    """
    Writes them all.
    """
    folder.mkdir()
    made = Certificates(
        *(folder / f"{name}.pem" for name in ("ca", "right", "untrusted", "expired", "wrong_host"))
    )
    key, ca_key, other_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    ca = certificate(CA_NAME, ca_key, ca_key, is_ca=True)
    made.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    elsewhere = (x509.DNSName("portal.invalid"),)
    for path, signer, valid_to, hosts in (
        (made.right, ca_key, VALID_TO, HOSTS),
        (made.untrusted, other_key, VALID_TO, HOSTS),
        (made.expired, ca_key, LONG_AGO, HOSTS),
        (made.wrong_host, ca_key, VALID_TO, elsewhere),
    ):
        greeting = certificate(
            "localhost", key, signer, is_ca=False, valid_to=valid_to, hosts=hosts
        )
        path.write_bytes(server_pem(key, greeting))
    return made
