"""
What is in deploy/ is taken by the orchestrators, and by spool: by schemas of their makers, and by
the settings that the code has.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from botocore.session import get_session
from botocore.validate import ParamValidator
from compose_spec import PyCompose

from cli.rules import POD_UID
from cli.run import command as run_command
from shipper.gotemplate import Context, parse
from shipper.naming import NODE_NAME
from shipper.pods import ContainerFolder
from shipper.route import parse_route
from shipper.settings import AGENT, SETTINGS
from shipper.sources.multiline import SETTINGS as MULTILINE_SETTINGS
from spool import __version__

DEPLOY = Path(__file__).parents[2] / "deploy"
DAEMONSET = DEPLOY / "kubernetes" / "daemonset.yaml"
STACK = DEPLOY / "swarm" / "stack.yaml"
KUBERNETES = ("1.29", "1.37")
"""The oldest that is still in use on EKS, and the newest there is a schema for."""

HALF_AN_HOUR_S = 1_800
"""The rescue of a spool of a gigabyte takes a minute, and longer on a slow disk."""


def kubernetes() -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in yaml.safe_load_all(DAEMONSET.read_text())}


def ecs(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DEPLOY / "ecs" / f"{name}.json").read_text())
    return found


def swarm() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(STACK.read_text())
    return found


def variables(named: list[dict[str, Any]]) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in named}


def deployed() -> Iterator[tuple[str, list[str], str, Mapping[str, str]]]:
    """
    (where, command, image, environment) of each.
    """
    pod = kubernetes()["DaemonSet"]["spec"]["template"]["spec"]["containers"][0]
    yield "kubernetes", pod["args"], pod["image"], variables(pod["env"])
    task = ecs("task-definition")["containerDefinitions"][0]
    yield "ecs", task["command"], task["image"], variables(task["environment"])
    service = swarm()["services"]["spool"]
    yield "swarm", service["command"], service["image"], service["environment"]


# --- by their makers --------------------------------------------------------------------------


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_the_daemonset(version: str) -> None:
    found = kubernetes()
    assert set(found) == {"Namespace", "ResourceQuota", "ServiceAccount", "DaemonSet"}
    for one in found.values():
        kubernetes_validate.validate(one, version, strict=True)


def test_a_slip_in_the_daemonset_would_be_found() -> None:
    daemonset = kubernetes()["DaemonSet"]
    daemonset["spec"]["template"]["spec"]["containers"][0]["readOnlyRootFilesystem"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(daemonset, KUBERNETES[-1], strict=True)


@pytest.mark.parametrize(
    ("name", "operation"),
    [("task-definition", "RegisterTaskDefinition"), ("service", "CreateService")],
)
def test_ecs_takes_the_daemon_service(name: str, operation: str) -> None:
    shape = get_session().get_service_model("ecs").operation_model(operation).input_shape
    given = ecs(name)
    report = ParamValidator().validate(given, shape)
    assert not report.has_errors(), report.generate_report()
    assert illegal_values(given, shape) == []
    spoiled = ParamValidator().validate({**given, "nosuch": 1}, shape)
    assert spoiled.has_errors()


def illegal_values(value: Any, shape: Any) -> list[str]:
    """
    Words that are none of those the service knows; botocore leaves that to the service.
    """
    if shape.type_name == "structure":
        return [
            one for name, part in value.items() for one in illegal_values(part, shape.members[name])
        ]
    if shape.type_name == "list":
        return [one for part in value for one in illegal_values(part, shape.member)]
    known = getattr(shape, "enum", None)
    return [str(value)] if known and value not in known else []


def test_compose_takes_the_stack() -> None:
    PyCompose.from_yaml(STACK.read_text())
    with pytest.raises(ValueError, match="volums"):
        PyCompose.from_yaml(STACK.read_text().replace("    volumes:", "    volums:"))


def has_stack_config() -> bool:
    if not shutil.which("docker"):
        return False
    asked = subprocess.run(["docker", "stack", "--help"], capture_output=True, check=False)
    return b"\n  config " in asked.stdout


@pytest.mark.skipif(not has_stack_config(), reason="Docker's command line is older than 23.0")
def test_docker_takes_the_stack() -> None:
    done = subprocess.run(
        ["docker", "stack", "config", "-c", STACK], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["services"]["spool"]["deploy"]["mode"] == "global"


# --- by spool ---------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [*deployed()], ids=lambda given: given[0])
def test_spool_takes_what_it_is_told(given: tuple[str, list[str], str, dict[str, str]]) -> None:
    _, command, image, environ = given
    assert image.endswith(f":{__version__}")
    options = {str(option.envvar) for option in run_command.params if option.envvar}
    known = options | set(SETTINGS) | {NODE_NAME, POD_UID}
    assert set(environ) <= known
    assert command == ["run"], "what is in the environment `spool names` knows, too"
    context = run_command.make_context("run", [])
    for option in run_command.params:
        if option.envvar in environ:
            option.type_cast_value(context, environ[str(option.envvar)])
    parse_route(None, environ)


def rendered(template: str, labels: dict[str, str]) -> str:
    context = Context(
        host="h",
        env={},
        labels=labels,
        name="n",
        id="i",
        logger_host="l",
        instance_id=str,
        region=str,
    )
    return parse(template).render(context)


def test_the_daemonset_names_groups_for_namespaces() -> None:
    environ = variables(
        kubernetes()["DaemonSet"]["spec"]["template"]["spec"]["containers"][0]["env"]
    )
    folder = ContainerFolder(Path("x"), "shop", "web-0", "uid", "app")
    assert rendered(environ["LOGSPOUT_GROUP"], folder.describe().labels) == "/kubernetes/shop"


def test_the_task_names_groups_and_streams_by_the_labels_of_ecs() -> None:
    """
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4.html
    shows the labels.
    """
    environ = variables(ecs("task-definition")["containerDefinitions"][0]["environment"])
    labels = {
        "com.amazonaws.ecs.task-definition-family": "shop",
        "com.amazonaws.ecs.container-name": "web",
    }
    assert rendered(environ["LOGSPOUT_GROUP"], labels) == "/ecs/shop"
    assert rendered(environ["LOGSPOUT_STREAM"], labels) == "web/i"


def test_the_stack_names_a_group_for_each_node() -> None:
    environ = swarm()["services"]["spool"]["environment"]
    assert environ["LOGSPOUT_GROUP"] == "/docker/{{.Node.Hostname}}", "filled in by Swarm"


def test_compose_passes_on_every_setting_of_logspout() -> None:
    service = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["spool"]
    passed = {line.partition("=")[0] for line in service["environment"]}
    known = {*SETTINGS.values(), *MULTILINE_SETTINGS}
    assert {one.name for one in known if AGENT in one.where} <= passed
    assert service["command"] == ["run"], "the route of the environment is the one"


# --- what must hold on each -------------------------------------------------------------------


def test_one_agent_runs_on_each_node() -> None:
    daemonset = kubernetes()["DaemonSet"]["spec"]
    assert daemonset["updateStrategy"]["rollingUpdate"]["maxSurge"] == 0
    assert daemonset["template"]["spec"]["tolerations"] == [{"operator": "Exists"}]
    service = ecs("service")
    assert service["schedulingStrategy"] == "DAEMON"
    assert service["deploymentConfiguration"]["maximumPercent"] == 100
    assert service["taskDefinition"] == ecs("task-definition")["family"]
    deploy = swarm()["services"]["spool"]["deploy"]
    assert (deploy["mode"], deploy["update_config"]["order"]) == ("global", "stop-first")


def test_the_root_file_system_is_read_only_and_no_capability_is_kept() -> None:
    pod = kubernetes()["DaemonSet"]["spec"]["template"]["spec"]
    security = pod["containers"][0]["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    task = ecs("task-definition")["containerDefinitions"][0]
    assert task["readonlyRootFilesystem"] is True
    assert task["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
    service = swarm()["services"]["spool"]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])


def test_no_one_restarts_it_for_what_a_restart_would_not_mend() -> None:
    """
    Nor while it rescues a damaged spool: one that is killed begins anew.
    """
    pod = kubernetes()["DaemonSet"]["spec"]["template"]["spec"]["containers"][0]
    assert pod["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert pod["readinessProbe"]["httpGet"]["path"] == "/healthz"
    check = ecs("task-definition")["containerDefinitions"][0]["healthCheck"]
    assert check["command"] == ["CMD", "spool", "status", "--max-lag", "24h"]
    assert check["interval"] * check["retries"] >= HALF_AN_HOUR_S
    check = swarm()["services"]["spool"]["healthcheck"]
    assert check["test"] == ["CMD", "spool", "status", "--max-lag", "24h"]
    assert int(check["interval"].removesuffix("m")) * 60 * check["retries"] >= HALF_AN_HOUR_S


def test_its_own_log_is_kept_small() -> None:
    task = ecs("task-definition")["containerDefinitions"][0]["logConfiguration"]
    own = swarm()["services"]["spool"]["logging"]
    assert task["options"] == own["options"] == {"max-size": "10m", "max-file": "3"}
    assert task["logDriver"] == own["driver"] == "json-file"


def test_logs_are_mounted_read_only_and_the_spool_outlives_the_container() -> None:
    pod = kubernetes()["DaemonSet"]["spec"]["template"]["spec"]
    mounts = {one["mountPath"]: one for one in pod["containers"][0]["volumeMounts"]}
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert mounts["/var/log/pods"]["readOnly"] is True
    assert volumes[mounts["/var/lib/spool"]["name"]]["hostPath"]["path"] == "/var/lib/spool"
    task = ecs("task-definition")
    points = {one["containerPath"]: one for one in task["containerDefinitions"][0]["mountPoints"]}
    assert points["/var/lib/docker/containers"]["readOnly"] is True
    assert {"name": "spool", "host": {"sourcePath": "/var/lib/spool"}} in task["volumes"]
    stack = {one["target"]: one for one in swarm()["services"]["spool"]["volumes"]}
    assert stack["/var/lib/docker/containers"]["read_only"] is True
    assert stack["/var/lib/spool"]["source"] in swarm()["volumes"]
