"""
What there is to see in a spool: streams, events, batches, and what the agent tells of itself.

Comes in: what is asked for. Goes out: rows as dictionaries, one by one where there may be many.
Always holds: no transaction is kept open while who takes the rows stands still, as a pager does:
the agent's write-ahead log would grow until then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import Any

from spool.errors import NotText, SpoolError
from spool.schema import BLOCK_IDS, RUN_BLOCK
from spool.selection import Selection
from spool.window import Row, Window

__all__ = ["Inspection"]

PAGE_ROWS = 1_000
PAGE_CHARACTERS = 1_000_000
"""Of events and batches so many rows are read at a time, or so much text and a row."""

RANGE_IDS = 64 * BLOCK_IDS
"""So many events are looked at in one transaction at most."""

CARRIED = f"""
id IN (SELECT batch_id FROM run WHERE last_id >= :event_id
       AND first_id BETWEEN :event_id - :event_id % {RUN_BLOCK} AND :event_id)
"""

STREAMS = """
SELECT stream.log_group AS "group", stream.log_stream AS stream,
       stream.queued + coalesce(sending.events, 0) AS unsent,
       stream.sent, stream.rejected, stream.collected, stream.pruned, stream.dropped,
       iso(min(coalesce(sending.oldest, waiting.oldest), coalesce(waiting.oldest, sending.oldest)))
           AS oldest_unsent,
       iso(stream.delivered_at) AS last_delivery,
       stream.error AS last_error, iso(stream.error_at) AS last_error_at,
       iso(sending.failing_since) AS failing_since
FROM stream
LEFT JOIN (SELECT stream_id, sum(events) AS events, min(first_timestamp) AS oldest,
                  min(CASE WHEN error IS NOT NULL THEN created_at END) AS failing_since
           FROM batch WHERE state = 'sending' GROUP BY stream_id) AS sending
       ON sending.stream_id = stream.id
LEFT JOIN (SELECT id, (SELECT min(first_timestamp) FROM queue WHERE stream_id = stream.id) AS oldest
           FROM stream) AS waiting
       ON waiting.id = stream.id
