"""Timed: pandas writes one landing object's rows. ``python -m tests.bench.pandas_to_sql <url> <lake>``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import psycopg
import pyarrow.parquet as pq
import sqlalchemy

_ROWS = 20_000


def main() -> None:
    url, lake = sys.argv[1], Path(sys.argv[2])
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("truncate raw.trade_v1, ops.load_ledger cascade")
    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg2://"))
    first = min(lake.rglob("*.parquet"))
    began = time.perf_counter()
    frame = pq.read_table(first).slice(0, _ROWS).drop_columns(["frame"]).to_pandas()
    frame["load_id"] = 1
    frame.to_sql("trade_v1", engine, schema="raw", if_exists="append", index=False)
    print(json.dumps({"count": len(frame), "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main()
