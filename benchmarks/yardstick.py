"""
A fixed amount of work of the kind a shipper does, to compare CPU with on any machine.

    python -m benchmarks.yardstick JSON-FILE DB

Parses the lines of a json-file, stores them in a table, reads them back, compresses them as JSON;
prints the CPU seconds it took, without the start of the process. Knows nothing of Spool's code, and
never changes: its figure is what Spool's is divided by.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import apsw
import orjson
from isal import igzip

CHUNK_LINES = 5_000


def work(file: Path, db: Path) -> None:
    connection = apsw.Connection(str(db))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE line (id INTEGER PRIMARY KEY, timestamp INT, message TEXT)")
    lines = file.read_bytes().splitlines()
    for first in range(0, len(lines), CHUNK_LINES):
        records = orjson.loads(b"[" + b",".join(lines[first : first + CHUNK_LINES]) + b"]")
        with connection:
            connection.executemany(
                "INSERT INTO line (timestamp, message) VALUES (?, ?)",
                [(number, record["log"].rstrip()) for number, record in enumerate(records)],
            )
        events = [
            {"timestamp": timestamp, "message": message}
            for timestamp, message in connection.execute(
                "SELECT timestamp, message FROM line WHERE id > ?", (first,)
            )
        ]
        igzip.compress(orjson.dumps(events), 1)
    connection.close()


def main() -> None:
    begun_s = time.process_time()
    work(Path(sys.argv[1]), Path(sys.argv[2]))
    print(time.process_time() - begun_s)


if __name__ == "__main__":
    main()
