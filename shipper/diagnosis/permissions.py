"""
What this host's credentials may do, found out by requests that cannot succeed.

Comes in: a group. Goes out: which of the agent's actions are allowed. Always holds: without
`--write` nothing is made and no event is stored, also where groups come and go meanwhile.

AWS looks at permissions before it looks for what is named: where an action is denied it says so,
and where it is allowed it says that the thing is missing, or is there already. So

- PutLogEvents goes to a stream that nobody has; the answer tells also whether the group is there.
- CreateLogStream goes to a group that nobody has, named like the real one with more behind it, as
  policies end in `*`. Where that is denied, and the real group is missing, it is asked for that.
- PutRetentionPolicy likewise.
- CreateLogGroup goes to the group where that is there. Where not, it would be made: not tried.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from shipper.cloudwatch import CloudWatch
from shipper.containers import Container
from shipper.diagnosis.case import Case
from shipper.diagnosis.finding import Finding, failed, ok, skipped, warning
from shipper.diagnosis.probe import Answer, Probe
from shipper.errors import Action, DeliveryError
from shipper.naming import MAX_NAME_LENGTH

__all__ = ["permissions", "try_event"]

PUT, STREAM, GROUP, RETENTION = (
    "logs:PutLogEvents",
    "logs:CreateLogStream",
    "logs:CreateLogGroup",
    "logs:PutRetentionPolicy",
)

DENIED = ("AccessDeniedException", "AccessDenied", "NotAuthorized")
MISSING = "ResourceNotFoundException"
THERE = "ResourceAlreadyExistsException"

TEST_STREAM = "spool-doctor"
TEST_MESSAGE = "spool doctor: a test event"

MAX_SHOWN_GROUPS = 5

UNKNOWN_KEYS = (
    "AWS does not know these credentials: make new ones, or look whether they belong to another"
    " partition (aws-cn, aws-us-gov)"
)
WRONG_SIGNATURE = (
    "the secret key is not that of the key id, unless the clock above is wrong: set"
    " AWS_SECRET_ACCESS_KEY anew"
)
OVER = "get new credentials; those of a session end with it"
REMEDIES = {
    "UnrecognizedClientException": UNKNOWN_KEYS,
    "InvalidClientTokenId": UNKNOWN_KEYS,
    "InvalidSignatureException": WRONG_SIGNATURE,
    "SignatureDoesNotMatch": WRONG_SIGNATURE,
    "ExpiredTokenException": OVER,
    "ExpiredToken": OVER,
    "RequestExpired": "set this host's clock",
    "RequestTimeTooSkewed": "set this host's clock",
    "ThrottlingException": "the account sends more than it may: ask AWS for a higher quota of"
    " PutLogEvents, or try again later",
}

_REASON = re.compile(r"\b(?:because|with an explicit deny)\b.*")


@dataclass(slots=True)
class _Verdicts:
    """
    Actions by what became of them; AWS's reason where it gave one.
    """

    allowed: list[str] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)
    untried: list[str] = field(default_factory=list)
    reason: str = ""

    def note(self, action: str, answer: Answer) -> None:
        """
        Raises `_Unexpected` for an answer that says nothing of permissions.
        """
        if answer.code in DENIED:
            self.denied.append(action)
            found = _REASON.search(answer.text)
            self.reason = self.reason or (found[0].strip() if found else "")
        elif answer.code in ("", MISSING, THERE):
            self.allowed.append(action)
        else:
            raise _Unexpected(action, answer)


class _Unexpected(Exception):
    """
    The service did not come to look at permissions.
    """

    def __init__(self, action: str, answer: Answer) -> None:
        super().__init__(f"{action}: {answer.code}: {answer.text}")
        self.code = answer.code


def permissions(case: Case) -> Iterator[Finding]:
    """
    Finding `permissions`, and a second one for what could not be tried.
    """
    if case.probe is None or not case.has_keys or not case.is_reached:
        yield skipped("permissions", "they need credentials, and an endpoint that answers")
        return
    group = _group(case)
    try:
        verdicts = _try_all(case, case.probe, group)
    except _Unexpected as error:
        remedy = REMEDIES.get(error.code, "look at what it says; the endpoint may not be AWS's")
        yield failed("permissions", str(error), remedy)
    except DeliveryError as error:
        yield failed("permissions", str(error), "look at the credentials and the endpoint")
    else:
        yield from _findings(case, case.probe, group, verdicts)


def try_event(case: Case) -> Iterator[Finding]:
    """
    With `--write`, finding `event`: a real one is sent, as the agent sends its own.
    """
    if not case.writes:
        return
    if case.region is None or not case.has_keys or not case.is_reached:
        yield skipped("event", "it needs credentials, and an endpoint that answers")
        return
    group, stream = _group(case), case.stream or TEST_STREAM
    try:
        receipt = _deliver(case, group, stream)
    except DeliveryError as error:
        yield failed("event", str(error), "look at the permissions above")
    else:
        yield ok("event", f"stored in {group}, {stream}: request {receipt}")


def _deliver(case: Case, group: str, stream: str) -> str:
    """
    The id of the request. Raises `DeliveryError`.
    """
    service = CloudWatch(
        case.region or "",
        connections=1,
        retention_days=case.retention_days,
        group_class=case.group_class,
    )
    event = json.dumps([{"timestamp": service.now_ms(), "message": TEST_MESSAGE}])
    try:
        receipt = service.put(group, stream, event, events=1)
    except DeliveryError as error:
        if error.action is not Action.CREATE:
            raise
        service.create(group, stream)
        receipt = service.put(group, stream, event, events=1)
    service.tend(group)
    return receipt.request_id


def _group(case: Case) -> str:
    """
    The group that was asked for, or that most containers here go to, or that a new one would.
    """
    if case.group:
        return case.group
    if case.groups:
        return case.groups.most_common(1)[0][0]
    return case.namer.target(Container(id="0" * 64, name=TEST_STREAM)).group


def _try_all(case: Case, probe: Probe, group: str) -> _Verdicts:
    ending = f"-spool-doctor-{secrets.token_hex(8)}"
    nobodys_group = group[: MAX_NAME_LENGTH - len(ending)] + ending
    nobodys_stream = (case.stream or "")[: MAX_NAME_LENGTH - len(ending)] + ending.lstrip("-")
    verdicts = _Verdicts()
    answer = probe.put_event(group, nobodys_stream, TEST_MESSAGE)
    verdicts.note(PUT, answer)
    is_missing = answer.code == MISSING and "group" in answer.text
    is_there = answer.code == MISSING and not is_missing

    def try_elsewhere(action: str, ask: Callable[[str], Answer]) -> None:
        told = ask(nobodys_group)
        if told.code in DENIED and is_missing:
            told = ask(group)
        if told.code in DENIED and not is_missing:  # a policy may name this one group alone
            verdicts.untried.append(action)
        else:
            verdicts.note(action, told)

    try_elsewhere(STREAM, lambda name: probe.create_stream(name, nobodys_stream))
    if case.retention_days is not None:
        days = case.retention_days
        try_elsewhere(RETENTION, lambda name: probe.put_retention(name, days))
    if is_there:
        verdicts.note(GROUP, probe.create_group(group))
    else:
        verdicts.untried.append(GROUP)
    return verdicts


def _findings(case: Case, probe: Probe, group: str, verdicts: _Verdicts) -> Iterator[Finding]:
    allowed = f"{', '.join(verdicts.allowed)} allowed" if verdicts.allowed else "nothing allowed"
    if verdicts.denied:
        reason = f" ({verdicts.reason})" if verdicts.reason else ""
        untried = f"; not tried: {', '.join(verdicts.untried)}" if verdicts.untried else ""
        found = f"on {group}: {', '.join(verdicts.denied)} denied{reason}; {allowed}{untried}"
        remedy = "give the role or user of these credentials:\n" + _statement(case, probe, group)
        is_enough = verdicts.denied == [GROUP]  # it is there, and others may never be needed
        yield (warning if is_enough else failed)("permissions", found, remedy)
        return
    yield ok("permissions", f"on {group}: {allowed}")
    if verdicts.untried and not case.writes:
        yield skipped(
            "permissions",
            f"on {group}: {', '.join(verdicts.untried)} not tried, as that would change something",
            "`spool doctor --write` tries it, by an event that stays",
        )


def _statement(case: Case, probe: Probe, group: str) -> str:
    """
    Of an IAM policy: what the agent needs, and no more.
    """
    actions = [PUT, STREAM, GROUP] + ([RETENTION] if case.retention_days is not None else [])
    names = dict.fromkeys([group, *(name for name, _ in case.groups.most_common())])
    arn = f"arn:{probe.partition()}:logs:{case.region}:*:log-group"
    resources = [f"{arn}:{name}:*" for name in [*names][:MAX_SHOWN_GROUPS]]
    statement = {"Effect": "Allow", "Action": actions, "Resource": resources}
    return json.dumps(statement, indent=2)
