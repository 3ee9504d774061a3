"""
What an error of CloudWatch, of the network or of the credentials means: what to do next.

Comes in: what botocore raises. Goes out: a `DeliveryError`. Always holds: every error that the
service describes is in one table; what is in none leaves the batch unsent; no text holds a
message, a credential or an environment value.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from botocore import exceptions as botocore_errors
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.parsers import ResponseParserError

from shipper.errors import Action, DeliveryError
from shipper.redaction import redacted, without_secrets
from spool.clock import now_ms

__all__ = [
    "ACTIONS",
    "CLOCK_REFUSED_S",
    "CLOCK_WORTH_SAYING_S",
    "Translated",
    "clock_offset_ms",
]

ALL, STREAM = True, False
"""Whether an error is general, or about this stream."""

ACTIONS: dict[str, tuple[Action, bool]] = {
    # the service has no time for us
    "ServiceUnavailableException": (Action.WAIT, ALL),
    "ServiceUnavailable": (Action.WAIT, ALL),
    "InternalFailure": (Action.WAIT, ALL),
    "InternalServerError": (Action.WAIT, ALL),
    "RequestTimeout": (Action.WAIT, ALL),
    "RequestTimeoutException": (Action.WAIT, ALL),
    # two of us made the same group at a moment
    "OperationAbortedException": (Action.WAIT, STREAM),
    # never given since 2023, says the service's description
    "InvalidSequenceTokenException": (Action.WAIT, STREAM),
    "DataAlreadyAcceptedException": (Action.WAIT, STREAM),
    # one quota for the account and region, shared by every host
    "ThrottlingException": (Action.SLOW_DOWN, ALL),
    "Throttling": (Action.SLOW_DOWN, ALL),
    "ThrottledException": (Action.SLOW_DOWN, ALL),
    "RequestThrottled": (Action.SLOW_DOWN, ALL),
    "RequestThrottledException": (Action.SLOW_DOWN, ALL),
    "RequestLimitExceeded": (Action.SLOW_DOWN, ALL),
    "TooManyRequestsException": (Action.SLOW_DOWN, ALL),
    "BandwidthLimitExceeded": (Action.SLOW_DOWN, ALL),
    "SlowDown": (Action.SLOW_DOWN, ALL),
    "ResourceNotFoundException": (Action.CREATE, STREAM),
    # credentials that were good once, or a clock that is wrong
    "ExpiredTokenException": (Action.RENEW, ALL),
    "ExpiredToken": (Action.RENEW, ALL),
    "RequestExpired": (Action.RENEW, ALL),
    "RequestTimeTooSkewed": (Action.RENEW, ALL),
    "InvalidSignatureException": (Action.RENEW, ALL),
    "SignatureDoesNotMatch": (Action.RENEW, ALL),
    # credentials that were never good
    "UnrecognizedClientException": (Action.OPERATOR, ALL),
    "InvalidClientTokenId": (Action.OPERATOR, ALL),
    "IncompleteSignature": (Action.OPERATOR, ALL),
    "IncompleteSignatureException": (Action.OPERATOR, ALL),
    "MissingAuthenticationToken": (Action.OPERATOR, ALL),
    "MissingAuthenticationTokenException": (Action.OPERATOR, ALL),
    "OptInRequired": (Action.OPERATOR, ALL),
    # a policy may allow one group and deny another
    "AccessDeniedException": (Action.OPERATOR, STREAM),
    "AccessDenied": (Action.OPERATOR, STREAM),
    "NotAuthorized": (Action.OPERATOR, STREAM),
    "KMSAccessDeniedException": (Action.OPERATOR, STREAM),
    # so many groups, and no more
    "LimitExceededException": (Action.OPERATOR, STREAM),
    "InvalidParameterException": (Action.REFUSE, STREAM),
    "ValidationException": (Action.REFUSE, STREAM),
    "ValidationError": (Action.REFUSE, STREAM),
    "SerializationException": (Action.REFUSE, STREAM),
    "RequestEntityTooLargeException": (Action.REFUSE, STREAM),
}
"""
By error code: what to do, and whether it is general. The service's own codes are in its
description; those that every service may give are at
https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/CommonErrors.html
"""

BY_STATUS = {
    408: (Action.WAIT, ALL),
    413: (Action.REFUSE, STREAM),
    429: (Action.SLOW_DOWN, ALL),
}
"""For answers without a code that is known."""

LOCAL_TROUBLE = (
    botocore_errors.NoCredentialsError,
    botocore_errors.PartialCredentialsError,
    botocore_errors.CredentialRetrievalError,
    botocore_errors.MetadataRetrievalError,
    botocore_errors.UnknownCredentialError,
    botocore_errors.NoAuthTokenError,
    botocore_errors.TokenRetrievalError,
    botocore_errors.RefreshWithMFAUnsupportedError,
    botocore_errors.InfiniteLoopConfigError,
    botocore_errors.ProfileNotFound,
    botocore_errors.ConfigNotFound,
    botocore_errors.ConfigParseError,
    botocore_errors.InvalidConfigError,
    botocore_errors.InvalidProxiesConfigError,
    botocore_errors.InvalidEndpointConfigurationError,
    botocore_errors.EndpointProviderError,
    botocore_errors.BaseEndpointResolverError,
    botocore_errors.InvalidRegionError,
    botocore_errors.SSOError,
)
"""This host's AWS configuration does not do: somebody has to mend it."""

