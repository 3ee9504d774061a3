"""
Numbers are told as people say them.
"""

from __future__ import annotations

import pytest

from spool.wording import counted, human_bytes, human_duration


@pytest.mark.parametrize(
    ("count", "noun", "told"),
    [
        (0, "event", "0 events"),
        (1, "event", "1 event"),
        (2_000, "event", "2,000 events"),
        (1, "batch", "1 batch"),
        (2, "batch", "2 batches"),
    ],
)
def test_a_noun_is_in_the_number_that_its_count_asks_for(count: int, noun: str, told: str) -> None:
    assert counted(count, noun) == told


@pytest.mark.parametrize(
    ("size_bytes", "told"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1_572_864, "1.5 MiB"),
        (1 << 30, "1.0 GiB"),
        (5 << 40, "5.0 TiB"),
        (5_000 << 40, "5000.0 TiB"),
    ],
)
def test_a_size_is_told_in_the_unit_that_leaves_it_short(size_bytes: int, told: str) -> None:
    assert human_bytes(size_bytes) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.2, "1 s"),
        (89, "89 s"),
        (90, "2 min"),
        (7_500, "2 h 5 min"),
        (3 * 86_400, "3 days"),
        (86_400_000, "1,000 days"),
    ],
)
def test_a_length_of_time_is_told_as_exactly_as_anybody_cares(seconds: float, told: str) -> None:
    assert human_duration(seconds) == told
