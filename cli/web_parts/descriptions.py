"""
What Datasette tells about the spool: its tables, its columns, and the queries it offers.
"""

from __future__ import annotations

from cli.web_parts.queries import QUERIES

__all__ = ["METADATA"]

EVENTS = {
    "id": "in the order stored, never given twice",
    "log_group": "of CloudWatch Logs",
    "log_stream": "of CloudWatch Logs",
    "timestamp": "ms since the epoch, as the container's log has it",
    "time": "the same, UTC",
    "message": "the line, as it is sent",
    "state": "unsent, sent or rejected",
    "batch_id": "the last batch that carried it",
    "source": "where it was read",
}

BATCHES = {
    "id": "in the order made",
    "events": "how many",
    "bytes": "of their messages, UTF-8",
    "first_timestamp": "of its events, ms since the epoch",
    "last_timestamp": "of its events, ms since the epoch",
    "state": "sending, sent, or refused (then it was split in two)",
    "attempts": "how often it went out; more than once: it may have arrived twice",
    "created_at": "when it was made and first sent, UTC",
    "sent_at": "when CloudWatch answered 200, UTC",
    "request_id": "AWS's, to be named to its support",
    "error": "of the last attempt",
}

STREAM = {
    "collected": "= unsent + sent + rejected + pruned + dropped",
    "queued": "waits for a batch; unsent is that and what is in batches that are `sending`",
    "delivered_at": "last answer 200, ms since the epoch",
    "error": "of the last attempt, empty once one went well",
}

TABLES = {
    "events": {
        "description": "Every line and what became of it (a view that stays as it is). Filters here"
        " look at every event; the search on the start page and the queries are faster.",
        "columns": EVENTS,
        "sortable_columns": ["id"],
        "sort_desc": "id",
    },
    "batches": {
        "description": "The PutLogEvents requests and what came of them (a view that stays as it"
        " is).",
        "columns": BATCHES,
        "sortable_columns": ["id"],
        "sort_desc": "id",
    },
    "stream": {"description": "Counters of each stream.", "columns": STREAM},
    "queue": {"description": "Consecutive ids of one stream that wait for a batch."},
    "rejection": {"description": "Events that CloudWatch refused for good, and why."},
    "skipped": {"description": "What never became an event, by reason."},
    "checkpoint": {"description": "How far each log was read."},
    "source": {"description": "Where lines are read."},
    "batch": {"hidden": True},
    "event": {"hidden": True},
    "event_state": {"hidden": True},
    "extent": {"hidden": True},
    "run": {"hidden": True},
}

METADATA = {
    "title": "Spool",
    "databases": {
        "spool": {
            "description": "The spool, read-only. Views `events` and `batches` stay as they are;"
            " the tables may change with the format.",
            "tables": TABLES,
            "queries": QUERIES,
        }
    },
}
