"""``make bench``: every stage, medians of five, the table on standard output.

What takes minutes and gigabytes is a command of its own: ``growth``, ``bars``, ``chain``, ``anomalies``.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tests.bench.harness import PROJECT_ROOT, Place, measure, table

#: Modules with a function ``rows``, in the order of a frame's way.
STAGES = ("socket_to_topic", "json_to_arrow", "topic_to_parquet", "parquet_to_postgres", "lake_scan")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--yardsticks", required=True, help="the Python that has quixstreams and polars")
    parser.add_argument("--runs", type=int, default=5, help="how often each candidate runs")
    parser.add_argument("--quick", action="store_true", help="fewer messages: to see that it works")
    parser.add_argument("--only", default="", choices=("", *STAGES), help="one stage")
    parser.add_argument("--books", type=int, default=120_000, help="how many books to catch up on (2 KB each)")
    parser.add_argument("--match", default="", help="of json_to_arrow only the feeds with this in their name")
    options = parser.parse_args()
    results = []
    cache = PROJECT_ROOT / ".tidemark" / "cache"
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        place = Place(Path(folder), options.yardsticks, options.quick, cache, options.books, options.match)
        for stage in _stages(options.only):
            results += [measure(row, options.runs) for row in stage.rows(place)]
    print(table(results))
    return 0


def _stages(only: str) -> Iterator[ModuleType]:
    for name in STAGES:
        if only in ("", name):
            yield importlib.import_module(f"tests.bench.{name}")


if __name__ == "__main__":
    sys.exit(main())
