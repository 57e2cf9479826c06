"""``python -m tests.bench.growth --trades 1000000 5000000``: what one more hour costs as history grows.

Lives here: a warehouse with so many trades, one full build of silver and gold over them, then one hour after the other
as a new load each, built and timed. Doesn't: other stages (``make bench``): these runs take minutes and gigabytes; the
cookbook's queries, which are timed on the largest of them (``cookbook``).

An hour is 180,000 trades of 200 markets: all of Upbit, live, and some of the other exchanges; the last hour is the
present one. dbt runs in this process, parsed once.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from tests.bench import cookbook
from tests.bench.transformed import transformed

_HOUR = 180_000
#: Between two trades.
_STEP = timedelta(milliseconds=20)
_LOAD = """
insert into ops.load_ledger (path, kind, exchange, dataset, topic, cluster, epoch, partition, start_offset, end_offset,
    rows, parsed, dead, ignored, hour_at, byte_size, checksum, version)
values (%(path)s, 'data', 'upbit', 'trade', 't', 'bench', 0, 0, %(first)s, %(last)s, %(rows)s, %(rows)s, 0, 0,
    %(start)s, 1, '', '') returning load_id
"""
#: Market n of 200: won markets of Upbit, the first five by their names; 180 and on are Tether's on OKX and Binance.
_ROWS = """
insert into raw.trade_v1 (load_id, exchange, market, code, trade_id, event_at, price, size, side, source, received_at,
    connection_id, frame_no, kafka_cluster, kafka_epoch, kafka_topic, kafka_partition, kafka_offset, item)
select %(load_id)s, case when m < 180 then 'upbit' when m < 190 then 'okx' else 'binance' end,
    coin || case when m < 180 then '-KRW' else '-USDT' end, coin, 17000000000000000 + n, at,
    1000 * (1 + m) + (n * 7919) %% 97,
    0.0001 * (1 + (n * 31) %% 1000) * case when n %% 20011 = 0 then 1000000 else 1 end,
    case when n %% 3 = 0 then 'buy' else 'sell' end, 'ws', at, 'c1', n, 'bench', 0, 't', 0, n, 0
from (
    select n, n %% %(markets)s as m, %(start)s::timestamptz + n * interval '20 milliseconds' as at,
        case
            when n %% %(markets)s < 5 or (n %% %(markets)s >= 180 and n %% 10 < 5)
                then (array['BTC', 'ETH', 'XRP', 'SOL', 'USDT'])[n %% %(markets)s %% 10 + 1]
            else 'C' || n %% %(markets)s
        end as coin
    from generate_series(%(first)s::bigint, %(last)s::bigint) as n
) as numbers
"""


def beginning(trades: int) -> datetime:
    """When the first of so many trades was executed if the last of them was in this hour."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - trades * _STEP


def add(
    connection: psycopg.Connection[tuple[object, ...]], first: int, count: int, start: datetime, markets: int = 200
) -> None:
    """One load of ``count`` trades, one each 20 ms since ``start``; of 180 markets all are Upbit's."""
    values = {"path": f"p{first}", "first": first, "last": first + count - 1, "rows": count, "start": start}
    row = connection.execute(_LOAD, values).fetchone()
    assert row is not None
    connection.execute(_ROWS, {**values, "load_id": row[0], "markets": markets})


def measure(trades: int, hours: int, folder: Path, queries: bool) -> tuple[float, list[float], dict[str, float]]:
    """Seconds of the full build, of each hour after it, and of each model in the last of them."""
    start = beginning(trades + hours * _HOUR)
    with transformed(folder) as made:
        connection, build = made.connection, made.build
        for first in range(0, trades, 1_000_000):
            add(connection, first, min(1_000_000, trades - first), start)
        connection.execute("vacuum analyze raw.trade_v1")
        full, _ = build()
        print(f"  {trades:,} trades: full build {full:.1f} s", file=sys.stderr)
        each, models = [], {}
        for hour in range(hours):
            add(connection, trades + hour * _HOUR, _HOUR, start)
            seconds, models = build()
            each.append(seconds)
            print(f"  {trades:,} trades and one more hour: {seconds:.1f} s", file=sys.stderr)
        if queries:
            cookbook.furnish(connection, build)
            with psycopg.connect(made.server.url(user="tidemark_gold_ro"), autocommit=True) as reader:
                print("\n".join(cookbook.measure(reader)))
    return full, each, models


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.growth", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trades", type=int, nargs="+", default=[1_000_000, 5_000_000])
    parser.add_argument("--hours", type=int, default=5, help="how many hours are added, one by one")
    parser.add_argument("--cookbook", action="store_true", help="time the cookbook's queries on the last warehouse")
    options = parser.parse_args(arguments)
    lines = ["| trades | full build | one more hour (median) | share | slowest models of it |", "|---|---|---|---|---|"]
    for trades in options.trades:
        with tempfile.TemporaryDirectory(prefix="growth-") as folder:
            full, each, models = measure(
                trades, options.hours, Path(folder), options.cookbook and trades == options.trades[-1]
            )
        hour = statistics.median(each)
        slowest = sorted(models, key=lambda name: -models[name])[:4]
        told = ", ".join(f"{name} {models[name]:.1f} s" for name in slowest)
        lines.append(f"| {trades:,} | {full:.1f} s | {hour:.1f} s | {hour / full:.1%} | {told} |")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
