"""
Docker's Engine API: which containers there are, who they are, and the bytes of their logs.

Comes in: the engine's address. Goes out: containers, answers and streams as bytes. Always holds:
every wait has an end, also when the engine hangs; `close` cuts what is open. Errors of docker's
client, of requests and of sockets are translated here (engine_wire.py has the tree).

docker's client finds the engine, lists and inspects. Logs are read beside it: it gives them frame
by frame, those of a terminal byte by byte, and switches the time limit off. An answer is asked for
by HTTP/1.1, whose chunks tell its end from a cut. A stream that is followed is asked for by
HTTP/1.0, which has no chunks: what its socket gives is the engine's bytes.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import docker
import requests
from docker.errors import APIError, DockerException
from docker.tls import TLSConfig
from docker.utils import kwargs_from_env

from shipper.containers import Container, container_from_inspect, table
from shipper.plain_files import open_plain
from shipper.sources.engine_wire import (
    MAX_HEAD_BYTES,
    TIMEOUT_S,
    CertificatesUnusable,
    ContainerGone,
    EngineUnavailable,
    LogsUnreadable,
    Opened,
    dial,
    error_of,
    read_head,
)

__all__ = ["Engine", "Found", "default_base_url"]

DEFAULT_BASE_URL = "unix:///var/run/docker.sock"
LOGSPOUT_SOCKET = Path("/tmp/docker.sock")  # noqa: S108 - where logspout's users mount it

ANSWER_BYTES = 1_000_000
NEVER = "0001-"
EVENTS = {"type": ["container"], "event": ["create", "start", "die", "destroy", "rename"]}


@dataclass(frozen=True, slots=True)
class Found:
    """
    What an inspection says: who the container is, and what matters for reading its log. `created`
    is the engine's time, RFC 3339.
    """

    container: Container
    created: str
    was_started: bool
    removes_itself: bool
    is_restarting: bool


class Engine:
    """
    The engine that the environment names. Its methods may be called from any thread, after
    `connect`.
    """

    def __init__(self) -> None:
        self.base_url = default_base_url()
        self._tls: TLSConfig | None = None
        self._tls_context: ssl.SSLContext | None = None
        self._client: docker.APIClient | None = None
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_closed = False

    def connect(self) -> None:
        """
        Find the engine and agree on a version of the API. Raises `EngineUnavailable`, and of these
        `CertificatesUnusable`.
        """
        if self._client:
            self._client.close()
        with _translated():
            self._tls, self._tls_context = _certificates()
            self.hang_up(self.dial())  # docker's client leaves a socket open where none answers
            self._client = docker.APIClient(
                base_url=self.base_url, version="auto", timeout=TIMEOUT_S, tls=self._tls or False
            )

    def close(self) -> None:
        """
        End all that is under way, in whatever thread.
        """
        with self._lock:
            self._is_closed = True
            for opened in self._sockets:
                with suppress(OSError):
                    opened.shutdown(socket.SHUT_RDWR)
        if self._client:
            self._client.close()

    def version(self) -> str:
        """
        The engine's own, such as 28.2.2. Raises `EngineUnavailable`.
        """
        with _about_no_container(), _translated():
            return str(self._connected().version(api_version=False)["Version"])

    def containers(self) -> dict[str, tuple[str, ...]]:
        """
        All containers by id, with what tells when they must be inspected again: names and state.
        Raises `EngineUnavailable`.
        """
        with _about_no_container(), _translated():
            listed = self._connected().containers(all=True)
            return {str(c["Id"]): (*map(str, c["Names"] or ()), str(c["State"])) for c in listed}

    def inspect(self, container_id: str) -> Found:
        """
        Raises `ContainerGone`, `EngineUnavailable`.
        """
        with _translated():
            data = table(self._connected().inspect_container(container_id))
            state = table(data.get("State"))
            return Found(
                container_from_inspect(data),
                created=str(data.get("Created") or ""),
                was_started=not str(state.get("StartedAt") or NEVER).startswith(NEVER),
                removes_itself=table(data.get("HostConfig")).get("AutoRemove") is True,
                is_restarting=state.get("Restarting") is True,
            )

    @contextmanager
    def answer(self, container_id: str, asked: Mapping[str, str]) -> Iterator[Iterator[bytes]]:
        """
        A container's log as it is now, in pieces of up to ANSWER_BYTES.

        Raises `ContainerGone`, `LogsUnreadable`, `EngineUnavailable`, also between two pieces.
        """
        connection = _Connection(self)
        try:
            with _translated():
                connection.request("GET", self._logs_path(container_id, asked))
                response = connection.getresponse()
                if response.status != requests.codes.ok:
                    raise error_of(response.status, response.read(MAX_HEAD_BYTES))
            yield _pieces(response)
        finally:
            connection.close()
            if connection.opened:
                self.hang_up(connection.opened)

    def follow(self, container_id: str, *, tail: str) -> Opened:
        """
        A stream of the container's log; it ends with the container's run. Raises as `answer`.
        """
        return self._open(self._logs_path(container_id, {"follow": "1", "tail": tail}))

    def events(self) -> Opened:
        """
        A stream of what happens to containers, one JSON object each. Raises `EngineUnavailable`.
        """
        with _about_no_container():
            return self._open(self._path("/events", {"filters": json.dumps(EVENTS)}))

    def dial(self) -> socket.socket:
        """
        A connection to the engine, which `close` ends. Raises OSError.
        """
        opened = dial(self.base_url, self._tls_context)
        with self._lock:
            self._sockets.add(opened)
            if self._is_closed:
                opened.shutdown(socket.SHUT_RDWR)
        return opened

    def hang_up(self, opened: socket.socket) -> None:
        """
        End a connection.
        """
        with self._lock:
            self._sockets.discard(opened)
        opened.close()

    def _open(self, path: str) -> Opened:
        with _translated():
            opened = self.dial()
            try:
                opened.sendall(f"GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
                return Opened(opened, read_head(opened))
            except BaseException:
                self.hang_up(opened)
                raise

    def _connected(self) -> docker.APIClient:
        if self._client is None:
            raise EngineUnavailable("not connected")
        return self._client

    def _path(self, path: str, asked: Mapping[str, str]) -> str:
        return f"/v{self._connected().api_version}{path}?{urlencode(asked)}"

    def _logs_path(self, container_id: str, asked: Mapping[str, str]) -> str:
        always = {"stdout": "1", "stderr": "1", "timestamps": "1"}
        return self._path(f"/containers/{container_id}/logs", {**always, **asked})


class _Connection(HTTPConnection):
    """
    HTTP/1.1 over whatever leads to the engine.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__("docker")
        self.opened: socket.socket | None = None
        self._engine = engine

    def connect(self) -> None:
        """
        Called by http.client.
        """
        self.sock = self.opened = self._engine.dial()


