"""
A part of the matrix: some faults, each at one moment. `make faults` runs all of it.
"""

from __future__ import annotations

import random

import pytest
from faults.kinds import FAULTS
from faults.matrix import Cell, Outcome, run_all
from faults.moments import MOMENTS

SEED = 20_261_122
COUNT = 18
MOST_S = 3.0
"""A fault that stays longer is for `make faults` alone."""


def some_cells() -> list[Cell]:
    """
    COUNT faults, thrown by dice, at each moment in turn.
    """
    dice = random.Random(SEED)
    kinds = [kind for kind in FAULTS if kind.lasts_s <= MOST_S]
    chosen = dice.sample(kinds, COUNT)
    cells = []
    for number, kind in enumerate(chosen):
        order = [MOMENTS[(number + step) % len(MOMENTS)] for step in range(len(MOMENTS))]
        cells.append(Cell(kind, next(moment for moment in order if moment.suits(kind))))
    return cells


CELLS = some_cells()


@pytest.fixture(scope="module")
def outcomes() -> dict[Cell, Outcome]:
    """
    All of them at a time, as they mostly wait.
    """
    return {outcome.cell: outcome for outcome in run_all(CELLS)}


@pytest.mark.timeout(300)  # the first one waits for all of them, on a machine that others load
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_whatever_goes_wrong_every_line_is_accounted_for(
    outcomes: dict[Cell, Outcome], cell: Cell
) -> None:
    """
    Promises 1 to 6: each line arrives, as often as it was sent or its answer was lost; or is kept
    as rejected, where the service refused it for good.
    """
    assert outcomes[cell].found == [], outcomes[cell].log
