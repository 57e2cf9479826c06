"""``python -m tests.bench.bars``: a full build of one-minute bars, from the lake, by dbt, and by an ordered array_agg.

Lives here: five million trades in the lake and in silver, the three ways timed in turns, their bars compared row by
row. Doesn't: the rebuild itself (``tidemark.jobs.rebuild``). It takes minutes, so it is no stage of ``make bench``.

50 trades a second over 180 markets, as Upbit has them: fifteen a bar. Each way begins with an empty table that has the
indexes of gold's, and ends when its transaction is committed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from tests.bench.growth import add, beginning
from tests.bench.transformed import Transformed, transformed
from tidemark.jobs import rebuild
from tidemark.settings import LakeSettings, Settings, WarehouseSettings

_OBJECT: Final = 500_000
_COLUMNS: Final = {
    "exchange": pa.string(), "market": pa.string(), "code": pa.string(), "trade_id": pa.int64(),
    "event_at": pa.timestamp("us", "UTC"), "price": pa.decimal128(38, 18), "size": pa.decimal128(38, 18),
    "side": pa.string(), "first_trade_id": pa.int64(), "last_trade_id": pa.int64(),
}  # fmt: skip
#: What people write first: arrays of each minute's prices in order, of which one end is taken.
_YARDSTICK: Final = """
insert into gold.array_bars
select exchange, market, date_trunc('minute', event_at) as bucket_at,
    (array_agg(price order by event_at, trade_id))[1], max(price), min(price),
    (array_agg(price order by event_at desc, trade_id desc))[1],
    trim_scale(sum(size)), trim_scale(sum(price * size)),
    trim_scale(round(round(sum(price * size), 30) / sum(size), 12)), count(*),
    trim_scale(coalesce(sum(size) filter (where side = 'buy'), 0)),
    trim_scale(coalesce(sum(size) filter (where side = 'sell'), 0))
from silver.trade group by exchange, market, date_trunc('minute', event_at)
"""
_UNEQUAL: Final = """
select count(*) from (
    (select * from gold.ohlcv_1m except select * from gold.array_bars)
    union all (select * from gold.array_bars except select * from gold.ohlcv_1m)
) as unequal
"""


@contextmanager
def _filled(trades: int, folder: Path) -> Iterator[tuple[Transformed, Settings]]:
    """A warehouse whose silver has the trades, and a lake that has them in Parquet."""
    with transformed(folder) as made:
        start = beginning(trades)
        for first in range(0, trades, _OBJECT):
            add(made.connection, first, min(_OBJECT, trades - first), start, markets=180)
        made.build("trade", "market", "ohlcv_1m")
        made.connection.execute("create table gold.array_bars (like gold.ohlcv_1m including all)")
        _export(made.connection, folder / "lake")
        made.connection.execute("vacuum analyze")
        url = made.server.url(user="tidemark_loader")
        lake = LakeSettings(url=f"file://{folder / 'lake'}")
        yield made, Settings(warehouse=WarehouseSettings(url=url), lake=lake)


def _export(connection: psycopg.Connection[Any], lake: Path) -> None:
    """One object for each load, where the ledger says it is."""
    lake.mkdir()
    loads = connection.execute("select load_id, path from ops.load_ledger order by load_id").fetchall()
    for load_id, path in loads:
        query = (
            f"copy (select {', '.join(_COLUMNS)} from raw.trade_v1 where load_id = {load_id}) to stdout (format csv)"
        )
        with connection.cursor().copy(query.encode()) as rows:  # type: ignore[arg-type]
            data = b"".join(bytes(block) for block in rows)
        read = pc.ReadOptions(column_names=list(_COLUMNS))
        table = pc.read_csv(pa.py_buffer(data), read, convert_options=pc.ConvertOptions(column_types=_COLUMNS))
        pq.write_table(table, lake / path, compression="zstd", compression_level=1, row_group_size=100_000)
        connection.execute(
            """insert into ops.load_hour (load_id, hour_at, rows)
            select load_id, date_trunc('hour', event_at), count(*) from raw.trade_v1
            where load_id = %s and event_at is not null group by 1, 2""",
            [load_id],
        )


def measure(trades: int, runs: int, folder: Path) -> dict[str, float]:
    """Median seconds of each way."""
    with _filled(trades, folder) as (made, settings):
        connection = made.connection
        first, last = connection.execute("select min(event_at)::date, max(event_at)::date from silver.trade").fetchone()  # type: ignore[misc]

        ways: dict[str, tuple[str, Callable[[], object]]] = {
            "array_agg": ("gold.array_bars", lambda: connection.execute(_YARDSTICK)),
            "rebuild": ("gold.ohlcv_1m", lambda: rebuild.run(settings, "upbit", first, last)),
        }
        took: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(runs):
            for name, (table, way) in ways.items():
                connection.execute(f"truncate {table}".encode())
                connection.execute("checkpoint")
                began = time.perf_counter()
                way()
                took[name].append(time.perf_counter() - began)
                print(f"  {name}: {took[name][-1]:.2f} s", file=sys.stderr)
        (unequal,) = connection.execute(_UNEQUAL).fetchone() or (None,)
        if unequal:
            raise SystemExit(f"{unequal} bars differ")
        (bars,) = connection.execute("select count(*) from gold.ohlcv_1m").fetchone() or (0,)
        print(f"  {bars:,} bars of {trades:,} trades, equal to the digit", file=sys.stderr)
        connection.execute("drop table gold.ohlcv_1m cascade")
        began = time.perf_counter()
        made.build("ohlcv_1m")
        took["dbt"] = [time.perf_counter() - began]
    return {name: statistics.median(seconds) for name, seconds in took.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.bars", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trades", type=int, default=5_000_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bars-") as folder:
        took = measure(options.trades, options.runs, Path(folder))
    lines = ["| bars of | seconds | against array_agg |", "|---|---|---|"]
    lines += [f"| {name} | {seconds:.1f} s | {took['array_agg'] / seconds:.1f}× |" for name, seconds in took.items()]
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
