"""
Whether the agent can see what it is to collect: the folders of logs, what is in them, an engine.

Comes in: the agent's sources, asked now and then. Goes out: what is the matter, in plain words, and
a line of log when that changes. Always holds: a folder that is not there is no trouble where there
is another, or an engine that answers; one that is there and cannot be read is.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator, Sequence
from typing import Protocol

from shipper.sources.docker_logs import JsonFileSource
from shipper.sources.file_source import FileSource

__all__ = ["Folders"]

log = logging.getLogger(__name__)


class Asked(Protocol):
    """
    An engine that is asked for containers.
    """

    @property
    def answers(self) -> bool | None:
        """
        None as long as that is not known.
        """


class Folders:
    """
    Those of `sources`; `engine` is None where none is asked.
    """

    def __init__(self, sources: Sequence[FileSource], engine: Asked | None) -> None:
        self._sources = sources
        self._engine = engine
        self._told: list[str] = []
        self.reason: str | None = None
        """Why something is not collected, when it was last looked at."""

    def look(self) -> str | None:
        """
        The reason as it is now; what is new goes to the log.
        """
        trouble = self._trouble()
        told = [*trouble, *self._replaced()]
        for text in told:
            if text not in self._told:
                log.warning("%s", text)
        if self._told and not told:
            log.info("all logs can be read again")
        self._told = told
        self.reason = _joined(trouble)
        return self.reason

    def why_not(self) -> str | None:
        """
        The same, and nothing goes to the log.
        """
        return _joined(self._trouble())

    def _trouble(self) -> list[str]:
        return [*self._unread(), *self._missing(), *self._unopened()]

    def _unread(self) -> Iterator[str]:
        for source, error in self._failing():
            if not self._is_missing(error) and not self._is_with_engine(source):
                yield (
                    f"{source.folder}: cannot be read ({error.strerror}), so nothing is collected"
                    f" from there; {_remedy(source, error)}"
                )

    def _missing(self) -> Iterator[str]:
        if not self._sources or (self._engine and self._engine.answers is not False):
            return
        missing = [one for one, error in self._failing() if self._is_missing(error)]
        if len(missing) == len(self._sources):
            folders = ", ".join(str(one.folder) for one in missing)
            engine = ", and no engine answers" if self._engine else ""
            yield (
                f"{folders}: no such folders{engine}, so nothing is collected; give Docker's with"
                " --containers-dir, or that of pods with --pods-dir"
            )

    def _unopened(self) -> Iterator[str]:
        for source in self._sources:
            unopened = source.unopened
            for path, error in sorted(unopened.items())[:1]:
                others = f", nor are others below {source.folder}" if len(unopened) > 1 else ""
                remedy = "; run as root, or as a user who may read it" if _is_barred(error) else ""
                yield (
                    f"{path}: cannot be read ({error.strerror}), so it is not collected"
                    f"{others}{remedy}"
                )

    def _replaced(self) -> Iterator[str]:
        for source, error in self._failing():
            is_replaced = self._engine and self._engine.answers and self._is_with_engine(source)
            if is_replaced and not self._is_missing(error):
                yield (
                    f"{source.folder}: cannot be read ({error.strerror}); its containers are read"
                    " through the Engine API"
                )

    def _failing(self) -> Iterator[tuple[FileSource, OSError]]:
        for source in self._sources:
            error = source.unlisted
            if error is not None:
                yield source, error

    def _is_with_engine(self, source: FileSource) -> bool:
        """
        Whether the engine gives the same lines, or may turn out to.
        """
        may_answer = self._engine is not None and self._engine.answers is not False
        return may_answer and isinstance(source, JsonFileSource)

    @staticmethod
    def _is_missing(error: OSError) -> bool:
        return error.errno == errno.ENOENT


def _joined(trouble: list[str]) -> str | None:
    return "; ".join(trouble) or None


def _remedy(source: FileSource, error: OSError) -> str:
    if _is_barred(error):
        return "run as root, or as a user who may list it"
    return f"name the right folder with {source.option}"


def _is_barred(error: OSError) -> bool:
    return error.errno in (errno.EACCES, errno.EPERM)
