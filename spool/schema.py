"""
The tables of the file, and its two stable views.

Where an event is, is told by four tables and no flag on the event itself:

    queue       waits for a batch                        unsent
    run         was put into a batch: while the batch
                is `sending`                             unsent
                once it is `sent`                        sent
    rejection   is kept here for good, with the reason   rejected

Queue and run hold stretches of consecutive ids, not single events: so to queue a chunk, to put a
batch on record and to mark it sent takes a few rows, whatever they hold. The table `extent` is an
index in the same spirit: one row for a stream and a thousand ids, instead of one for each event.
"""

from __future__ import annotations

import apsw

__all__ = [
    "APPLICATION_ID",
    "BLOCK_IDS",
    "FOR_GOOD",
    "PAGE_BYTES",
    "RUN_BLOCK",
    "VERSION",
    "create_tables",
]

VERSION = 1
"""Kept in the file as `user_version`."""

APPLICATION_ID = 0x53504F4C
"""'SPOL', at byte 68 of the file: `file spool.db` and we ourselves know it by this."""

RUN_BLOCK = 256
"""Runs end where an id is a multiple of this: those around an event begin near it."""

BLOCK_IDS = 1024
"""An extent tells of so many ids; a multiple of RUN_BLOCK, so that a run is in one extent."""

PAGE_BYTES = 8192

FOR_GOOD = (f"page_size = {PAGE_BYTES}", "auto_vacuum = INCREMENTAL")
"""Settings of a file that are there before its first table, or never."""

TABLES = f"""
CREATE TABLE stream (
    id             INTEGER PRIMARY KEY,
    log_group      TEXT NOT NULL,
    log_stream     TEXT NOT NULL,
    -- collected = queued + in batches that are `sending` + sent + rejected + pruned + dropped
    collected      INTEGER NOT NULL DEFAULT 0,
    queued         INTEGER NOT NULL DEFAULT 0,
    queued_bytes   INTEGER NOT NULL DEFAULT 0,
    sent           INTEGER NOT NULL DEFAULT 0,
    rejected       INTEGER NOT NULL DEFAULT 0,
    pruned         INTEGER NOT NULL DEFAULT 0,
    dropped        INTEGER NOT NULL DEFAULT 0,
    delivered_at   INTEGER,
    error          TEXT,
    error_at       INTEGER,
    UNIQUE (log_group, log_stream)
) STRICT;

CREATE TABLE source (
    id    INTEGER PRIMARY KEY,
    name  TEXT NOT NULL UNIQUE
) STRICT;

-- Only ever appended to and pruned. The newest row stays, so that no id is given twice.
CREATE TABLE event (
    id         INTEGER PRIMARY KEY,
    stream_id  INTEGER NOT NULL,
    timestamp  INTEGER NOT NULL,
    source_id  INTEGER NOT NULL,
    message    TEXT NOT NULL
) STRICT;

-- Consecutive ids of one stream that wait for a batch; no id is in two of these. Cut where an id is
-- a multiple of {RUN_BLOCK}.
CREATE TABLE queue (
    first_id         INTEGER PRIMARY KEY,
    last_id          INTEGER NOT NULL,
    stream_id        INTEGER NOT NULL,
    first_timestamp  INTEGER NOT NULL,
    last_timestamp   INTEGER NOT NULL,
    bytes            INTEGER NOT NULL,
    in_order         INTEGER NOT NULL  -- 1 where no event is older than one with a lower id
) STRICT;
CREATE INDEX queue_stream ON queue (stream_id, first_timestamp);

-- What a stream has among the ids from block * {BLOCK_IDS} on: where to look for its hour.
CREATE TABLE extent (
    block            INTEGER NOT NULL,
    stream_id        INTEGER NOT NULL,
    first_id         INTEGER NOT NULL,
    last_id          INTEGER NOT NULL,
    first_timestamp  INTEGER NOT NULL,
    last_timestamp   INTEGER NOT NULL,
    events           INTEGER NOT NULL,
    bytes            INTEGER NOT NULL,
    PRIMARY KEY (block, stream_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE batch (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    stream_id        INTEGER NOT NULL,
    events           INTEGER NOT NULL,
    bytes            INTEGER NOT NULL,
    first_timestamp  INTEGER NOT NULL,
    last_timestamp   INTEGER NOT NULL,
    state            TEXT NOT NULL CHECK (state IN ('sending', 'sent', 'refused')),
    attempts         INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    sent_at          INTEGER,
    request_id       TEXT,
    error            TEXT
) STRICT;
CREATE INDEX batch_sending ON batch (stream_id) WHERE state = 'sending';
CREATE INDEX batch_sent ON batch (sent_at) WHERE state = 'sent';
CREATE INDEX batch_refused ON batch (created_at) WHERE state = 'refused';

-- Consecutive ids that went into one batch, cut where an id is a multiple of {RUN_BLOCK}.
CREATE TABLE run (
    first_id  INTEGER NOT NULL,
    batch_id  INTEGER NOT NULL,
    last_id   INTEGER NOT NULL,
    PRIMARY KEY (first_id, batch_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_batch ON run (batch_id);

CREATE TABLE rejection (
    id        INTEGER PRIMARY KEY,
    batch_id  INTEGER,
    reason    TEXT NOT NULL
) STRICT;

CREATE TABLE checkpoint (
    source    TEXT PRIMARY KEY,
    position  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What never became an event, by reason: blank lines, damaged records, ...
CREATE TABLE skipped (
    reason  TEXT PRIMARY KEY,
    count   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What the agent tells other processes of itself: its limits, and what keeps it from collecting.
CREATE TABLE note (
    name   TEXT PRIMARY KEY,
    since  INTEGER NOT NULL,
    text   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""

# The views use what SQLite had in 2021, so that an old `sqlite3` shell reads them too.
VIEWS = f"""
CREATE VIEW event_state AS
SELECT id, stream_id, timestamp,
       CASE WHEN is_queued THEN 'unsent'
            WHEN is_rejected THEN 'rejected'
            WHEN (SELECT state FROM batch WHERE batch.id = last_batch_id) = 'sending' THEN 'unsent'
            ELSE 'sent' END AS state,
       CASE WHEN NOT is_queued THEN last_batch_id END AS batch_id
