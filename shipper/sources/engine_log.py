"""
The log of one container as the Engine API gives it, read on from where it was read to.

Comes in: answers of the engine. Goes out: readings, each the next events and the position behind
them. Always holds: an event is in one reading, the reading after which the position is past it.

An answer is asked for without `follow`, which leaves out and repeats records where files rotate,
and by its last N records, N growing until the position is among them: these the engine gives whole
and in order, through all its files. It unpacks every compressed file for that: 0.1 s and more a
time, with the usual 80 MB of the driver local. With `since` it looks only into the newest file (and
for the same reason may leave out others), in 1 ms. That is tried first, and believed where the
position is in the answer: then all behind it is there too, but for what a clock that was set back
has dated before `since`. After such a step, and every CONFIRM_S, it is asked for without.
"""

from __future__ import annotations

import calendar
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from msgspec import json

from shipper.containers import Container
from shipper.sources.crossing import checkpoint_key, padded
from shipper.sources.lines import Joiner
from shipper.sources.position import Behind, Filter, LastWords, Later, NotBefore, Position
from shipper.sources.reading import Reading, Thrift
from shipper.sources.records import FrameParser, Parser, Record, TerminalParser, joinable
from spool.skipped import BLANK, DAMAGED, RECORDS_LOST
from spool.store import Chunk, Store

__all__ = ["Answers", "Begin", "EngineLog"]

log = logging.getLogger(__name__)

CONFIRM_S = 300.0
CLOCK_STEP_S = 0.5
MARGIN_S = 1
"""Two streams' times were seen 0.55 ms out of order."""

FEW = 100
"""Records that are asked for at least; then ten times as many, up to MANY, then all."""

MANY = 1_000_000

ENDS_ALL = ("json-file", "journald")
"""Drivers that leave the newline to the last part of a line that was cut."""


Hand = Callable[[Reading], None]
Asked = dict[str, str]


class Answers(Protocol):
    """
    Who answers: `Engine`.
    """

    def answer(
        self, container_id: str, asked: Mapping[str, str]
    ) -> AbstractContextManager[Iterator[bytes]]: ...


@dataclass(frozen=True, slots=True)
class Begin:
    """
    What is read of a container that was never read: all, what is not older than `time`, or the last
    `tail` records.
    """

    time: str | None = None
    tail: int | None = None


