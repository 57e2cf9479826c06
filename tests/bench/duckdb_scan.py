"""Timed: DuckDB reads every value of every column. ``python -m tests.bench.duckdb_scan FOLDER``. Seconds are CPU's."""

from __future__ import annotations

import json
import sys
import time

import duckdb


def main() -> None:
    files = f"read_parquet('{sys.argv[1]}/**/*.parquet', hive_partitioning = false)"
    connection = duckdb.connect()
    connection.execute("set threads = 2")
    columns = connection.execute(f"describe select * from {files}").fetchall()
    wanted = [f"sum(len({name}))" if kind.endswith("[]") else f"max({name})" for name, kind, *_ in columns]
    query = f"select count(*), {', '.join(wanted)} from {files}"
    begun = time.process_time()
    found = connection.execute(query).fetchone()
    seconds = time.process_time() - begun
    assert found is not None
    print(json.dumps({"count": found[0], "seconds": seconds}))


if __name__ == "__main__":
    main()
