"""
Measure what Spool costs, and write docs/benchmarks.md.

    python -m benchmarks                    all scenarios, five runs each: what `make bench` does
    python -m benchmarks drain --runs 1     one of them, printed and not written
    python -m benchmarks drain --write      one of them, and the page with it
    python -m benchmarks --page             the page again, from the figures there are

FLUENT_BIT=/path/to/fluent-bit measures that one in turn with Spool.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarks import ROOT, catch_up, drain, growth, idle, memory, replay, steady
from benchmarks.figures import FIGURES, shown
from benchmarks.fluent_bit import FluentBit
from benchmarks.goals import verdicts
from benchmarks.machine import describe
from benchmarks.page import write_page
from benchmarks.processes import Failed
from benchmarks.results import Results, load, merged, outcome, save
from benchmarks.scenario import Figures, Scenario
from benchmarks.shippers import Shipper, Spool

SCENARIOS = {
    module.SCENARIO.name: module.SCENARIO
    for module in (drain, steady, catch_up, replay, idle, memory, growth)
}
RESULTS = ROOT / "benchmarks" / "results.json"
DOCS = ROOT / "docs"
RUNS = 5


def main() -> int:
    options = parse_arguments()
    code = 0 if options.page else measure_all(options)
    if options.page or is_kept(options):
        results = load(RESULTS)
        if not results:
            print(f"benchmarks: there is no {RESULTS}; measure first", file=sys.stderr)
            return 1
        write_page(results, SCENARIOS, DOCS)
        print(f"written: {DOCS / 'benchmarks.md'}")
    return code


def is_kept(options: argparse.Namespace) -> bool:
    """
    Whether the figures go to the page.
    """
    return not options.quick and (options.write or not options.scenario)


def measure_all(options: argparse.Namespace) -> int:
    """
    Measure what was asked for; the exit code. A scenario is kept as soon as it is done, and one
    that fails keeps no other from being measured.
    """
    try:
        shippers = found_shippers()
    except Failed as problem:
        print(f"benchmarks: {problem}", file=sys.stderr)
        return 1
    found: Results = {
        "machine": describe(),
        "versions": {shipper.name: shipper.version() for shipper in shippers},
        "scenarios": {},
    }
    code = 0
    for name in options.scenario or SCENARIOS:
        try:
            found["scenarios"][name] = measure(
                SCENARIOS[name], shippers, runs=options.runs, is_quick=options.quick
            )
        except (Failed, TimeoutError) as problem:
            print(f"benchmarks: {name}: {problem}", file=sys.stderr)
            code = 1
            continue
        if is_kept(options):
            save(RESULTS, merged(load(RESULTS), found))
    for verdict in verdicts(found):
        title, ours, theirs, ratio, recorded, to_record, bound = verdict.cells()
        beside = f"Fluent Bit {theirs or '-'} {ratio}; on record {recorded or '-'} {to_record}"
        print(f"{title}: {ours}; {beside}; at most {bound}")
    return code


def parse_arguments() -> argparse.Namespace:
    summary, _, rest = (__doc__ or "").strip().partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=summary,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each case ({RUNS})")
    parser.add_argument("--quick", action="store_true", help="in small, and written nowhere")
    parser.add_argument("--write", action="store_true", help="keep the figures, write the page")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page")
    options = parser.parse_args()
    if unknown := set(options.scenario) - SCENARIOS.keys():
        parser.error(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    if options.runs < 1:
        parser.error("--runs is 1 or more")
    return options


def found_shippers() -> list[Shipper]:
    """
    Spool, and Fluent Bit where the environment names one.
    """
    executable = os.environ.get("FLUENT_BIT")
    theirs = [FluentBit(Path(executable))] if executable else []
    for shipper in theirs:
        print(f"beside {shipper.version()}")
    return [Spool(), *theirs]


def measure(scenario: Scenario, shippers: list[Shipper], *, runs: int, is_quick: bool) -> Results:
    """
    All cases of a scenario, as `results.outcome` has them; several shippers take turns.
    """
    of_all: dict[str, dict[str, list[Figures]]] = {}
    for case in scenario.cases(is_quick):
        print(f"{scenario.name}: {case.name}", flush=True)
        taking_part = shippers if scenario.is_shared else shippers[:1]
        done: dict[str, list[Figures]] = {shipper.name: [] for shipper in taking_part}
        of_all[case.name] = done
        with tempfile.TemporaryDirectory(prefix="spool-bench-") as folder:
            prepared = Path(folder) / "prepared"
            prepared.mkdir()
            case.prepare(prepared)
            for _ in range(runs):
                for shipper in taking_part:
                    with tempfile.TemporaryDirectory(prefix="run-", dir=folder) as home:
                        done[shipper.name].append(case.measure(shipper, prepared, Path(home)))
        for shipper in taking_part:
            tell(shipper.name, done[shipper.name])
    return outcome(of_all)


def tell(name: str, runs: list[Figures]) -> None:
    """
    What the runs came to, on the terminal.
    """
    for figure in runs[0]:
        values = shown([run[figure] for run in runs], figure)
        print(f"  {name:>10}  {FIGURES[figure].title:>18}  {values}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
