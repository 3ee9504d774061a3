"""
What waits in the file does not wait in memory.
"""

from __future__ import annotations

from pathlib import Path

from faults.memory import BOUND_MIB, measure

EVENTS = 500_000


def test_half_a_million_unsent_events_cost_no_memory_at_start_nor_in_the_drain(
    tmp_path: Path,
) -> None:
    """
    Promise 7; `make faults` does the same with 10 million, under the same bound.
    """
    peaks = measure(tmp_path, events=EVENTS, drain=EVENTS)
    assert peaks.drained == EVENTS
    assert peaks.refused_mib < BOUND_MIB
    assert peaks.draining_mib < BOUND_MIB
