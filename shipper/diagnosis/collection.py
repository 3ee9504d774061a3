"""
The containers folder, that of pods, the engine, and what of the containers is collected.

Comes in: the folders, `--source`, the agent's rules. Always holds: the one way is only called a
failure where the other does not do instead; no line of a log is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shipper.containers import CONTAINER_ID, Container, read_container
from shipper.diagnosis.case import Case
from shipper.diagnosis.finding import Finding, State, ok, skipped, warning
from shipper.diagnosis.mounts import is_in_container, selinux_hint
from shipper.diagnosis.waiting import within
from shipper.pods import container_folders
from shipper.redaction import redacted
from shipper.roster import inspected, roster
from shipper.sources.engine_api import Engine, default_base_url
from shipper.sources.engine_wire import CertificatesUnusable, EngineError

__all__ = ["collection"]

ENGINE_S = 2.5


@dataclass(frozen=True, slots=True)
class _Way:
    """
    One of the ways to the containers: what was found, and the remedy where it is shut.
    """

    containers: tuple[Container, ...]
    found: str
    remedy: str | None = None

    @property
    def is_open(self) -> bool:
        return self.remedy is None

    def finding(self, check: str, *, otherwise: State) -> Finding:
        return Finding(check, State.OK if self.is_open else otherwise, self.found, self.remedy)


def collection(case: Case) -> Iterator[Finding]:
    """
    Findings `containers`, `pods` where there are such, `docker`, `collection`.
    """
    if case.source == "none":
        yield skipped("containers", "nothing is collected with --source none")
        return
    disk = _disk(case.containers_dir) if case.source != "api" else None
    pods = _pods(case) if case.source != "api" else None
    if disk and not disk.is_open and pods and pods.is_open:
        yield skipped("containers", f"{disk.found}; the pods of this node have their own")
        yield pods.finding("pods", otherwise=State.FAILED)
        yield skipped("docker", "the engine is not needed for pods")
        yield _collected(case, None)
        return
    engine = _engine(disk.containers if disk else ()) if case.source != "files" else None
    yield _disk_finding(disk, engine)
    if pods:
        yield pods.finding("pods", otherwise=State.FAILED)
    yield _engine_finding(case, engine, disk)
    if any(way and way.is_open for way in (disk, pods, engine)):
        yield _collected(case, engine)


def _disk_finding(disk: _Way | None, engine: _Way | None) -> Finding:
    if disk is None:
        return skipped("containers", "their folder is not needed with --source api")
    can_do_without = engine is not None and engine.is_open
    return disk.finding("containers", otherwise=State.WARNING if can_do_without else State.FAILED)


def _engine_finding(case: Case, engine: _Way | None, disk: _Way | None) -> Finding:
    if engine is None:
        return skipped("docker", "the engine is not needed with --source files")
    if engine.remedy is None or disk is None or not disk.is_open:
        return engine.finding("docker", otherwise=State.FAILED)
    missed = [one for one in disk.containers if case.chooser.choose(one).source == "api"]
    if missed:
        told = f"{engine.found}; it alone can read the logs of {len(missed):,} containers"
        return warning("docker", told, engine.remedy)
    return skipped("docker", f"{engine.found}; not needed, as all containers have files")


def _collected(case: Case, engine: _Way | None) -> Finding:
    engines = engine.containers if engine and engine.is_open else None
    entries = roster(case.containers_dir, case.pods_dir, case.chooser, case.namer, engines=engines)
    taken = [entry for entry in entries if entry.collected]
    case.containers = len(taken)
    case.groups.update(entry.group for entry in taken)
    by_source = Counter(entry.source for entry in taken)
    found = (
        f"{len(taken):,} of {len(entries):,} containers: {by_source['files']:,} from files,"
        f" {by_source['api']:,} through the engine"
    )
    odd = [entry for entry in taken if entry.error]
    if odd:
        told = f"{found}; the names of {len(odd):,} are not as their templates say"
        return warning("collection", told, "`spool names` tells why; mend the templates")
    return ok("collection", found)


# --- the folder ---------------------------------------------------------------------------------


def _disk(folder: Path) -> _Way:
    try:
        found = [path for path in folder.iterdir() if CONTAINER_ID.fullmatch(path.name)]
    except FileNotFoundError:
        return _Way((), f"{folder} is not there", _where(folder))
    except PermissionError as error:
        return _Way((), f"{folder}: {error.strerror}", _as_root())
    except OSError as error:
        return _Way((), f"{folder}: {error.strerror}", _where(folder))
    known = tuple(map(read_container, found))
    unread = [one for one in known if "cannot be read" in (one.problem or "")]
    if unread:
        told = f"{folder}: {len(unread):,} of {len(known):,} containers cannot be read"
        return _Way(known, told, _as_root())
    drivers = Counter(one.log_driver for one in known)
    parts = ", ".join(f"{count:,} {driver}" for driver, count in drivers.most_common())
    return _Way(known, f"{folder}: {len(known):,} containers" + (f" ({parts})" if parts else ""))


def _where(folder: Path) -> str:
    if is_in_container():
        return f"mount it: -v /var/lib/docker/containers:{folder}:ro"
    return "start Docker, or name its folder with --containers-dir (`docker info` has its root)"


def _as_root() -> str:
    return f"run as root, who alone may read there; in a container --user 0{selinux_hint()}"


# --- pods ---------------------------------------------------------------------------------------


def _pods(case: Case) -> _Way | None:
    """
    None on a host that is no node.
    """
    folder = case.pods_dir
    try:
        found = tuple(one.describe() for one in container_folders(folder) if one.files())
    except FileNotFoundError:
        if case.chooser.own_pod is None:
            return None
        return _Way((), f"{folder} is not there", "mount it: a hostPath volume, read-only")
    except OSError as error:
        return _Way((), f"{folder}: {error.strerror}", _as_root())
    return _Way(found, f"{folder}: {len(found):,} containers of pods")


# --- the engine ---------------------------------------------------------------------------------


def _engine(known: tuple[Container, ...]) -> _Way:
    address = redacted(default_base_url())
    try:
        version, others = within(ENGINE_S, lambda: _ask({one.id for one in known}))
    except TimeoutError:
        return _Way((), f"the engine at {address} does not answer", "restart Docker")
    except EngineError as error:
        reason, remedy = _trouble(error)
        return _Way((), f"no engine at {address}: {reason}", remedy)
    return _Way((*known, *others), f"Docker Engine {version} at {address}")


def _ask(known: set[str]) -> tuple[str, list[Container]]:
    """
    The engine's version, and the containers that are not known from their folders.
    """
    engine = Engine()
    try:
        engine.connect()
        others = [one for one in engine.containers() if one not in known]
        found = [inspected(engine, one) for one in others]
        return engine.version(), [one for one in found if one]
    finally:
        engine.close()


def _trouble(error: EngineError) -> tuple[str, str]:
    """
    The reason in plain words, and the remedy.
    """
    if isinstance(error, CertificatesUnusable):
        files = "the folder of cert.pem, key.pem and ca.pem"
        return redacted(str(error)), f"name {files} there, or unset it and DOCKER_TLS_VERIFY"
    cause = error.__cause__
    if isinstance(cause, FileNotFoundError):
        mount = "-v /var/run/docker.sock:/var/run/docker.sock"
        return "no such socket", f"start Docker, or name it in DOCKER_HOST; in a container {mount}"
    if isinstance(cause, PermissionError):
        member = "run as root, or as one of the socket's group (in a container --group-add GID)"
        return "this user may not use its socket", member + selinux_hint()
    if isinstance(cause, ConnectionRefusedError):
        return "nobody listens", "start it: systemctl start docker"
    return redacted(str(error)), "look at DOCKER_HOST, DOCKER_CERT_PATH and at the engine's log"
