"""The witness by volume: the trades of each bar add up to the bar that the exchange itself made of them.

Lives here: sums of silver's trades beside the exchange's own finest bars and its hourly ones, market by market, as
decimals. Doesn't: ids (``sequences``), verdicts (``witness``).

Where a bar is there, its volume must be the sum of its trades' sizes, and its count their number where it says one.
Some exchanges have no bar without trades, so a minute with neither is witnessed by the hour's bar, if there is one. A
market is looked at in the hours in which it was heard: a trade, or a bar over the socket. What an exchange tells a new
subscriber of the past (its latest trade may be hours old) makes no hour one that was heard.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from tidemark.completeness.gaps import Gap
from tidemark.completeness.verdicts import HOUR, stretches
from tidemark.warehouse.connection import Connection

#: Bars that can witness within an hour, and how long they are.
WIDTHS: Final = {n: timedelta(minutes=m) for n, m in (("1m", 1), ("3m", 3), ("5m", 5), ("15m", 15), ("30m", 30))}
_HOURLY: Final = "1h"

# A bar counts once it is final: the exchange says so, or it came over the socket, or was asked for after its end.
_BARS: Final = """
WITH trades AS MATERIALIZED (
    SELECT
        market, min(code) AS code, date_bin(%(width)s, event_at, timestamptz '2000-01-01 00:00:00+00') AS bin,
        sum(size) AS base, sum(coalesce(last_trade_id - first_trade_id + 1, 1)) AS n,
        bool_or(stream_type IS DISTINCT FROM 'SNAPSHOT') AS live
    FROM silver.trade
    WHERE exchange = %(exchange)s AND event_at >= %(first)s AND event_at < %(last)s
    GROUP BY market, bin
),

bars AS MATERIALIZED (
    SELECT
        market, code, event_at AS bin, volume_base, trade_count,
        source = 'ws' AND stream_type IS DISTINCT FROM 'SNAPSHOT' AS live
    FROM silver.candle
    WHERE exchange = %(exchange)s AND interval = %(interval)s AND event_at >= %(first)s AND event_at < %(last)s
        AND coalesce(is_closed, source = 'ws' OR received_at >= event_at + %(width)s)
),

compared AS (
    SELECT
        market, coalesce(trades.code, bars.code) AS code, bin,
        coalesce(base, 0) AS base, coalesce(n, 0) AS n, volume_base, trade_count,
        coalesce(trades.live, false) OR coalesce(bars.live, false) AS live, bars.bin IS NOT NULL AS witnessed,
        coalesce(base, 0) <> volume_base OR coalesce(n, 0) <> trade_count AS differs
    FROM trades FULL JOIN bars USING (market, bin)
),

hours AS (
    SELECT
        market, min(code) AS code, date_bin('1 hour', bin, timestamptz '2000-01-01 00:00:00+00') AS hour_at,
        count(*) AS bins, sum(base) AS base, count(*) FILTER (WHERE witnessed AND differs IS NOT TRUE) AS agreed,
        jsonb_agg(jsonb_build_array(bin, base::text, volume_base::text, n, trade_count) ORDER BY bin)
            FILTER (WHERE differs) AS differing,
        array_agg(bin ORDER BY bin) FILTER (WHERE NOT witnessed) AS unwitnessed
    FROM compared
    GROUP BY market, date_bin('1 hour', bin, timestamptz '2000-01-01 00:00:00+00')
    HAVING bool_or(live)
)

SELECT
    hours.market, hours.code, hour_at, bins, agreed, base, differing, unwitnessed, hourly.volume_base
FROM hours
LEFT JOIN silver.candle AS hourly
    ON hourly.exchange = %(exchange)s AND hourly.market = hours.market AND hourly.interval = %(hourly)s
    AND hourly.event_at = hour_at
    AND coalesce(hourly.is_closed, hourly.received_at >= hour_at + interval '1 hour')
