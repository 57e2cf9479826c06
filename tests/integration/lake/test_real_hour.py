"""Compaction of an hour as large as a platform's: hundreds of landing objects, order books, REST answers."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from tests.landed_hours import EXCHANGE, H0, Day, Size
from tidemark.jobs import compact as job
from tidemark.lake import compacted
from tidemark.lake.compacted import Hour
from tidemark.lake.local import LocalStore
from tidemark.settings import LakeSettings, Settings

HOUR = timedelta(hours=1)
#: As many objects and trades as the demo had, and books of a third of its markets.
SIZES = (Size("trade", 300_000, 416), Size("orderbook", 19_760, 494))


def test_an_hour_of_real_size_is_compacted_and_the_next_run_is_green(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    day = Day(store)
    landed = day.land_alike(H0, SIZES) + day.land_rest(H0, answers=5, trades=20)
    settings = Settings(lake=LakeSettings(url=f"file://{tmp_path}"))
    summary = job.run(settings, H0, H0 + HOUR)
    assert (summary.rows, summary.parts, summary.sources) == (landed, 2, 416 + 492 + 5)
    for n in (1, 2):
        assert job.run(settings, H0 + n * HOUR, H0 + (n + 1) * HOUR).parts == 0
    for dataset in ("trade", "orderbook"):
        (manifest,) = compacted.manifests(store, Hour(EXCHANGE, dataset, H0))
        for part in manifest.parts:
            compacted.check_part(store, part, content=dataset == "orderbook")
            metadata = pq.read_metadata(tmp_path / part.path)
            groups = [metadata.row_group(n) for n in range(metadata.num_row_groups)]
            big = [group.num_rows >= 100_000 or group.total_byte_size >= 64 * 2**20 for group in groups]
            assert all(big) or len(groups) == 1
            assert metadata.serialized_size < 64 * 1024
    query = "select count(*), count(distinct kafka_offset || '/' || kafka_partition || '/' || kafka_cluster || item)"
    (found,) = duckdb.sql(f"{query} from read_parquet('{tmp_path}/raw/trade/**/*.parquet')").fetchall()
    assert found[0] == found[1] == landed - sum(p.rows for p in manifest.parts)
