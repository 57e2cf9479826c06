"""Identity 4: the bars of each layer hold exactly the trades of silver: their number, volume and value.

Lives here: sums of silver beside sums of each layer, market by market, as decimals. Doesn't: prices (``witness``, a
later identity).

Layers up to an hour are compared hour by hour; a bar of four hours or a day is compared whole, and a difference there
shows in each of its hours. While a layer has builds to take that touch the hour, a difference is open, not red.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg import sql

from tidemark.completeness.loads import table_exists
from tidemark.completeness.verdicts import HOUR, NAMED, Scope, Status, Verdict, stretches
from tidemark.warehouse.connection import Connection

IDENTITY: Final = 4
DATASET: Final = "trade"
_DAY: Final = timedelta(days=1)
#: Layers and the width (hours) at which each is compared.
LAYERS: Final = {"1m": 1, "5m": 1, "15m": 1, "1h": 1, "4h": 4, "1d": 24}

_TRADES: Final = """
SELECT date_bin('1 hour', event_at, timestamptz '2000-01-01 00:00:00+00'), count(*) FROM silver.trade
WHERE exchange = %(exchange)s AND event_at >= %(first)s AND event_at < %(last)s GROUP BY 1
"""
_DIFFERENCES: Final = """
WITH trades AS (
    SELECT
        market, date_bin(%(width)s, event_at, timestamptz '2000-01-01 00:00:00+00') AS bin,
        count(*) AS n, sum(size) AS base, sum(price * size) AS quote
    FROM silver.trade
    WHERE exchange = %(exchange)s AND event_at >= %(first)s AND event_at < %(last)s
    GROUP BY 1, 2
),

bars AS (
    SELECT
        market, date_bin(%(width)s, bucket_at, timestamptz '2000-01-01 00:00:00+00') AS bin,
        sum(trade_count) AS n, sum(volume_base) AS base, sum(volume_quote) AS quote
    FROM {bars}
    WHERE exchange = %(exchange)s AND bucket_at >= %(first)s AND bucket_at < %(last)s
    GROUP BY 1, 2
)

SELECT
    bin, market, coalesce(trades.n, 0), coalesce(bars.n, 0), coalesce(trades.base, 0), coalesce(bars.base, 0),
    coalesce(trades.quote, 0), coalesce(bars.quote, 0)
FROM trades FULL JOIN bars USING (market, bin)
WHERE (trades.n, trades.base, trades.quote) IS DISTINCT FROM (bars.n, bars.base, bars.quote)
ORDER BY bin, market
"""
_BARS: Final = """
SELECT date_bin('1 hour', bucket_at, timestamptz '2000-01-01 00:00:00+00'), sum(trade_count) FROM gold.ohlcv_1m
WHERE exchange = %(exchange)s AND bucket_at >= %(first)s AND bucket_at < %(last)s GROUP BY 1
"""
_WAITING: Final = """
SELECT DISTINCT date_bin(%(width)s, t.bucket_at, timestamptz '2000-01-01 00:00:00+00')
FROM ops.build AS b JOIN ops.touched_bucket AS t USING (build_id)
WHERE b.dataset = %(dataset)s AND t.exchange = %(exchange)s AND t.bucket_at >= %(first)s AND t.bucket_at < %(last)s
    AND NOT EXISTS (SELECT FROM ops.build_mark AS m WHERE m.build_id = b.build_id AND m.consumer = %(consumer)s)
"""


@dataclass(frozen=True, slots=True)
class _Difference:
    layer: str
    bin: datetime
    market: str
    said: dict[str, str]
    waits: bool

    def named(self) -> dict[str, Any]:
        return {"layer": self.layer, "market": self.market, "from": self.bin.isoformat(), **self.said}


def check(connection: Connection, frame: Scope) -> list[Verdict]:
    """Verdicts for the window's event hours, and for hours that were not green."""
    days = {_midnight(hour) for hour in frame.hours()} | {_midnight(h) for _, h in frame.unsettled(IDENTITY)}
    hours = set(frame.hours()) | {h for _, h in frame.unsettled(IDENTITY)}
    found: list[Verdict] = []
    for first, last in stretches(days, _DAY):
        inside = sorted(hour for hour in hours if first <= hour < last)
        found += _stretch(connection, frame, inside, {"exchange": frame.exchange, "first": first, "last": last})
    return found


def _stretch(connection: Connection, frame: Scope, hours: list[datetime], values: dict[str, Any]) -> list[Verdict]:
    if not table_exists(connection, "silver.trade"):
        return []
    trades: dict[datetime, int] = dict(connection.execute(_TRADES, values).fetchall())
    bars: dict[datetime, int] = {}
    if table_exists(connection, "gold.ohlcv_1m"):
        bars = dict(connection.execute(_BARS, values).fetchall())
    wrong: dict[datetime, list[_Difference]] = defaultdict(list)
    for layer, width in LAYERS.items():
        for difference in _differences(connection, layer, width, values, bool(trades)):
            for n in range(width):
                wrong[difference.bin + n * HOUR].append(difference)
    return [
        _verdict(hour, trades.get(hour, 0), bars.get(hour, 0), wrong[hour])
        for hour in hours
        if hour in trades or hour in bars or wrong[hour]
    ]


def _verdict(hour_at: datetime, trades: int, bars: int, wrong: list[_Difference]) -> Verdict:
    waits = [d for d in wrong if d.waits]
    proven = [d for d in wrong if not d.waits]
    status: Status = "red" if proven else "open" if waits else "green"
    detail: dict[str, Any] = {}
    if proven:
        detail |= {"problems": [d.named() for d in proven[:NAMED]], "problem_count": len(proven)}
    if waits:
        detail["waiting_layers"] = sorted({d.layer for d in waits})
    return Verdict(DATASET, hour_at, IDENTITY, status, trades, bars, detail)


def _differences(
    connection: Connection, layer: str, width: int, values: dict[str, Any], any_trades: bool
) -> list[_Difference]:
    table = f"gold.ohlcv_{layer}"
    values = {**values, "width": timedelta(hours=width), "consumer": table, "dataset": DATASET}
    if not table_exists(connection, table):
        bins = {_floor(hour, width) for hour, _ in connection.execute(_TRADES, values)} if any_trades else set()
        return [
            _Difference(layer, moment, "*", {"what": f"{table} has never been built"}, True) for moment in sorted(bins)
        ]
    query = sql.SQL(_DIFFERENCES).format(bars=sql.Identifier(*table.split(".")))
    rows = connection.execute(query, values).fetchall()
    if not rows:
        return []
    waiting = {row[0] for row in connection.execute(_WAITING, values)}
    return [_Difference(layer, row[0], row[1], _said(row), row[0] in waiting) for row in rows]


def _said(row: tuple[Any, ...]) -> dict[str, str]:
    """The sums that differ, silver's first."""
    names = ("trade_count", "volume_base", "volume_quote")
    pairs = zip(names, row[2::2], row[3::2], strict=True)
    return {name: f"{silver} in silver, {gold} in gold" for name, silver, gold in pairs if silver != gold}


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _floor(hour: datetime, width: int) -> datetime:
    return hour.replace(hour=hour.hour - hour.hour % width)
