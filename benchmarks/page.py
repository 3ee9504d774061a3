"""
docs/benchmarks.md: from the results, and from notes.md, which is written by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import FIGURES, shown
from benchmarks.goals import RECORDED, verdicts
from benchmarks.plots import draw
from benchmarks.results import Results
from benchmarks.scenario import Scenario

__all__ = ["render", "table", "write_page"]

NOTES = Path(__file__).parent / "notes.md"
HEAD = """\
# Benchmarks

Each figure is that of a whole process, as the system accounts for it, against a strict endpoint
over TLS on the same machine; the endpoint's own work is not in it. Lines are those of an ordinary
access log, 101 bytes on average. Medians of several runs, the least and the most in brackets.
Requests are all that were sent, refused ones, too; bytes on the wire are those of their bodies.

`make bench` measures all of it, in half an hour, and writes this page; `python -m benchmarks
--help` tells of the parts. With `FLUENT_BIT=/path/to/fluent-bit` that one is measured in turn with
Spool, on the same files.
"""
PLOTS = {"steady": "latency", "growth": "growth"}
"""The plot that stands below a scenario's table."""


def write_page(results: Results, scenarios: Mapping[str, Scenario], docs: Path) -> None:
    """
    The page and its plots, in `docs`.
    """
    plots = draw(results, docs / "benchmarks")
    (docs / "benchmarks.md").write_text(
        render(results, scenarios, plots=plots, notes=NOTES.read_text())
    )


def render(
    results: Results, scenarios: Mapping[str, Scenario], *, plots: Iterable[str], notes: str
) -> str:
    """
    The page as Markdown; `plots` are the names of those there are.
    """
    drawn = set(plots)
    parts = [HEAD, _machine(results), _goals(results, drawn)]
    parts += [
        _scenario(scenario, results["scenarios"][name], drawn)
        for name, scenario in scenarios.items()
        if name in results["scenarios"]
    ]
    return "\n".join([*parts, notes])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """
    Markdown; all columns but the first to the right.
    """
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _machine(results: Results) -> str:
    rows = [*results["machine"].items(), *results["versions"].items()]
    return "## The machine\n\n" + table(["", ""], rows)


def _goals(results: Results, drawn: set[str]) -> str:
    found = verdicts(results)
    if not found:
        return ""
    head = ["", "Spool", "Fluent Bit", "ratio", "on record", "ratio", "at most"]
    told = f"## Against Fluent Bit\n\n{table(head, (verdict.cells() for verdict in found))}"
    return f"{told}\n{RECORDED}\n" + _plot("goals", "what Spool takes of each bound", drawn)


def _scenario(scenario: Scenario, result: Mapping[str, Any], drawn: set[str]) -> str:
    names = list(dict.fromkeys(_shippers(result)))
    figures = list(next(iter(result["cases"].values()))["spool"])
    rows = [
        [
            case if len(names) == 1 else f"{case}, {name}",
            *(shown(by_shipper[name][figure], figure) for figure in figures),
        ]
        for case, by_shipper in result["cases"].items()
        for name in names
    ]
    head = ["", *(FIGURES[figure].title for figure in figures)]
    command = f"python -m benchmarks {scenario.name} --runs {result['runs']}"
    title = f"## {scenario.title}\n\n{scenario.about} `{command}`, {result['date']}.\n\n"
    plot = _plot(PLOTS.get(scenario.name, ""), scenario.title.lower(), drawn)
    return title + table(head, rows) + plot


def _shippers(result: Mapping[str, Any]) -> Iterable[str]:
    return (name for by_shipper in result["cases"].values() for name in by_shipper)


def _plot(name: str, title: str, drawn: set[str]) -> str:
    return f"\n![{title}](benchmarks/{name}.svg)\n" if name in drawn else ""