def default_base_url() -> str:
    """
    DOCKER_HOST, or the usual socket, or logspout's where only that exists.
    """
    if named := os.environ.get("DOCKER_HOST"):
        return named
    if not Path(urlsplit(DEFAULT_BASE_URL).path).exists() and LOGSPOUT_SOCKET.exists():
        return f"unix://{LOGSPOUT_SOCKET}"
    return DEFAULT_BASE_URL


def _certificates() -> tuple[TLSConfig | None, ssl.SSLContext | None]:
    """
    For docker's client and for what is asked beside it; None where the environment names none.
    """
    try:
        tls = kwargs_from_env().get("tls")
        return tls, _tls_context(tls) if tls else None
    except (DockerException, OSError) as error:
        raise CertificatesUnusable(f"DOCKER_CERT_PATH: {_why_unusable(error)}") from error


def _why_unusable(error: Exception) -> str:
    """
    The first file that cannot be read, and why: docker's client does not name it, nor does ssl.
    """
    usual = os.path.expanduser("~/.docker")  # noqa: PTH111 - Path's raises where nobody has a home
    folder = Path(os.environ.get("DOCKER_CERT_PATH") or usual)
    verified = ("ca.pem",) if os.environ.get("DOCKER_TLS_VERIFY") else ()
    for path in (folder / name for name in ("cert.pem", "key.pem", *verified)):
        try:
            os.close(open_plain(str(path)))
        except OSError as unread:
            return f"{path} cannot be used: {unread.strerror}"
    return f"{folder} cannot be used: {error}"


def _tls_context(tls: TLSConfig) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_cert if tls.verify else None)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert:
        context.load_cert_chain(*tls.cert)
    return context


def _pieces(response: HTTPResponse) -> Iterator[bytes]:
    while True:
        with _translated():
            data = response.read(ANSWER_BYTES)
        if not data:
            return
        yield data


@contextmanager
def _translated() -> Iterator[None]:
    """
    Errors of docker's client, of requests and of sockets as our own.
    """
    try:
        yield
    except APIError as error:
        raise error_of(error.status_code or 0, str(error.explanation).encode()) from error
    except (DockerException, requests.RequestException, OSError, HTTPException) as error:
        raise EngineUnavailable(str(error) or type(error).__name__) from error
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise EngineUnavailable(f"an answer that is not the Engine API's: {error!r}") from error


@contextmanager
def _about_no_container() -> Iterator[None]:
    """
    A status that speaks of a container where none was named: whoever answers is no engine.
    """
    try:
        yield
    except (ContainerGone, LogsUnreadable) as error:
        raise EngineUnavailable(str(error)) from error
