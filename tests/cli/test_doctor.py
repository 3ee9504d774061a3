"""
spool doctor: what it finds, what it says to do, and that it leaves no trace.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from agent import HOST_GROUP, SPOOL, Agent, LogWriter, clean_environment, spool, wait_until
from cloudwatch_endpoint import ACCESS_KEY, HANG, SECRET_KEY, Endpoint, Fault, Request, error
from docker_engine import FakeEngine

WEB, CRON = "a" * 64, "b" * 64
PATIENCE = Path(__file__).parent.parent / "faults" / "patience"
ROOT = Path(__file__).parent.parent.parent
ROUTE = "cloudwatch://us-east-1?NOEC2"
PASSWORD = "zq-password"
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
NOBODY = 65_534

GOOD = """\
ok       version      spool V, Python V, SQLite V, boto3 V
ok       settings     the route and the environment can be read
ok       folder       FOLDER/spool is not there yet; `spool run` makes it
ok       disk         DISK, local
ok       space        N free; the spool may grow by 16.0 MiB
ok       file         none yet; `spool run` makes it
ok       containers   FOLDER/containers: 2 containers (2 json-file)
skipped  docker       the engine is not needed with --source files
ok       collection   2 of 2 containers: 2 from files, 0 through the engine
ok       files        N may be open, enough for 2 containers
ok       inotify      N watches, N instances for each user
skipped  metadata     EC2's are not asked for, as NOEC2 says
ok       region       us-east-1, from the route
ok       credentials  from the environment (env), key …LE00
ok       endpoint     127.0.0.1:PORT answers; without TLS
ok       clock        right, to within 1 s
ok       permissions  on HOST: logs:PutLogEvents, logs:CreateLogStream, \
logs:CreateLogGroup allowed
17 findings: 15 ok, 0 warning, 0 failed, 2 skipped
"""

BAD = """\
ok       version      spool V, Python V, SQLite V, boto3 V
failed   settings     unknown option DELAYS in the route
         -> did you mean DELAY?
warning  settings     SPOOL_DELY is no setting of spool
         -> did you mean SPOOL_DELAY?
failed   folder       FOLDER/file is no folder
         -> give another path with --db or SPOOL_DB
failed   containers   FOLDER/file: Not a directory
         -> WHERE
skipped  docker       the engine is not needed with --source files
ok       files        N may be open, enough for 0 containers
ok       inotify      N watches, N instances for each user
skipped  metadata     EC2's are not asked for, as AWS_EC2_METADATA_DISABLED says
ok       region       us-east-1, from the route
ok       credentials  from the environment (env), key …LE00
ok       endpoint     127.0.0.1:PORT answers; without TLS
warning  clock        75 s behind the endpoint's
         -> set it, and keep it right by NTP: timedatectl set-ntp true, or start chronyd
failed   permissions  on HOST: logs:PutLogEvents denied (because no policy allows it); \
nothing allowed; not tried: logs:CreateLogStream, logs:CreateLogGroup
         -> give the role or user of these credentials:
         {
           "Effect": "Allow",
           "Action": [
             "logs:PutLogEvents",
             "logs:CreateLogStream",
             "logs:CreateLogGroup"
           ],
           "Resource": [
             "arn:aws:logs:us-east-1:*:log-group:HOST:*"
           ]
         }
