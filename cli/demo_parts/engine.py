"""
Containers on the Docker Engine of this machine, by the `docker` command.

Comes in: a folder. Goes out: in it, a link to the folder that the engine keeps for each of the
demo's containers, so that the agent collects these and no others. No registry is asked: the image
is this machine's own busybox and the lines to be written.
"""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import shutil
import subprocess
import tarfile
from pathlib import Path
from textwrap import shorten

from cli.demo_parts.lines import SCRIPTS, TICK_S, TOTAL, Script
from cli.errors import Failure

__all__ = ["EngineContainers", "EngineUnusable"]

ASK_TIMEOUT_S = 3.0
WORK_TIMEOUT_S = 20.0
LABEL = "spool-demo"

WRITER = f"""\
n=0
while IFS= read -r line; do
  case $line in
    *" ERROR "*) printf '%s\\n' "$line" >&2 ;;
    *) printf '%s\\n' "$line" ;;
  esac
  n=$((n + 1))
  [ $((n % $2)) -eq 0 ] && /busybox sleep {TICK_S}
done < "/$1.lines"
exit 0
"""

_NUMBER = re.compile(rb'"log":"[a-z]+ #(\d+) ')
TAIL_BYTES = 65_536
"""More than the longest line has, and so with a number in it."""


class EngineUnusable(Exception):
    """
    The demo cannot use a Docker Engine here; the text says why.
    """


class EngineContainers:
    """
    One container for each script.

    Raises EngineUnusable; nothing of them is left then.
    """

    def __init__(self, folder: Path) -> None:
        engine = _ask_engine()
        busybox = _find_busybox()
        version = engine["ServerVersion"]
        self.description = f"{len(SCRIPTS)} on Docker Engine {version}; {TOTAL:,} lines"
        self._folder = folder
        self._label = f"{LABEL}={secrets.token_hex(8)}"
        self._image = self._label.replace("=", ":")
        self._ids: dict[str, str] = {}
        self._written = {script.name: 0 for script in SCRIPTS}
        try:
            self._start(busybox, Path(engine["DockerRootDir"]) / "containers")
        except OSError as error:
            self.close()
            raise EngineUnusable(f"{error.filename}: {error.strerror}") from error
        except BaseException:
            self.close()
            raise

    def begin(self) -> None:
        """
        They have been writing since they were started.
        """

    def written(self) -> dict[str, int]:
        for name, container_id in self._ids.items():
            log = self._folder / container_id / f"{container_id}-json.log"
            self._written[name] = max(self._written[name], _last_number(log))
        return dict(self._written)

    def finish(self) -> None:
        try:
            codes = _docker("wait", *self._ids.values()).split()
        except EngineUnusable as error:
            raise Failure(f"the containers did not end: {error}") from error
        if any(code != b"0" for code in codes):
            raise Failure("a container did not write all of its lines")

    def close(self) -> None:
        """
        Remove what carries this demo's own label, and the links.
        """
        try:
            ids = _docker("ps", "--all", "--quiet", "--filter", f"label={self._label}").split()
            if ids:
                _docker("rm", "--force", *(container_id.decode() for container_id in ids))
            if _docker("images", "--quiet", self._image).strip():
                _docker("rmi", self._image)
        except EngineUnusable as error:
            raise Failure(f"containers named {LABEL}-… were not removed: {error}") from error
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, busybox: Path, engine_folder: Path) -> None:
        self._folder.mkdir()
        _docker("import", "-", self._image, data=_image(busybox))
        for script in SCRIPTS:
            container_id = self._run(script)
            (self._folder / container_id).symlink_to(engine_folder / container_id)
            (self._folder / container_id / f"{container_id}-json.log").open("rb").close()
            self._ids[script.name] = container_id

    def _run(self, script: Script) -> str:
        answer = _docker(
            *("run", "--detach", "--name", script.name, "--label", self._label),
            *("--network", "none", "--log-driver", "json-file", self._image),
            *("/busybox", "sh", "/writer", script.name, str(script.burst)),
        )
        return answer.decode().strip()


def _ask_engine() -> dict[str, str]:
    if not shutil.which("docker"):
        raise EngineUnusable("no docker command here")
    try:
        info: dict[str, str] = json.loads(
            _docker("info", "--format", "{{json .}}", timeout_s=ASK_TIMEOUT_S)
        )
        folder = Path(info["DockerRootDir"]) / "containers"
        info["ServerVersion"]
    except (EngineUnusable, ValueError, KeyError) as error:
        raise EngineUnusable("no Docker Engine answers here") from error
    if not os.access(folder, os.R_OK | os.X_OK):
        raise EngineUnusable(f"this user cannot read {folder}")
    return info


def _find_busybox() -> Path:
    """
    A busybox that needs no other file: no dynamic loader is named in its first page.
    """
    for name in (shutil.which("busybox"), "/bin/busybox", "/usr/bin/busybox"):
        if name and Path(name).is_file():
            with Path(name).open("rb") as file:
                if b"/ld" not in file.read(4096):
                    return Path(name)
    raise EngineUnusable("no static busybox here to make an image of")


def _image(busybox: Path) -> bytes:
    files = {"busybox": busybox.read_bytes(), "writer": WRITER.encode()}
    for script in SCRIPTS:
        files[f"{script.name}.lines"] = "".join(f"{line}\n" for line in script.lines).encode()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.mode = 0o755
            tar.addfile(entry, io.BytesIO(data))
    return archive.getvalue()


def _last_number(log: Path) -> int:
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            return max((int(number) for number in _NUMBER.findall(file.read())), default=0)
    except OSError:
        return 0


def _docker(*arguments: str, data: bytes = b"", timeout_s: float = WORK_TIMEOUT_S) -> bytes:
    """
    Run `docker` with these arguments; its stdout. Raises EngineUnusable.
    """
    command = f"docker {arguments[0]}"
    try:
        return subprocess.run(
            ["docker", *arguments],
            input=data,
            capture_output=True,
            timeout=timeout_s,
            check=True,
            process_group=0,
        ).stdout
    except subprocess.CalledProcessError as error:
        text = error.stderr.decode(errors="replace").rpartition("Error response from daemon: ")[2]
        raise EngineUnusable(f"{command}: {shorten(text, 100, placeholder=' …')}") from error
    except subprocess.TimeoutExpired as error:
        raise EngineUnusable(f"{command}: no answer within {timeout_s:.0f} s") from error
