"""
What boto3 knows of this host's AWS configuration, and requests that only ask.

Comes in: a region. Goes out: plain values; the service's answers by their codes. Imports boto3
beside service.py, which the agent uses: what is asked here, an agent never asks. Always holds:
of a key at most its last four characters leave, and no other part of any credential.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import boto3
from botocore import UNSIGNED, exceptions, xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from botocore.session import get_session
from botocore.utils import get_environ_proxies

from shipper.answers import Translated, clock_offset_ms
from shipper.redaction import redacted
from spool.clock import now_ms

__all__ = ["Answer", "Keys", "NoAnswer", "Probe"]

CONNECT_TIMEOUT_S = 2
READ_TIMEOUT_S = 3

KEY_CHARS = 16
"""AWS's key ids are this long at least. Of one that is shorter, four would be too many."""


@dataclass(frozen=True, slots=True)
class Keys:
    """
    Credentials, as far as one may tell of them: who gave them (botocore's name for it), the end of
    the key's id, until when they are good.
    """

    method: str
    ending: str
    expires_at: datetime | None
    is_temporary: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What the service said: an error's code, empty where it did as asked, and its words.
    """

    code: str
    text: str


class NoAnswer(Exception):
    """
    Nothing came back that the service could have said; `kind` is how far it went.
    """

    def __init__(
        self, kind: Literal["untrusted", "no tls", "proxy", "silent", "cut", "other"], text: str
    ) -> None:
        super().__init__(text)
        self.kind = kind


class Probe:
    """
    CloudWatch Logs in a region, or the configuration alone where there is none.
    """

    def __init__(self, region: str | None) -> None:
        self.region = region
        self._client: Any = None

    def keys(self) -> Keys | None:
        """
        The credentials that a request would be signed with; None where nobody gives any.

        Raises `DeliveryError`.
        """
        with Translated("credentials"):
            found = boto3.Session(region_name=self.region).get_credentials()
            if found is None:
                return None
            frozen = found.get_frozen_credentials()
        key = str(frozen.access_key)
        return Keys(
            method=str(found.method),
            ending=key[-4:] if len(key) >= KEY_CHARS else "",
            expires_at=getattr(found, "_expiry_time", None),
            is_temporary=bool(frozen.token),
        )

    def url(self) -> str:
        """
        Where requests go. Raises `DeliveryError`.
        """
        with Translated("endpoint"):
            return str(self._unsigned().meta.endpoint_url)

    def proxy(self) -> str | None:
        """
        The proxy before it, as the environment names it: there may be a password in it.
        """
        url = self.url()
        proxies: dict[str, str] = get_environ_proxies(url)
        return proxies.get(url.partition(":")[0])

    def authorities(self) -> str | None:
        """
        The file of CAs that was configured; None for those that come with botocore.
        """
        with Translated("endpoint"):
            configured = get_session().get_config_variable("ca_bundle")
        return str(configured) if configured else os.environ.get("REQUESTS_CA_BUNDLE")

    def partition(self) -> str:
        """
        Such as aws, aws-cn: the second part of an ARN.
        """
        return str(boto3.Session().get_partition_for_region(self.region))

    def first_answer(self) -> int | None:
        """
        Send a request that is not signed, and by that refused: the way there is what counts. By
        how many ms the service's clock is ahead, None where it does not say.

        Raises `NoAnswer`.
        """
        try:
            with_headers = self._unsigned().describe_log_groups(limit=1)["ResponseMetadata"]
        except ClientError as error:
            with_headers = error.response["ResponseMetadata"]
        except (BotoCoreError, exceptions.HTTPClientError, ResponseParserError, OSError) as error:
            raise _no_answer(error) from error
        return clock_offset_ms(with_headers.get("HTTPHeaders", {}))

    def put_event(self, group: str, stream: str, message: str) -> Answer:
        """
        One PutLogEvents. Raises `DeliveryError`.
        """
        event = {"timestamp": now_ms(), "message": message}
        return self._ask(
            "PutLogEvents", logGroupName=group, logStreamName=stream, logEvents=[event]
        )

    def create_stream(self, group: str, stream: str) -> Answer:
        """
        One CreateLogStream. Raises `DeliveryError`.
        """
        return self._ask("CreateLogStream", logGroupName=group, logStreamName=stream)

    def create_group(self, group: str) -> Answer:
        """
        One CreateLogGroup. Raises `DeliveryError`.
        """
        return self._ask("CreateLogGroup", logGroupName=group)

    def put_retention(self, group: str, days: int) -> Answer:
        """
        One PutRetentionPolicy. Raises `DeliveryError`.
        """
        return self._ask("PutRetentionPolicy", logGroupName=group, retentionInDays=days)

    def _ask(self, operation: str, **parameters: Any) -> Answer:
        with Translated(operation):
            if self._client is None:
                self._client = self._make()
            try:
                getattr(self._client, xform_name(operation))(**parameters)
            except ClientError as error:
                if error.operation_name != operation:  # credentials come from another service
                    raise
                details = error.response["Error"]
                code = details.get("Code") or error.response["ResponseMetadata"]["HTTPStatusCode"]
                return Answer(str(code), redacted(str(details.get("Message", ""))))
        return Answer("", "")

    def _unsigned(self) -> Any:
        return self._make(signature_version=UNSIGNED)  # and by that without credentials

    def _make(self, **config: Any) -> Any:
        settings = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"total_max_attempts": 1},
            **config,
        )
        return boto3.Session(region_name=self.region).client("logs", config=settings)


def _no_answer(error: Exception) -> NoAnswer:
    text = redacted(str(error))
    if isinstance(error, exceptions.SSLError):
        _, found, reason = text.partition("certificate verify failed: ")
        if found:
            return NoAnswer("untrusted", reason.partition(" (_ssl")[0])
        return NoAnswer("no tls", text)
    if isinstance(error, exceptions.ProxyConnectionError):
        return NoAnswer("proxy", text)
    if isinstance(error, (exceptions.ConnectTimeoutError, exceptions.ReadTimeoutError)):
        return NoAnswer("silent", text)
    if isinstance(error, (exceptions.ConnectionClosedError, exceptions.EndpointConnectionError)):
        return NoAnswer("cut", text)
    return NoAnswer("other", text)
