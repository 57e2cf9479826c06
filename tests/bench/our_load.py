"""Timed: the loader takes every landing object. ``python -m tests.bench.our_load <url> <lake>``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import psycopg

from tidemark.jobs import load
from tidemark.settings import LakeSettings, PlatformSettings, Settings, WarehouseSettings


def main() -> None:
    url, lake = sys.argv[1], Path(sys.argv[2])
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("truncate raw.trade_v1, ops.load_ledger cascade")
        connection.execute("checkpoint")
    settings = Settings(
        warehouse=WarehouseSettings(url=url),
        lake=LakeSettings(url=f"file://{lake}"),
        platform=PlatformSettings(exchanges=("upbit",)),
    )
    began = time.perf_counter()
    summary = load.run(settings, "trade", "upbit")
    print(json.dumps({"count": summary.rows, "seconds": time.perf_counter() - began, "objects": summary.objects}))


if __name__ == "__main__":
    main()
