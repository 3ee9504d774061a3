"""
Questions that people ask of a spool, as SQL that Datasette offers by name.

Always holds: each reads at most some thousand rows by an index, or counters, whatever the size of
the spool; a field that is left empty has a meaning.
"""

from __future__ import annotations

from spool.schema import RUN_BLOCK

__all__ = ["QUERIES"]

NEWEST_FIRST_LIMIT = 500
EXTENTS = 200
"""Of a thousand ids each, some of them of the stream."""

SINCE = "coalesce(strftime('%s', nullif(:since, '')), strftime('%s', 'now', '-1 hour')) * 1000"
UNTIL = "coalesce(strftime('%s', nullif(:until, '')), strftime('%s', 'now', '+1 day')) * 1000"
"""UTC, as SQLite reads it: 2026-11-22 10:00."""

ISO = "strftime('%Y-%m-%dT%H:%M:%SZ', {} / 1000, 'unixepoch')"

STREAMS_NAMED = """
SELECT id FROM stream
WHERE (:group = '' OR log_group = :group) AND (:stream = '' OR log_stream = :stream)
"""

QUERIES = {
    "unsent-by-stream": {
        "title": "Unsent, by stream",
        "description": "How much waits, since when, and what CloudWatch said last.",
        "sql": f"""
SELECT log_group, log_stream,
       queued + coalesce((SELECT sum(events) FROM batch
                          WHERE state = 'sending' AND stream_id = stream.id), 0) AS unsent,
       queued_bytes,
       {ISO.format("(SELECT min(first_timestamp) FROM queue WHERE stream_id = stream.id)")}
           AS oldest_queued,
       error AS last_error, {ISO.format("error_at")} AS last_error_at,
       {ISO.format("delivered_at")} AS last_delivery
FROM stream
WHERE queued > 0 OR id IN (SELECT stream_id FROM batch WHERE state = 'sending')
ORDER BY unsent DESC""",
    },
    "oldest-unsent": {
        "title": "Oldest unsent events",
        "description": "What has waited longest for a batch. Batches on their way are elsewhere.",
        "sql": """
SELECT events.*
FROM (SELECT first_id, last_id FROM queue ORDER BY first_timestamp LIMIT 20) AS oldest
JOIN events ON events.id BETWEEN oldest.first_id AND oldest.last_id
ORDER BY timestamp, id LIMIT 200""",
    },
    "on-their-way": {
        "title": "Batches on their way",
        "description": "On record before the request goes out; old ones with several attempts mean"
        " an outage.",
        "sql": """
SELECT * FROM batches
WHERE id IN (SELECT id FROM batch WHERE state = 'sending') ORDER BY id""",
    },
    "maybe-twice": {
        "title": "May have arrived twice",
        "description": "Batches that were sent more than once: the answer to an earlier attempt may"
        " have been lost, not the batch.",
        "sql": f"""
SELECT * FROM batches WHERE attempts > 1 ORDER BY id DESC LIMIT {NEWEST_FIRST_LIMIT}""",
    },
    "rejected-by-reason": {
        "title": "Rejected, by reason and stream",
        "description": "What CloudWatch refused for good. It is kept; `spool replay --state"
        " rejected --restamp` sends it with the present time.",
        "sql": f"""
SELECT reason, log_group, log_stream, count(*) AS events,
       {ISO.format("min(timestamp)")} AS first, {ISO.format("max(timestamp)")} AS last
FROM rejection JOIN event ON event.id = rejection.id JOIN stream ON stream.id = event.stream_id
GROUP BY reason, stream.id ORDER BY events DESC LIMIT {NEWEST_FIRST_LIMIT}""",
    },
    "rejected": {
        "title": "Rejected events, the newest first",
        "description": "With the reason.",
        "sql": f"""
SELECT events.id, reason, log_group, log_stream, time, message, rejection.batch_id
FROM (SELECT * FROM rejection ORDER BY id DESC LIMIT {NEWEST_FIRST_LIMIT}) AS rejection
JOIN events ON events.id = rejection.id ORDER BY events.id DESC""",
    },
    "arrived-between": {
        "title": "What arrived between two times",
        "description": "Events by stream, by their own time. UTC, like 2026-11-22 10:00; empty is"
        " the last hour. Counted in blocks of ids: at the edges it may be a few more.",
        "sql": f"""
SELECT log_group, log_stream, sum(events) AS events, sum(bytes) AS bytes,
       {ISO.format("min(first_timestamp)")} AS first, {ISO.format("max(last_timestamp)")} AS last
FROM extent JOIN stream ON stream.id = stream_id
WHERE last_timestamp >= {SINCE} AND first_timestamp < {UNTIL}
GROUP BY stream.id ORDER BY events DESC LIMIT 1000""",
    },
    "delivered-between": {
        "title": "What was delivered between two times",
        "description": "Batches by stream, by the time of CloudWatch's answer. UTC; empty is the"
        " last hour.",
        "sql": f"""
SELECT log_group, log_stream, count(*) AS batches, sum(events) AS events, sum(batch.bytes) AS bytes,
       round(max(sent_at - last_timestamp) / 1000.0, 1) AS longest_lag_s
FROM batch JOIN stream ON stream.id = batch.stream_id
WHERE state = 'sent' AND sent_at >= {SINCE} AND sent_at < {UNTIL}
GROUP BY stream.id ORDER BY events DESC LIMIT 1000""",
    },
    "stream-between": {
        "title": "One stream between two times",
        "description": "Its newest events; an empty group or stream is any. UTC; empty is the last"
        " hour.",
        "sql": f"""
WITH place AS MATERIALIZED (
    SELECT first_id, last_id, stream_id FROM extent
    WHERE stream_id IN ({STREAMS_NAMED})
      AND last_timestamp >= {SINCE} AND first_timestamp < {UNTIL}
    ORDER BY block DESC LIMIT {EXTENTS}
)
SELECT events.*
FROM place
CROSS JOIN event ON event.id BETWEEN place.first_id AND place.last_id
                AND event.stream_id = place.stream_id
JOIN events ON events.id = event.id
WHERE event.timestamp >= {SINCE} AND event.timestamp < {UNTIL}
ORDER BY events.id DESC LIMIT {NEWEST_FIRST_LIMIT}""",
    },
    "batches-of-a-stream": {
        "title": "Batches of a stream, the newest first",
        "description": "The requests, their AWS request ids and errors; an empty group or stream is"
        " any.",
        "sql": f"""
SELECT * FROM batches
WHERE (:group = '' OR log_group = :group) AND (:stream = '' OR log_stream = :stream)
ORDER BY id DESC LIMIT {NEWEST_FIRST_LIMIT}""",
    },
    "events-of-a-batch": {
        "title": "Events of a batch",
        "description": "What one PutLogEvents carried.",
        "sql": """
SELECT events.*
FROM run JOIN events ON events.id BETWEEN run.first_id AND run.last_id
WHERE run.batch_id = :batch ORDER BY events.id LIMIT 1000""",
    },
    "batches-of-an-event": {
        "title": "Batches that carried an event",
        "description": "More than one: it was replayed, or its batch was split.",
        "sql": f"""
SELECT batches.*
FROM run JOIN batches ON batches.id = run.batch_id
WHERE run.first_id BETWEEN :event - :event % {RUN_BLOCK} AND :event AND run.last_id >= :event
ORDER BY batches.id""",
    },
    "slowest-batches": {
        "title": "Slowest deliveries of the last day",
        "description": "By the time from a batch's last event to CloudWatch's answer.",
        "sql": """
SELECT lag_s, batches.*
FROM (SELECT id, round((sent_at - last_timestamp) / 1000.0, 1) AS lag_s FROM batch
      WHERE state = 'sent' AND sent_at > strftime('%s', 'now', '-1 day') * 1000
      ORDER BY lag_s DESC LIMIT 100) AS slowest
JOIN batches ON batches.id = slowest.id ORDER BY lag_s DESC""",
    },
    "streams": {
        "title": "All streams",
        "description": "The counters: collected = unsent + sent + rejected + pruned + dropped.",
        "sql": f"""
SELECT log_group, log_stream, collected, queued, sent, rejected, pruned, dropped,
       {ISO.format("delivered_at")} AS last_delivery, error AS last_error
FROM stream ORDER BY collected DESC LIMIT 1000""",
    },
    "not-events": {
        "title": "Lines that did not become events",
        "description": "Blank lines, damaged records and the like, by reason.",
        "sql": "SELECT reason, count FROM skipped ORDER BY count DESC",
    },
}
