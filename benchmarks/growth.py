"""
Whether a line costs more where more lines or more streams are.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from filled import fill

from benchmarks import drain
from benchmarks.lines import message
from benchmarks.scenario import Case, Figures, Scenario
from benchmarks.shippers import Shipper
from benchmarks.spools import copy

__all__ = ["SCENARIO"]

SPAN_MS = 3_600_000


def prepare_spool(held: int, lines: int, folder: Path) -> None:
    """
    A spool that holds so many sent events, and a container with new lines.
    """
    fill(folder / "spool.db", held, message, streams=1, span_ms=SPAN_MS, unsent=0)
    drain.prepare(1, lines, folder)


def measure(lines: int, shipper: Shipper, folder: Path, home: Path) -> Figures:
    if (folder / "spool.db").exists():
        copy(folder, home)
    return drain.drain(lines, shipper, folder, home)


def cases(is_quick: bool) -> list[Case]:
    lines = 20_000 if is_quick else 500_000
    held = (1_000, 10_000, 100_000) if is_quick else (100_000, 1_000_000, 10_000_000)
    streams = (1, 10, 100) if is_quick else (1, 10, 100, 1_000)
    each = 100 if is_quick else 10_000
    return [
        *(
            Case(
                f"{count:,} lines held",
                partial(prepare_spool, count, lines),
                partial(measure, lines),
            )
            for count in held
        ),
        *(
            Case(
                f"{count:,} stream{'s' if count > 1 else ''}",
                partial(drain.prepare, count, lines // count),
                partial(measure, lines),
            )
            for count in streams
        ),
        *(
            Case(
                f"{count:,} streams of {each:,} lines",
                partial(drain.prepare, count, each),
                partial(measure, count * each),
            )
            for count in streams[2:]
        ),
    ]


SCENARIO = Scenario(
    "growth",
    "Growth",
    "A drain of half a million lines into a spool that holds more and more events already, all of"
    " them sent; and into an empty one, from more and more containers, each a stream, so that"
    " requests become less full. Then from as many that each have lines enough to fill them.",
    cases,
    is_shared=False,
)
