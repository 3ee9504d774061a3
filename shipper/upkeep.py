"""
What is done to the spool every minute: old events leave, the file shrinks, what is the matter is
put on record.

Comes in: an open store and its budget. Goes out: a file of its size. Always holds: what fails is
tried again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import apsw

from shipper.backoff import Every
from shipper.trouble import Trouble
from spool.budget import Budget
from spool.clock import now_ms
from spool.retention import prune, shrink
from spool.store import Store

__all__ = ["Notes", "keep_up"]

Notes = dict[str, str | None]
"""What is the matter, by name; None where nothing is."""

LOOK_S = 2.0
PRUNE_EVERY_S = 60.0


def keep_up(
    store: Store,
    budget: Budget,
    stop: threading.Event,
    *,
    keep_ms: int,
    trouble: Trouble,
    notes: Callable[[], Notes],
) -> None:
    """
    Look after the spool until `stop` is set; sent events stay for `keep_ms`. What `notes`
    gives is put on record with what the budget tells.
    """
    told: Notes = {}
    due = Every(PRUNE_EVERY_S)
    must_prune = False
    while True:
        must_prune |= due.is_due()
        try:
            budget.watch_log()
            told = _tell(store, {**budget.notes, **notes()}, told)
            if must_prune:
                prune(store, sent_before_ms=now_ms() - keep_ms)
                shrink(store)
        except apsw.Error as error:
            trouble.begin("upkeep", error)
            must_prune = True
        else:
            if must_prune:
                trouble.end("upkeep")
            must_prune = False
        if stop.wait(LOOK_S):
            return


def _tell(store: Store, notes: Notes, told: Notes) -> Notes:
    """
    Put on record what is new since `told`; returns what is told now.
    """
    if notes != told:
        with store.transaction():
            for name, text in notes.items():
                store.note(name, text, now_ms=now_ms())
    return notes
