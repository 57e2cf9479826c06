"""Timed: psql copies a prepared binary file into the table. ``python -m tests.bench.psql_copy <url> <file> <rows>``."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import psycopg

from tidemark.local.postgres import binary


def main() -> None:
    url, prepared, count = sys.argv[1:4]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("truncate raw.trade_v1, ops.load_ledger cascade")
        connection.execute("checkpoint")
    copy = f"\\copy raw.trade_v1 from '{prepared}' (format binary)"
    began = time.perf_counter()
    subprocess.run([binary("psql"), "-q", url, "-c", copy], check=True)
    print(json.dumps({"count": int(count), "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main()