FROM (SELECT event.id, event.stream_id, event.timestamp,
             coalesce((SELECT queue.last_id FROM queue WHERE queue.first_id <= event.id
                       ORDER BY queue.first_id DESC LIMIT 1), 0) >= event.id AS is_queued,
             EXISTS (SELECT 1 FROM rejection WHERE rejection.id = event.id) AS is_rejected,
             (SELECT max(run.batch_id) FROM run
              WHERE run.first_id BETWEEN event.id - event.id % {RUN_BLOCK} AND event.id
                AND run.last_id >= event.id) AS last_batch_id
      FROM event);

CREATE VIEW events AS
SELECT event.id, stream.log_group, stream.log_stream, event.timestamp,
       strftime('%Y-%m-%dT%H:%M:%fZ', event.timestamp / 1000.0, 'unixepoch') AS time,
       event.message, event_state.state, event_state.batch_id, source.name AS source
FROM event
JOIN event_state ON event_state.id = event.id
JOIN stream ON stream.id = event.stream_id
JOIN source ON source.id = event.source_id;

CREATE VIEW batches AS
SELECT batch.id, stream.log_group, stream.log_stream, batch.events, batch.bytes,
       batch.first_timestamp, batch.last_timestamp, batch.state, batch.attempts,
       strftime('%Y-%m-%dT%H:%M:%fZ', batch.created_at / 1000.0, 'unixepoch') AS created_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', batch.sent_at / 1000.0, 'unixepoch') AS sent_at,
       batch.request_id, batch.error
FROM batch
JOIN stream ON stream.id = batch.stream_id;
"""


def create_tables(connection: apsw.Connection) -> None:
    """
    Make an empty database a spool.
    """
    connection.execute(TABLES)
    connection.execute(VIEWS)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
