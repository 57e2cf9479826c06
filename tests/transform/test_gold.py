"""Gold over real PostgreSQL: exactly the touched windows are made anew, in every layer."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.transform.conftest import BARS, BARS_OF_TRADES, GOLD, Warehouse
from tests.transform.rows import at, candle, orderbook, trade

WIDTHS = dict(zip(BARS, (1, 5, 15, 60, 240, 1440), strict=True))


def _day_of_trades() -> list[dict[str, Any]]:
    """Two markets, a trade each ten seconds for three hours, prices that wander."""
    return [
        trade(
            n, at("12:00") + timedelta(seconds=10 * n), str(1000 + (n * 7919) % 23), size=f"0.{1 + n % 9}",
            side="sell" if n % 3 else "buy", market=market,
        )
        for market in ("BTC-KRW", "ETH-KRW")
        for n in range(1080)
    ]  # fmt: skip


def test_bars_are_the_trades_to_the_last_digit(warehouse: Warehouse) -> None:
    """Against bars computed here, in Decimal, from the rows that were sent."""
    trades = _day_of_trades()
    warehouse.load("trade", trades)
    warehouse.run(*BARS_OF_TRADES)
    for mart, minutes in WIDTHS.items():
        expected = _bars(trades, minutes)
        found = {(r.pop("market"), r.pop("bucket_at")): r for r in warehouse.rows(f"select * from {mart}")}
        assert found.keys() == expected.keys(), mart
        for key, bar in expected.items():
            assert {name: found[key][name] for name in bar} == bar, (mart, key)
    _adds_up_over_the_day(warehouse)
    warehouse.check()


def _adds_up_over_the_day(warehouse: Warehouse) -> None:
    """The cumulative volumes of a day of trades, minute by minute."""
    totals: dict[str, Decimal] = {}
    found = warehouse.rows("select * from gold.cumulative_volume_1m order by market, bucket_at")
    assert len(found) == warehouse.count("gold.ohlcv_1m")
    for row in found:
        totals[row["market"]] = totals.get(row["market"], Decimal(0)) + row["volume_base"]
        assert row["cumulative_volume_base"] == totals[row["market"]], row
        assert row["cumulative_volume_quote"] >= row["volume_quote"] > 0, row


def _bars(trades: list[dict[str, Any]], minutes: int) -> dict[tuple[str, datetime], dict[str, Any]]:
    buckets: dict[tuple[str, datetime], list[dict[str, Any]]] = {}
    for row in trades:
        start = at("00:00") + (row["event_at"] - at("00:00")) // timedelta(minutes=minutes) * timedelta(minutes=minutes)
        buckets.setdefault((row["market"], start), []).append(row)
    return {key: _bar(sorted(rows, key=lambda r: (r["event_at"], r["trade_id"]))) for key, rows in buckets.items()}


def _bar(rows: list[dict[str, Any]]) -> dict[str, Any]:
    prices = [Decimal(r["price"]) for r in rows]
    sizes = [Decimal(r["size"]) for r in rows]
    quote = sum(p * s for p, s in zip(prices, sizes, strict=True))
    return {
        "open": prices[0],
        "high": max(prices),
        "low": min(prices),
        "close": prices[-1],
        "volume_base": sum(sizes),
        "volume_quote": quote,
        "vwap": round(quote / sum(sizes), 12),
        "trade_count": len(rows),
        "buy_volume_base": sum((s for r, s in zip(rows, sizes, strict=True) if r["side"] == "buy"), Decimal()),
        "sell_volume_base": sum((s for r, s in zip(rows, sizes, strict=True) if r["side"] == "sell"), Decimal()),
    }


def test_a_late_trade_changes_exactly_its_bars(warehouse: Warehouse) -> None:
    warehouse.load("trade", _day_of_trades())
    warehouse.run(*BARS_OF_TRADES)
    before = warehouse.contents(GOLD)
    warehouse.load("trade", [trade(99_999, at("13:07:03"), "5000", size="2")])
    warehouse.run(*BARS_OF_TRADES)
    after = warehouse.contents(GOLD)
    for mart in BARS:
        assert len(set(before[mart]) ^ set(after[mart])) == 2, mart
        assert len(before[mart]) == len(after[mart])
    highs = [warehouse.rows(f"select market, bucket_at from {mart} where high = 5000") for mart in BARS]
    starts = ["13:07", "13:05", "13:00", "13:00", "12:00", "00:00"]
    assert highs == [[{"market": "BTC-KRW", "bucket_at": at(start)}] for start in starts]
    warehouse.check()


def test_a_bar_whose_trades_are_gone_goes_too(warehouse: Warehouse) -> None:
    """REST said 14:40, the socket says 09:10 of the same id: the bars of 14:40 vanish from every layer."""
    warehouse.load("trade", [trade(1, at("14:40"), source="rest")])
    warehouse.run(*BARS_OF_TRADES)
    warehouse.load("trade", [trade(1, at("09:10"))])
    warehouse.run(*BARS_OF_TRADES)
    starts = ["09:10", "09:10", "09:00", "09:00", "08:00", "00:00"]
    for mart, start in zip(BARS, starts, strict=True):
        assert [r["bucket_at"] for r in warehouse.rows(f"select bucket_at from {mart}")] == [at(start)], mart
    warehouse.check()


def test_a_build_between_two_models_is_not_lost(warehouse: Warehouse) -> None:
    """Silver builds again after ohlcv_1m and before ohlcv_5m: the upper layer waits until the lower has it."""
    warehouse.load("trade", [trade(1, at("14:40"))])
    warehouse.run("trade", "ohlcv_1m")
    warehouse.load("trade", [trade(2, at("14:41"))])
    warehouse.run("trade", "ohlcv_5m")
    assert [r["trade_count"] for r in warehouse.rows("select trade_count from gold.ohlcv_5m")] == [1]
    warehouse.run(*BARS_OF_TRADES)
    assert [r["trade_count"] for r in warehouse.rows("select trade_count from gold.ohlcv_5m")] == [2]
    warehouse.check()


def test_a_failing_layer_waits_and_catches_up(warehouse: Warehouse) -> None:
    warehouse.load("trade", [trade(1, at("14:40"))])
    warehouse.connection.execute("alter table gold.ohlcv_15m add constraint broken check (high < 0)")
    assert "broken" in warehouse.fails()
    assert [warehouse.count(mart) for mart in BARS] == [1, 1, 0, 0, 0, 0]
    assert warehouse.count("ops.build_mark", "consumer = 'gold.ohlcv_15m'") == 0
    warehouse.connection.execute("alter table gold.ohlcv_15m drop constraint broken")
    warehouse.run(*BARS_OF_TRADES)
    assert [warehouse.count(mart) for mart in BARS] == [1] * 6
    warehouse.check()


def test_open_and_close_are_exact_where_floats_would_mix_ids_up(warehouse: Warehouse) -> None:
    big = 2**53
    prices = {big + 4: "12", big + 3: "13", big + 1: "10", big: "11"}  # float(big + 1) is big, float(big + 3) big + 4
    warehouse.load("trade", [trade(trade_id, at("14:40"), price) for trade_id, price in prices.items()])
    warehouse.run(*BARS_OF_TRADES)
    for mart in BARS:
        assert warehouse.rows(f"select open::int, close::int from {mart}") == [{"open": 11, "close": 12}], mart


def test_jumps_are_found_and_quiet_minutes_are_not(warehouse: Warehouse) -> None:
    trades = [trade(n, at("10:00") + timedelta(minutes=n), "1000" if n % 2 else "1001") for n in range(90)]
    jump = [trade(1000 + n, at("11:30") + timedelta(minutes=n), "1050") for n in range(5)]
    warehouse.load("trade", trades + jump)
    warehouse.run(*BARS_OF_TRADES)
    found = warehouse.rows("select bucket_at, direction, severity, detected_by from gold.price_anomaly_1m order by 1")
    assert found[0] == {
        "bucket_at": at("11:30"), "direction": "up", "severity": "critical", "detected_by": "both",
    }  # fmt: skip
    assert {row["bucket_at"] for row in found} <= {at("11:30") + timedelta(minutes=n) for n in range(3)}
    # The trade before the jump turns out to have been a step towards it: the scores after it are made anew.
    warehouse.load("trade", [trade(2000, at("11:29:59"), "1050")])
    warehouse.run(*BARS_OF_TRADES)
    assert warehouse.rows("select min(bucket_at) as first from gold.price_anomaly_1m") == [{"first": at("11:29")}]
    warehouse.check()


def test_volume_is_held_against_the_exchanges_hours_where_ours_are_missing(warehouse: Warehouse) -> None:
    hours = [at("00:00") - timedelta(hours=n) for n in range(1, 100)]
    history = [candle(h, "9" if h.hour % 2 else "11", h, "1h", source="rest") for h in hours]
    warehouse.load("trade", [trade(1, at("00:10"), size="100"), trade(2, at("01:10"), size="10")])
    warehouse.run()
    assert warehouse.count("gold.volume_anomaly_1h") == 0
    warehouse.load("candle", history)
    warehouse.run()
    found = warehouse.rows("select bucket_at, ratio_to_median::int, history_hours from gold.volume_anomaly_1h")
    assert found == [{"bucket_at": at("00:00"), "ratio_to_median": pytest.approx(9, abs=2), "history_hours": 99}]
    warehouse.check()


def test_changes_of_an_exchange_whose_gate_is_closed_wait(warehouse: Warehouse) -> None:
    """Gold follows the others, and takes what waited as soon as the gate is open again: nothing is lost."""
    warehouse.connection.execute(
        "insert into ops.gate (exchange, dataset, status, reason) values ('okx', 'trade', 'red', 'odd')"
    )
    warehouse.load("trade", [trade(1, at("10:00")), trade(2, at("10:00"), exchange="okx", market="BTC-USDT")])
    warehouse.run(*BARS_OF_TRADES)
    assert warehouse.count("silver.trade") == 2
    for mart in BARS:
        assert warehouse.rows(f"select exchange from {mart}") == [{"exchange": "upbit"}], mart
    warehouse.load("trade", [trade(3, at("10:01"), exchange="okx", market="BTC-USDT")])
    warehouse.run(*BARS_OF_TRADES)
    warehouse.connection.execute("update ops.gate set status = 'green'")
    warehouse.run(*BARS_OF_TRADES)
    assert warehouse.rows("select exchange, trade_count from gold.ohlcv_1h order by 1") == [
        {"exchange": "okx", "trade_count": 2},
        {"exchange": "upbit", "trade_count": 1},
    ]
    warehouse.check()


def test_a_closed_gate_holds_the_marts_that_read_its_dataset_and_no_other(warehouse: Warehouse) -> None:
    for dataset in ("ticker", "orderbook"):
        warehouse.connection.execute(
            "insert into ops.gate (exchange, dataset, status, reason) values ('upbit', %s, 'red', 'odd')", [dataset]
        )
    warehouse.load("trade", [trade(1, at("10:00"))])
    warehouse.load("orderbook", [orderbook(at("10:00"), "101", "99")])
    marts = (*BARS_OF_TRADES, "orderbook", "market_summary_5m", "large_trade")
    warehouse.run(*marts)
    for mart in BARS:
        assert warehouse.count(mart) == 1, mart
    assert warehouse.count("gold.market_summary_5m") == 0  # it reads the books
    warehouse.connection.execute("update ops.gate set status = 'green' where dataset = 'orderbook'")
    warehouse.run(*marts)
    assert warehouse.count("gold.market_summary_5m") == 1
    warehouse.check()
