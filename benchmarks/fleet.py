"""
A fleet on paper: how hosts that share one account's quota come back from an outage of an hour.

    python benchmarks/fleet.py [--hosts 100 1000 10000]
    python benchmarks/fleet.py --page

Prints a table, and writes docs/fleet.json, the plots and the tables of docs/fleet.md, whose other
words stay; with --page from the results that are there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import matplotlib as mpl  # noqa: E402
from fleet_model import Fleet, Host, World  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

RESULTS = ROOT / "docs" / "fleet.json"
PAGE = ROOT / "docs" / "fleet.md"
BEGIN, END = "<!-- results -->", "<!-- end of results -->"
SIZES = [100, 300, 1_000, 3_000, 10_000]
KINDS = {"even": {"lines_per_s": 100.0}, "uneven": {"lines_per_s": 20.0, "spread": 2.0}}
"""All hosts alike; or a median of 20 lines a second, with some at 2,000, and 1 to 50 streams."""

LIMIT_S = 400.0

COLUMNS = {
    "kind": "fleet",
    "hosts": "hosts",
    "ideal_s": "ideal, s",
    "mean_s": "mean, s",
    "slowest_s": "slowest, s",
    "slowest_by_mean": "slowest / mean",
    "slowest_by_like": "slowest / mean of its like",
    "jain": "Jain index",
    "throttled_percent": "throttled, %",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--hosts", type=int, nargs="+", default=SIZES)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--page", action="store_true", help="no run, only the page")
    options = parser.parse_args()
    if not options.page:
        jobs = [(kind, hosts, options.seed) for kind in KINDS for hosts in options.hosts]
        with ProcessPoolExecutor(2) as pool:
            results = list(pool.map(measured, *zip(*jobs, strict=True)))
        for row in results:
            print("  ".join(f"{row[key]:>9}" for key in COLUMNS))
        RESULTS.write_text(json.dumps(results) + "\n")
    write_page(json.loads(RESULTS.read_text()))


def measured(kind: str, hosts: int, seed: int) -> dict[str, Any]:
    begun_s = time.perf_counter()
    fleet = Fleet(hosts, seed=seed, **KINDS[kind])
    world = World(fleet)
    needed = world.requests_needed()
    by_backlog = sorted(world.hosts, key=Host.requests_needed)
    world.run(until_s=LIMIT_S)
    drained = [host.drained_s for host in world.hosts]
    ends = [min(end_s, LIMIT_S) for end_s in drained]
    taken, throttled = (sum(n.values()) for n in (world.taken_by_s, world.throttled_by_s))
    mean_s = sum(ends) / hosts
    return {
        "kind": kind,
        "hosts": hosts,
        "ideal_s": round(needed / fleet.quota_per_s, 1),
        "mean_s": round(mean_s, 1),
        "slowest_s": round(max(ends), 1),
        "slowest_by_mean": round(max(ends) / mean_s, 2),
        "slowest_by_like": round(slowest_by_like([host.drained_s for host in by_backlog]), 2),
        "jain": round(sum(ends) ** 2 / hosts / sum(end * end for end in ends), 3),
        "throttled_percent": round(100 * throttled / (taken + throttled), 1),
        "undrained": sum(end_s > LIMIT_S for end_s in drained),
        "simulated_in_s": round(time.perf_counter() - begun_s, 1),
        "ends_s": [round(end, 1) for end in sorted(ends)[:: max(1, hosts // 100)]],
        "taken_by_s": [world.taken_by_s.get(s, 0) for s in range(int(world.now_s))],
        "throttled_by_s": [world.throttled_by_s.get(s, 0) for s in range(int(world.now_s))],
    }


def slowest_by_like(ends_s: list[float]) -> float:
    """
    The slowest against the mean of those with about as many requests to send, of the worst tenth;
    `ends_s` are ordered by these.
    """
    size = max(1, len(ends_s) // 10)
    tenths = [
        [min(end_s, LIMIT_S) for end_s in ends_s[first : first + size]]
        for first in range(0, size * (len(ends_s) // size), size)
    ]
    return max(max(tenth) / (sum(tenth) / len(tenth)) for tenth in tenths)


def write_page(results: list[dict[str, Any]]) -> None:
    """
    Put plots and tables anew, and leave the prose.
    """
    plot(results)
    rows = [
        "| " + " | ".join(COLUMNS.values()) + " |",
        "| --- " + "| ---: " * (len(COLUMNS) - 1) + "|",
        *("| " + " | ".join(f"{row[key]}" for key in COLUMNS) + " |" for row in results),
    ]
    left = [
        f"After {LIMIT_S:.0f} s {row['undrained']} of {row['hosts']:,} {row['kind']} hosts went on."
        for row in results
        if row["undrained"]
    ]
    head, _, rest = PAGE.read_text().partition(BEGIN)
    tail = rest.partition(END)[2]
    PAGE.write_text(f"{head}{BEGIN}\n" + "\n".join([*rows, "", *left]) + f"\n{END}{tail}")


def plot(results: list[dict[str, Any]]) -> None:
    mpl.rcParams["svg.hashsalt"] = "fleet"
    figure = Figure(figsize=(11, 4), layout="constrained")
    ends, answers = figure.subplots(1, 2)
    for row in (row for row in results if row["kind"] == "even"):
        share = [100 * (n + 1) / len(row["ends_s"]) for n in range(len(row["ends_s"]))]
        ends.plot(row["ends_s"], share, label=f"{row['hosts']:,} hosts")
    ends.set(xlabel="seconds after the recovery", ylabel="hosts drained, %", xscale="log")
    ends.legend()
    largest = max((row for row in results if row["kind"] == "even"), key=lambda row: row["hosts"])
    answers.plot(largest["taken_by_s"], label="taken")
    answers.plot(largest["throttled_by_s"], label="throttled")
    answers.set(xlabel="seconds after the recovery", ylabel="requests a second")
    answers.set_title(f"{largest['hosts']:,} hosts alike")
    answers.legend()
    figure.savefig(ROOT / "docs" / "fleet.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
