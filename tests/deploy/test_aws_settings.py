"""
The settings that docs/deploy.md names are read, by the client that the agent has.
"""

from __future__ import annotations

import json
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import boto3
import botocore
import pytest

from shipper.service import Service

DOCUMENT = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text()
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def endpoint_url(monkeypatch: pytest.MonkeyPatch, region: str, **environ: str) -> str:
    for name, value in {**KEYS, **environ}.items():
        monkeypatch.setenv(name, value)
    url: str = Service(region, connections=1).url()
    return url


@pytest.mark.parametrize(
    ("region", "environ", "url"),
    [
        ("us-east-1", {}, "https://logs.us-east-1.amazonaws.com"),
        (
            "us-east-1",
            {"AWS_USE_FIPS_ENDPOINT": "true"},
            "https://logs-fips.us-east-1.amazonaws.com",
        ),
        ("eu-west-1", {"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "https://logs.eu-west-1.api.aws"),
        (
            "us-east-1",
            {
                "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": "https://vpce-1a2b.logs.us-east-1.vpce.amazonaws.com"
            },
            "https://vpce-1a2b.logs.us-east-1.vpce.amazonaws.com",
        ),
        ("cn-north-1", {}, "https://logs.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_an_endpoint_is_chosen_as_documented(
    monkeypatch: pytest.MonkeyPatch, region: str, environ: dict[str, str], url: str
) -> None:
    assert endpoint_url(monkeypatch, region, **environ) == f"{url}/"
    for name in environ:
        assert name in DOCUMENT


def credentials(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]) -> Any:
    """
    What boto3 would get credentials from; it is not asked for them.
    """
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
        assert name in DOCUMENT
    return boto3.Session(region_name="us-east-1").get_credentials()


def test_a_service_account_has_the_role_of_its_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("a.b.c")
    environ = {
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        "AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/spool",
    }
    assert credentials(monkeypatch, environ).method == "assume-role-with-web-identity"


def test_a_profile_takes_a_role(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    As the document has it; without an instance here, from the keys of another profile. Keys in the
    environment come first.
    """
    [shown] = re.findall(r"```ini\n(.*?)```", DOCUMENT, re.DOTALL)
    source = "credential_source = Ec2InstanceMetadata"
    assert source in shown
    (tmp_path / "config").write_text(shown.replace(source, "source_profile = keys"))
    (tmp_path / "credentials").write_text(
        "[keys]\naws_access_key_id = a\naws_secret_access_key = s\n"
    )
    [profile] = re.findall(r"^\[profile (\w+)\]", shown, re.MULTILINE)
    assert credentials(monkeypatch, {"AWS_PROFILE": profile}).method == "assume-role"
    assert credentials(monkeypatch, KEYS).method == "env"


class CredentialsAgent(BaseHTTPRequestHandler):
    """
    In place of that of EKS Pod Identity, or of ECS.
    """

    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Authorization"]))
        answer = {"AccessKeyId": "a", "SecretAccessKey": "s", "Token": "t"}
        body = json.dumps({**answer, "Expiration": "2999-01-01T00:00:00Z"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_a_pod_identity_asks_its_agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    A task of ECS does likewise, with AWS_CONTAINER_CREDENTIALS_RELATIVE_URI at an address of ECS.
    """
    token = tmp_path / "token"
    token.write_text("pod's token")
    with ThreadingHTTPServer(("127.0.0.1", 0), CredentialsAgent) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        environ = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{server.server_port}/v1",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token),
        }
        found = credentials(monkeypatch, environ)
        server.shutdown()
        thread.join()
    assert (found.method, found.access_key) == ("container-role", "a")
    assert CredentialsAgent.asked == [("/v1", "pod's token")]


def test_every_variable_in_the_document_is_botocores_or_ours() -> None:
    """
    None is made up.
    """
    text = "".join(
        (Path(botocore.__file__).parent / name).read_text()
        for name in ("credentials.py", "configprovider.py", "utils.py", "session.py")
    )
    for name in set(re.findall(r"AWS_[A-Z0-9_]+", DOCUMENT)):
        is_service_url = name == "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"  # made of the service's name
        assert is_service_url or name in text, name
