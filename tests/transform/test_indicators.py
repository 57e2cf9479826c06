"""Indicators and statistics of gold against pandas and written-out formulas (``reference``)."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from tests.transform import reference
from tests.transform.conftest import BARS_OF_TRADES, Warehouse
from tests.transform.rows import DAY, Row, at, candle, trade


def _walk(seed: int, count: int, step: timedelta, interval: str, market: str = "BTC-KRW") -> list[Row]:
    """The exchange's own bars up to the test day: a price that wanders."""
    chance, price, rows = random.Random(seed), 1000.0, []
    for n in range(count, 0, -1):
        opened, price = price, price * chance.lognormvariate(0, 0.01)
        high, low = max(opened, price) * chance.uniform(1, 1.01), min(opened, price) / chance.uniform(1, 1.01)
        names = zip(("open", "high", "low", "close"), (opened, high, low, price), strict=True)
        start = DAY - n * step
        bar = {name: f"{value:.4f}" for name, value in names}
        rows.append(candle(start, str(chance.randrange(1, 9)), start, interval, source="rest", market=market, **bar))
    return rows


def _frame(rows: list[Row]) -> pd.DataFrame:
    index = [row["event_at"] for row in rows]
    return pd.DataFrame({name: [float(r[name]) for r in rows] for name in ("open", "high", "low", "close")}, index)


def _found(warehouse: Warehouse, mart: str, market: str = "BTC-KRW") -> dict[datetime, dict[str, Any]]:
    rows = warehouse.rows(f"select * from gold.{mart} where market = '{market}' order by bucket_at")
    return {row["bucket_at"]: row for row in rows}


def test_indicators_are_those_of_pandas(warehouse: Warehouse) -> None:
    rows = _walk(1, 240, timedelta(hours=1), "1h")
    warehouse.load("candle", rows)
    warehouse.run("candle", "technical_indicator_1h")
    found, bars = _found(warehouse, "technical_indicator_1h"), _frame(rows)
    assert len(found) == 239
    expected = {
        "rsi_14": (reference.rsi(bars["close"]), 14),
        "bollinger_middle": (reference.bollinger(bars["close"])["middle"], 20),
        "bollinger_upper": (reference.bollinger(bars["close"])["upper"], 20),
        "bollinger_lower": (reference.bollinger(bars["close"])["lower"], 20),
        "macd": (reference.macd(bars["close"])["macd"], 26),
        "macd_signal": (reference.macd(bars["close"])["signal"], 150),
        "macd_histogram": (reference.macd(bars["close"])["histogram"], 150),
        "atr_14": (reference.atr(bars), 14),
    }
    for name, (series, begins) in expected.items():
        for moment in bars.index[begins + 1 :]:
            # The signal's own warm-up ends after a hundred hours: what lies before weighs 2e-10.
            assert found[moment][name] == pytest.approx(series[moment], rel=1e-7, abs=1e-6), (name, moment)
    early = found[bars.index[5]]
    assert [early[name] for name in ("rsi_14", "bollinger_upper", "macd", "macd_signal", "atr_14")] == [None] * 5
    assert not early["is_ours"]


def test_indicators_after_a_late_hour_are_those_of_one_build(warehouse: Warehouse) -> None:
    """Piece by piece, and an hour in the middle last: the same to the last digit as all at once."""
    rows = _walk(2, 500, timedelta(hours=1), "1h")
    late = rows.pop(200)
    for batch in (rows[:150], rows[300:], rows[150:300], [late]):
        warehouse.load("candle", batch)
        warehouse.run("candle", "technical_indicator_1h")
    in_pieces = _found(warehouse, "technical_indicator_1h")
    warehouse.connection.execute("drop table gold.technical_indicator_1h")
    warehouse.run("technical_indicator_1h")
    at_once = _found(warehouse, "technical_indicator_1h")
    assert in_pieces == at_once
    # The later half is not all touched by the late hour: only what lies within the look-back.
    assert len(at_once) == 499


