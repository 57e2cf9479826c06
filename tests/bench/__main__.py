"""``make bench``: every stage, medians of five, the table on standard output.

Stages are the modules of this folder that have a function ``rows``.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import tests.bench
from tests.bench.broker import broker
from tests.bench.harness import PROJECT_ROOT, Place, measure, table


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--yardsticks", required=True, help="the Python that has quixstreams and polars")
    parser.add_argument("--runs", type=int, default=5, help="how often each candidate runs")
    parser.add_argument("--quick", action="store_true", help="fewer messages: to see that it works")
    parser.add_argument("--only", default="", help="one stage's module")
    options = parser.parse_args()
    results = []
    cache = PROJECT_ROOT / ".tidemark" / "cache"
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        broker(Path(folder), cache) as bootstrap,
    ):
        place = Place(bootstrap, Path(folder), options.yardsticks, options.quick, cache)
        for stage in _stages(options.only):
            results += [measure(row, options.runs) for row in stage.rows(place)]
    print(table(results))
    return 0


def _stages(only: str) -> Iterator[ModuleType]:
    for module in pkgutil.iter_modules(tests.bench.__path__):
        if module.name in (
            "__main__",
            "dlt_load",
            "our_load",
            "our_sink",
            "pandas_to_sql",
            "psql_copy",
            "quix_sink",
            "read_json",
        ) or only not in ("", module.name):
            continue
        stage = importlib.import_module(f"tests.bench.{module.name}")
        if hasattr(stage, "rows"):
            yield stage


if __name__ == "__main__":
    sys.exit(main())
