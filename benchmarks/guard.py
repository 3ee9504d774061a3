"""
Fails when the CPU that a line costs has grown.

    python -m benchmarks.guard              compare with what is on record: what CI does
    python -m benchmarks.guard --record     put what is measured now on record

CPU a line is that of a `spool run --once` over many lines, less that of one over a single line, as
a multiple of what benchmarks/yardstick.py takes for the same lines: so it depends little on the
machine. The two are measured in turn, ROUNDS times, and the median of the ratios counts. Where that
is above the bound it is measured MORE_ROUNDS times again, and only the whole counts: a machine that
was busy for a moment is no reason to fail.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks import ROOT, drain
from benchmarks.processes import Failed
from benchmarks.shippers import Spool

__all__ = ["MOST_GROWTH", "bound", "has_grown", "measure"]

RECORD = Path(__file__).with_name("guard.json")
LINES = 300_000
ROUNDS = 5
MORE_ROUNDS = 10
MOST_GROWTH = 0.20


def bound(recorded: float) -> float:
    """
    The ratio above which CPU a line has grown too much.
    """
    return recorded * (1 + MOST_GROWTH)


def has_grown(ratios: list[float], recorded: float) -> bool:
    """
    Whether the median of these is above the bound.
    """
    return median(ratios) > bound(recorded)


def measure(folder: Path, rounds: int) -> list[float]:
    """
    Spool's CPU for LINES lines in yardsticks, once for each round.
    """
    return [_round(folder) for _ in range(rounds)]


def _round(folder: Path) -> float:
    with tempfile.TemporaryDirectory(dir=folder) as home:
        yardstick_s = _yardstick_s(folder / "many" / "containers", Path(home))
    start_s, whole_s = (
        _spool_s(lines, folder / name) for name, lines in (("one", 1), ("many", LINES))
    )
    ratio = (whole_s - start_s) / yardstick_s
    print(
        f"  spool {whole_s - start_s:.2f} s (start {start_s:.2f} s), yardstick {yardstick_s:.2f} s,"
        f" ratio {ratio:.3f}",
        flush=True,
    )
    return ratio


def _spool_s(lines: int, folder: Path) -> float:
    with tempfile.TemporaryDirectory(dir=folder) as home:
        return drain.drain(lines, Spool(), folder, Path(home))["cpu_s"]


def _yardstick_s(containers: Path, home: Path) -> float:
    file = next(containers.glob("*/*-json.log"))
    command = [sys.executable, "-m", "benchmarks.yardstick", str(file), str(home / "yard.db")]
    return float(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)


def judge(recorded: float) -> int:
    """
    The exit code.
    """
    with prepared() as folder:
        print(f"CPU a line in yardsticks, {recorded:.3f} on record, at most {bound(recorded):.3f}")
        ratios = measure(Path(folder), ROUNDS)
        if has_grown(ratios, recorded):
            print(f"{median(ratios):.3f} is more; measured again")
            ratios += measure(Path(folder), MORE_ROUNDS)
    found = median(ratios)
    growth = f"{found:.3f}, {found / recorded - 1:+.0%}"
    if has_grown(ratios, recorded):
        print(
            f"CPU a line has grown: {growth}. Find out why; if it is meant: make bench-record",
            file=sys.stderr,
        )
        return 1
    print(f"CPU a line: {growth}")
    return 0


def record() -> int:
    """
    The exit code.
    """
    with prepared() as folder:
        ratio = round(median(measure(Path(folder), ROUNDS + MORE_ROUNDS)), 3)
    RECORD.write_text(json.dumps({"ratio": ratio, "date": f"{datetime.now(UTC):%Y-%m-%d}"}) + "\n")
    print(f"on record: {ratio}")
    return 0


def prepared() -> tempfile.TemporaryDirectory[str]:
    """
    A folder with containers of many lines and of one.
    """
    folder = tempfile.TemporaryDirectory(prefix="spool-guard-")
    drain.prepare(1, LINES, Path(folder.name) / "many")
    drain.prepare(1, 1, Path(folder.name) / "one")
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--record", action="store_true", help="put it on record")
    options = parser.parse_args()
    try:
        return record() if options.record else judge(json.loads(RECORD.read_text())["ratio"])
    except (Failed, TimeoutError, OSError, subprocess.CalledProcessError) as problem:
        print(f"benchmarks: {problem}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