def test_moving_averages_and_their_crossings(warehouse: Warehouse) -> None:
    rows = _walk(3, 200, timedelta(days=1), "1d")
    warehouse.load("candle", rows)
    warehouse.run("candle", "moving_average_1d", "daily_volatility")
    found, closes = _found(warehouse, "moving_average_1d"), _frame(rows)["close"]
    means = {n: closes.rolling(n, min_periods=-(-n * 9 // 10)).mean() for n in (5, 20, 60, 120)}
    for n, series in means.items():
        for moment, value in series.items():
            mean = found[moment][f"ma_{n}"]
            assert (mean is None) == bool(pd.isna(value)), (n, moment)
            if mean is not None:
                assert float(mean) == pytest.approx(value, rel=1e-12)
    for short, long in ((5, 20), (20, 60), (60, 120)):
        above = (means[short] > means[long]).where(means[long].notna())
        crossed = {
            moment: "golden" if above[moment] else "dead"
            for before, moment in zip(closes.index, closes.index[1:], strict=False)
            if pd.notna(above[before]) and above[before] != above[moment]
        }
        told = {moment: row[f"cross_{short}_{long}"] for moment, row in found.items()}
        assert {moment: word for moment, word in told.items() if word} == crossed, (short, long)
    assert any(row["cross_5_20"] for row in found.values())
    _check_volatility(warehouse, rows)


def _check_volatility(warehouse: Warehouse, rows: list[Row]) -> None:
    found, bars = _found(warehouse, "daily_volatility"), _frame(rows)
    volatility = pd.Series({m: reference.parkinson(bar["high"], bar["low"]) for m, bar in bars.iterrows()})
    for place, moment in enumerate(bars.index):
        row, before = found[moment], volatility.iloc[max(place - 30, 0) : place]
        assert row["volatility"] == pytest.approx(volatility[moment], rel=1e-9)
        assert row["history_days"] == len(before)
        if len(before) < 10:
            assert row["z"] is None
            assert row["level"] is None
            continue
        assert row["z"] == pytest.approx((volatility[moment] - before.mean()) / before.std(), abs=1e-4)
        assert float(row["percentile"]) == pytest.approx(100 * (before < volatility[moment]).mean(), abs=0.05)
        assert (row["level"] == "extreme") == (row["z"] >= 2.5)
    assert {"calm", "normal", "elevated"} <= {row["level"] for row in found.values()}


def test_correlations_are_those_of_pandas(warehouse: Warehouse) -> None:
    """Three markets of one quote currency and one of another, which is paired with none of them."""
    walks = {m: _walk(n, 220, timedelta(hours=1), "1h", m) for n, m in enumerate(("BTC-KRW", "ETH-KRW", "XRP-KRW"))}
    # Ether follows bitcoin at a distance.
    for follower, leader in zip(walks["ETH-KRW"], walks["BTC-KRW"], strict=True):
        follower["close"] = f"{float(follower['close']) * 0.2 + float(leader['close']) * 0.8:.4f}"
    walks["ETH-BTC"] = _walk(9, 220, timedelta(hours=1), "1h", "ETH-BTC")
    warehouse.load("candle", [row for rows in walks.values() for row in rows])
    warehouse.run("candle", "market_correlation_1h")
    rows = warehouse.rows("select * from gold.market_correlation_1h")
    found = {(row["market"], row["other_market"], row["bucket_at"]): row for row in rows}
    closes = {market: _frame(rows)["close"] for market, rows in walks.items()}
    pairs = [("BTC-KRW", "ETH-KRW"), ("BTC-KRW", "XRP-KRW"), ("ETH-KRW", "XRP-KRW")]
    assert {key[:2] for key in found} == set(pairs)
    for one, other in pairs:
        series = reference.correlation(closes[one], closes[other]).dropna()
        assert len(series) == 220 - 24
        for moment, value in series.items():
            assert found[one, other, moment]["correlation"] == pytest.approx(value, abs=1e-4)
    last = max(key[2] for key in found)
    assert (
        found["BTC-KRW", "ETH-KRW", last]["correlation"] > 0.9 > abs(found["BTC-KRW", "XRP-KRW", last]["correlation"])
    )
    assert found["BTC-KRW", "ETH-KRW", last]["returns"] == 168


def test_only_the_busiest_markets_are_paired(warehouse: Warehouse) -> None:
    markets = [f"C{n:02}-KRW" for n in range(14)]
    rows = [row for n, m in enumerate(markets) for row in _walk(n, 40, timedelta(hours=1), "1h", m)]
    for row in rows:
        row["volume_quote"] = str(1000 if row["market"] in markets[12:] else 5000)
    warehouse.load("candle", rows)
    warehouse.run("candle", "market_correlation_1h")
    found = warehouse.rows("select distinct market, other_market from gold.market_correlation_1h")
    assert len(found) == 12 * 11 / 2
    assert not {row["market"] for row in found} & set(markets[12:])


def test_history_is_the_fuller_of_two_bars(warehouse: Warehouse) -> None:
    """Of an hour that we heard in part the exchange's bar stands, of one that we heard whole our own."""
    theirs = [
        candle(at(h), v, at(h), "1h", source="rest", close="7")
        for h, v in (("08:00", "5"), ("09:00", "5"), ("10:00", "2"))
    ]
    warehouse.load("candle", theirs)
    warehouse.load("trade", [trade(1, at("09:30"), size="3"), trade(2, at("10:30"), size="2"), trade(3, at("11:30"))])
    warehouse.run("candle", *BARS_OF_TRADES)
    rows = warehouse.rows("select bucket_at, close::int, volume_base::int as volume, is_ours from gold.history_1h")
    told = {row["bucket_at"]: (row["close"], row["volume"], row["is_ours"]) for row in rows}
    assert told == {
        at("08:00"): (7, 5, False),
        at("09:00"): (7, 5, False),
        at("10:00"): (100, 2, True),
        at("11:00"): (100, 1, True),
    }
