"""
The metadata service, played by real servers: a decent one, and all that may stand in its place.
"""

import contextlib
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.ec2 import FAILURE_KEPT_S, REPLY_LIMIT_BYTES, TOTAL_TIMEOUT_S, Metadata, find_region
from shipper.errors import RouteError
from shipper.route import Route

INSTANCE_ID = "i-0123456789abcdef0"
SOON_S = 0.4  # for one lookup, where it is the waiting that is tested
LONG_S = 60.0  # for one, where it is not: on a machine that others load


class Service:
    """
    An instance's metadata service, with its faults as settings.
    """

    def __init__(self):
        self.token_status = 200
        self.v1 = False
        self.values = {"instance-id": INSTANCE_ID, "placement/region": "eu-central-1"}
        self.redirect = ""
        self.seen = []
        self.url = ""

    def answer(self, method, path, headers):
        self.seen.append((method, path))
        if self.redirect:
            return 302, ""
        if path == "/latest/api/token":
            lifetime_s = int(headers.get("X-aws-ec2-metadata-token-ttl-seconds", "0"))
            legal = method == "PUT" and 1 <= lifetime_s <= 21600
            return (self.token_status, "a-token==") if legal else (400, "")
        token = headers.get("X-aws-ec2-metadata-token")
        if token != "a-token==" and not (self.v1 and token is None):
            return 401, ""
        value = self.values.get(path.removeprefix("/latest/meta-data/"))
        return (404, "") if value is None else (200, value)


@pytest.fixture
def service():
    """
    A service that answers, at `service.url`.
    """
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self):
            status, body = service.answer(self.command, self.path, self.headers)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body.encode())))
            if service.redirect:
                self.send_header("Location", service.redirect)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body.encode())

        do_GET = do_PUT = reply  # noqa: N815 (the names http.server calls)

        def log_message(self, *_args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_port}"
    yield service
    server.shutdown()
    thread.join()
    server.server_close()