class EngineLog:
    """
    The log of one container. `lines` counts the records that were read here; `is_caught_up` tells
    of the last answer whether it had what was read before (the engine has empty ones for a log that
    it is just removing).
    """

    def __init__(self, container: Container, store: Store, begin: Begin, *, joiner: Joiner) -> None:
        self.key = checkpoint_key(container.id)
        self.lines = 0
        self.is_caught_up = False
        self._id = container.id
        self._is_terminal = container.tty
        self._has_unended = container.log_driver not in ENDS_ALL
        self._begin = begin
        self._joiner = joiner
        self._position = Position()
        if saved := store.checkpoint(self.key):
            position = json.decode(saved)
            self._position = Position.from_json(position)
            self._joiner.resume(position["open"], padded)
        self._thrift = Thrift()
        self._last_count = 0
        self._was_confirmed = False
        self._unconfirmed_s: float | None = None
        self._clock_s = 0.0
        self._has_said: set[str] = set()

    @property
    def is_unread(self) -> bool:
        """
        Whether nothing of it was ever read.
        """
        return self._position == Position()

    @property
    def is_open(self) -> bool:
        """
        Whether the end of a message is still to come.
        """
        return self._joiner.is_open()

    @property
    def patience_s(self) -> float:
        """
        How long that is waited for when the container is silent.
        """
        return self._joiner.patience_s()

    def deliver_to(self, stream_id: int) -> None:
        """
        Where its lines go from now on.
        """
        self._joiner.stream_id = stream_id

    def read(self, engine: Answers, hand: Hand) -> int:
        """
        Hand over what is new; returns how many records that was. Raises `EngineError`, and what
        `hand` raises.
        """
        clock_s = time.time() - time.monotonic()
        before = self.lines
        self.is_caught_up = False
        for asked, chosen in self._questions(clock_s):
            if isinstance(chosen, Later):
                self._say(RECORDS_LOST, "what was read last is gone; lines behind it are lost")
            self._read_answer(engine, asked, chosen, hand)
            if chosen.has_found:
                self._confirm(clock_s, was_quick="since" in asked, has_news=self.lines > before)
                self.is_caught_up = self._position.marker is not None
                break
            if asked == {"tail": "all"} and not chosen.has_later:
                break  # emptied, or not to be read beyond some damage: nothing is new
        self._last_count = self.lines - before
        return self._last_count

    def read_last_words(self, pieces: Iterable[bytes], hand: Hand) -> bool:
        """
        The container is gone: hand over what is new in a stream that was followed to its end.
        Returns whether that was all, as far as can be told.
        """
        chosen = LastWords(self._position, self._open_times())
        self._read_pieces(pieces, chosen, hand)
        return not chosen.is_short

    def flush(self, hand: Hand) -> None:
        """
        Hand over what is open: its end will not come.
        """
        if self.is_open:
            hand(self._reading(Chunk(self._joiner.stream_id, self._joiner.flush()), 0))

    def forget(self, hand: Hand) -> None:
        """
        The container is removed: where its log was read to is of no use any more.
        """
        if not self.is_unread:
            hand(Reading(checkpoints={self.key: None}))

    def _questions(self, clock_s: float) -> Iterator[tuple[Asked, Filter]]:
        position, marker = self._position, self._position.marker
        if marker is None:
            yield from self._first_questions()
            return
        count = 2 * self._last_count + FEW
        if self._may_be_quick(clock_s):
            asked = {"since": self._since(marker.time), "tail": str(count)}
            yield asked, Behind(position, is_whole=False)
        while count <= MANY:
            yield {"tail": str(count)}, Behind(position, is_whole=False)
            count *= 10
        yield {"tail": "all"}, Behind(position, is_whole=True)
        yield {"tail": "all"}, Later(marker, self._open_times())

    def _first_questions(self) -> Iterator[tuple[Asked, Filter]]:
        """
        No message has ended yet.
        """
        begin, position = self._begin, self._position
        if begin.tail is not None and self.is_unread:
            yield {"tail": str(begin.tail)}, Behind(position, is_whole=True)
        elif begin.time is not None:
            count = FEW
            while count <= MANY:
                yield {"tail": str(count)}, NotBefore(begin.time, position.after, is_whole=False)
                count *= 10
            yield {"tail": "all"}, NotBefore(begin.time, position.after, is_whole=True)
        else:
            yield {"tail": "all"}, Behind(position, is_whole=True)

    def _may_be_quick(self, clock_s: float) -> bool:
        if not self._was_confirmed or abs(clock_s - self._clock_s) > CLOCK_STEP_S:
            return False
        begun_s = self._unconfirmed_s
        return begun_s is None or time.monotonic() - begun_s < CONFIRM_S

    def _confirm(self, clock_s: float, *, was_quick: bool, has_news: bool) -> None:
        if not was_quick:
            self._was_confirmed, self._unconfirmed_s, self._clock_s = True, None, clock_s
        elif has_news and self._unconfirmed_s is None:
            self._unconfirmed_s = time.monotonic()

    def _since(self, marker_time: str) -> str:
        """
        A little before the oldest time that a new record can have: parts have the time of the first
        one.
        """
        oldest = min([marker_time, *self._open_times().values()])
        moment = calendar.timegm(time.strptime(oldest[:19], "%Y-%m-%dT%H:%M:%S"))
        return f"{max(0, moment - MARGIN_S)}.{oldest[20:29]}"

    def _read_answer(self, engine: Answers, asked: Asked, chosen: Filter, hand: Hand) -> None:
        with engine.answer(self._id, asked) as pieces:
            self._read_pieces(pieces, chosen, hand)

    def _read_pieces(self, pieces: Iterable[bytes], chosen: Filter, hand: Hand) -> None:
        parser: Parser = (
            TerminalParser(self._position.cut, has_unended=self._has_unended)
            if self._is_terminal
            else FrameParser()
        )
        for data in pieces:
            self._hand_over(chosen.take(parser.feed(data)), len(data), hand)
            if chosen.is_hopeless:
                return
        self._hand_over(chosen.take(parser.finish()), 0, hand)
        if parser.errors:
            self._say("errors", "the engine could not read all of its log; trying again later")
        if parser.damaged and self._say(DAMAGED, "the engine gave what are no records"):
            reading = Reading()
            reading.skip(DAMAGED, parser.damaged)
            hand(reading)

    def _hand_over(self, records: Sequence[Record], size: int, hand: Hand) -> None:
        if not records:
            return
        self.lines += len(records)
        events = self._joiner.read_records(joinable(records))
        self._position.advance(records)
        hand(self._reading(Chunk(self._joiner.stream_id, events), size))

    def _reading(self, chunk: Chunk, size: int) -> Reading:
        reading = Reading(bytes=size)
        if chunk.events:
            reading.chunks.append(chunk)
        reading.skip(BLANK, self._joiner.blank)
        reading.skip(DAMAGED, self._joiner.damaged)
        self._joiner.blank = self._joiner.damaged = 0
        if RECORDS_LOST in self._has_said:
            reading.skip(RECORDS_LOST, 1)
            self._has_said.discard(RECORDS_LOST)
        saved = {**self._position.to_json(), "open": self._joiner.position()}
        position = json.encode(saved).decode()
        is_due = bool(reading.chunks or reading.skipped)
        if self._thrift.stores(position, read_bytes=size, is_due=is_due):
            reading.checkpoints[self.key] = position
        return reading

    def _open_times(self) -> dict[str, str]:
        return {stream: message.time for stream, message in self._joiner.open.items()}

    def _say(self, what: str, text: str) -> bool:
        """
        Log it once a container.
        """
        if what in self._has_said:
            return False
        self._has_said.add(what)
        log.warning("container %.12s: %s", self._id, text)
        return True
