"""
In a process with this folder on its PYTHONPATH a loop hangs for good while the file HANGS is there:
it holds `capture` up at a look at the containers' files, or `upload` with the uploader's lock in
hand. What counts as a standstill is a second.
"""

import os
import time
from pathlib import Path


def _hold_up(original):
    def held_up(*arguments, **options):
        while HANGS.exists():
            time.sleep(0.05)
        return original(*arguments, **options)

    return held_up


if "HANGS" in os.environ:
    from shipper import health
    from shipper.sources.docker_logs import JsonFileSource
    from spool.store import Store

    HANGS = Path(os.environ["HANGS"])
    health.STANDSTILL_S = 1.0
    where = {"capture": (JsonFileSource, "_read_all"), "upload": (Store, "queues")}
    owner, name = where[os.environ["HANGS_IN"]]
    setattr(owner, name, _hold_up(getattr(owner, name)))
