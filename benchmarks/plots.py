"""
The plots of docs/benchmarks.md, as SVG that is the same for the same figures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.figures import summary
from benchmarks.goals import verdicts
from benchmarks.results import Results

__all__ = ["draw"]

# ids within the file by its content, and text as text
STYLE = {"svg.hashsalt": "spool", "svg.fonttype": "none", "font.size": 9}
OURS, THEIRS, BOUND = "#2a6f97", "#a3a3a3", "#bc4749"


def draw(results: Results, folder: Path) -> list[str]:
    """
    Those for which there are figures, into `folder`; their names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, (needed, plot) in PLOTS.items():
        if needed & results["scenarios"].keys():
            with mpl.rc_context(STYLE):
                figure = plot(results)
                figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
            drawn.append(name)
    return drawn


def goals(results: Results) -> Figure:
    """
    How much of each bound is taken.
    """
    found = list(reversed(verdicts(results)))
    figure = Figure(figsize=(7, 0.4 * len(found) + 1), layout="constrained")
    axes = figure.subplots()
    shares = [verdict.value / verdict.goal.bound for verdict in found]
    axes.barh([verdict.goal.title for verdict in found], shares, color=OURS)
    axes.axvline(1, color=BOUND, linewidth=1)
    axes.set_xlabel("share of the bound; 1 is the bound")
    return figure


def latency(results: Results) -> Figure:
    """
    p50 and p99 of each shipper, with the least and the most of the runs.
    """
    case = next(iter(results["scenarios"]["steady"]["cases"].values()))
    figure = Figure(figsize=(5, 2.6), layout="constrained")
    axes = figure.subplots()
    for index, (name, figures) in enumerate(case.items()):
        places = [0.4 * index, 1.2 + 0.4 * index]
        bars = _error_bars([figures["p50_ms"], figures["p99_ms"]])
        color = OURS if name == "spool" else THEIRS
        axes.bar(places, bars["y"], yerr=bars["yerr"], width=0.35, label=name, color=color)
    axes.set_xticks([0, 1.2], ["p50", "p99"])
    axes.set_ylabel("written to stored, ms")
    axes.legend()
    return figure


def growth(results: Results) -> Figure:
    """
    CPU a line over what is there already, and over the number of streams.
    """
    cases = results["scenarios"]["growth"]["cases"]
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    held, streams = figure.subplots(1, 2, sharey=True)
    _grow(held, cases, r"lines held", "")
    _grow(streams, cases, r"streams?", "the same lines, spread")
    _grow(streams, cases, r"streams of [\d,]+ lines", "as many lines each")
    held.set(xlabel="events in the spool before", ylabel="CPU a line, µs")
    streams.set(xlabel="streams")
    held.set_ylim(bottom=0)  # shared, and once all is drawn: it ends the scaling
    streams.legend()
    return figure


def _grow(axes: Axes, cases: Mapping[str, Any], name: str, label: str) -> None:
    """
    CPU a line of the cases whose names are a number and `name`, over that number.
    """
    chosen = {
        int(found[1].replace(",", "")): runs["spool"]
        for case, runs in cases.items()
        if (found := re.fullmatch(rf"([\d,]+) {name}", case))
    }
    bars = _error_bars([runs["cpu_us_a_line"] for runs in chosen.values()])
    axes.errorbar(list(chosen), bars["y"], yerr=bars["yerr"], marker="o", label=label)
    axes.set_xscale("log")


def _error_bars(runs: list[list[float]]) -> Mapping[str, Any]:
    found = [summary(values) for values in runs]
    return {
        "y": [one.median for one in found],
        "yerr": [
            [one.median - one.least for one in found],
            [one.most - one.median for one in found],
        ],
    }


PLOTS: dict[str, tuple[set[str], Callable[[Results], Figure]]] = {
    "goals": ({"drain", "catch-up", "idle"}, goals),
    "latency": ({"steady"}, latency),
    "growth": ({"growth"}, growth),
}
"""By name: the scenarios of which one is needed, and who draws it."""
