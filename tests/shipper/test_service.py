"""
The way to the service: proxies, endpoints and credentials as boto3 finds them, and answers that
are none.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cloudwatch_endpoint import Endpoint, status

from shipper.cloudwatch import CloudWatch
from shipper.errors import Action, DeliveryError


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """
    The address, host and port, of a server of these.
    """
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def use(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def put(cloudwatch: CloudWatch) -> str:
    events = json.dumps([{"timestamp": cloudwatch.now_ms(), "message": "hello"}])
    return cloudwatch.put("group", "web", events, events=1).request_id


class Tunnel(BaseHTTPRequestHandler):
    """
    A proxy that carries bytes to and fro, for who knows the password.
    """

    protocol_version = "HTTP/1.1"
    tunnelled: list[str] = []  # noqa: RUF012 - one for each test

    def do_CONNECT(self) -> None:
        if self.headers["Proxy-Authorization"] != "Basic bWU6aXQ=":
            self.send_error(407)
            return
        type(self).tunnelled.append(self.path)
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as upstream:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=carry, args=(upstream, self.connection))
            back.start()
            carry(self.connection, upstream)
            back.join()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def carry(source: socket.socket, target: socket.socket) -> None:
    """
    Until one of them has had enough.
    """
    try:
        while piece := source.recv(65_536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def test_a_request_takes_the_proxy_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class OurTunnel(Tunnel):
        tunnelled: list[str] = []  # noqa: RUF012 - this test's

    with Endpoint(tls=True) as endpoint, serving(OurTunnel) as proxy:
        endpoint.create("group", "web")
        use(monkeypatch, endpoint.environment())
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:it@{proxy}")
        cloudwatch = CloudWatch("us-east-1", connections=1)
        assert put(cloudwatch)
        assert put(cloudwatch)
        assert len(OurTunnel.tunnelled) == 1, "one connection carries both"
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert put(CloudWatch("us-east-1", connections=1))
        assert len(OurTunnel.tunnelled) == 1


def test_an_authority_that_nobody_named_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    with Endpoint(tls=True) as endpoint:
        use(monkeypatch, endpoint.environment())
        monkeypatch.delenv("AWS_CA_BUNDLE")
        with pytest.raises(DeliveryError, match="CERTIFICATE_VERIFY_FAILED") as caught:
            put(CloudWatch("us-east-1", connections=1))
        assert caught.value.action is Action.WAIT
        assert endpoint.calls == []


@pytest.mark.parametrize("url", ["localhost:4566", "not a url"])
def test_an_endpoint_that_is_no_url_waits_for_somebody_to_mend_it(
    cloudwatch: CloudWatch, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", url)
    with pytest.raises(DeliveryError, match=f"Invalid endpoint: {url}") as caught:
        put(cloudwatch)
    assert (caught.value.action, caught.value.is_general) == (Action.OPERATOR, True)


@pytest.fixture
def asked() -> Iterator[tuple[str, list[tuple[str, Message]]]]:
    """
    The address of a server that takes everything, and paths and headers of what came there.
    """
    seen: list[tuple[str, Message]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append((self.path, self.headers))
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("x-amzn-RequestId", "one")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as address:
        yield address, seen


def test_the_token_of_a_session_is_sent_and_signed(
    asked: tuple[str, list[tuple[str, Message]]],
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, seen = asked
    use(monkeypatch, {**endpoint.environment(), "AWS_SESSION_TOKEN": "of+this/session=="})
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", f"http://{address}")
    assert put(CloudWatch("us-east-1", connections=1)) == "one"
    (_, headers) = seen[0]
    assert headers["x-amz-security-token"] == "of+this/session=="
    assert "x-amz-security-token" in headers["Authorization"]


def test_an_endpoint_may_have_a_path(
    asked: tuple[str, list[tuple[str, Message]]],
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, seen = asked
    use(monkeypatch, endpoint.environment())
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", f"http://{address}/to/logs")
    assert put(CloudWatch("us-east-1", connections=1)) == "one"
    assert [(path, headers["Host"]) for path, headers in seen] == [("/to/logs", address)]


@pytest.mark.parametrize(
    "body", [b"verwehrt f\xfcr Sie", b"\xff\xfe\x00", b"[1]", b'"no"', b"{}", b'{"__type": 7}']
)
def test_an_error_page_of_any_encoding_is_an_error_like_others(
    cloudwatch: CloudWatch, endpoint: Endpoint, body: bytes
) -> None:
    endpoint.create("group", "web")
    endpoint.fail_next(status(403, body))
    with pytest.raises(DeliveryError) as caught:
        put(cloudwatch)
    assert caught.value.action is Action.WAIT
    assert "403" in str(caught.value)
    assert put(cloudwatch), "the next one goes through"
