"""What each query of the cookbook costs in a large warehouse, and by which plan: ``tests.bench.growth --cookbook``.

Lives here: the rows that the queries ask for beside trades (the exchanges' candles, the books of completeness), timing,
keeping the plans in ``plans/``. Doesn't: the warehouse (``growth``), the queries (``docs/cookbook.md``).
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psycopg

from tests.cookbook import queries

PLANS: Final = Path(__file__).parent / "plans"
_RUNS = 5
#: What the exchanges state themselves: our bars of the last days, and the 130 days before the first trade.
_LEDGER = """
insert into ops.load_ledger (path, kind, exchange, dataset, topic, cluster, epoch, partition, start_offset, end_offset,
    rows, parsed, dead, ignored, hour_at, byte_size, checksum, version)
values ('candles', 'data', 'upbit', 'candle', 't', 'rest', 0, 0, 0, 1, 1, 1, 0, 0, now(), 1, '', '') returning load_id
"""
_CANDLES = """
insert into raw.candle_v1 (load_id, exchange, market, code, interval, event_at, open, high, low, close, volume_base,
    volume_quote, updated_at, source, received_at, kafka_cluster, kafka_epoch, kafka_topic, kafka_partition,
    kafka_offset, item)
select %(load_id)s, exchange, market, market, interval, at, open, high, low, close, volume_base, volume_quote,
    at + interval '2 days', 'rest', now(), 'rest', 0, 't', 0, row_number() over (), 0
from ({}) as stated
"""
_OURS = """
select exchange, market, '{width}' as interval, bucket_at as at, open, high, low, close, volume_base, volume_quote
from gold.ohlcv_{width} where bucket_at > now() - interval '{back}'
"""
_BEFORE = """
select exchange, market, '1d' as interval, first_at - n * interval '1 day' as at, close as open, close * 1.02 as high,
    close * 0.98 as low, round((close * (1 + 0.1 * sin(n / 9.0)))::numeric, 2) as close, 1000 as volume_base,
    1000 * close as volume_quote
from (
    select exchange, market, min(bucket_at) as first_at, min(close) as close from gold.ohlcv_1d group by 1, 2
) as firsts
cross join generate_series(1, 130) as n
"""
_BOOKS = """
insert into ops.completeness (exchange, dataset, hour_at, identity, status, expected, actual)
select exchange, dataset, hour_at, identity, 'green', 1, 1
from unnest(array['upbit', 'okx', 'binance']) as exchange
cross join unnest(array['trade', 'ticker', 'orderbook', 'candle']) as dataset
cross join generate_series(date_trunc('hour', now()) - interval '90 days', now(), interval '1 hour') as hour_at
cross join generate_series(0, 5) as identity
"""


def furnish(connection: psycopg.Connection[Any], build: Callable[[], object]) -> None:
    """Rows that no trade brings, and what gold makes of them."""
    row = connection.execute(_LEDGER).fetchone()
    assert row is not None
    spans = (("1m", "1 day"), ("1h", "14 days"), ("4h", "14 days"), ("1d", "14 days"))
    for stated in [_BEFORE, *(_OURS.format(width=width, back=back) for width, back in spans)]:
        connection.execute(_CANDLES.format(stated).encode(), {"load_id": row[0]})
    connection.execute(_BOOKS)
    build()
    connection.execute("vacuum analyze")


def measure(reader: psycopg.Connection[Any]) -> list[str]:
    """Lines of a Markdown table; the plans go to files."""
    PLANS.mkdir(exist_ok=True)
    lines = ["| query | rows | median | plan |", "|---|---|---|---|"]
    for title, query in queries():
        took, rows = [], 0
        for _ in range(_RUNS + 1):
            began = time.perf_counter()
            rows = len(reader.execute(query.encode()).fetchall())
            took.append(time.perf_counter() - began)
        plan = reader.execute(b"explain (analyze, buffers, timing off, summary off) " + query.encode()).fetchall()
        number, _, name = title.partition(". ")
        path = PLANS / f"{int(number):02}-{re.sub(r'[^a-z]+', '-', name.lower()).strip('-')}.txt"
        path.write_text("\n".join(line for (line,) in plan) + "\n", "utf-8")
        lines.append(f"| {title} | {rows} | {1000 * statistics.median(took[1:]):.1f} ms | `{path.name}` |")
    return lines
