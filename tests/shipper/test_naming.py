"""
From a container to names that CloudWatch takes, whatever the container is called.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from cloudwatch_endpoint import GROUP_NAME, STREAM_NAME
from hypothesis import assume, example, given
from hypothesis import strategies as st

from shipper import naming
from shipper.containers import Container
from shipper.naming import MAX_NAME_LENGTH, Namer, Target, host_name, legal_group, legal_stream
from shipper.settings import DEFAULT_GROUP_TEMPLATE, DEFAULT_STREAM_TEMPLATE

ID = "0123456789abcdef" * 4
NAMES = st.text(max_size=600) | st.text("ab:/ *\n", max_size=12)


def namer(**changes: Any) -> Namer:
    """
    The defaults, on a host called "host".
    """
    settings: dict[str, Any] = {
        "group_template": DEFAULT_GROUP_TEMPLATE,
        "stream_template": DEFAULT_STREAM_TEMPLATE,
        "host": "host",
        "instance_id": lambda: "i-0123",
        "region": lambda: "us-east-1",
    }
    return Namer(**settings | changes)


def container(**changes: Any) -> Container:
    return Container(**{"id": ID, "name": "web"} | changes)


# --- legal names ------------------------------------------------------------------------------


@given(NAMES)
@example("")
@example("x" * 513)
@example("😀" * 600)
def test_every_name_becomes_a_legal_one(raw: str) -> None:
    assert GROUP_NAME.fullmatch(legal_group(raw))
    assert STREAM_NAME.fullmatch(legal_stream(raw))
    assert not set(legal_stream(raw)) & {chr(code) for code in (*range(0x20), 0x7F)}
    assert len(legal_group(raw)) <= MAX_NAME_LENGTH


@given(NAMES)
@example("aws/lambda")
def test_a_legal_name_stays_as_it_is(raw: str) -> None:
    for legal in (legal_group, legal_stream):
        assert legal(legal(raw)) == legal(raw)


@given(NAMES, NAMES)
@example("a b", "a\tb")
@example("a:b", "a*b")
@example("", "unnamed")
@example("x" * 600, "x" * 601)
@example("aws/x", "aws:x")
def test_two_names_stay_two(one: str, other: str) -> None:
    assume(one != other)
    assert legal_group(one) != legal_group(other)
    assert legal_stream(one) != legal_stream(other)


@pytest.mark.parametrize("name", ["web", "/ecs/app", "a.b-c_d/e#1", "x" * 512, "aws-like", "Aws/x"])
def test_what_cloudwatch_takes_is_not_touched(name: str) -> None:
    assert legal_group(name) == name
    assert legal_stream(name) == name


def test_a_stream_may_have_what_a_group_may_not() -> None:
    assert legal_stream("my stream (größe) [1] 😀") == "my stream (größe) [1] 😀"
    assert legal_group("my group").startswith("my_group-")


def test_the_services_own_prefix_is_left_to_it() -> None:
    assert not legal_group("aws/lambda/x").startswith("aws/")
    assert legal_stream("aws/lambda/x") == "aws/lambda/x"


# --- from a container -------------------------------------------------------------------------


def test_by_default_the_group_is_the_host_and_the_stream_the_container() -> None:
    assert namer().target(container(name="my_web.1")) == Target("host", "my_web.1")


def test_templates_may_ask_for_the_container_the_host_and_ec2() -> None:
    named = namer(
        group_template='{{.Lbl "app"}}/{{.Env.STAGE}}/{{.Region}}',
        stream_template="{{.LoggerHost}}-{{.InstanceID}}-{{.Name}}-{{.ID}}",
    ).name(container(labels={"app": "shop"}, env={"STAGE": "live"}))
    assert named.target == Target("shop/live/us-east-1", f"host-i-0123-web-{ID}")
    assert named.error is None


def test_a_containers_own_environment_comes_before_the_agents() -> None:
    env = {"LOGSPOUT_GROUP": "own", "LOGSPOUT_STREAM": "of-{{.Name}}"}
    named = namer(group_template="agents").name(container(env=env))
    assert named.target == Target("own", "of-web")


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{{.Name", "took the default"),
        ("{{.Password}}", "took the default"),
        ("{{template `x`}}", "took the default"),
        ("", "gave nothing"),
        ("  ", "gave nothing"),
        ('{{index .Env "MISSING"}}', "gave nothing"),
        ('{{.Lbl "missing"}}', "no container label 'missing'"),
        ("{{range 1000000}}x{{end}}", "took the default"),
        ("x" * 1_000_000, "took the default"),
    ],
    ids=lambda value: value[:20],
)
def test_a_template_that_fails_costs_the_name_and_never_the_lines(template: str, told: str) -> None:
    env = {"LOGSPOUT_GROUP": template, "LOGSPOUT_STREAM": template}
    named = namer().name(container(env=env))
    assert named.target == Target("host", "web")
    assert named.error
    assert "LOGSPOUT_GROUP: " in named.error
    assert "LOGSPOUT_STREAM: " in named.error
    assert told in named.error
    assert len(named.error) < 1_000


def test_what_a_template_gave_is_told_beside_what_was_made_of_it() -> None:
    named = namer().name(container(env={"LOGSPOUT_GROUP": "my group", "LOGSPOUT_STREAM": "a:b"}))
    assert (named.raw_group, named.raw_stream) == ("my group", "a:b")
    assert named.target == Target(legal_group("my group"), legal_stream("a:b"))


def test_a_container_that_could_not_be_read_says_so() -> None:
    named = namer().name(container(name=ID[:12], problem="config.v2.json is missing"))
    assert named.target == Target("host", ID[:12])
    assert named.error == "its configuration: config.v2.json is missing"


@given(st.text(max_size=100), st.dictionaries(st.sampled_from(["A", "B"]), st.text(max_size=20)))
def test_whatever_a_container_writes_it_has_a_legal_name(text: str, env: dict[str, str]) -> None:
    hostile = container(env={**env, "LOGSPOUT_GROUP": text, "LOGSPOUT_STREAM": text}, name=text)
    target = namer().target(hostile)
    assert GROUP_NAME.fullmatch(target.group)
    assert STREAM_NAME.fullmatch(target.stream)


# --- the host ---------------------------------------------------------------------------------


def test_the_host_is_the_one_whose_hostname_is_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted = tmp_path / "host_hostname"
    monkeypatch.setattr(naming, "HOST_HOSTNAME", mounted)
    assert host_name({}) == socket.gethostname()
    mounted.write_text("real-host\n")
    assert host_name({}) == "real-host"
    mounted.write_text("\n")
    assert host_name({}) == socket.gethostname()


def test_in_a_pod_the_host_is_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted = tmp_path / "host_hostname"
    mounted.write_text("real-host\n")
    monkeypatch.setattr(naming, "HOST_HOSTNAME", mounted)
    assert host_name({"SPOOL_NODE_NAME": "node-7"}) == "node-7"
    assert host_name({"SPOOL_NODE_NAME": " "}) == "real-host"
