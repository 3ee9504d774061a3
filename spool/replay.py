"""
Send again: what a selection names goes back into the queue.

Comes in: a selection of events, and which ages CloudWatch takes. Goes out: the same events, unsent.
Always holds: an event that already waits or is on its way is left alone, so replaying twice sends
once; one that would be refused for its age is left as it is, or given a new timestamp on request.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import apsw

from spool import extent
from spool.connection import select
from spool.piece import Ages, Piece, blocks, pieces
from spool.queue import enqueue
from spool.run import runs_stored
from spool.selection import Selection
from spool.store import Store, queue_newest

__all__ = [
    "Amount",
    "Restamp",
    "copy",
    "newest_id",
    "rejections",
    "request_s",
    "requeue",
    "survey",
    "targets",
    "unsent_span",
]

SLICE_BLOCKS = 64
"""Put back in one transaction; between two of them the agent stores and sends."""


@dataclass(slots=True)
class Amount:
    """
    How much: events and the UTF-8 bytes of their messages, by stream id, as (events, bytes).

    Of the `stale` ones, refused for their age, only the number is known; likewise `unsent`, which
    wait or are on their way already, and are counted in `streams`, too.
    """

    streams: dict[int, tuple[int, int]] = field(default_factory=dict)
    stale: int = 0
    unsent: int = 0

    @property
    def events(self) -> int:
        """
        How many.
        """
        return sum(events for events, _ in self.streams.values())

    @property
    def bytes(self) -> int:
        """
        Of their messages.
        """
        return sum(size for _, size in self.streams.values())

    def add(self, piece: Piece, *, with_stale: bool) -> None:
        """
        Count a piece.
        """
        if piece.state == "unsent":
            self.unsent += piece.events
        elif piece.is_stale:
            self.stale += piece.events
            if not with_stale:
                return
        events, size = self.streams.get(piece.stream_id, (0, 0))
        self.streams[piece.stream_id] = (events + piece.events, size + piece.bytes)


@dataclass(frozen=True, slots=True)
class Restamp:
    """
    Give stale events the time `now_ms`, and put the old one in front of the message. What gets
    longer than `max_message_bytes` so becomes two events.
    """

    now_ms: int
    max_message_bytes: int


Tell = Callable[[int, int], None]


def no_tell(_done: int, _total: int) -> None:
    """
    Nobody wants to know how far it is.
    """


def survey(
    store: Store,
    selection: Selection,
    ages: Ages,
    *,
    with_stale: bool = False,
    tell: Tell = no_tell,
) -> Amount:
    """
    How much a selection names; stale events only if they are to be restamped.
    """
    amount = Amount()
    with store.reading() as db:
        where = blocks(db, selection)
    for slice_ in _slices(where):
        with store.reading() as db:
            for piece in pieces(db, selection, slice_, ages, expired_is_stale=with_stale):
                amount.add(piece, with_stale=with_stale)
        tell(slice_[-1], where[-1])
    return amount


def newest_id(store: Store) -> int:
    """
    The id of the newest event; 0 where there is none.
    """
    with store.reading() as db:
        return int(db.execute("SELECT coalesce(max(id), 0) FROM event").get)


def request_s(store: Store) -> float | None:
    """
    How long the last requests from this spool took on average; None where there were none.
    """
    with store.reading() as db:
        average: float | None = db.execute(
            "SELECT avg(sent_at - created_at) / 1000.0 FROM (SELECT sent_at, created_at FROM batch"
            " WHERE state = 'sent' AND attempts = 1 ORDER BY sent_at DESC LIMIT 200)"
        ).get
        return average


def unsent_span(store: Store, streams: Iterable[int]) -> tuple[int, int]:
    """
    The first and the last id of what waits or is on its way in these stream ids; (0, -1) for
    nothing.
    """
    with store.reading() as db:
        first, last = select(
            db,
            "SELECT coalesce(min(first_id), 0), coalesce(max(last_id), -1) FROM"
            " (SELECT stream_id, first_id, last_id FROM queue UNION ALL"
            "  SELECT stream_id, first_id, last_id FROM run JOIN batch ON batch.id = batch_id"
            "  WHERE batch.state = 'sending')"
            " WHERE stream_id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(streams)),),
        )[0]
    return first, last


def rejections(store: Store, streams: Iterable[int], span: tuple[int, int]) -> Counter[str]:
    """
    How many events of these stream ids, with an id in this span, are kept as rejected, by reason.
    """
    with store.reading() as db:
        rows = select(
            db,
            # CROSS: there are few rejections, and SQLite would begin with the events
            "SELECT reason, count(*) FROM rejection CROSS JOIN event ON event.id = rejection.id"
            " WHERE rejection.id BETWEEN ? AND ?"
            " AND stream_id IN (SELECT value FROM json_each(?)) GROUP BY reason",
            (*span, json.dumps(list(streams))),
        )
    return Counter(dict(rows))


def targets(
    store: Store, streams: Iterable[int], group: str | None, stream: str | None
) -> dict[int, int]:
    """
    For each of these stream ids that of the stream with another group, name or both, made if new.
    """
    with store.reading() as db:
        names = {
            row[0]: row[1:] for row in select(db, "SELECT id, log_group, log_stream FROM stream")
        }
    return {
        old: store.stream_id(group or names[old][0], stream or names[old][1]) for old in streams
    }


def requeue(
    store: Store,
    selection: Selection,
    ages: Ages,
    *,
    restamp: Restamp | None = None,
    tell: Tell = no_tell,
) -> int:
    """
    Put the sent and rejected events of a selection back into the queue, stale ones only with
    `restamp`; returns how many.

    Durable slice by slice.
    """
    count = 0
    for slice_, last in _blocks_of(store, selection):
        with store.transaction() as db:
            chosen = [
                piece
                for piece in _chosen(db, selection, slice_, ages, restamp)
                if piece.state != "unsent"
            ]
            for piece in chosen:
                _requeue_piece(db, piece, restamp)
            _uncount(db, chosen)
            count += sum(piece.events for piece in chosen)
        tell(slice_[-1], last)
    return count


def copy(
    store: Store,
    selection: Selection,
    ages: Ages,
    targets: dict[int, int],
    *,
    restamp: Restamp | None = None,
    tell: Tell = no_tell,
) -> None:
    """
    Queue the events of a selection once more, as new events of other streams: `targets` has the new
    stream's id by the old one's, and what is of none of these was not meant.

    The old events stay as they are. Durable slice by slice.
    """
    selection = replace(selection, last_id=selection.last_id or newest_id(store))
    for slice_, last in _blocks_of(store, selection):
        with store.transaction() as db:
            for piece in _chosen(db, selection, slice_, ages, restamp):
                if piece.stream_id in targets:
                    _copy_piece(db, piece, targets[piece.stream_id], restamp)
        tell(slice_[-1], last)


def _chosen(
    db: apsw.Connection,
    selection: Selection,
    within: list[int],
    ages: Ages,
    restamp: Restamp | None,
) -> list[Piece]:
    found = pieces(db, selection, within, ages, expired_is_stale=restamp is not None)
    return [piece for piece in found if restamp or not piece.is_stale]


def _blocks_of(store: Store, selection: Selection) -> Iterator[tuple[list[int], int]]:
    """
    Slices of the blocks to look at, each with the last of all.
    """
    with store.reading() as db:
        where = blocks(db, selection)
    for slice_ in _slices(where):
        yield slice_, where[-1]


def _slices(where: list[int]) -> list[list[int]]:
    return [where[start : start + SLICE_BLOCKS] for start in range(0, len(where), SLICE_BLOCKS)]


def _requeue_piece(db: apsw.Connection, piece: Piece, restamp: Restamp | None) -> None:
    ids = (piece.first_id, piece.last_id)
    if piece.state == "rejected":
        db.execute("DELETE FROM rejection WHERE id BETWEEN ? AND ?", ids)
    if not (restamp and piece.is_stale):
        enqueue(db, piece.stream_id, runs_stored(db, *ids))
        return
    tails = _restamp(db, *ids, restamp)
    extent.remeasure(db, [(piece.stream_id, *ids)])
    enqueue(db, piece.stream_id, runs_stored(db, *ids))
    _append(db, piece.stream_id, tails, restamp.now_ms)


def _copy_piece(db: apsw.Connection, piece: Piece, target: int, restamp: Restamp | None) -> None:
    db.execute(
        "INSERT INTO event (stream_id, timestamp, source_id, message)"
        " SELECT ?, timestamp, source_id, message FROM event WHERE id BETWEEN ? AND ? ORDER BY id",
        (target, piece.first_id, piece.last_id),
    )
    if not (restamp and piece.is_stale):
        queue_newest(db, target, piece.events)
        return
    last = db.last_insert_rowid()
    tails = _restamp(db, last - piece.events + 1, last, restamp)
    queue_newest(db, target, piece.events)
    _append(db, target, tails, restamp.now_ms)


def _restamp(
    db: apsw.Connection, first_id: int, last_id: int, restamp: Restamp
) -> list[tuple[int, str]]:
    """
    Write the old time before each message, and set the new one. Returns (source id, text) of what
    did not fit any more.
    """
    db.execute(
        "UPDATE event SET timestamp = ?3, message = coalesce(strftime('%Y-%m-%dT%H:%M:%fZ',"
        " timestamp / 1000.0, 'unixepoch'), timestamp) || ' ' || message"
        " WHERE id BETWEEN ?1 AND ?2",
        (first_id, last_id, restamp.now_ms),
    )
    tails = []
    for event_id, source_id, message in select(
        db,
        "SELECT id, source_id, message FROM event"
        " WHERE id BETWEEN ? AND ? AND octet_length(message) > ?",
        (first_id, last_id, restamp.max_message_bytes),
    ):
        head = message.encode()[: restamp.max_message_bytes].decode(errors="ignore")
        db.execute("UPDATE event SET message = ? WHERE id = ?", (head, event_id))
        tails.append((source_id, message[len(head) :]))
    return tails


def _append(db: apsw.Connection, stream_id: int, texts: list[tuple[int, str]], now_ms: int) -> None:
    for source_id, text in texts:
        db.execute(
            "INSERT INTO event (stream_id, timestamp, source_id, message) VALUES (?, ?, ?, ?)",
            (stream_id, now_ms, source_id, text),
        )
        queue_newest(db, stream_id, 1)


def _uncount(db: apsw.Connection, chosen: list[Piece]) -> None:
    """
    They are no longer sent or rejected.
    """
    counts: Counter[tuple[int, str]] = Counter()
    for piece in chosen:
        counts[piece.stream_id, piece.state] += piece.events
    for (stream_id, state), events in counts.items():
        db.execute(f"UPDATE stream SET {state} = {state} - ? WHERE id = ?", (events, stream_id))
