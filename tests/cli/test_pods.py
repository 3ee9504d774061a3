"""
The logs of pods, through the command.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from agent import HOST_GROUP, LogWriter, spool
from cloudwatch_endpoint import Endpoint
from kubelet import POD_UID, PodWriter

ROUTE = "cloudwatch://us-east-1?NOEC2"


@pytest.fixture
def web(pods: Path) -> PodWriter:
    writer = PodWriter(pods)
    writer.write("one")
    writer.write("tw", tag="P")
    writer.write("o")
    writer.write("oops", stream="stderr")
    return writer


def collect(
    db: Path,
    pods: Path,
    endpoint: Endpoint,
    *options: str | Path,
    route: str = ROUTE,
    **environ: str,
) -> str:
    """
    `spool run --once`; what it logged.
    """
    done = spool(
        *("run", route, "--once", "--db", db, "--pods-dir", pods),
        *(options or ("--containers-dir", pods / "none")),
        environment={**endpoint.environment(), **environ},
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def names(pods: Path, *options: str | Path, **environ: str) -> dict[str, dict[str, Any]]:
    done = spool(
        *("names", ROUTE, "--json", "--pods-dir", pods, "--containers-dir", pods / "none"),
        *options,
        environment=environ,
    )
    assert done.returncode == 0, done.stderr
    return {entry["name"]: entry for entry in json.loads(done.stdout)}


def test_a_pods_container_has_a_stream_of_its_name(
    endpoint: Endpoint, db: Path, pods: Path, web: PodWriter
) -> None:
    collect(db, pods, endpoint)
    assert endpoint.messages(HOST_GROUP, "shop_web-0_app") == ["one", "two", "oops"]


def test_pods_and_docker_containers_are_collected_beside_each_other(
    endpoint: Endpoint, db: Path, pods: Path, containers: Path, web: PodWriter
) -> None:
    LogWriter(containers, "a" * 64, "docker").write("hello")
    collect(db, pods, endpoint, "--containers-dir", containers)
    assert endpoint.streams() == {(HOST_GROUP, "docker"), (HOST_GROUP, "shop_web-0_app")}


def test_without_an_engine_auto_reads_the_pods(
    endpoint: Endpoint, db: Path, pods: Path, web: PodWriter
) -> None:
    log = collect(
        *(db, pods, endpoint, "--source", "auto", "--containers-dir", pods / "none"),
        DOCKER_HOST=f"unix://{pods}/no.sock",
    )
    assert endpoint.streams() == {(HOST_GROUP, "shop_web-0_app")}
    assert "Traceback" not in log


def test_a_template_reaches_namespace_pod_and_container(
    endpoint: Endpoint, db: Path, pods: Path, web: PodWriter
) -> None:
    group = '/kubernetes/{{.Lbl "io.kubernetes.pod.namespace"}}'
    stream = (
        '{{.Lbl "io.kubernetes.pod.name"}}/{{.Lbl "io.kubernetes.container.name"}}'
        '/{{.Lbl "io.kubernetes.pod.uid"}} {{.Host}} {{.ID}}'
    )
    collect(db, pods, endpoint, LOGSPOUT_GROUP=group, LOGSPOUT_STREAM=stream)
    uid = POD_UID
    assert endpoint.streams() == {
        ("/kubernetes/shop", f"web-0/app/{uid} web-0 {uid}/app"),
    }


def test_the_group_is_named_for_the_node_and_not_for_the_agents_pod(
    endpoint: Endpoint, db: Path, pods: Path, web: PodWriter
) -> None:
    collect(db, pods, endpoint, SPOOL_NODE_NAME="node-7")
    assert endpoint.streams() == {("node-7", "shop_web-0_app")}


def test_the_agents_own_pod_is_not_collected(
    endpoint: Endpoint, db: Path, pods: Path, web: PodWriter
) -> None:
    PodWriter(pods, "spool-x7k2p", "spool", namespace="logging", uid="own").write("started")
    log = collect(db, pods, endpoint, SPOOL_POD_UID="own")
    assert endpoint.streams() == {(HOST_GROUP, "shop_web-0_app")}
    assert "not collecting logging_spool-x7k2p_spool: it is in this agent's own pod" in log


def test_filters_of_the_route_choose_by_namespace(
    endpoint: Endpoint, db: Path, pods: Path, web: PodWriter
) -> None:
    PodWriter(pods, "dns", namespace="kube-system", uid="dns").write("no")
    by_label = "filter.labels=io.kubernetes.pod.namespace:shop"
    for number, choice in enumerate(("filter.name=shop_*", by_label)):
        collect(db.with_name(f"{number}.db"), pods, endpoint, route=f"{ROUTE}&{choice}")
        assert endpoint.streams() == {(HOST_GROUP, "shop_web-0_app")}


def test_a_label_excludes_a_namespace(
    endpoint: Endpoint, db: Path, pods: Path, web: PodWriter
) -> None:
    PodWriter(pods, "dns", namespace="kube-system", uid="dns").write("no")
    collect(db, pods, endpoint, EXCLUDE_LABEL="io.kubernetes.pod.namespace:kube-system")
    assert endpoint.streams() == {(HOST_GROUP, "shop_web-0_app")}


def test_the_source_of_an_event_tells_pod_container_and_stream(
    endpoint: Endpoint, db: Path, pods: Path, web: PodWriter
) -> None:
    collect(db, pods, endpoint)
    done = spool("query", "--db", db, "SELECT DISTINCT source FROM events ORDER BY 1")
    assert done.stdout.split() == [f"{POD_UID}/app/stderr", f"{POD_UID}/app/stdout"]


def test_a_damaged_line_is_told_once_and_costs_itself(
    endpoint: Endpoint, db: Path, pods: Path, web: PodWriter
) -> None:
    web.write_bytes(b"no record\n" * 3)
    web.write("three")
    log = collect(db, pods, endpoint)
    assert endpoint.messages(HOST_GROUP, "shop_web-0_app") == ["one", "two", "oops", "three"]
    told = f"damaged records in shop_web-0_{POD_UID}/app/0.log are left out"
    assert log.count(told) == 1
    assert "no record" not in log


def test_names_tells_what_becomes_of_pods(pods: Path, web: PodWriter) -> None:
    PodWriter(pods, "agent", uid="own").write("x")
    (pods / "shop_empty_uid" / "app").mkdir(parents=True)
    entries = names(pods, SPOOL_POD_UID="own")
    assert set(entries) == {"shop_web-0_app", "shop_agent_app"}
    assert entries["shop_web-0_app"] == {
        "id": f"{POD_UID}/app",
        "name": "shop_web-0_app",
        "collected": True,
        "reason": "its pod's log on disk",
        "source": "files",
        "group": HOST_GROUP,
        "stream": "shop_web-0_app",
        "raw_group": HOST_GROUP,
        "raw_stream": "shop_web-0_app",
        "error": None,
    }
    assert entries["shop_agent_app"]["reason"] == "it is in this agent's own pod"


def test_through_the_engine_alone_no_pod_is_collected(pods: Path, web: PodWriter) -> None:
    environ = {"DOCKER_HOST": f"unix://{pods}/no.sock"}
    entries = names(pods, "--source", "api", **environ)
    assert entries["shop_web-0_app"]["collected"] is False
    assert "--source api" in entries["shop_web-0_app"]["reason"]


def findings(*options: str | Path, **environ: str) -> dict[str, dict[str, Any]]:
    route = "cloudwatch://us-east-1?NOEC2"
    done = spool("doctor", route, "--json", *options, environment=environ)
    return {finding["check"]: finding for finding in json.loads(done.stdout)}


def test_doctor_looks_at_the_pods_of_a_node(db: Path, pods: Path, web: PodWriter) -> None:
    """
    There no Docker is missed.
    """
    found = findings(
        *("--db", db, "--source", "auto", "--pods-dir", pods, "--containers-dir", pods / "none"),
        DOCKER_HOST=f"unix://{pods}/no.sock",
    )
    assert found["pods"]["state"] == "ok"
    assert "1 containers of pods" in found["pods"]["found"]
    assert found["containers"]["state"] == "skipped"
    assert found["docker"]["state"] == "skipped"
    assert "1 of 1 containers: 1 from files" in found["collection"]["found"]


def test_doctor_says_what_a_pod_needs_to_see_the_others(db: Path, tmp_path: Path) -> None:
    none = tmp_path / "none"
    found = findings(
        *("--db", db, "--source", "files", "--pods-dir", none, "--containers-dir", none),
        SPOOL_POD_UID="own",
    )
    assert found["pods"]["state"] == "failed"
    assert "hostPath" in found["pods"]["remedy"]


def test_doctor_takes_the_variables_of_a_pod_for_settings(db: Path, pods: Path) -> None:
    environ = {"SPOOL_POD_UID": "own", "SPOOL_NODE_NAME": "node-7"}
    found = findings("--db", db, "--source", "none", "--pods-dir", pods, **environ)
    assert found["settings"]["state"] == "ok"
