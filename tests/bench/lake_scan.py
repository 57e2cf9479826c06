"""Stage: three hours of landing objects, compacted hour by hour, then read whole by DuckDB.

Contains: the hours, and what is compared with what: the parts against ideal files, which hold the same rows in the same
order, one file for each hour and dataset, written by pyarrow as it writes by itself with 122,880 rows a row group. Does
not contain: the timed program (``duckdb_scan``).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.bench.harness import Candidate, Place, Row
from tests.landed_hours import H0, USUAL, Day, Size
from tidemark.jobs import compact as job
from tidemark.lake.local import LocalStore
from tidemark.settings import LakeSettings, Settings

_HOUR = timedelta(hours=1)
_HOURS = 3
_IDEAL_ROWS = 122_880


def rows(place: Place) -> Iterator[Row]:
    """A line for each dataset."""
    sizes = [Size(s.dataset, s.frames // 10, s.objects // 10) for s in USUAL] if place.quick else list(USUAL)
    lake, ideal = place.folder / "lake", place.folder / "ideal"
    _compacted(lake, sizes)
    for size in sizes:
        _write_ideal(lake / "raw" / size.dataset, ideal / size.dataset)
        yield Row(
            f"full scan of compacted hours by DuckDB, {size.dataset} (per CPU second)",
            Candidate("parts", ["-m", "tests.bench.duckdb_scan", str(lake / "raw" / size.dataset)]),
            goal=0.9,
            yardstick=Candidate("ideal files", ["-m", "tests.bench.duckdb_scan", str(ideal / size.dataset)]),
        )


def _compacted(lake: Path, sizes: list[Size]) -> None:
    day = Day(LocalStore(lake))
    settings = Settings(lake=LakeSettings(url=f"file://{lake}"))
    for at in (H0 + n * _HOUR for n in range(_HOURS)):
        landed = day.land(at, sizes) + day.land_rest(at, answers=20)
        begun = time.process_time()
        summary = job.run(settings, at, at + _HOUR)
        assert summary.rows == landed, (summary, landed)
        print(f"  {at:%H}:00 {summary}, {time.process_time() - begun:.1f} CPU s", file=sys.stderr)


def _write_ideal(parts: Path, ideal: Path) -> None:
    ideal.mkdir(parents=True)
    for folder in sorted({path.parent for path in parts.rglob("*.parquet")}):
        table = pa.concat_tables([pq.read_table(path, partitioning=None) for path in sorted(folder.glob("*.parquet"))])
        table = table.sort_by([("market", "ascending"), ("event_at", "ascending")])
        pq.write_table(table, ideal / f"{folder.name}.parquet", row_group_size=_IDEAL_ROWS)
