"""
What was measured, kept as JSON, so that the page can be written again without measuring.

    {"machine": {...}, "versions": {"spool": "0.2.0"},
     "scenarios": {"drain": {"date": "2026-11-22", "runs": 5,
                             "cases": {"1,000,000 lines, …": {"spool": {"cpu_s": [2.7, 2.8, …]}}}}}}
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.scenario import Figures

__all__ = ["Results", "load", "merged", "outcome", "save"]

Results = dict[str, Any]


def outcome(runs: dict[str, dict[str, list[Figures]]]) -> dict[str, Any]:
    """
    A scenario's part, from the runs of each case and shipper.
    """
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "runs": max(len(done) for by_shipper in runs.values() for done in by_shipper.values()),
        "cases": {
            case: {shipper: _by_figure(done) for shipper, done in by_shipper.items()}
            for case, by_shipper in runs.items()
        },
    }


def _by_figure(runs: list[Figures]) -> dict[str, list[float]]:
    return {name: [round(run[name], 4) for run in runs] for name in runs[0]}


def merged(old: Results, new: Results) -> Results:
    """
    The new scenarios in the place of the old; figures of another machine are not kept beside them.
    """
    if old.get("machine") != new["machine"]:
        return new
    return {
        "machine": new["machine"],
        "versions": {**old["versions"], **new["versions"]},
        "scenarios": {**old["scenarios"], **new["scenarios"]},
    }


def load(path: Path) -> Results:
    """
    What is there; nothing where there is no file.
    """
    return dict(json.loads(path.read_text())) if path.exists() else {}


def save(path: Path, results: Results) -> None:
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
