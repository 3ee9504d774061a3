"""
Where this host belongs, and who it is to AWS: EC2 metadata, region, credentials.

Always holds: of credentials it is told who gave them, the last four characters of the key's id, and
until when they are good.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from shipper.diagnosis.case import Case
from shipper.diagnosis.finding import Finding, failed, ok, skipped, told, warning
from shipper.diagnosis.mounts import is_in_container
from shipper.diagnosis.probe import Keys, Probe
from shipper.ec2 import find_region
from shipper.errors import DeliveryError, RouteError
from shipper.service import configured_region

__all__ = ["credentials", "metadata", "region"]

HOP_LIMIT = (
    "on EC2 let answers reach containers: aws ec2 modify-instance-metadata-options"
    " --instance-id ID --http-put-response-hop-limit 2, or run with --network host"
)

GIVERS = {
    "env": "the environment",
    "shared-credentials-file": "the credentials file (~/.aws/credentials)",
    "config-file": "the configuration file (~/.aws/config)",
    "assume-role": "a role that the profile names",
    "assume-role-with-web-identity": "a role, by a web identity token",
    "container-role": "the role of the ECS task or the EKS pod",
    "iam-role": "the role of the EC2 instance",
    "custom-process": "credential_process of the profile",
    "sso": "IAM Identity Center",
}
"""In plain words, by botocore's names."""


def metadata(case: Case) -> Iterator[Finding]:
    """
    Finding `metadata`.
    """
    if not case.route.use_ec2:
        yield skipped("metadata", "EC2's are not asked for, as NOEC2 says")
        return
    if case.environ.get("AWS_EC2_METADATA_DISABLED", "").strip().lower() == "true":
        yield skipped("metadata", "EC2's are not asked for, as AWS_EC2_METADATA_DISABLED says")
        return
    instance, found = case.metadata.instance_id(), case.metadata.region()
    if instance and found:
        yield ok("metadata", f"EC2 instance {instance} in {found}")
        return
    templates = case.route.group_template + case.route.stream_template
    wanted = [name for name in (".InstanceID", ".Region") if name in templates]
    if wanted:
        hint = f"; {HOP_LIMIT}" if is_in_container() else ""
        yield warning(
            "metadata",
            f"EC2's do not answer, and the names of groups and streams need {', '.join(wanted)}",
            f"outside EC2 set NOEC2, and name groups and streams without it{hint}",
        )
        return
    yield ok("metadata", "EC2's do not answer; no name of a group or stream needs them")


def region(case: Case) -> Iterator[Finding]:
    """
    Finding `region`.
    """
    try:
        case.region = find_region(
            case.route, case.metadata, environ=case.environ, configured=configured_region
        )
    except RouteError as error:
        yield told("region", error)
        return
    yield ok("region", f"{case.region}, from {_origin(case)}")


def _origin(case: Case) -> str:
    if case.route.region:
        return "the route"
    if case.route.use_ec2 and case.metadata.region():
        return "EC2 metadata"
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if case.environ.get(name, "").strip():
            return f"{name} in the environment"
    return "the AWS profile"


def credentials(case: Case) -> Iterator[Finding]:
    """
    Finding `credentials`.
    """
    case.probe = Probe(case.region)
    try:
        keys = case.probe.keys()
    except DeliveryError as error:
        yield failed(
            "credentials",
            str(error).removeprefix("credentials: "),
            "mend what it names: variables AWS_*, the profile in ~/.aws, or the role it takes",
        )
        return
    if keys is None:
        yield failed(
            "credentials",
            "none: not in the environment, ~/.aws, a task's role or EC2's metadata",
            _where_from(case),
        )
        return
    case.has_keys = True
    yield _found(keys)


def _found(keys: Keys) -> Finding:
    giver = GIVERS.get(keys.method)
    parts = [f"from {giver} ({keys.method})" if giver else f"from {keys.method}"]
    if keys.ending:
        parts.append(f"key …{keys.ending}")
    if keys.expires_at:
        parts.append(f"good until {keys.expires_at:%Y-%m-%dT%H:%MZ}, and renewed before")
        if keys.expires_at < datetime.now(UTC):
            remedy = "look at who gives them, and at this host's clock"
            return failed("credentials", f"expired; {', '.join(parts)}", remedy)
    elif keys.is_temporary:
        parts.append("for a session that ends one day: nobody renews them")
    return ok("credentials", ", ".join(parts))


def _where_from(case: Case) -> str:
    ways = (
        "give the EC2 instance or the ECS task a role; elsewhere set AWS_ACCESS_KEY_ID and"
        " AWS_SECRET_ACCESS_KEY, or mount ~/.aws and set AWS_PROFILE"
    )
    return f"{ways}; {HOP_LIMIT}" if is_in_container() else ways