14 findings: 6 ok, 2 warning, 4 failed, 2 skipped
"""


def denied(reason: str = "because no policy allows it") -> Fault:
    """
    As AWS words it.
    """
    user = "arn:aws:iam::123456789012:user/someone"
    text = f"User: {user} is not authorized to perform: logs:It on resource: arn:x {reason}"
    return error("AccessDeniedException", message=text)


def doctor(
    environment: dict[str, str] | None = None,
    *options: str | Path,
    db: Path,
    route: str = ROUTE,
    code: int | None = None,
    is_patient: bool = True,
) -> dict[str, list[dict[str, Any]]]:
    """
    The findings of `spool doctor --json`, by check; `is_patient` waits longer for each.
    """
    patience = {"PYTHONPATH": f"{PATIENCE}:{ROOT}"} if is_patient else {}
    environment = {**patience, **(environment or {})}
    done = spool("doctor", route, "--db", db, "--json", *options, environment=environment)
    assert "Traceback" not in done.stderr
    assert done.stderr == ""
    if code is not None:
        assert done.returncode == code, done.stdout
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(done.stdout):
        assert list(finding) == ["check", "state", "found", "remedy"]
        assert finding["remedy"] or finding["state"] in ("ok", "skipped")
        found.setdefault(finding["check"], []).append(finding)
    assert done.returncode == any(
        one["state"] == "failed" for all_ in found.values() for one in all_
    )
    return found


def one(found: dict[str, list[dict[str, Any]]], check: str) -> tuple[str, str, str]:
    """
    State, what was found, and remedy of a check that has one finding.
    """
    (finding,) = found[check]
    return finding["state"], finding["found"], finding["remedy"] or ""


def without(environment: dict[str, str], *names: str) -> dict[str, str]:
    """
    The rest of them.
    """
    return {name: value for name, value in environment.items() if name not in names}


def plain(text: str, folder: Path) -> str:
    """
    Without what differs from host to host.
    """
    text = text.replace(str(folder), "FOLDER").replace(f"on {HOST_GROUP}:", "on HOST:")
    text = text.replace(f"log-group:{HOST_GROUP}:", "log-group:HOST:")
    for pattern, instead in (
        (r"(spool|Python|SQLite|boto3) [0-9][0-9.a-z+]*", r"\1 V"),
        (r"disk         \w+, local", "disk         DISK, local"),
        (r"[0-9.,]+ [MG]iB free", "N free"),
        (r"[0-9,]+ (may be open|watches|instances)", r"N \1"),
        (r"127.0.0.1:[0-9]+", "127.0.0.1:PORT"),
        (r"-> (mount it|start Docker).*", "-> WHERE"),
    ):
        text = re.sub(pattern, instead, text)
    return text


@pytest.fixture
def two(containers: Path) -> Path:
    """
    A containers folder with two of them.
    """
    LogWriter(containers, WEB, "web")
    LogWriter(containers, CRON, "cron")
    return containers


@pytest.fixture
def on_disk(tmp_path: Path) -> None:
    """
    For tests that need temporary files on a local disk.
    """
    kind = subprocess.run(
        ["stat", "-f", "-c", "%T", tmp_path], capture_output=True, text=True, check=True
    ).stdout
    if any(other in kind for other in ("tmpfs", "overlay", "nfs", "fuse", "9p", "v9fs")):
        pytest.skip("temporary files are on no local disk")


# --- whole outputs ----------------------------------------------------------------------------


@pytest.mark.usefixtures("on_disk")
def test_where_all_is_well_each_check_says_so_in_a_line(
    endpoint: Endpoint, tmp_path: Path, db: Path, two: Path
) -> None:
    endpoint.create(HOST_GROUP)
    done = spool(
        *("doctor", ROUTE, "--db", db, "--containers-dir", two, "--max-size", "16MiB"),
        environment=endpoint.environment(),
    )
    assert plain(done.stdout, tmp_path) == GOOD
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_wrong_is_told_with_its_remedy_and_hides_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Endpoint(verify_clock=True) as endpoint:
        endpoint.now_ms = lambda: time.time_ns() // 1_000_000 + 75_500
        endpoint.fail_always(denied())
        done = spool(
            *("doctor", "cloudwatch://us-east-1?DELAYS=2"),
            *("--db", tmp_path / "file" / "spool.db", "--containers-dir", tmp_path / "file"),
            environment={**endpoint.environment(), "SPOOL_DELY": "4"},
        )
    assert plain(done.stdout, tmp_path).replace("76 s", "75 s").replace("74 s", "75 s") == BAD
    assert (done.returncode, done.stderr) == (1, "")


def test_on_a_terminal_it_fits_its_width_and_has_colours_unless_they_are_unwanted(
    tmp_path: Path,
) -> None:
    shown = {}
    for name, extra in (("colours", {}), ("none", {"NO_COLOR": "1"})):
        log = tmp_path / name
        command = [*SPOOL, "doctor", "--db", "/d/spool.db", "--containers-dir", "/none"]
        line = "stty cols 80 rows 50; exec " + " ".join(command)
        subprocess.run(
            ["script", "-qec", line, str(log)],
            env=clean_environment({"AWS_EC2_METADATA_DISABLED": "true", "TERM": "xterm", **extra}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=False,
        )
        shown[name] = log.read_text().partition("\n")[2]
    assert "\x1b[1;31mfailed" in shown["colours"]
    assert "\x1b[" not in re.sub(r"\x1b\[[0-2]*m", "", shown["none"])
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown["none"]).splitlines()
    assert max(map(len, lines[:-3])) <= 80
    assert any(line.startswith("failed   region") for line in lines)


# --- no trace ---------------------------------------------------------------------------------


@pytest.mark.parametrize("is_there", [False, True], ids=["no group", "group"])
def test_nothing_is_made_here_or_there(
    endpoint: Endpoint, db: Path, two: Path, tmp_path: Path, is_there: bool
) -> None:
    if is_there:
        endpoint.create(HOST_GROUP, "web")
    before = sorted(tmp_path.rglob("*"))
    environment = {**endpoint.environment(), "SPOOL_RETENTION_DAYS": "30"}
    found = doctor(environment, "--containers-dir", two, db=db, code=0)
    assert endpoint.streams() == ({(HOST_GROUP, "web")} if is_there else set())
    group = endpoint.group(HOST_GROUP)
    assert (group is not None) == is_there
    assert group is None or group.retention_days is None
    assert endpoint.event_count() == 0
    assert {call.outcome for call in endpoint.calls} <= {
        "MissingAuthenticationTokenException",  # the one that only looks whether it answers
        "ResourceNotFoundException",
        "ResourceAlreadyExistsException",
    }
    assert sorted(tmp_path.rglob("*")) == before
    told = [finding["found"] for finding in found["permissions"]]
    assert "logs:PutRetentionPolicy" in told[0]
    assert ("logs:CreateLogGroup allowed" in told[0]) == is_there


def test_a_group_that_an_agent_makes_meanwhile_gets_no_stream_of_the_doctors(
    endpoint: Endpoint, db: Path
) -> None:
    def decide(request: Request) -> Fault | None:
        if request.operation == "CreateLogStream":
            endpoint.create(request.group if request.group == HOST_GROUP else HOST_GROUP)
        return None

    endpoint.decide = decide
    doctor(endpoint.environment(), "--source", "none", db=db, code=0)
    assert endpoint.count("CreateLogStream") == 1
    assert endpoint.streams() == set()


def test_with_write_an_event_is_sent_as_the_agent_would(endpoint: Endpoint, db: Path) -> None:
    target = ("--group", "app/web", "--stream", "one", "--write", "--source", "none")
    found = doctor(endpoint.environment(), *target, db=db, code=0)
    assert one(found, "event")[1].startswith("stored in app/web, one: request ")
    assert endpoint.messages("app/web", "one") == ["spool doctor: a test event"]
    assert len(found["permissions"]) == 1, "what was tried need not be called untried"
    doctor(endpoint.environment(), *target, db=db, code=0)
    assert len(endpoint.messages("app/web", "one")) == 2


def test_what_write_is_refused_is_told(endpoint: Endpoint, db: Path) -> None:
    endpoint.fail_always(denied(), "CreateLogGroup")
    found = doctor(endpoint.environment(), "--write", "--source", "none", db=db, code=1)
    state, told, _ = one(found, "event")
    assert (state, "CreateLogGroup: AccessDenied" in told) == ("failed", True)
    assert endpoint.streams() == set()


# --- permissions ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "action", "is_there", "state"),
    [
        ("PutLogEvents", "logs:PutLogEvents", False, "failed"),
        ("PutLogEvents", "logs:PutLogEvents", True, "failed"),
        ("CreateLogStream", "logs:CreateLogStream", False, "failed"),
        ("PutRetentionPolicy", "logs:PutRetentionPolicy", False, "failed"),
        ("CreateLogGroup", "logs:CreateLogGroup", True, "warning"),
    ],
)
def test_an_action_that_is_denied_is_named_with_awss_reason_and_what_to_allow(
    endpoint: Endpoint, db: Path, operation: str, action: str, is_there: bool, state: str
) -> None:
    if is_there:
        endpoint.create(HOST_GROUP)
    endpoint.fail_always(denied(), operation)
    environment = {**endpoint.environment(), "SPOOL_RETENTION_DAYS": "30"}
    found = doctor(environment, "--source", "none", db=db)
    was, told, remedy = one(found, "permissions")
    assert was == state
    assert f"{action} denied (because no policy allows it)" in told
    assert "someone" not in told
    statement = json.loads(remedy.partition("\n")[2])
    assert action in statement["Action"]
    assert statement["Resource"] == [f"arn:aws:logs:us-east-1:*:log-group:{HOST_GROUP}:*"]


def only_within(endpoint: Endpoint, matches: str) -> None:
    """
    A policy for the groups whose names match.
    """

    def decide(request: Request) -> Fault | None:
        return None if re.fullmatch(matches, request.group) else denied()

    endpoint.decide = decide


@pytest.mark.parametrize("is_there", [False, True], ids=["no group", "group"])
def test_a_policy_for_a_prefix_is_judged_by_the_group_of_this_hosts_containers(
    endpoint: Endpoint, db: Path, two: Path, is_there: bool
) -> None:
    if is_there:
        endpoint.create("/docker/of-web")
    only_within(endpoint, "/docker/.*")
    environment = {**endpoint.environment(), "LOGSPOUT_GROUP": "/docker/of-{{.Name}}"}
    found = doctor(environment, "--containers-dir", two, "--group", "/docker/of-web", db=db, code=0)
    told = found["permissions"][0]["found"]
    assert told.startswith("on /docker/of-web: logs:PutLogEvents, logs:CreateLogStream")
    found = doctor(environment, "--containers-dir", two, db=db, code=0)
    assert found["permissions"][0]["found"].startswith("on /docker/of-")
    found = doctor(endpoint.environment(), "--containers-dir", two, db=db, code=1)
    assert one(found, "permissions")[0] == "failed"


def test_a_policy_for_one_group_alone_is_judged_too(endpoint: Endpoint, db: Path) -> None:
    only_within(endpoint, HOST_GROUP)
    found = doctor(endpoint.environment(), "--source", "none", db=db, code=0)
    allowed, untried = (finding["found"] for finding in found["permissions"])
    assert "logs:PutLogEvents, logs:CreateLogStream allowed" in allowed
    assert "logs:CreateLogGroup not tried" in untried
    assert endpoint.streams() == set()


def test_what_would_change_something_in_a_group_that_is_there_is_not_tried(
    endpoint: Endpoint, db: Path
) -> None:
    endpoint.create(HOST_GROUP)
    only_within(endpoint, HOST_GROUP)
    found = doctor(endpoint.environment(), "--source", "none", db=db, code=0)
    untried = found["permissions"][1]
    assert untried["state"] == "skipped"
    assert "logs:CreateLogStream not tried" in untried["found"]
    assert "--write" in untried["remedy"]
    assert endpoint.streams() == set()


@pytest.mark.parametrize(
    ("variable", "value", "told", "advice"),
    [
        ("AWS_ACCESS_KEY_ID", "AKIANOBODYNOBODY0000", "UnrecognizedClient", "make new ones"),
        ("AWS_SECRET_ACCESS_KEY", PASSWORD, "InvalidSignature", "AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_keys_that_aws_does_not_take_are_told_from_permissions(
    endpoint: Endpoint, db: Path, variable: str, value: str, told: str, advice: str
) -> None:
    environment = {**endpoint.environment(), variable: value}
    found = doctor(environment, "--source", "none", db=db, code=1)
    state, text, remedy = one(found, "permissions")
    assert (state, told in text, advice in remedy) == ("failed", True, True)


# --- credentials and region -------------------------------------------------------------------


def test_no_credentials_at_all_are_told_with_the_ways_to_give_some(
    endpoint: Endpoint, db: Path
) -> None:
    environment = {**endpoint.environment(), "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    found = doctor(environment, "--source", "none", db=db, code=1)
    state, _, remedy = one(found, "credentials")
    assert (state, "AWS_ACCESS_KEY_ID" in remedy) == ("failed", True)
    assert one(found, "endpoint")[0] == "ok", "one may look at the way without them"
    assert one(found, "permissions")[0] == "skipped"


def test_a_profile_that_is_not_there_is_named(endpoint: Endpoint, db: Path) -> None:
    environment = {**endpoint.environment(), "AWS_PROFILE": "nightly"}
    found = doctor(environment, "--source", "none", db=db, code=1)
    assert "nightly" in one(found, "credentials")[1]


def test_where_credentials_and_region_come_from_is_told(
    endpoint: Endpoint, db: Path, tmp_path: Path
) -> None:
    config, keys = tmp_path / "config", tmp_path / "credentials"
    config.write_text("[profile nightly]\nregion = us-east-1\n")
    keys.write_text(
        f"[nightly]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    )
    environment = {
        **without(endpoint.environment(), *KEYS, "AWS_REGION", "AWS_DEFAULT_REGION"),
        "AWS_PROFILE": "nightly",
        "AWS_CONFIG_FILE": str(config),
        "AWS_SHARED_CREDENTIALS_FILE": str(keys),
    }
    found = doctor(environment, "--source", "none", db=db, route="cloudwatch://auto", code=0)
    assert one(found, "region")[1] == "us-east-1, from the AWS profile"
    assert "(shared-credentials-file), key …LE00" in one(found, "credentials")[1]
    environment["AWS_REGION"] = "us-east-1"
    found = doctor(environment, "--source", "none", db=db, route="cloudwatch://auto", code=0)
    assert one(found, "region")[1] == "us-east-1, from AWS_REGION in the environment"


def test_credentials_that_end_say_when(endpoint: Endpoint, db: Path, tmp_path: Path) -> None:
    answer = {
        "Version": 1,
        "AccessKeyId": ACCESS_KEY,
        "SecretAccessKey": SECRET_KEY,
        "SessionToken": PASSWORD,
        "Expiration": "2099-12-31T23:59:00Z",
    }
    (tmp_path / "answer").write_text(json.dumps(answer))
    config = tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = cat {tmp_path / 'answer'}\n")
    environment = {
        **endpoint.environment(),
        "AWS_ACCESS_KEY_ID": "",
        "AWS_SECRET_ACCESS_KEY": "",
        "AWS_CONFIG_FILE": str(config),
    }
    found = doctor(environment, "--source", "none", db=db, code=0)
    told = one(found, "credentials")[1]
    assert "(custom-process)" in told
    assert "good until 2099-12-31T23:59Z" in told


def test_no_region_leaves_the_checks_that_need_one(endpoint: Endpoint, db: Path) -> None:
    environment = {**endpoint.environment(), "AWS_REGION": "", "AWS_DEFAULT_REGION": ""}
    found = doctor(environment, "--source", "none", db=db, route="cloudwatch://", code=1)
    assert one(found, "region")[0] == "failed"
    assert one(found, "credentials")[0] == "ok"
    assert {one(found, check)[0] for check in ("endpoint", "clock", "permissions")} == {"skipped"}


def test_metadata_that_do_not_answer_matter_where_a_name_needs_them(
    endpoint: Endpoint, db: Path
) -> None:
    environment = {
        **endpoint.environment(),
        "AWS_EC2_METADATA_DISABLED": "",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9",
    }
    found = doctor(environment, "--source", "none", db=db, route="cloudwatch://us-east-1")
    assert one(found, "metadata")[0] == "ok"
    environment["LOGSPOUT_GROUP"] = "{{.InstanceID}}"
    found = doctor(environment, "--source", "none", db=db, route="cloudwatch://us-east-1")
    state, told, remedy = one(found, "metadata")
    assert (state, ".InstanceID" in told, "NOEC2" in remedy) == ("warning", True, True)


# --- the endpoint and the clock ---------------------------------------------------------------


def test_a_certificate_is_trusted_by_the_bundle_that_is_named_and_told(db: Path) -> None:
    with Endpoint(tls=True) as endpoint:
        found = doctor(endpoint.environment(), "--source", "none", db=db, code=0)
        assert one(found, "endpoint")[1].endswith(f"TLS, trusted by {endpoint.ca_file}")
        lacking = without(endpoint.environment(), "AWS_CA_BUNDLE")
        found = doctor(lacking, "--source", "none", db=db, code=1)
        state, told, remedy = one(found, "endpoint")
        assert (state, "not trusted" in told) == ("failed", True)
        assert "AWS_CA_BUNDLE=" in remedy
        absent = {**endpoint.environment(), "AWS_CA_BUNDLE": "/no/such/ca.pem"}
        found = doctor(absent, "--source", "none", db=db, code=1)
        assert "/no/such/ca.pem, which cannot be read" in one(found, "endpoint")[1]
        plain_url = {**endpoint.environment()}
        plain_url["AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"] = endpoint.url.replace("https", "http")
        assert one(doctor(plain_url, "--source", "none", db=db), "endpoint")[0] == "failed"


def test_tls_where_none_is_spoken_is_told_from_a_certificate(db: Path) -> None:
    with Endpoint() as endpoint:
        environment = endpoint.environment()
        environment["AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"] = endpoint.url.replace("http", "https")
        state, _, remedy = one(doctor(environment, "--source", "none", db=db, code=1), "endpoint")
    assert (state, "speaks no TLS" in remedy) == ("failed", True)


def test_a_refused_connection_is_told(endpoint: Endpoint, db: Path) -> None:
    endpoint.refuse()
    found = doctor(endpoint.environment(), "--source", "none", db=db, code=1)
    state, told, _ = one(found, "endpoint")
    assert (state, told) == ("failed", f"127.0.0.1:{endpoint.port}: connection refused")
    assert one(found, "permissions")[0] == "skipped"


def test_a_name_that_is_not_resolved_is_told(endpoint: Endpoint, db: Path) -> None:
    environment = endpoint.environment()
    environment["AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"] = "http://logs.invalid"
    state, told, remedy = one(doctor(environment, "--source", "none", db=db), "endpoint")
    assert (state, "is not resolved" in told, "resolv.conf" in remedy) == ("failed", True, True)


def test_a_proxy_is_named_without_its_password(endpoint: Endpoint, db: Path) -> None:
    environment = {
        **endpoint.environment(),
        "HTTP_PROXY": f"http://user:{PASSWORD}@127.0.0.1:9",
        "http_proxy": f"http://user:{PASSWORD}@127.0.0.1:9",
        "NO_PROXY": "",
        "no_proxy": "",
    }
    state, told, remedy = one(doctor(environment, "--source", "none", db=db), "endpoint")
    assert (state, told) == ("failed", "the proxy 127.0.0.1:9: connection refused")
    assert "HTTP_PROXY" in remedy


@pytest.mark.parametrize(
    ("ahead_s", "state", "told"),
    [(0, "ok", "right"), (-200, "warning", "ahead of"), (1_000, "failed", "behind")],
)
def test_the_clock_is_compared_with_the_endpoints(
    db: Path, ahead_s: int, state: str, told: str
) -> None:
    with Endpoint(verify_clock=True) as endpoint:
        endpoint.now_ms = lambda: time.time_ns() // 1_000_000 + ahead_s * 1000
        found = doctor(endpoint.environment(), "--source", "none", db=db)
    assert one(found, "clock")[0] == state
    assert told in one(found, "clock")[1]
    assert found["permissions"][0]["state"] == ("failed" if state == "failed" else "ok")


@contextmanager
def deaf() -> Iterator[int]:
    """
    The port of one who takes connections and never says anything.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_whatever_hangs_it_ends_within_half_a_minute_and_tells_the_rest(
    db: Path, tmp_path: Path, two: Path
) -> None:
    config = tmp_path / "config"
    config.write_text("[default]\ncredential_process = sleep 60\n")
    with deaf() as port:
        environment = {
            "AWS_CONFIG_FILE": str(config),
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": f"http://127.0.0.1:{port}",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{port}",
            "DOCKER_HOST": f"tcp://127.0.0.1:{port}",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        begun_s = time.monotonic()
        found = doctor(
            environment,
            *("--source", "auto", "--containers-dir", two),
            db=db,
            route="cloudwatch://us-east-1",
            code=1,
            is_patient=False,
        )
        assert time.monotonic() - begun_s < 45, "one that hangs does so for 60 s or more"
    assert "does not answer" in one(found, "docker")[1]
    assert one(found, "containers")[0] == "ok"
    assert one(found, "credentials")[1] == "no end within 5 s"
    assert one(found, "endpoint")[1] == f"127.0.0.1:{port}: no answer in time"
    assert one(found, "permissions")[0] == "skipped"


def test_requests_that_hang_are_told(endpoint: Endpoint, db: Path) -> None:
    endpoint.fail_always(HANG)
    found = doctor(endpoint.environment(), "--source", "none", db=db, code=1)
    assert "ReadTimeout" in one(found, "permissions")[1]


# --- the spool --------------------------------------------------------------------------------


def test_of_a_spool_that_is_there_it_tells_what_is_in_it_and_who_ships(
    endpoint: Endpoint, db: Path, two: Path
) -> None:
    def examined() -> dict[str, list[dict[str, Any]]]:
        return doctor(endpoint.environment(), "--containers-dir", two, db=db)

    spool("put", "--db", db, "--group", "g", "--stream", "s", stdin="one\ntwo\n")
    found = examined()
    assert one(found, "file")[1].endswith("2 unsent, 0 sent, 0 rejected")
    assert one(found, "agent")[1] == "none ships from this spool now"
    state, told, remedy = one(found, "delivery")
    assert (state, "2 events wait, and no agent runs" in told) == ("warning", True)
    assert "spool run" in remedy
    with Agent(db, two, endpoint.environment()) as agent:
        wait_until(lambda: endpoint.event_count() == 2)
        wait_until(lambda: agent.status()["unsent"] == 0)
        found = examined()
        assert one(found, "agent")[1] == f"runs, pid {agent.process.pid}"
        assert one(found, "delivery")[1].startswith("the last one was at ")


def test_the_last_error_of_a_stream_that_waits_is_told(
    endpoint: Endpoint, db: Path, containers: Path
) -> None:
    spool("put", "--db", db, "--group", "g", "--stream", "s", stdin="one\n")
    endpoint.fail_always(denied(), "PutLogEvents")
    with Agent(db, containers, endpoint.environment()):
        wait_until(lambda: endpoint.count("PutLogEvents") > 0)
        wait_until(lambda: "AccessDenied" in str(spool("status", "--db", db).stdout))
    state, told, _ = one(doctor(endpoint.environment(), "--source", "none", db=db), "delivery")
    assert (state, "AccessDeniedException" in told) == ("warning", True)


def test_a_file_that_is_no_spool_is_left_alone_and_told(endpoint: Endpoint, db: Path) -> None:
    db.parent.mkdir()
    db.write_text("dear diary, " * 100)
    state, told, remedy = one(doctor(endpoint.environment(), db=db, code=1), "file")
    assert (state, "not a spool" in told) == ("failed", True)
    assert "--db" in remedy
    assert db.read_text() == "dear diary, " * 100


def test_a_damaged_spool_is_told(endpoint: Endpoint, db: Path) -> None:
    lines = "\n".join(f"line {number} {'x' * 200}" for number in range(5_000))
    spool("put", "--db", db, "--group", "g", "--stream", "s", stdin=lines)
    with db.open("r+b") as file:
        for page in range(1, db.stat().st_size // 8192):
            file.seek(page * 8192)
            file.write(b"\xff" * 64)
    state, told, remedy = one(doctor(endpoint.environment(), db=db, code=1), "file")
    assert (state, "damaged" in told) == ("failed", True)
    assert "spool run" in remedy


def test_a_spool_that_others_may_read_is_told(endpoint: Endpoint, db: Path) -> None:
    spool("put", "--db", db, "--group", "g", "--stream", "s", stdin="one\n")
    db.chmod(0o644)
    db.parent.chmod(0o777)
    found = doctor(endpoint.environment(), "--source", "none", db=db)
    assert one(found, "file") == (
        "warning",
        f"every user may read or write {db}",
        f"chmod 600 {db}*",
    )
    assert one(found, "folder")[0::2] == ("warning", f"chmod 700 {db.parent}")


def test_a_place_in_memory_is_told(endpoint: Endpoint) -> None:
    if not Path("/dev/shm").is_dir():
        pytest.skip("no /dev/shm here")
    found = doctor(endpoint.environment(), "--source", "none", db=Path("/dev/shm/none/spool.db"))
    state, told, remedy = one(found, "disk")
    assert (state, told.startswith("tmpfs"), "-v spool:" in remedy) == ("warning", True, True)


def test_a_disk_that_is_too_small_for_the_spool_is_told(endpoint: Endpoint, db: Path) -> None:
    found = doctor(endpoint.environment(), "--max-size", "1000000000GiB", db=db)
    assert one(found, "space")[0] == "warning"
    environment = {**endpoint.environment(), "SPOOL_MAX_SIZE": "20MiB"}
    assert one(doctor(environment, db=db), "space")[1].endswith("may grow by 20.0 MiB")


def test_one_who_may_not_is_told_which_paths_and_whose(db: Path, two: Path) -> None:
    """
    As root without its powers, on the spool and the containers of another user.
    """
    if os.geteuid() or not shutil.which("setpriv"):
        pytest.skip("only root can make another user's files")
    spool("put", "--db", db, "--group", "g", "--stream", "s", stdin="one\n")
    for path in (db.parent, db, two):
        os.chown(path, NOBODY, NOBODY)
    two.chmod(0o700)

    def examined() -> dict[str, Any]:
        done = subprocess.run(
            [
                *("setpriv", "--bounding-set=-all", "--inh-caps=-all"),
                *(*SPOOL, "doctor", ROUTE, "--json"),
                *("--db", str(db), "--containers-dir", str(two), "--source", "files"),
            ],
            env=clean_environment({"AWS_EC2_METADATA_DISABLED": "true"}),
            capture_output=True,
            check=False,
        )
        return {finding["check"]: finding for finding in json.loads(done.stdout)}

    found = examined()
    assert "mode 0700: root cannot write there (Permission denied)" in found["folder"]["found"]
    assert found["folder"]["remedy"].startswith(f"chown 0 {db.parent}, or run as its owner")
    assert found["file"]["state"] == "failed"
    assert found["containers"]["found"] == f"{two}: Permission denied"
    assert "run as root" in found["containers"]["remedy"]
    db.parent.chmod(0o755)
    db.chmod(0o644)
    assert f"chown 0 {db}*" in examined()["file"]["remedy"]


# --- Docker -----------------------------------------------------------------------------------


def test_either_way_to_the_containers_is_enough_and_both_are_told(
    endpoint: Endpoint, db: Path, two: Path, tmp_path: Path
) -> None:
    auto = ("--source", "auto", "--containers-dir")
    with FakeEngine(tmp_path / "docker.sock") as engine:
        engine.add("worker")
        environment = {**endpoint.environment(), "DOCKER_HOST": engine.base_url}
        found = doctor(environment, *auto, two, db=db, code=0)
        assert one(found, "containers")[0] == "ok"
        assert one(found, "docker")[1] == f"Docker Engine 20.10.24 at {engine.base_url}"
        told = "3 of 3 containers: 2 from files, 1 through the engine"
        assert one(found, "collection")[1] == told
        found = doctor(environment, *auto, tmp_path / "none", db=db, code=0)
        assert one(found, "containers")[0] == "warning"
        assert one(found, "collection")[1].startswith("1 of 1 containers")
        found = doctor(environment, "--source", "api", db=db, code=0)
        assert one(found, "containers")[0] == "skipped"
    found = doctor(environment, *auto, two, db=db, code=0)
    assert one(found, "docker")[0] == "skipped"
    assert "no such socket; not needed" in one(found, "docker")[1]
    (two / WEB / "hostconfig.json").write_text('{"LogConfig":{"Type":"local"}}')
    found = doctor(environment, *auto, two, db=db, code=0)
    assert one(found, "docker")[0] == "warning"
    assert "it alone can read the logs of 1 containers" in one(found, "docker")[1]
    found = doctor(environment, *auto, tmp_path / "none", db=db, code=1)
    assert (one(found, "containers")[0], one(found, "docker")[0]) == ("failed", "failed")
    assert "-v /var/run/docker.sock" in one(found, "docker")[2]


def test_too_few_open_files_for_the_containers_are_told(
    endpoint: Endpoint, db: Path, two: Path
) -> None:
    command = ["prlimit", "--nofile=90:90", *SPOOL, "doctor", ROUTE, "--json", "--db", str(db)]
    done = subprocess.run(
        [*command, "--containers-dir", str(two)],
        env=clean_environment(endpoint.environment()),
        capture_output=True,
        check=False,
    )
    found = {finding["check"]: finding for finding in json.loads(done.stdout)}
    assert found["files"]["state"] == "warning"
    assert "--ulimit nofile=" in found["files"]["remedy"]


# --- settings and secrets ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("SPOOL_GZIP", "perhaps", "SPOOL_GZIP"),
        ("SPOOL_DELAY", "soon", "DELAY 'soon' in SPOOL_DELAY"),
        ("SPOOL_KEEP", "ages", "SPOOL_KEEP"),
        ("SPOOL_MULTILINE", "(", "pattern"),
        ("TAIL", "some", "TAIL in the environment"),
    ],
)
def test_a_setting_that_run_would_refuse_is_told(
    endpoint: Endpoint, db: Path, variable: str, value: str, told: str
) -> None:
    environment = {**endpoint.environment(), variable: value}
    found = doctor(environment, "--source", "none", db=db, code=1)
    state, text, _ = one(found, "settings")
    assert (state, told in text) == ("failed", True)
    assert one(found, "region")[0] == "ok", "what can be read of the route is looked at"


