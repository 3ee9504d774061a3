"""
What Spool costs a host, measured as whole processes against the strict endpoint of the tests.

`python -m benchmarks --help` tells of the scenarios; docs/benchmarks.md has what came of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"

# the endpoint, the agent's environment and the writer of containers' folders are those of the tests
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))
