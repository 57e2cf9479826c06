"""Timed, in the yardsticks' environment: dlt loads the landing objects' rows. ``python dlt_load.py <url> <lake>``.

Its quickest way into PostgreSQL: Arrow tables in, Parquet on disk, ADBC. Columns, rows and objects are those that ours
loads; the table is a plain one, without partitions and without a ledger, and goes into a schema of its own.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}
os.environ |= {"NORMALIZE__WORKERS": "2", "LOAD__WORKERS": "2", "NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS": "125000"}

import dlt
import pyarrow.parquet as pq


def main() -> None:
    url, lake = sys.argv[1], Path(sys.argv[2])
    objects = sorted(lake.rglob("*.parquet"))

    @dlt.resource(name="trade", write_disposition="replace")
    def trades():
        for path in objects:
            yield pq.read_table(path).drop_columns(["frame"])

    with tempfile.TemporaryDirectory(prefix="dlt-") as folder:
        # The server trusts loopback; dlt asks for a password all the same.
        where = dlt.destinations.postgres(url.replace("@", ":none@", 1))
        pipeline = dlt.pipeline("bench", pipelines_dir=folder, destination=where, dataset_name="dlt_bench")
        began = time.perf_counter()
        pipeline.run(trades(), loader_file_format="parquet").raise_on_failed_jobs()
        seconds = time.perf_counter() - began
    print(json.dumps({"count": sum(pq.read_metadata(path).num_rows for path in objects), "seconds": seconds}))


if __name__ == "__main__":
    main()
