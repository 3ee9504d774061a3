"""
The page says what the results say.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import page
from benchmarks.__main__ import SCENARIOS
from benchmarks.results import Results, load, merged, outcome, save

MACHINE = {"processor": "one, 2 cores"}
DRAINED = {
    "wall_s": 1.0,
    "cpu_s": 2.0,
    "cpu_us_a_line": 2.0,
    "peak_mib": 70.0,
    "requests": 100.0,
    "wire_mb": 20.0,
}


@pytest.fixture
def results() -> Results:
    ours = [DRAINED | {"cpu_s": cpu_s} for cpu_s in (2.0, 3.0, 1.0)]
    theirs = [DRAINED | {"cpu_s": 4.0}] * 3
    late = {"p50_ms": 500.0, "p99_ms": 990.0}
    held = ("1,000 lines held", "10,000 lines held", "1 stream", "10 streams")
    return {
        "machine": MACHINE,
        "versions": {"spool": "1.2.3"},
        "scenarios": {
            "drain": outcome({"a million": {"spool": ours, "fluent-bit": theirs}}),
            "steady": outcome({"live": {"spool": [late, late]}}),
            "growth": outcome({name: {"spool": [DRAINED]} for name in held}),
        },
    }


def test_it_has_the_machine_the_medians_the_commands_and_the_ratios(results: Results) -> None:
    text = page.render(results, SCENARIOS, plots=["growth"], notes="## What did not help\n")
    assert "| processor | one, 2 cores |" in text
    assert "| spool | 1.2.3 |" in text
    assert "| a million, spool | 1.00 s | 2.00 s (1.00 to 3.00) |" in text
    assert "`python -m benchmarks drain --runs 3`" in text
    assert "| CPU of a drain, s | 2.00 | 4.00 | 0.50 x | 1.36 | 1.47 x | 1.5 x |" in text
    assert "![growth](benchmarks/growth.svg)" in text
    assert "latency.svg" not in text
    assert text.endswith("## What did not help\n")


def test_what_was_not_measured_beside_us_is_compared_with_the_record_alone(
    results: Results,
) -> None:
    del results["scenarios"]["drain"]["cases"]["a million"]["fluent-bit"]
    text = page.render(results, SCENARIOS, plots=[], notes="")
    assert "| CPU of a drain, s | 2.00 |  |  | 1.36 | 1.47 x | 1.5 x |" in text


def test_a_bound_that_is_missed_is_seen(results: Results) -> None:
    drained = results["scenarios"]["drain"]["cases"]["a million"]["spool"]
    drained["cpu_s"] = [4.0, 9.0, 8.0]
    text = page.render(results, SCENARIOS, plots=[], notes="")
    assert "| CPU of a drain, s | 8.00 | 4.00 | **2.00 x** | 1.36 | **5.88 x** | 1.5 x |" in text


def test_the_page_and_its_plots_are_written_and_the_same_again(
    results: Results, tmp_path: Path
) -> None:
    save(tmp_path / "results.json", results)
    kept = load(tmp_path / "results.json")
    assert kept == results
    written = []
    for _ in range(2):
        page.write_page(kept, SCENARIOS, tmp_path)
        files = sorted(path for path in tmp_path.rglob("*") if path.suffix in {".md", ".svg"})
        written.append({path.name: path.read_text() for path in files})
    assert written[0] == written[1]
    assert set(written[0]) == {"benchmarks.md", "goals.svg", "growth.svg", "latency.svg"}
    assert page.NOTES.read_text() in written[0]["benchmarks.md"]


def test_figures_of_two_machines_do_not_stand_on_one_page(results: Results) -> None:
    newer = {"machine": MACHINE, "versions": {}, "scenarios": {"idle": {}}}
    assert merged(results, newer)["scenarios"].keys() == {"drain", "steady", "growth", "idle"}
    elsewhere = newer | {"machine": {"processor": "another"}}
    assert merged(results, elsewhere) == elsewhere
    assert merged({}, newer) == newer
