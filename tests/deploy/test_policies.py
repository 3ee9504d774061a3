"""
The policies in deploy/iam allow what the agent calls, and nothing else.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from botocore.session import get_session

ROOT = Path(__file__).parents[2]
POLICIES = {path.stem: path for path in sorted((ROOT / "deploy" / "iam").glob("*.json"))}
TRUST = [name for name in POLICIES if name.startswith("trust-")]
SEND = ["send", "send-and-create", "send-create-and-retain"]
RETENTION = {"logs:PutRetentionPolicy", "logs:DescribeLogGroups"}

ARN = re.compile(r"arn:aws:logs:[a-z0-9-]+:\d{12}:log-group:[A-Za-z0-9._/#*-]+")


def statements(name: str) -> list[dict[str, Any]]:
    policy = json.loads(POLICIES[name].read_text())
    assert set(policy) == {"Version", "Statement"}
    assert policy["Version"] == "2012-10-17"
    found: list[dict[str, Any]] = policy["Statement"]
    return found


def actions(name: str) -> set[str]:
    return {action for one in statements(name) for action in one["Action"]}


def called(module: str, method: str) -> set[str]:
    """
    The operations of CloudWatch Logs that a module names where it calls.
    """
    tree = ast.parse((ROOT / module).read_text())
    return {
        f"logs:{node.args[0].value}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == method
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


def test_there_is_no_other_policy() -> None:
    assert set(POLICIES) == {*SEND, *TRUST}


def test_the_agent_calls_what_the_widest_policy_allows_and_nothing_else() -> None:
    found = called("shipper/cloudwatch.py", "_ask") | called("shipper/cloudwatch.py", "call")
    assert found == actions(SEND[-1])


def test_doctor_asks_for_nothing_that_the_agent_does_not() -> None:
    text = (ROOT / "shipper" / "diagnosis" / "permissions.py").read_text()
    asked = set(re.findall(r'"(logs:\w+)"', text))
    assert asked
    assert asked <= actions(SEND[-1])


def test_each_policy_allows_only_its_step_more_than_the_one_before() -> None:
    assert actions("send") == {"logs:PutLogEvents", "logs:CreateLogStream"}
    assert actions("send-and-create") - actions("send") == {"logs:CreateLogGroup"}
    assert actions("send-create-and-retain") - actions("send-and-create") == RETENTION


@pytest.mark.parametrize("name", SEND)
def test_a_policy_is_well_formed_and_names_its_groups(name: str) -> None:
    """
    Only DescribeLogGroups cannot be held to a group.
    """
    known = get_session().get_service_model("logs").operation_names
    sids = [one["Sid"] for one in statements(name)]
    assert len(set(sids)) == len(sids)
    for one in statements(name):
        assert set(one) == {"Sid", "Effect", "Action", "Resource"}
        assert one["Sid"].isalnum()
        assert one["Effect"] == "Allow"
        assert {action.removeprefix("logs:") for action in one["Action"]} <= set(known)
        if one["Action"] == ["logs:DescribeLogGroups"]:
            assert one["Resource"] == ["*"]
        else:
            assert all(ARN.fullmatch(arn) for arn in one["Resource"])


@pytest.mark.parametrize("name", TRUST)
def test_a_trust_lets_one_kind_of_principal_take_the_role(name: str) -> None:
    known = get_session().get_service_model("sts").operation_names
    [one] = statements(name)
    assert set(one) - {"Condition"} == {"Effect", "Principal", "Action"}
    [(kind, principal)] = one["Principal"].items()
    assert kind in ("Service", "Federated")
    assert "*" not in principal
    assert {action.removeprefix("sts:") for action in one["Action"]} - {"TagSession"} <= set(known)


def test_the_role_of_a_service_account_is_for_that_of_the_daemonset_alone() -> None:
    [one] = statements("trust-eks-irsa")
    conditions = one["Condition"]["StringEquals"]
    assert "system:serviceaccount:spool:spool" in conditions.values()
    assert "sts.amazonaws.com" in conditions.values()


def test_the_role_of_a_pod_identity_is_for_that_of_the_daemonset_alone() -> None:
    [one] = statements("trust-eks-pod-identity")
    assert one["Condition"]["StringEquals"] == {
        "aws:RequestTag/kubernetes-namespace": "spool",
        "aws:RequestTag/kubernetes-service-account": "spool",
    }
