"""
Fault by moment: whatever happens whenever, every line is accounted for.

    python tests/faults/matrix.py [--fault NAME] [--moment NAME] [--jobs 6]

Each cell is a `spool run` or `spool replay` of its own between containers that log and a strict
CloudWatch Logs. Prints a table, each cell `ok` or what was lost or doubled; exits 1 if one is not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = map(str, (Path(__file__).parents[1], Path(__file__).parents[2]))

from faults.kinds import FAULTS, Kind
from faults.moments import MOMENTS, Moment
from faults.verdict import Finding, findings
from faults.world import World

__all__ = ["Cell", "Outcome", "cells", "run_all", "run_cell"]

JOBS = 6
NAME_WIDTH = 21
CELL_WIDTH = 7


@dataclass(frozen=True)
class Cell:
    """
    One fault at one moment.
    """

    kind: Kind
    moment: Moment

    @property
    def name(self) -> str:
        """
        For people.
        """
        return f"{self.kind.name} / {self.moment.name}"


@dataclass(frozen=True)
class Outcome:
    """
    What came of a cell; no findings are good. `log` is what the processes logged.
    """

    cell: Cell
    found: list[Finding]
    took_s: float
    log: str


def cells() -> list[Cell]:
    """
    The whole matrix.
    """
    return [Cell(kind, moment) for kind in FAULTS for moment in MOMENTS if moment.suits(kind)]


def run_cell(cell: Cell) -> Outcome:
    """
    Live through one cell.
    """
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="spool-fault-") as folder:
        seed = zlib.crc32(cell.name.encode())
        world = World(Path(folder), tls=cell.kind.is_tls, seed=seed)
        try:
            cell.kind.prepare(world)
            cell.moment.live(world, cell.kind)
            found = findings(world, cell.kind)
        except Exception as problem:  # noqa: BLE001 - whatever it is, it is this cell's outcome
            found = [(f"stuck {world.unsent()}", f"{type(problem).__name__}: {problem}")]
        finally:
            world.close()
        log = world.log.read_text() if world.log.exists() else ""
    return Outcome(cell, found, time.monotonic() - begun_s, log)


def run_all(wanted: Iterable[Cell], *, jobs: int = JOBS) -> Iterable[Outcome]:
    """
    Live through these, a few at a time; outcomes as they come. The slowest begin first.
    """
    ordered = sorted(wanted, key=lambda cell: -cell.kind.lasts_s)
    with ThreadPoolExecutor(jobs) as pool:
        for done in as_completed([pool.submit(run_cell, cell) for cell in ordered]):
            yield done.result()


def table(outcomes: dict[Cell, Outcome]) -> list[str]:
    """
    Fault by moment, at most 80 columns wide; `-` where such a fault cannot be.
    """
    kinds = [kind for kind in FAULTS if any(cell.kind is kind for cell in outcomes)]
    moments = [moment for moment in MOMENTS if any(cell.moment is moment for cell in outcomes)]
    names = "".join(f"{moment.name:<{CELL_WIDTH}}" for moment in moments)
    lines = [f"{'':<{NAME_WIDTH}} {names}".rstrip()]
    for kind in kinds:
        words = [word(outcomes.get(Cell(kind, moment))) for moment in moments]
        row = " ".join(f"{text:<{CELL_WIDTH - 1}}" for text in words)
        lines.append(f"{kind.name:<{NAME_WIDTH}} {row}".rstrip())
    return lines


def word(outcome: Outcome | None) -> str:
    """
    A cell of the table.
    """
    if outcome is None:
        return "-"
    return outcome.found[0][0].replace(" ", "")[: CELL_WIDTH - 1] if outcome.found else "ok"


def main() -> int:
    """
    The whole matrix, or what is asked for.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--fault", help="only faults with this in their names")
    parser.add_argument("--moment", help="only this moment")
    parser.add_argument("--jobs", type=int, default=JOBS, help="cells at a time")
    options = parser.parse_args()
    wanted = [
        cell
        for cell in cells()
        if (options.fault or "") in cell.kind.name and options.moment in {None, cell.moment.name}
    ]
    begun_s = time.monotonic()
    outcomes = {}
    for outcome in run_all(wanted, jobs=options.jobs):
        outcomes[outcome.cell] = outcome
        for text, sentence in outcome.found:
            print(f"{outcome.cell.name}: {text}: {sentence}\n{outcome.log}", file=sys.stderr)
        if sys.stderr.isatty():
            print(f"\r{len(outcomes)} of {len(wanted)}", end="\r", file=sys.stderr)
    print("\n".join(table(outcomes)))
    bad = sum(bool(outcome.found) for outcome in outcomes.values())
    took_s = time.monotonic() - begun_s
    print(f"{len(outcomes)} cells, {bad} not ok, in {took_s:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
