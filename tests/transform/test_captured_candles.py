"""The 240 captured one-minute candles of 2020-02-20: rolled up, and held against the exchange's own bars."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.transform import rows
from tests.transform.conftest import BARS_OF_TRADES, Warehouse

WIDTHS = {"5m": 5, "15m": 15, "1h": 60, "4h": 240}
EPOCH = datetime(2020, 2, 20, 8, tzinfo=UTC)


@dataclass(frozen=True)
class Candle:
    """A candle as the exchange served it, exact."""

    at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    value: Decimal


@pytest.fixture
def candles(captures: Path) -> list[Candle]:
    rows = [
        row
        for file in sorted((captures / "upbit" / "smtm-2020-02-20").glob("upbit_1m_*.json"))
        for row in json.loads(file.read_text("utf-8"), parse_float=Decimal)
    ]
    found = {
        Candle(
            datetime.fromisoformat(row["candle_date_time_utc"]).replace(tzinfo=UTC),
            row["opening_price"],
            row["high_price"],
            row["low_price"],
            row["trade_price"],
            row["candle_acc_trade_volume"],
            row["candle_acc_trade_price"],
        )
        for row in rows
    }
    return sorted(found, key=lambda candle: candle.at)


def rolled_up(candles: list[Candle], minutes: int) -> list[tuple[object, ...]]:
    """The bars of so many minutes, by hand."""
    width = timedelta(minutes=minutes)
    groups: dict[datetime, list[Candle]] = {}
    for candle in candles:
        groups.setdefault(EPOCH + (candle.at - EPOCH) // width * width, []).append(candle)
    return [
        (
            at,
            group[0].open,
            max(c.high for c in group),
            min(c.low for c in group),
            group[-1].close,
            sum(c.volume for c in group),
            sum(c.value for c in group),
            len(group),
        )
        for at, group in sorted(groups.items())
    ]


def test_captured_minutes_roll_up_to_every_wider_bar(warehouse: Warehouse, candles: list[Candle]) -> None:
    assert len(candles) == 240
    warehouse.run()
    with warehouse.connection.cursor() as cursor:
        cursor.executemany(
            """
            insert into gold.ohlcv_1m (exchange, market, bucket_at, open, high, low, close, volume_base, volume_quote,
                vwap, trade_count, buy_volume_base, sell_volume_base)
            values ('upbit', 'BTC-KRW', %s, %s, %s, %s, %s, %s, %s, 1, 1, 0, 0)
            """,
            [(c.at, c.open, c.high, c.low, c.close, c.volume, c.value) for c in candles],
        )
    warehouse.rows("""
        with build as (insert into ops.build (dataset) values ('trade') returning build_id),
        touched as (
            insert into ops.touched_bucket (build_id, exchange, market, bucket_at, until_at)
            select build_id, exchange, market, bucket_at, bucket_at + interval '1 minute' from build, gold.ohlcv_1m
            returning 1
        )
        insert into ops.build_mark (build_id, consumer) select build_id, 'gold.ohlcv_1m' from build returning build_id
    """)
    warehouse.run("ohlcv_5m", "ohlcv_15m", "ohlcv_1h", "ohlcv_4h")
    for layer, minutes in WIDTHS.items():
        bars = warehouse.rows(
            f"""select bucket_at, open, high, low, close, volume_base, volume_quote, trade_count
            from gold.ohlcv_{layer} order by bucket_at"""
        )
        assert [tuple(bar.values()) for bar in bars] == rolled_up(candles, minutes), layer
        assert len(bars) == 240 // minutes


def trades_of(candle: Candle, first_id: int) -> list[rows.Row]:
    """Trades that make exactly this candle: one at open and close, what is left between high and low by the value."""
    least = Decimal("0.00000001")
    rest = candle.volume - 2 * least
    value = candle.value - least * (candle.open + candle.close)
    spread = candle.high - candle.low
    at_high = ((value - candle.low * rest) / spread).quantize(least) if spread else least
    prices = (candle.open, candle.high, candle.low, candle.close)
    sizes = (least, at_high, rest - at_high, least)
    assert min(sizes) > 0
    return [
        rows.trade(first_id + n, candle.at + timedelta(seconds=10 * n), str(price), size=str(size))
        for n, (price, size) in enumerate(zip(prices, sizes, strict=True))
    ]


def stated(at: datetime, interval: str, values: tuple[object, ...]) -> rows.Row:
    """A bar as the exchange states it; what was paid is rounded to five decimals, as Upbit rounds it."""
    names = ("open", "high", "low", "close", "volume_base", "volume_quote")
    written = {name: str(value) for name, value in zip(names, values, strict=True)}
    return rows.candle(at, "1", at + timedelta(days=1), interval, source="rest") | written


def test_the_exchange_s_own_candles_equal_the_bars(warehouse: Warehouse, candles: list[Candle]) -> None:
    executed = [trade for n, candle in enumerate(candles) for trade in trades_of(candle, 10 * (n + 1))]
    warehouse.load("trade", executed)
    theirs = [stated(c.at, "1m", (c.open, c.high, c.low, c.close, c.volume, c.value)) for c in candles]
    for interval, minutes in WIDTHS.items():
        theirs += [stated(bar[0], interval, bar[1:7]) for bar in rolled_up(candles, minutes)]  # type: ignore[arg-type]
    warehouse.load("candle", theirs)
    warehouse.run(*BARS_OF_TRADES, "candle", "ohlcv_reconciliation")
    found = warehouse.rows(
        "select interval, finding, cause, count(*)::int as n from gold.ohlcv_reconciliation group by 1, 2, 3"
    )
    assert {row["interval"]: row["n"] for row in found} == {"1m": 240, **{w: 240 // m for w, m in WIDTHS.items()}}
    assert {(row["finding"], row["cause"]) for row in found} == {("equal", "none")}

    late = rows.trade(1, candles[200].at + timedelta(seconds=5), str(candles[200].open), size="0.00000001")
    warehouse.load("trade", [late])
    warehouse.run(*BARS_OF_TRADES, "ohlcv_reconciliation")
    wrong = warehouse.rows(
        "select interval, finding, volume_base_difference from gold.ohlcv_reconciliation where not is_equal"
    )
    assert sorted(row["interval"] for row in wrong) == sorted(["1m", *WIDTHS])
    assert {(row["finding"], row["volume_base_difference"]) for row in wrong} == {("ours_more", Decimal("0.00000001"))}