ORDER BY stream.log_group, stream.log_stream
"""


class Inspection(Window):
    """
    A spool open for reading, and the questions that are asked of one.

    `is_mended` tells whether among the events or batches was a text that is not UTF-8: it has
    U+FFFD for what is not. All other questions raise `NotText` then.
    """

    is_mended = False

    def streams(self) -> list[Row]:
        """
        One row for each stream: `group, stream`, counts of events, times and the last error, which
        is none once something was delivered. `failing_since` is when the first batch was made of
        those that wait for another attempt.
        """
        return list(self.query(STREAMS))

    def skipped(self) -> dict[str, int]:
        """
        What never became an event, by reason.
        """
        return {
            row["reason"]: row["count"]
            for row in self.query("SELECT reason, count FROM skipped ORDER BY reason")
        }

    def notes(self) -> dict[str, Row]:
        """
        What the agent tells of itself, by name: `since, text`.
        """
        rows = self.query("SELECT name, iso(since) AS since, text FROM note ORDER BY name")
        return {row.pop("name"): row for row in rows}

    def size_bytes(self) -> int:
        """
        What the spool takes on disk, its write-ahead log included.
        """
        return self.path.stat().st_size + self.log_bytes()

    def log_bytes(self) -> int:
        """
        What the write-ahead log takes of that.
        """
        path = self.path.resolve()  # a link's log lies beside what it points to
        try:
            return path.with_name(path.name + "-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def events(self, selection: Selection, *, newest: int | None = None) -> Iterator[Row]:
        """
        Rows of the view `events`, in the order stored; with `newest` only that many, the last ones.
        """
        condition, values = selection.sql()
        ranges = self._ranges(selection)
        return self._pages("events", condition, values, ranges, newest=newest)

    def with_reasons(self, events: Iterator[Row]) -> Iterator[Row]:
        """
        Events with one value more: the `reason` for which one was rejected, else None.
        """
        sql = "SELECT reason FROM rejection WHERE id = ?"
        for event in events:
            is_rejected = event["state"] == "rejected"
            known = next(self.query(sql, [event["id"]]), {}) if is_rejected else {}
            yield {**event, "reason": known.get("reason")}

    def around(self, event_id: int, each: int) -> Iterator[Row]:
        """
        An event and up to `each` before and after it in its stream, in the order stored.

        Raises `SpoolError` where there is no such event.
        """
        found = self.events(Selection(after_id=event_id - 1, last_id=event_id))
        event = next(found, None)
        if event is None:
            raise SpoolError(f"{self.path}: no event {event_id}; it may have been pruned")
        here = Selection(group=event["log_group"], stream=event["log_stream"])
        yield from self.events(replace(here, last_id=event_id - 1), newest=each)
        yield event
        yield from islice(self.events(replace(here, after_id=event_id)), each)

    def _ranges(self, selection: Selection) -> list[tuple[int, int]]:
        """
        Where such events may lie now: (first id, last id), each a moderate number of them.
        """
        end = self._newest_id("event")
        condition, values = selection.extents_sql()
        sql = f"SELECT DISTINCT block FROM extent WHERE {condition} ORDER BY block"
        ranges: list[tuple[int, int]] = []
        for row in self.query(sql, values):
            first, last = row["block"] * BLOCK_IDS, row["block"] * BLOCK_IDS + BLOCK_IDS - 1
            if ranges and ranges[-1][1] + 1 == first and last - ranges[-1][0] < RANGE_IDS:
                first = ranges.pop()[0]
            ranges.append((first, min(last, end)))
        return ranges

    def _newest_id(self, table: str) -> int:
        newest: int = next(self.query(f"SELECT coalesce(max(id), 0) AS id FROM {table}"))["id"]
        return newest

    def batches(
        self,
        *,
        group: str | None = None,
        stream: str | None = None,
        state: str | None = None,
        event_id: int | None = None,
        only_twice: bool = False,
        newest: int | None = None,
    ) -> Iterator[Row]:
        """
        Rows of the view `batches`, oldest first: those that carried an event, or that may have
        arrived twice, since they were sent more than once.
        """
        wanted = {"log_group": group, "log_stream": stream, "state": state, "event_id": event_id}
        given: dict[str, Any] = {
            column: value for column, value in wanted.items() if value is not None
        }
        parts = [CARRIED if column == "event_id" else f"{column} = :{column}" for column in given]
        parts += ["attempts > 1"] if only_twice else []
        condition = " AND ".join(parts) or "true"
        ranges = [(1, self._newest_id("batch"))]
        return self._pages("batches", condition, given, ranges, newest=newest)

    def _pages(
        self,
        view: str,
        condition: str,
        values: dict[str, Any],
        ranges: list[tuple[int, int]],
        *,
        newest: int | None,
    ) -> Iterator[Row]:
        """
        Rows of a view in the order of their ids, page by page, of those in these ranges of ids;
        with `newest` only that many, the last ones.
        """
        if newest is not None:
            ranges = self._last_ranges(view, condition, values, ranges, newest)
        for begin, last in ranges:
            first: int | None = begin
            while first is not None:
                bounds = {"page_first": first, "page_last": last}
                page = self._page(view, condition, {**values, **bounds})
                yield from page
                first = page[-1]["id"] + 1 if page else None

    def _last_ranges(
        self,
        view: str,
        condition: str,
        values: dict[str, Any],
        ranges: list[tuple[int, int]],
        newest: int,
    ) -> list[tuple[int, int]]:
        """
        The ends of these ranges in which there are so many rows.
        """
        found: list[tuple[int, int]] = []
        for first, last in reversed(ranges):
            if newest <= 0:
                break
            sql = (
                f"SELECT id FROM {view} WHERE id BETWEEN :page_first AND :page_last"
                f" AND {condition} ORDER BY id DESC LIMIT {newest:d}"
            )
            ids = list(self.query(sql, {**values, "page_first": first, "page_last": last}))
            if ids:
                found.append((ids[-1]["id"], last))
                newest -= len(ids)
        return found[::-1]

    def _page(self, view: str, condition: str, values: dict[str, Any]) -> list[Row]:
        sql = (
            f"SELECT * FROM {view} WHERE id BETWEEN :page_first AND :page_last AND {condition}"
            f" ORDER BY id LIMIT {PAGE_ROWS}"
        )
        try:
            return self._read(sql, values, mends=False)
        except NotText:
            self.is_mended = True
            return self._read(sql, values, mends=True)

    def _read(self, sql: str, values: dict[str, Any], *, mends: bool) -> list[Row]:
        page: list[Row] = []
        size = 0
        with closing(self.rows(sql, values, mends=mends)) as rows:
            for row in rows:
                page.append(row)
                size += len(row.get("message", ""))
                if size >= PAGE_CHARACTERS:
                    break
        return page