def test_no_secret_is_told(db: Path, tmp_path: Path) -> None:
    with Endpoint(verify_signature=False) as endpoint:
        text = f"token {PASSWORD} x-amz-security-token:{PASSWORD}"
        endpoint.fail_always(
            error("InvalidSignatureException", message=f"no. The Canonical String {text}")
        )
        environment = {
            **endpoint.environment(),
            "AWS_SESSION_TOKEN": PASSWORD,
            "DOCKER_HOST": f"tcp://u:{PASSWORD}@127.0.0.1:9",
            "AWS_SECRET_ACCESS_KEY": PASSWORD,
            "DATABASE_PASSWORD": PASSWORD,
        }
        outputs = [
            spool("doctor", ROUTE, "--db", db, "--source", "auto", *more, environment=given).stdout
            for more in ((), ("--json",))
            for given in (
                environment,
                {
                    **environment,
                    "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": f"http://u:{PASSWORD}@127.0.0.1:9",
                },
                {**environment, "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": f"http://u:{PASSWORD}@:x"},
                {
                    **environment,
                    "HTTP_PROXY": f"http://u:{PASSWORD}@[:9",
                    "NO_PROXY": "",
                    "no_proxy": "",
                },
            )
        ]
    for output in outputs:
        assert "credentials" in output
        assert PASSWORD not in output
        assert ACCESS_KEY[:-4] not in output