ORDER BY hour_at, hours.market
"""
_WITNESSED: Final = """
SELECT event_at FROM silver.candle
WHERE exchange = %s AND market = %s AND interval = %s AND event_at >= %s AND event_at < %s
"""


@dataclass(frozen=True, slots=True)
class MarketHour:
    """One market in one hour: how many bins were looked at and how many agree, and what is missing where.

    ``missing`` are stretches whose trades don't add up (or, of an hour as a whole, where they may be); ``unwitnessed``
    are stretches with trades of which the exchange's bars aren't here.
    """

    market: str
    hour_at: datetime
    bins: int
    agreed: int
    missing: tuple[Gap, ...] = ()
    unwitnessed: tuple[Gap, ...] = ()


def compare(
    connection: Connection, exchange: str, interval: str, first: datetime, last: datetime
) -> Iterator[MarketHour]:
    """Every market that was heard in the hours from ``first`` up to ``last``; ``interval`` is one of WIDTHS."""
    values = {"exchange": exchange, "interval": interval, "width": WIDTHS[interval], "hourly": _HOURLY}
    rows = connection.execute(_BARS, {**values, "first": first, "last": last}).fetchall()
    for market, code, hour_at, bins, agreed, base, differing, unwitnessed, hourly in rows:
        about = _About(connection, exchange, market, code, interval, hour_at)
        if differing:
            yield about.differing(bins, agreed, differing, unwitnessed or [])
        elif hourly is None:
            yield MarketHour(market, hour_at, bins, agreed, (), about.unwitnessed(unwitnessed or []))
        elif hourly == base:
            yield MarketHour(market, hour_at, bins, bins)
        else:
            yield about.short(bins, agreed, base, hourly)


@dataclass(frozen=True, slots=True)
class _About:
    connection: Connection
    exchange: str
    market: str
    code: str
    interval: str
    hour_at: datetime

    def differing(self, bins: int, agreed: int, found: list[Any], unwitnessed: list[datetime]) -> MarketHour:
        """Bars that differ from their trades, neighbours put together."""
        sums = {datetime.fromisoformat(at): (base, volume, n, count) for at, base, volume, n, count in found}
        missing = tuple(self._missing(first, last, sums) for first, last in stretches(sums, WIDTHS[self.interval]))
        return MarketHour(self.market, self.hour_at, bins, agreed, missing, self.unwitnessed(unwitnessed))

    def unwitnessed(self, found: list[datetime]) -> tuple[Gap, ...]:
        """Bars that should be there, since there are trades."""
        detail = {"interval": self.interval, "codes": [self.code], "what": "trades without a bar of the exchange"}
        stream = f"candle/{self.market}/{self.interval}"
        spans = stretches(found, WIDTHS[self.interval])
        return tuple(Gap(stream, first, last, "witness", detail, self.market) for first, last in spans)

    def short(self, bins: int, agreed: int, base: Decimal, hourly: Decimal) -> MarketHour:
        """The hour's bar has another volume than its trades: they lack where no finer bar agrees."""
        values = [self.exchange, self.market, self.interval, self.hour_at, self.hour_at + HOUR]
        there = {row[0] for row in self.connection.execute(_WITNESSED, values)}
        width = WIDTHS[self.interval]
        free = [self.hour_at + n * width for n in range(int(HOUR / width)) if self.hour_at + n * width not in there]
        spans = stretches(free, width) or [(self.hour_at, self.hour_at + HOUR)]
        said = {"what": "the hour's trades don't add up to its bar", "trades": str(base), "bar": str(hourly)}
        gap = self._gap(spans[0][0], spans[-1][1], {**said, "bars": _HOURLY})
        return MarketHour(self.market, self.hour_at, bins + 1, agreed, (gap,))

    def _missing(self, first: datetime, last: datetime, sums: dict[datetime, tuple[str, str, int, int | None]]) -> Gap:
        inside = [sums[at] for at in sorted(sums) if first <= at < last]
        base = sum((Decimal(one[0]) for one in inside), Decimal(0))
        volume = sum((Decimal(one[1]) for one in inside), Decimal(0))
        said: dict[str, Any] = {"what": "trades don't add up to the exchange's bars", "bars": self.interval}
        said |= {"trades": str(base), "bar": str(volume)}
        if any(one[3] is not None for one in inside):
            said |= {"trade_count": sum(int(one[2]) for one in inside), "bar_count": sum(one[3] or 0 for one in inside)}
        return self._gap(first, last, said)

    def _gap(self, first: datetime, last: datetime, said: dict[str, Any]) -> Gap:
        return Gap(f"trade/{self.market}", first, last, "witness", {**said, "codes": [self.code]}, self.market)
