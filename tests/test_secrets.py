"""
What is secret stays so: run with secrets in every place they can be, through every kind of error.

A message is stored and sent, and credentials are used; but none is told in a log, in an error that
is kept with a batch or a stream, or by a command that shows these.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from agent import Agent, LogWriter, spool, wait_until
from cloudwatch_endpoint import Endpoint, Fault, error, status

WEB = "a" * 64

ACCESS_KEY = "AKIAQZQZQZQZQZQZQZQZ"
SECRET_KEY = "zq-aws-secret-key"
TOKEN = "zq-session-token"
PASSWORD = "zq-password"
MESSAGE = "zq-message"
OTHERS = ("zq-agent-environment", "zq-container-environment", "zq-label", "zq-helper")
SECRETS = (ACCESS_KEY, SECRET_KEY, TOKEN, PASSWORD, MESSAGE, *OTHERS)

CANONICAL = f"""The request signature we calculated does not match the signature you provided. \
Check your AWS Secret Access Key.

The Canonical String for this request should have been
'POST
/

host:127.0.0.1
x-amz-security-token:{TOKEN}

host;x-amz-security-token
0123456789abcdef'

The String-to-Sign should have been
'AWS4-HMAC-SHA256
{ACCESS_KEY}'
"""
QUOTED = (
    "1 validation error detected: Value '[InputLogEvent(timestamp=1, message="
    f"{MESSAGE}' at 'once {MESSAGE})]' at 'logEvents' failed to satisfy constraint"
)
CUT_SHORT = f"1 validation error detected: Value '[InputLogEvent(message={'x' * 50} {MESSAGE}"
HEADER = (
    "Authorization header requires 'Date'. Authorization=AWS4-HMAC-SHA256"
    f" Credential={ACCESS_KEY}/20260101/us-east-1/logs/aws4_request, Signature=zq-password"
)


@dataclass(frozen=True)
class Trouble:
    """
    What goes wrong, and how it is called where it is told.
    """

    called: str
    fault: Fault | None = None
    environment: dict[str, str] = field(default_factory=dict)
    config: str = ""


DEAD = "127.0.0.1:9"
TROUBLES = {
    "signature": Trouble("InvalidSignature", error("InvalidSignatureException", message=CANONICAL)),
    "validation": Trouble("Value at", error("InvalidParameterException", message=QUOTED)),
    "cut short": Trouble("Value", error("InvalidParameterException", message=CUT_SHORT)),
    "header": Trouble("Incomplete", error("IncompleteSignatureException", message=HEADER)),
    "client": Trouble(
        "UnrecognizedClient",
        error("UnrecognizedClientException", message=f"The token {ACCESS_KEY} is invalid"),
    ),
    "denied": Trouble(
        "arn:aws:iam::1:user/x",
        error("AccessDeniedException", message="User: arn:aws:iam::1:user/x is not authorized"),
    ),
    "5xx": Trouble("503", status(503, f"<html>{TOKEN}</html>")),
    "a 200 that is none": Trouble("ResponseParser", status(200, f"<html>{MESSAGE}</html>")),
    "proxy": Trouble(
        "proxy",
        environment={
            "HTTP_PROXY": f"http://proxy-user:{PASSWORD}@{DEAD}",
            "HTTPS_PROXY": f"http://proxy-user:{PASSWORD}@{DEAD}",
            "NO_PROXY": "",
            "no_proxy": "",
        },
    ),
    "proxy whose user is http": Trouble(
        "proxy",
        environment={
            "HTTP_PROXY": f"http://http:{PASSWORD}@{DEAD}",
            "NO_PROXY": "",
            "no_proxy": "",
        },
    ),
    "endpoint": Trouble(
        "endpoint",
        environment={"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": f"http://user:{PASSWORD}@{DEAD}"},
    ),
    "helper": Trouble(
        "CredentialRetrievalError",
        environment={"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
        config="[default]\ncredential_process = sh -c 'echo zq-helper >&2; exit 1'\n",
    ),
    "engine": Trouble(
        "no engine at",
        environment={"DOCKER_HOST": f"tcp://user:{PASSWORD}@{DEAD}", "SPOOL_SOURCE": "auto"},
    ),
}


@pytest.fixture
def lax_endpoint() -> Iterator[Endpoint]:
    """
    One that takes any credentials.
    """
    with Endpoint(verify_signature=False) as running:
        yield running


def secretive_container(containers: Path) -> LogWriter:
    container = LogWriter(containers, WEB, "web")
    path = container.folder / "config.v2.json"
    config = json.loads(path.read_text())
    config["Config"]["Env"] = ["PASSWORD=zq-container-environment"]
    config["Config"]["Labels"] = {"password": "zq-label"}
    path.write_text(json.dumps(config))
    container.write(MESSAGE, f"{MESSAGE} two")
    return container


@pytest.mark.parametrize(
    ("debug", "log_format"), [("", "text"), ("1", "json")], ids=["text", "debug-json"]
)
@pytest.mark.parametrize("name", TROUBLES)
def test_no_secret_is_told(
    lax_endpoint: Endpoint,
    tmp_path: Path,
    db: Path,
    containers: Path,
    name: str,
    debug: str,
    log_format: str,
) -> None:
    trouble = TROUBLES[name]
    if trouble.fault:
        lax_endpoint.fail_always(trouble.fault, "PutLogEvents")
    (tmp_path / "config").write_text(trouble.config)
    secretive_container(containers)
    environment = {
        **lax_endpoint.environment(),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_SESSION_TOKEN": TOKEN,
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "DATABASE_PASSWORD": "zq-agent-environment",
        "DEBUG": debug,
        "SPOOL_LOG_FORMAT": log_format,
        **trouble.environment,
    }
    options = ("--source", trouble.environment.get("SPOOL_SOURCE", "files"))
    with Agent(db, containers, environment, options=options) as agent:
        wait_until(lambda: trouble.called in "".join([agent.log.read_text(), *errors(db)]))
        wait_until(lambda: MESSAGE in messages(db))
        agent.stop()
        text = told(agent)
    assert [secret for secret in SECRETS if secret in text] == []
    assert "Traceback" not in text


def told(agent: Agent) -> str:
    """
    The agent's log, and what commands and the file say of errors.
    """
    shown = [
        done.stdout + done.stderr
        for arguments in (("status",), ("status", "--json"), ("batches", "--format", "jsonl"))
        for done in [spool(*arguments, "--db", agent.db)]
    ]
    return "\n".join([agent.log.read_bytes().decode(), *shown, *errors(agent.db)])


def errors(db: Path) -> list[str]:
    if not db.exists():
        return []
    with closing(sqlite3.connect(db)) as connection:
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if not tables:
            return []
        return [
            str(row[0])
            for row in connection.execute(
                "SELECT error FROM batch UNION ALL SELECT error FROM stream"
                " UNION ALL SELECT reason FROM rejection UNION ALL SELECT reason FROM skipped"
            )
        ]


def messages(db: Path) -> str:
    """
    The messages, which are where they belong.
    """
    with closing(sqlite3.connect(db)) as connection:
        return " ".join(row[0] for row in connection.execute("SELECT message FROM event"))
