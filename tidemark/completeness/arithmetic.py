"""Identity 4: the bars of each layer hold exactly the trades of silver: their number, volume and value.

Lives here: sums of silver beside sums of each layer, market by market, as decimals. Doesn't: prices (``witness``, a
later identity).

Layers up to an hour are compared hour by hour; a bar of four hours or a day is compared whole, and a difference there
shows in each of its hours. While a layer has builds to take, a difference is open, not red, and shows in the hours that
these builds touch: the day's bar grows with every build, and the hours before are none the less proven.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
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
_FINEST: Final = "1m"

# Silver is summed once, by hour; a layer's own width puts the hours together.
_SUMS: Final = """
WITH trades AS MATERIALIZED (
    SELECT
        market, date_bin('1 hour', event_at, timestamptz '2000-01-01 00:00:00+00') AS hour_at,
        count(*) AS n, sum(size) AS base, sum(price * size) AS quote
    FROM silver.trade
    WHERE exchange = %(exchange)s AND event_at >= %(first)s AND event_at < %(last)s
    GROUP BY 1, 2
),

expected AS (
    SELECT
        layer, market, date_bin(width, hour_at, timestamptz '2000-01-01 00:00:00+00') AS bin,
        sum(n) AS n, sum(base) AS base, sum(quote) AS quote
    FROM trades CROSS JOIN (VALUES {layers}) AS layers (layer, width)
    GROUP BY 1, 2, 3
),

actual AS ({bars})

SELECT
    layer, bin, market, coalesce(expected.n, 0), coalesce(actual.n, 0), coalesce(expected.base, 0),
    coalesce(actual.base, 0), coalesce(expected.quote, 0), coalesce(actual.quote, 0)
FROM expected FULL JOIN actual USING (layer, market, bin)
WHERE layer = {finest}
    OR (expected.n, expected.base, expected.quote) IS DISTINCT FROM (actual.n, actual.base, actual.quote)
ORDER BY layer, bin, market
"""
_BARS: Final = """
    SELECT
        {layer} AS layer, market, date_bin({width}, bucket_at, timestamptz '2000-01-01 00:00:00+00') AS bin,
        sum(trade_count) AS n, sum(volume_base) AS base, sum(volume_quote) AS quote
    FROM {table}
    WHERE exchange = %(exchange)s AND bucket_at >= %(first)s AND bucket_at < %(last)s
    GROUP BY 2, 3
"""
_NO_BARS: Final = """
    SELECT
        {layer} AS layer, NULL::text AS market, NULL::timestamptz AS bin,
        NULL::numeric AS n, NULL::numeric AS base, NULL::numeric AS quote
    WHERE false
"""
_WAITING: Final = """
SELECT DISTINCT bin
FROM ops.build AS b JOIN ops.touched_bucket AS t USING (build_id),
    generate_series(
        date_bin(%(width)s, greatest(t.bucket_at, %(first)s), timestamptz '2000-01-01 00:00:00+00'),
        least(t.until_at, %(last)s) - interval '1 microsecond', %(width)s
    ) AS bin
WHERE b.dataset = %(dataset)s AND t.exchange = %(exchange)s AND t.until_at > %(first)s AND t.bucket_at < %(last)s
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


@dataclass
class _Hour:
    trades: int = 0
    bars: int = 0
    wrong: list[_Difference] = field(default_factory=list)


def check(connection: Connection, frame: Scope) -> list[Verdict]:
    """Verdicts for the window's event hours, and for hours that were not green."""
    hours = set(frame.hours()) | {h for _, h in frame.unsettled(IDENTITY)}
    if not hours:
        return []
    if not table_exists(connection, f"silver.{DATASET}"):
        return _unbuilt(frame)
    found: list[Verdict] = []
    for first, last in stretches({_midnight(hour) for hour in hours}, _DAY):
        seen = _stretch(connection, {"exchange": frame.exchange, "first": first, "last": last})
        found += [_verdict(hour_at, seen[hour_at]) for hour_at in sorted(hours & seen.keys())]
    return found


def _unbuilt(frame: Scope) -> list[Verdict]:
    """Without silver's table nothing can be compared: what was red stays red, the other standing hours wait."""
    detail = {"waits_for": f"silver.{DATASET}: there is no such table"}
    standing = {h: status for (_, h, i), (status, _) in sorted(frame.standing.items()) if i == IDENTITY}
    return [
        Verdict(DATASET, hour_at, IDENTITY, "red" if status == "red" else "open", 0, 0, detail)
        for hour_at, status in standing.items()
    ]


def _stretch(connection: Connection, values: dict[str, Any]) -> dict[datetime, _Hour]:
    """Every hour of some whole days that has trades or bars."""
    built = {layer: table_exists(connection, _table(layer)) for layer in LAYERS}
    waiting = {layer: _waiting(connection, layer, values) for layer in LAYERS}
    hours: dict[datetime, _Hour] = defaultdict(_Hour)
    for layer, start, market, *sums in connection.execute(_query(built), values):
        if layer == _FINEST:
            hours[start].trades += int(sums[0])
            hours[start].bars += int(sums[1])
        said = _said(sums) if built[layer] else {"what": f"{_table(layer)} has never been built"}
        if said:
            inside = [start + n * HOUR for n in range(LAYERS[layer])]
            touched = [hour for hour in inside if hour in waiting[layer]] if built[layer] else inside
            difference = _Difference(layer, start, market, said, waits=bool(touched))
            for hour in touched or inside:
                hours[hour].wrong.append(difference)
    return hours


def _query(built: dict[str, bool]) -> sql.Composed:
    """The comparison of all layers; one that was never built has no bars."""
    widths = {layer: sql.Literal(timedelta(hours=hours)) for layer, hours in LAYERS.items()}
    rows = [sql.SQL("({}, {})").format(sql.Literal(layer), width) for layer, width in widths.items()]
    bars = [
        sql.SQL(_BARS if built[layer] else _NO_BARS).format(
            layer=sql.Literal(layer), width=width, table=sql.Identifier(*_table(layer).split("."))
        )
        for layer, width in widths.items()
    ]
    return sql.SQL(_SUMS).format(
        layers=sql.SQL(", ").join(rows), bars=sql.SQL(" UNION ALL ").join(bars), finest=sql.Literal(_FINEST)
    )


def _waiting(connection: Connection, layer: str, values: dict[str, Any]) -> set[datetime]:
    """The hours that a build touches which the layer has not taken."""
    rows = connection.execute(_WAITING, {**values, "width": HOUR, "consumer": _table(layer), "dataset": DATASET})
    return {row[0] for row in rows}


def _verdict(hour_at: datetime, hour: _Hour) -> Verdict:
    waits = [d for d in hour.wrong if d.waits]
    proven = [d for d in hour.wrong if not d.waits]
    status: Status = "red" if proven else "open" if waits else "green"
    detail: dict[str, Any] = {}
    if proven:
        detail |= {"problems": [d.named() for d in proven[:NAMED]], "problem_count": len(proven)}
    if waits:
        detail["waiting_layers"] = sorted({d.layer for d in waits})
    return Verdict(DATASET, hour_at, IDENTITY, status, hour.trades, hour.bars, detail)


def _said(sums: Sequence[Any]) -> dict[str, str]:
    """The sums that differ, silver's first."""
    names = ("trade_count", "volume_base", "volume_quote")
    pairs = zip(names, sums[::2], sums[1::2], strict=True)
    return {name: f"{silver} in silver, {gold} in gold" for name, silver, gold in pairs if silver != gold}


def _table(layer: str) -> str:
    return f"gold.ohlcv_{layer}"


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)
