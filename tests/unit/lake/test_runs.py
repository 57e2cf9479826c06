"""The sort that takes more rows than memory: the same order as a sort of all rows at once."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest

from tidemark.lake.runs import SortedRuns

SCHEMA = pa.schema([("m", pa.string()), ("t", pa.timestamp("us", tz="UTC")), ("n", pa.int64()), ("x", pa.binary())])


def table(rows: int, seed: int = 1, first: int = 0) -> pa.Table:
    dice = random.Random(seed)
    return pa.table(
        {
            "m": [dice.choice(["B", "A", "Ä", "", None]) for _ in range(rows)],
            "t": [dice.choice([3, 1, None, -2]) for _ in range(rows)],
            "n": range(first, first + rows),
            "x": [b"%d" % n * 9 for n in range(rows)],
        },
        SCHEMA,
    )


def portions(rows: int, size: int) -> list[int]:
    return [min(size, rows - start) for start in range(0, rows, size)]


@pytest.mark.parametrize("run_bytes", [1, 500, 5_000, 1 << 30])
@pytest.mark.parametrize("size", [1, 7, 100, 1_000])
def test_the_order_is_that_of_a_stable_sort(tmp_path: Path, run_bytes: int, size: int) -> None:
    tables = [table(150, seed, 150 * seed) for seed in range(4)]
    with SortedRuns(tmp_path / "runs", ("m", "t"), run_bytes=run_bytes) as runs:
        for one in tables:
            runs.add(one)
        assert runs.rows == 600
        found = list(runs.merged(portions(600, size)))
    assert [one.num_rows for one in found] == portions(600, size)
    rows = [row for one in tables for row in one.to_pylist()]
    rows.sort(
        key=lambda r: (
            r["m"] is None, (r["m"] or "").encode(), r["t"] is None, r["t"].timestamp() if r["t"] else 0, r["n"],
        )
    )  # fmt: skip
    assert pa.concat_tables(found).to_pylist() == rows


def test_nothing_gives_nothing(tmp_path: Path) -> None:
    with SortedRuns(tmp_path / "runs", ("m",)) as runs:
        assert list(runs.merged([])) == []