OTHER_TROUBLE = (BotoCoreError, HTTPClientError, ResponseParserError, OSError)
FOREIGN = (ClientError, *LOCAL_TROUBLE, *OTHER_TROUBLE)

_NAMES = ("at 'logGroupName'", "at 'logStreamName'")
"""So the service tells that a name is illegal."""

CLOCK_WORTH_SAYING_S = 60
CLOCK_REFUSED_S = 300
"""From five minutes on the service refuses what was signed by such a clock."""


@dataclass(frozen=True, slots=True)
class Translated:
    """
    Within it foreign errors become `DeliveryError`, sorted by what to do next.

    Where a foreign error came from is forgotten: its frames and it would hold on to each other, and
    to the body of the request, until Python looks for cycles, which in an outage is rarely. (For
    the same reason this is no generator: one more frame that knows the error.)
    """

    operation: str

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if not isinstance(error, FOREIGN):
            return
        _forget_frames(error)
        if isinstance(error, ClientError):
            raise _from_answer(self.operation, error) from error
        action = Action.OPERATOR if isinstance(error, LOCAL_TROUBLE) else Action.WAIT
        raise _without_answer(self.operation, error, action) from error


def _forget_frames(error: BaseException | None) -> None:
    """
    Of an error, and of those that it came from.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def clock_offset_ms(headers: dict[str, str]) -> int | None:
    """
    By how much the service's clock is ahead of this host's, from an answer's Date; None without.
    """
    try:
        date = parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError):
        return None
    return int(date.timestamp() * 1000) - now_ms()


def _without_answer(operation: str, error: Exception, action: Action) -> DeliveryError:
    text = f"{operation}: {type(error).__name__}: {redacted(str(error))}"
    return DeliveryError(text, action, is_general=True)


def _from_answer(operation: str, error: ClientError) -> DeliveryError:
    metadata: Any = error.response.get("ResponseMetadata", {})
    details: Any = error.response["Error"]
    code = str(details.get("Code", ""))
    text = str(details.get("Message", ""))
    action, is_general = _sort(operation, error.operation_name, code, metadata, text)
    skew = _skew(metadata) if action is Action.RENEW else ""
    return DeliveryError(
        f"{operation}: {redacted(code) or metadata.get('HTTPStatusCode')}: {skew}{redacted(text)}",
        action,
        is_general=is_general,
    )


def _sort(
    operation: str, failed: str, code: str, metadata: dict[str, Any], text: str
) -> tuple[Action, bool]:
    status = metadata.get("HTTPStatusCode", 0)
    if failed != operation:  # credentials come from another service, which gave none
        return (Action.OPERATOR, ALL)
    action, is_general = ACTIONS.get(code) or BY_STATUS.get(status) or _unknown(status, metadata)
    if action is Action.REFUSE:
        if status >= 500:
            return (Action.WAIT, ALL)
        if operation != "PutLogEvents" or any(name in without_secrets(text) for name in _NAMES):
            return (Action.OPERATOR, STREAM)  # no event is to blame
    return (action, is_general)


def _unknown(status: int, metadata: dict[str, Any]) -> tuple[Action, bool]:
    """
    A code that is in no table.
    """
    if status < 500 and metadata.get("RequestId"):
        return (Action.OPERATOR, STREAM)  # the service means this very request
    return (Action.WAIT, ALL)  # it is in trouble, or something between it and us


def _skew(metadata: dict[str, Any]) -> str:
    offset_ms = clock_offset_ms(metadata.get("HTTPHeaders", {}))
    if offset_ms is None or abs(offset_ms) < CLOCK_WORTH_SAYING_S * 1000:
        return ""
    direction = "behind" if offset_ms > 0 else "ahead of"
    return f"this host's clock is {abs(offset_ms) // 1000:,} s {direction} the service's; set it. "