@contextlib.contextmanager
def raw_server(handle):
    """
    The URL of a server that does *handle* with each connection, and the number of connections.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.02)
    over = threading.Event()
    counts = []

    def serve():
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                peer, _ = listener.accept()
                counts.append(1)
                with peer, contextlib.suppress(OSError):
                    peer.settimeout(LONG_S)
                    peer.recv(65536)
                    handle(peer, over)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", counts
    finally:
        over.set()
        thread.join()
        listener.close()


def metadata(url, *, use_ec2=True, timeout_s=LONG_S, clock=time.monotonic, **environ):
    environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = url
    return Metadata(environ, use_ec2=use_ec2, timeout_s=timeout_s, clock=clock)


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


# A decent service


def test_id_and_region_are_found_with_a_token(service):
    found = metadata(service.url)
    assert found.instance_id() == INSTANCE_ID
    assert found.region() == "eu-central-1"


def test_nothing_is_asked_before_it_is_needed_and_everything_only_once(service):
    found = metadata(service.url)
    assert service.seen == []
    assert {found.region() for _ in range(3)} == {"eu-central-1"}
    assert found.instance_id() == INSTANCE_ID
    assert service.seen == [
        ("PUT", "/latest/api/token"),
        ("GET", "/latest/meta-data/instance-id"),
        ("GET", "/latest/meta-data/placement/region"),
    ]


def test_many_threads_share_one_lookup(service):
    found = metadata(service.url)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(found.region())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["eu-central-1"] * 8
    assert len(service.seen) == 3


def test_an_endpoint_may_have_a_path_and_a_slash_at_its_end(service):
    assert metadata(f" {service.url}/ ").region() == "eu-central-1"
    assert metadata(f"{service.url}/of/mine/").region() is None
    assert service.seen[-1] == ("PUT", "/of/mine/latest/api/token")


def test_no_proxy_is_asked_for_an_address_of_this_host(service, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert metadata(service.url).region() == "eu-central-1"


# Switched off


@pytest.mark.parametrize("disabled", ["true", "TRUE", " true "])
def test_nothing_is_asked_where_metadata_is_disabled(service, disabled):
    found = metadata(service.url, AWS_EC2_METADATA_DISABLED=disabled)
    assert found.instance_id() is None
    assert found.region() is None
    assert service.seen == []


def test_nothing_is_asked_with_noec2(service):
    assert metadata(service.url, use_ec2=False).region() is None
    assert service.seen == []


# Version 1


@pytest.mark.parametrize("status", [403, 404, 405])
def test_version_1_is_tried_where_tokens_are_refused(service, status):
    service.token_status, service.v1 = status, True
    assert metadata(service.url).region() == "eu-central-1"


@pytest.mark.parametrize("status", [400, 500, 503])
def test_version_1_is_not_tried_after_any_other_error(service, status):
    service.token_status, service.v1 = status, True
    assert metadata(service.url).region() is None
    assert len(service.seen) == 1


def test_version_1_is_not_tried_where_it_is_disabled(service):
    service.token_status, service.v1 = 403, True
    assert metadata(service.url, AWS_EC2_METADATA_V1_DISABLED="true").region() is None
    assert len(service.seen) == 1


def test_version_1_is_tried_where_the_token_cannot_reach_a_container():
    """A hop limit of 1: the request for a token is never answered, the others are."""
    requests = []

    def handle(peer, _over):
        requests.append(1)
        if len(requests) == 1:
            peer.recv(1)  # until the client gives it up
        else:
            body = INSTANCE_ID if len(requests) == 2 else "us-west-2"
            peer.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

    with raw_server(handle) as (url, _):
        found = metadata(url, timeout_s=4)  # half of it for the token
        assert found.instance_id() == INSTANCE_ID
        assert found.region() == "us-west-2"


# Failures


def test_after_a_failure_nothing_is_asked_for_a_while(service):
    clock = Clock()
    service.token_status = 500
    found = metadata(service.url, clock=clock)
    assert found.region() is None
    clock.now_s = FAILURE_KEPT_S - 0.001
    assert found.region() is None
    assert found.instance_id() is None
    assert len(service.seen) == 1
    service.token_status = 200
    clock.now_s = FAILURE_KEPT_S
    assert found.region() == "eu-central-1"


def test_what_was_found_is_kept_while_the_rest_is_asked_for_again(service):
    clock = Clock()
    del service.values["placement/region"]
    found = metadata(service.url, clock=clock)
    assert found.region() is None
    assert found.instance_id() == INSTANCE_ID
    service.values = {"placement/region": "eu-west-1", "instance-id": "i-00000000"}
    clock.now_s = FAILURE_KEPT_S
    assert found.region() == "eu-west-1"
    assert found.instance_id() == INSTANCE_ID


def test_a_failure_is_told_in_the_log_once_however_often_it_is_asked(service, caplog):
    clock = Clock()
    service.token_status = 500
    found = metadata(service.url, clock=clock)
    for lookup in range(3):
        clock.now_s = lookup * FAILURE_KEPT_S
        assert found.region() is found.instance_id() is None
    assert len(service.seen) == 3
    assert len(caplog.messages) == 1
    assert "set NOEC2" in caplog.messages[0]


def test_a_closed_port_is_no_metadata_at_once():
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))  # and never listens
        started_s = time.monotonic()
        assert metadata(f"http://127.0.0.1:{unheard.getsockname()[1]}").region() is None
        assert time.monotonic() - started_s < LONG_S / 2


def test_a_service_that_hangs_costs_no_more_than_the_time_allowed():
    with raw_server(lambda _peer, over: over.wait(LONG_S)) as (url, _):
        started_s = time.monotonic()
        assert metadata(url, timeout_s=SOON_S).instance_id() is None
        assert SOON_S * 0.9 < time.monotonic() - started_s < LONG_S / 2


def test_a_service_that_drips_costs_no_more_than_the_time_allowed():
    def handle(peer, over):
        while not over.wait(0.02):
            peer.sendall(b"x")

    with raw_server(handle) as (url, _):
        started_s = time.monotonic()
        assert metadata(url, timeout_s=SOON_S).instance_id() is None
        assert time.monotonic() - started_s < LONG_S / 2


def test_the_time_allowed_is_short():
    assert TOTAL_TIMEOUT_S <= 2


def test_a_redirect_is_not_followed(service):
    service.redirect = service.url + "/elsewhere"
    assert metadata(service.url).region() is None
    assert {path for _, path in service.seen} == {"/latest/api/token"}


@pytest.mark.parametrize(
    "value",
    [
        "",
        "<html>",
        "i-XYZ",
        "eu-central-1; rm",
        "../..",
        "x" * REPLY_LIMIT_BYTES,
        "ü",
        "i-0123\n4567",
        "eu-central-1".ljust(REPLY_LIMIT_BYTES + 1),
        "x" * 10_000_000,
    ],
)
def test_an_answer_without_the_right_shape_is_thrown_away(service, value):
    service.values = {"instance-id": value, "placement/region": value}
    found = metadata(service.url)
    assert found.instance_id() is None
    assert found.region() is None


def test_an_answer_cut_short_is_thrown_away():
    def handle(peer, _over):
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\ni-01234567")

    with raw_server(handle) as (url, _):
        assert metadata(url).instance_id() is None


def test_a_reply_with_too_many_bytes_of_headers_is_thrown_away():
    def handle(peer, _over):
        filler = (b"X-Filler: " + b"x" * 1000 + b"\r\n") * 20
        peer.sendall(b"HTTP/1.1 200 OK\r\n" + filler + b"Content-Length: 9\r\n\r\nus-west-2")

    with raw_server(handle) as (url, _):
        assert metadata(url).region() is None


def test_headers_without_end_are_cut_off():
    def handle(peer, over):
        peer.sendall(b"HTTP/1.1 200 OK\r\n")
        while not over.is_set():
            peer.sendall(b"X-Filler: " + b"x" * 4096 + b"\r\n")

    with raw_server(handle) as (url, _):
        assert metadata(url).instance_id() is None


def test_garbage_of_any_kind_is_no_metadata():
    reply = [b""]

    @settings(max_examples=60)
    @given(
        st.one_of(
            st.binary(max_size=200),
            st.binary(max_size=200).map(lambda data: b"HTTP/1.1 200 OK\r\n" + data),
            st.binary(max_size=200).map(
                lambda data: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n" + data
            ),
        )
    )
    def holds(data):
        reply[0] = data
        assert metadata(url, timeout_s=SOON_S).region() is None

    with raw_server(lambda peer, _over: peer.sendall(reply[0])) as (url, _):
        holds()


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://127.0.0.1",
        "127.0.0.1",
        "http://",
        "http://[",
        "http://h:99999",
        "http://a b",
        "http://127.0.0.1:1/ü",
        "http://127.0.0.1:1/a b",
        "http://" + "a" * 300,
        "http://\udcff",
    ],
)
def test_an_endpoint_that_is_none_is_no_metadata(endpoint):
    assert metadata(endpoint, timeout_s=SOON_S).region() is None


# The region to send to


class Known:
    """
    Metadata that know a region, or are not to be asked.
    """

    def __init__(self, region=None, *, may_be_asked=True):
        self._region = region
        self._may_be_asked = may_be_asked

    def region(self):
        assert self._may_be_asked
        return self._region


UNASKED = Known(may_be_asked=False)
EVERYWHERE = {"AWS_REGION": "us-west-1", "AWS_DEFAULT_REGION": "us-west-2"}


def test_the_region_of_the_route_is_taken_and_nobody_is_asked():
    route = Route(region="eu-west-1")
    assert find_region(route, UNASKED, environ=EVERYWHERE) == "eu-west-1"


def test_the_region_of_the_instance_comes_before_the_environments():
    assert find_region(Route(), Known("eu-west-2"), environ=EVERYWHERE) == "eu-west-2"


def test_with_noec2_the_instance_is_not_asked():
    assert find_region(Route(use_ec2=False), UNASKED, environ=EVERYWHERE) == "us-west-1"


def test_the_environment_comes_before_the_profile():
    def configured():
        return "eu-west-3"

    blank = {"AWS_REGION": " ", "AWS_DEFAULT_REGION": "us-west-2"}
    assert find_region(Route(), Known(), environ=blank, configured=configured) == "us-west-2"
    assert find_region(Route(), Known(), environ={}, configured=configured) == "eu-west-3"


def test_no_region_anywhere_is_an_error_that_says_where_to_write_one():
    with pytest.raises(RouteError) as caught:
        find_region(Route(), Known(), environ={})
    assert str(caught.value) == (
        "the AWS region is not known; write it into the route, as in cloudwatch://us-east-1,"
        " or set AWS_REGION"
    )


def test_a_region_that_is_none_is_refused_by_its_place_and_not_shown():
    with pytest.raises(RouteError, match=r"^AWS_REGION in the environment is no region") as caught:
        find_region(Route(), Known(), environ={"AWS_REGION": "hunter2"})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(RouteError, match=r"^the region of the AWS profile is no region"):
        find_region(Route(), Known(), environ={}, configured=lambda: "Mars")
