"""The marts that show, join and compare: against what was sent, worked out here by hand or in Decimal."""

from __future__ import annotations

import itertools
import math
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.transform.conftest import BARS, BARS_OF_TRADES, GOLD, Warehouse
from tests.transform.rows import Row, at, candle, listing, orderbook, snapshot, ticker, trade

_MS = int(at("10:00").timestamp() * 1000)


def _bars(warehouse: Warehouse, mart: str, columns: str) -> list[tuple[Any, ...]]:
    rows = warehouse.rows(f"select bucket_at, {columns} from {mart} order by bucket_at")
    return [tuple(row.values()) for row in rows]


def test_filled_bars_carry_the_close_over_what_did_not_trade(warehouse: Warehouse) -> None:
    warehouse.load(
        "trade", [trade(1, at("10:00:10"), "100"), trade(2, at("10:00:50"), "101"), trade(3, at("10:04"), "99")]
    )
    warehouse.run(*BARS_OF_TRADES)
    columns = "open::int, high::int, low::int, close::int, volume_base::int, trade_count, is_filled"
    still = (101, 101, 101, 101, 0, 0, True)
    assert _bars(warehouse, "gold.ohlcv_1m_filled", columns) == [
        (at("10:00"), 100, 101, 100, 101, 2, 2, False),
        *((at(f"10:0{minute}"), *still) for minute in (1, 2, 3)),
        (at("10:04"), 99, 99, 99, 99, 1, 1, False),
    ]
    for mart in BARS:
        width = warehouse.rows(
            f"select count(*) as n, count(*) filter (where not is_filled) as seen from {mart}_filled"
        )
        assert width[0]["seen"] == warehouse.count(mart)


def test_one_odd_bar_makes_no_endless_view_and_moves_no_window(warehouse: Warehouse) -> None:
    """Whatever puts it there: the close is carried over 10,000 bars at most and never beyond now."""
    warehouse.load("trade", [trade(1, at("10:00"), "100"), trade(2, at("10:02"), "101")])
    warehouse.run(*BARS_OF_TRADES)
    for mart in BARS:
        for year in ("2019-01-01", "2100-01-01"):
            warehouse.connection.execute(
                f"""insert into {mart} (exchange, market, bucket_at, open, high, low, close, volume_base,
                volume_quote, vwap, trade_count, buy_volume_base, sell_volume_base)
                select exchange, market, '{year} 00:00+00', 1, 1, 1, 1, 1, 1, 1, 1, 1, 0 from {mart} limit 1""".encode()
            )
        assert warehouse.count(f"{mart}_filled") <= 20_010, mart
        assert warehouse.count(f"{mart}_filled", "bucket_at > now()") == 1, mart
        assert warehouse.count(f"{mart}_filled", "not is_filled") == warehouse.count(mart), mart
    found = warehouse.dbt(
        "test", "--select", "bars_equal_trades bars_roll_up_exactly", "--vars", "test_look_back_days: 2"
    )
    statuses = {result.node.name: str(result.status) for result in found.result}
    assert statuses["bars_equal_trades"] == "fail"  # it looks at the newest days before now, and finds the odd bar


def test_five_minutes_in_one_row(warehouse: Warehouse) -> None:
    """Return, range, volatility and the books of the five minutes, and of no others."""
    prices = {"10:00:01": "100", "10:00:30": "104", "10:02": "102", "10:04:59": "110", "10:05": "1"}
    trades = [
        trade(n, at(clock), price, side="sell" if n == 1 else "buy") for n, (clock, price) in enumerate(prices.items())
    ]
    books = [orderbook(at(clock), "105", bid) for clock, bid in (("10:00", "103"), ("10:04", "101"), ("10:05", "90"))]
    warehouse.load("trade", trades)
    warehouse.load("orderbook", books)
    warehouse.run(*BARS_OF_TRADES, "orderbook", "market_summary_5m")
    (row,) = warehouse.rows("select * from gold.market_summary_5m where bucket_at = %s", at("10:00"))
    told = {
        name: row[name] for name in ("return", "range", "buy_share", "book_count", "last_mid_price", "mean_imbalance")
    }
    assert told == {
        "return": Decimal("0.1"), "range": Decimal("0.1"), "buy_share": Decimal("0.75"), "book_count": 2,
        "last_mid_price": Decimal("103"), "mean_imbalance": Decimal("0"),
    }  # fmt: skip
    spreads = [Decimal(2) / Decimal(104), Decimal(4) / Decimal(103)]
    assert float(row["mean_spread_bps"]) == pytest.approx(float(sum(spreads)) / 2 * 10_000, abs=1e-4)
    returns = [math.log(b / a) for a, b in ((100, 104), (104, 102), (102, 110))]
    assert row["realized_volatility"] == pytest.approx(math.sqrt(sum(r * r for r in returns)), rel=1e-9)
    # A book that comes late changes its five minutes.
    warehouse.load("orderbook", [orderbook(at("10:03"), "105", "99")])
    warehouse.run("orderbook", "market_summary_5m")
    assert warehouse.rows("select book_count from gold.market_summary_5m order by bucket_at") == [
        {"book_count": 3}, {"book_count": 1},
    ]  # fmt: skip


def test_large_trades_by_the_money_they_are_paid_in(warehouse: Warehouse) -> None:
    trades = [
        trade(1, at("10:00"), "100000000", size="2.99999999"),
        trade(2, at("10:00"), "100000000", size="3", side="sell"),
        trade(3, at("10:01"), "100000", size="2", market="BTC-USDT", exchange="binance"),
        trade(4, at("10:01"), "100000", size="1.9", market="BTC-USDT", exchange="binance"),
        trade(5, at("10:02"), "999999999", size="1", market="ETH-XYZ"),
        trade(6, at("10:03"), "0.05", size="61", market="ETH-BTC"),
    ]
    warehouse.load("trade", trades)
    warehouse.run("trade", "large_trade")
    columns = "select trade_id, side, value_quote::text as value, times_threshold::text as times from gold.large_trade"
    assert warehouse.rows(columns + " order by trade_id") == [
        {"trade_id": 2, "side": "sell", "value": "300000000", "times": "1"},
        {"trade_id": 3, "side": "buy", "value": "200000", "times": "1"},
        {"trade_id": 6, "side": "buy", "value": "3.05", "times": "1.0167"},
    ]
    # What was REST's turns out to be another trade of the socket: it is not large any more.
    warehouse.load("trade", [trade(7, at("10:05"), "400000000", source="rest")])
    warehouse.run("trade", "large_trade")
    assert warehouse.count("gold.large_trade") == 4
    warehouse.load("trade", [trade(7, at("11:05"), "200000000")])
    warehouse.run("trade", "large_trade")
    assert warehouse.count("gold.large_trade") == 3


def test_the_hour_of_the_korean_day(warehouse: Warehouse) -> None:
    warehouse.load(
        "trade",
        [
            trade(n, at(clock), size=size)
            for n, (clock, size) in enumerate((("14:59", "3"), ("15:00", "1"), ("16:10", "1")))
        ],
    )
    warehouse.run(*BARS_OF_TRADES)
    columns = "kst_date::text as day, kst_hour, kst_weekday, day_share::text as share"
    rows = warehouse.rows(f"select {columns} from gold.trade_hourly order by bucket_at")
    assert rows == [
        {"day": "2026-03-11", "kst_hour": 23, "kst_weekday": 3, "share": "1"},
        {"day": "2026-03-12", "kst_hour": 0, "kst_weekday": 4, "share": "0.5"},
        {"day": "2026-03-12", "kst_hour": 1, "kst_weekday": 4, "share": "0.5"},
    ]


def _abroad(trade_id: int, clock: str, price: str, exchange: str = "binance") -> Row:
    return trade(trade_id, at(clock), price, market="BTC-USDT", exchange=exchange)


def test_the_premium_of_a_coin_in_won(warehouse: Warehouse) -> None:
    """Against two exchanges, by prices that hold for five minutes; a late rate changes the minutes it holds for."""
    trades = [
        trade(1, at("10:00"), "1500", market="USDT-KRW"),
        trade(2, at("10:01"), "153000000"),
        trade(3, at("10:05"), "156000000"),
        trade(4, at("10:06"), "150000000"),
        _abroad(5, "10:00", "100000"),
        _abroad(6, "10:04", "102000", "okx"),
        trade(7, at("10:01"), "100500", market="BTC-USDT"),
        trade(8, at("10:01"), "1", market="USDT-USDC", exchange="binance"),
    ]
    warehouse.load("trade", trades)
    warehouse.run("trade", "ohlcv_1m", "kimchi_premium_1m")
    columns = "bucket_at, counter_exchange, premium::float as premium, counter_age_minutes, rate_age_minutes"
    query = f"select {columns} from gold.kimchi_premium_1m order by 1, 2"
    assert [tuple(row.values()) for row in warehouse.rows(query)] == [
        (at("10:01"), "binance", pytest.approx(0.02), 1, 1),
        (at("10:05"), "binance", pytest.approx(0.04), 5, 5),
        (at("10:05"), "okx", pytest.approx(156 / 153 - 1, abs=1e-8), 1, 5),
    ]
    warehouse.load("trade", [trade(9, at("10:04"), "1600", market="USDT-KRW")])
    warehouse.run("trade", "ohlcv_1m", "kimchi_premium_1m")
    assert [tuple(row.values())[:3] for row in warehouse.rows(query)] == [
        (at("10:01"), "binance", pytest.approx(0.02)),
        (at("10:05"), "binance", pytest.approx(156 / 160 - 1)),
        (at("10:05"), "okx", pytest.approx(156 / (102 * 1.6) - 1, abs=1e-8)),
        (at("10:06"), "okx", pytest.approx(150 / (102 * 1.6) - 1, abs=1e-8)),
    ]


def test_our_bars_against_the_exchanges_own(warehouse: Warehouse) -> None:
    trades = [trade(n, at("08:00") + timedelta(minutes=n), "100") for n in range(1, 300)]
    same = {"source": "rest", "interval": "1m"}
    theirs = [
        candle(at("03:00"), "1", at("03:00"), **same),
        candle(at("08:00"), "1", at("08:00"), **same),
        candle(at("12:30"), "1", at("12:30"), **same),
        candle(at("12:31"), "1.5", at("12:31"), **same),
        candle(at("12:32"), "0.5", at("12:32"), **same),
        candle(at("12:33"), "1", at("12:33"), close="101", high="101", **same),
        candle(at("12:34"), "1", at("12:34"), **{**same, "volume_quote": "101"}),
        candle(at("12:35"), "2", at("12:35"), **same),
        candle(at("12:36"), "0", at("12:36"), **same),
    ]
    warehouse.load("trade", trades)
    warehouse.load("candle", theirs)
    warehouse.connection.execute(
        "insert into ops.gap (exchange, stream, from_at, to_at, cause) values ('upbit', 'trade', %s, %s, 'silent')",
        [at("12:35:10"), at("12:35:20")],
    )
    warehouse.run("candle", *BARS_OF_TRADES)
    rows = warehouse.rows("select bucket_at, finding, cause, is_equal from gold.ohlcv_reconciliation order by 1")
    assert [tuple(row.values()) for row in rows] == [
        (at("03:00"), "only_theirs", "before_we_listened", False),
        (at("08:00"), "only_theirs", "began_within", False),
        (at("12:30"), "equal", "none", True),
        (at("12:31"), "ours_less", "unexplained", False),
        (at("12:32"), "ours_more", "their_bar_is_older", False),
        (at("12:33"), "prices", "unexplained", False),
        (at("12:34"), "value", "unexplained", False),
        (at("12:35"), "ours_less", "gap", False),
    ]


def test_what_share_of_an_hour_is_complete(warehouse: Warehouse) -> None:
    checks = [
        ("trade", "10:00", 1, "green"), ("trade", "10:00", 3, "green"), ("trade", "10:00", 4, "green"),
        ("trade", "11:00", 1, "green"), ("trade", "11:00", 3, "red"), ("trade", "12:00", 1, "open"),
        ("trade", "13:00", 1, "open"), ("trade", "13:00", 3, "green"), ("trade", "13:00", 4, "green"),
        ("ticker", "10:00", 1, "green"), ("ticker", "10:00", 3, "green"), ("ticker", "11:00", 1, "green"),
    ]  # fmt: skip
    gaps = [
        ("trade/a", "10:50", "11:30", "open"), ("trade/b", "11:15", "11:45", "not_served"),
        ("trade/c", "11:00", "11:59", "repaired"), ("trade/d", "12:30", None, "open"),
    ]  # fmt: skip
    for dataset, clock, identity, status in checks:
        warehouse.connection.execute(
            """insert into ops.completeness (exchange, dataset, hour_at, identity, status)
            values ('upbit', %s, %s, %s, %s)""",
            [dataset, at(clock), identity, status],
        )
    for stream, start, end, state in gaps:
        warehouse.connection.execute(
            """insert into ops.gap (exchange, stream, from_at, to_at, cause, state)
            values ('upbit', %s, %s, %s, 'silent', %s)""",
            [stream, at(start), end and at(end), state],
        )
    rows = warehouse.rows(
        """select dataset, bucket_at, state, status, is_complete, share_complete::float as share,
            unsettled_gaps as unsettled,
            repaired_gaps as repaired, red_identities as red from gold.data_coverage order by 1, 2"""
    )
    assert [tuple(row.values()) for row in rows] == [
        ("ticker", at("10:00"), "green", "green", True, 1.0, 0, 0, []),
        ("ticker", at("11:00"), "unchecked", "open", False, 1.0, 0, 0, []),
        ("trade", at("10:00"), "green", "green", False, pytest.approx(1 - 1 / 6, abs=1e-6), 1, 0, []),
        ("trade", at("11:00"), "red", "red", False, 0.25, 2, 1, [3]),
        ("trade", at("12:00"), "unchecked", "open", False, 0.5, 1, 0, []),
        ("trade", at("13:00"), "provisional", "open", False, 0.0, 1, 0, []),
    ]


def test_the_last_day_as_exchanges_state_it(warehouse: Warehouse) -> None:
    """Documents of three shapes, spelled as Upbit, OKX (a swap and a spot market) and Binance spell them."""
    upbit = {"trade_price": 1.5e8, "opening_price": 1.2e8, "high_price": 1.6e8, "low_price": 1.1e8, "timestamp": _MS}
    upbit |= {"acc_trade_volume_24h": 2.5, "acc_trade_price_24h": 3.0e8, "acc_trade_volume": 1, "acc_trade_price": 2}
    okx = {"last": "100", "open24h": "80", "high24h": "120", "low24h": "", "vol24h": "7000", "ts": str(_MS)}
    binance = {"lastPrice": "100", "openPrice": "80", "volume": "9", "quoteVolume": "800", "closeTime": _MS}
    documents = [
        ("BTC-KRW", "upbit", "10:02", upbit),
        ("BTC-KRW", "upbit", "10:09", {**upbit, "trade_price": 1.8e8}),
        ("ETH-KRW", "upbit", "10:09", {"acc_trade_price_24h": 1.0e8, "opening_price": "odd"}),
        ("BTC-USDT", "okx", "10:01", {**okx, "instType": "SWAP", "volCcy24h": "70"}),
        ("BTC-USDT-SPOT", "okx", "10:01", {**okx, "instType": "SPOT", "volCcy24h": "70"}),
        ("BTC-USDT", "binance", "10:01", binance),
    ]
    rows = [snapshot(market, at(clock), said, exchange=exchange) for market, exchange, clock, said in documents]
    warehouse.load("snapshot", rows)
    warehouse.run("snapshot", "market_stats_24h")
    columns = "exchange, market, last_price::float, prices_since, change::float, volume_base_24h::float"
    columns += ", volume_quote_24h::float, turnover_24h::float, turnover_rank, turnover_share::float, low_price::float"
    found = warehouse.rows(f"select {columns} from gold.market_stats_24h order by exchange, market")
    assert [tuple(row.values()) for row in found] == [
        ("binance", "BTC-USDT", 100, "24h", 0.25, 9, 800, 800, 1, 1, None),
        ("okx", "BTC-USDT", 100, "24h", 0.25, 70, None, 7000, 1, pytest.approx(7000 / 7070, abs=1e-6), None),
        ("okx", "BTC-USDT-SPOT", 100, "24h", 0.25, 7000, 70, 70, 2, pytest.approx(70 / 7070, abs=1e-6), None),
        ("upbit", "BTC-KRW", 1.8e8, "utc_day", 0.5, 2.5, 3e8, 3e8, 1, 0.75, 1.1e8),
        ("upbit", "ETH-KRW", None, "utc_day", None, None, 1e8, 1e8, 2, 0.25, None),
    ]
    stated = warehouse.rows("select distinct stated_at from silver.snapshot where stated_at is not null")
    assert stated == [{"stated_at": at("10:00")}]
    warehouse.check()


def test_a_trade_forty_days_late_changes_each_bar_by_exactly_that_trade(warehouse: Warehouse) -> None:
    early = at("12:00") - timedelta(days=40)
    days = [trade(n, early + timedelta(hours=6 * n, seconds=n), str(1000 + n % 7), size="2") for n in range(160)]
    warehouse.load("trade", days)
    warehouse.run(*BARS_OF_TRADES)
    before = {mart: {r["bucket_at"]: r for r in warehouse.rows(f"select * from {mart}")} for mart in BARS}
    warehouse.load("trade", [trade(10_000, early + timedelta(seconds=30), "1003", size="0.5", side="sell")])
    warehouse.run(*BARS_OF_TRADES)
    for mart in BARS:
        after = {r["bucket_at"]: r for r in warehouse.rows(f"select * from {mart}")}
        (moment,) = [m for m in after if after[m] != before[mart].get(m)]
        old, new = before[mart][moment], after[moment]
        added = {"volume_base": Decimal("0.5"), "volume_quote": Decimal("501.5"), "trade_count": 1}
        for name, amount in {**added, "sell_volume_base": Decimal("0.5"), "buy_volume_base": 0}.items():
            assert new[name] - old[name] == amount, (mart, name)
        assert (new["high"], new["low"]) == (max(old["high"], Decimal(1003)), min(old["low"], Decimal(1003)))
    assert set(GOLD) > set(BARS)
    warehouse.check()


def test_means_of_large_prices_have_the_decimals_that_their_contract_says(warehouse: Warehouse) -> None:
    """16 digits, which is what a division of PostgreSQL has, leave 8 decimals of 100,000,000 won and none of 10^16."""
    warehouse.load(
        "candle",
        [
            candle(
                at("00:00") - timedelta(days=n), "1", at("00:00"), "1d", source="rest",
                **dict.fromkeys(("open", "high", "low", "close"), close),
            )
            for n, close in enumerate(("101941233", "101941234", "101941233") * 20)
        ],
    )  # fmt: skip
    big = {"market": "BIG-KRW"}
    warehouse.load("trade", [trade(n, at("14:40"), "10000000000000001", **big) for n in range(3)])
    warehouse.load("trade", [trade(9, at("14:41"), "10000000000000002", **big)])
    top = {"ask_prices": ["123456789.00000002"], "bid_prices": ["123456789.00000001"]}
    warehouse.load("orderbook", [orderbook(at("14:40"), "2", "1", **top, ask_sizes=["1"], bid_sizes=["2"], **big)])
    warehouse.run("candle", *BARS_OF_TRADES, "orderbook", "history_1d", "moving_average_1d", "trade_hourly")

    def text(query: str) -> str:
        ((value,),) = (row.values() for row in warehouse.rows(query))
        return str(value)

    latest = "where market = 'BTC-KRW' order by bucket_at desc limit 1"
    assert text(f"select ma_60::text from gold.moving_average_1d {latest}") == "101941233.333333333333"
    assert text("select mean_trade_quote::text from gold.trade_hourly") == "10000000000000001.25"
    assert text("select mid_price::text from silver.orderbook") == "123456789.000000015"
    assert text("select weighted_mid_price::text from silver.orderbook") == "123456789.000000016667"


def test_days_of_seoul_begin_at_three_in_the_afternoon(warehouse: Warehouse) -> None:
    days = (("14:59", "100"), ("15:00", "110"), ("38:59", "90"))
    warehouse.load("trade", [trade(n, at(clock), price) for n, (clock, price) in enumerate(days)])
    warehouse.run(*BARS_OF_TRADES, "ohlcv_1d_kst")
    columns = "open::int, high::int, low::int, close::int, trade_count"
    assert _bars(warehouse, "gold.ohlcv_1d_kst", columns) == [
        (at("15:00") - timedelta(days=1), 100, 100, 100, 100, 1),
        (at("15:00"), 110, 110, 90, 90, 2),
    ]
    # A late trade changes its day alone; a day of which retention has dropped a part stays as it was.
    warehouse.load("trade", [trade(7, at("20:00"), "200"), trade(8, at("10:00"), "50")])
    warehouse.connection.execute(
        "update ops.retention set floor_at = %s where relation = 'gold.ohlcv_1h'", [at("00:00")]
    )
    warehouse.run(*BARS_OF_TRADES, "ohlcv_1d_kst")
    assert _bars(warehouse, "gold.ohlcv_1d_kst", columns) == [
        (at("15:00") - timedelta(days=1), 100, 100, 100, 100, 1),
        (at("15:00"), 110, 200, 90, 90, 3),
    ]


WIDTHS = ("1m", "5m", "15m", "1h", "4h", "1d", "1d_kst")


def _verdicts(warehouse: Warehouse, first: int, last: int, status: str, *identities: int) -> None:
    """What identities (3 and 4 where none is named) say of the hours from ``first`` to ``last`` of the test day."""
    for hour, one in itertools.product(range(first, last + 1), identities or (3, 4)):
        warehouse.connection.execute(
            """insert into ops.completeness (exchange, dataset, hour_at, identity, status)
            values ('upbit', 'trade', %s, %s, %s)
            on conflict (exchange, dataset, hour_at, identity) do update set status = excluded.status""",
            [at("00:00") + timedelta(hours=hour), one, status],
        )


def _finals(warehouse: Warehouse, clock: str) -> set[str]:
    """The widths whose bar with a moment in it is final."""
    rows = warehouse.rows(
        """select distinct on (width) width, is_final from gold.ohlcv where bucket_at <= %s
        order by width, bucket_at desc""",
        at(clock),
    )
    assert {row["width"] for row in rows} == set(WIDTHS)
    return {row["width"] for row in rows if row["is_final"]}


def test_a_bar_is_final_when_it_is_over_and_its_hours_are_proven(warehouse: Warehouse) -> None:
    warehouse.load("trade", [trade(1, at("14:40")), trade(2, at("15:10"))])
    warehouse.run(*BARS_OF_TRADES, "ohlcv_1d_kst")
    assert _finals(warehouse, "14:40") == set()  # nothing is checked yet
    _verdicts(warehouse, 14, 14, "green")
    assert _finals(warehouse, "14:40") == set(WIDTHS[:4])
    _verdicts(warehouse, 12, 15, "green")
    assert _finals(warehouse, "14:40") == set(WIDTHS[:5])
    _verdicts(warehouse, 15, 15, "open", 5)
    assert _finals(warehouse, "14:40") == set(WIDTHS[:4])
    _verdicts(warehouse, 0, 23, "green")
    _verdicts(warehouse, 0, 23, "green", 5)
    assert _finals(warehouse, "14:40") == set(WIDTHS[:6])
    _verdicts(warehouse, -9, -1, "green")
    assert _finals(warehouse, "14:40") == set(WIDTHS)
    _verdicts(warehouse, 14, 14, "red", 5)
    assert _finals(warehouse, "14:40") == set()


def test_a_bar_that_is_not_over_is_not_final(warehouse: Warehouse) -> None:
    (row,) = warehouse.rows("select date_trunc('day', now()) as day, now() as now")
    warehouse.load("trade", [trade(1, row["now"], received_at=row["now"])])
    warehouse.run(*BARS_OF_TRADES)
    warehouse.connection.execute(
        """insert into ops.completeness (exchange, dataset, hour_at, identity, status)
        select 'upbit', 'trade', %s + hour * interval '1 hour', identity, 'green'
        from generate_series(0, 23) as hour, generate_series(3, 4) as identity""",
        [row["day"]],
    )
    assert warehouse.rows("select is_final from gold.ohlcv where width = '1d'") == [{"is_final": False}]


def test_bars_for_people_have_as_many_decimals_as_they_read(warehouse: Warehouse) -> None:
    trades = [
        trade(1, at("10:00"), "105245812", size="0.123456789"),
        trade(2, at("10:00"), "105245813", size="0.2"),
        trade(3, at("10:00"), "0.00012345", size="3", market="XRP-BTC"),
        trade(4, at("10:00"), "2.105", size="1.5", market="XRP-USDT"),
    ]
    warehouse.load("trade", trades)
    warehouse.run(*BARS_OF_TRADES)
    columns = "market, vwap::text, volume_base::text, volume_quote::text, to_char(kst_at, 'HH24:MI') as kst"
    rows = warehouse.rows(f"select {columns} from gold.ohlcv where width = '1h' order by market")
    assert [tuple(row.values()) for row in rows] == [
        ("BTC-KRW", "105245813", "0.32345679", "34042473", "19:00"),
        ("XRP-BTC", "0.00012345", "3.00000000", "0.00037035", "19:00"),
        ("XRP-USDT", "2.105", "1.50000000", "3.16", "19:00"),
    ]


def test_the_depth_of_the_book_by_hour(warehouse: Warehouse) -> None:
    """Of the best five and ten levels; a book that comes late changes its hour."""
    twelve = {
        "ask_prices": [str(101 + n) for n in range(12)],
        "ask_sizes": ["1"] * 12,
        "bid_prices": [str(99 - n) for n in range(12)],
        "bid_sizes": ["2"] * 12,
    }
    warehouse.load("orderbook", [orderbook(at("10:10"), "101", "99", **twelve), orderbook(at("11:00"), "101", "99")])
    warehouse.run("orderbook", "book_depth_1h")
    depths = "mean_ask_depth_5::float, mean_bid_depth_10::float, mean_best_bid_size::float"
    columns = f"book_count, mean_spread_bps::float, {depths}"
    assert _bars(warehouse, "gold.book_depth_1h", columns) == [
        (at("10:00"), 1, 200, 5, 20, 2),
        (at("11:00"), 1, 200, 3.5, 3.5, 0.5),
    ]
    warehouse.load("orderbook", [orderbook(at("10:20"), "102", "100")])
    warehouse.run("orderbook", "book_depth_1h")
    spread = float(round((Decimal(200) + Decimal(20000) / Decimal(101)) / 2, 4))
    assert _bars(warehouse, "gold.book_depth_1h", columns)[0] == (at("10:00"), 2, spread, 4.25, 11.75, 1.25)


def test_how_long_messages_took_by_hour_exchange_and_dataset(warehouse: Warehouse) -> None:
    """Of the sockets; a message that arrives later is in its hour's percentiles after the next build."""

    def heard(number: int, ms: int, market: str = "BTC-KRW", **more: Any) -> Row:
        moment = at("10:00") + timedelta(minutes=number)
        return trade(number, moment, market=market, received_at=moment + timedelta(milliseconds=ms), **more)

    warehouse.load("trade", [heard(n, 10 * n, "ETH-KRW" if n % 2 else "BTC-KRW") for n in range(1, 11)])
    warehouse.load("trade", [heard(30, 3_000_000, source="rest")])
    late = at("10:59:59.9")
    warehouse.load("ticker", [ticker(late, "1", received_at=late + timedelta(microseconds=1500))])
    warehouse.run("trade", "ticker", "orderbook", "receipt_latency_1h")
    figures = ", ".join(f"{name}_ms::float" for name in ("min", "p50", "p90", "p99", "max"))
    query = f"select dataset, bucket_at, message_count, {figures} from gold.receipt_latency_1h order by dataset"
    assert [tuple(row.values()) for row in warehouse.rows(query)] == [
        ("ticker", at("10:00"), 1, 1.5, 1.5, 1.5, 1.5, 1.5),
        ("trade", at("10:00"), 10, 10, 50, 90, 100, 100),
    ]
    warehouse.load("trade", [heard(40, 5000, "XRP-KRW")])
    warehouse.run("trade", "receipt_latency_1h")
    assert [tuple(row.values()) for row in warehouse.rows(query)][1][2:] == (11, 10, 60, 100, 5000, 5000)


def test_what_exchanges_list_and_what_it_is_called(warehouse: Warehouse) -> None:
    perpetual = {"exchange": "okx", "instrument": "swap", "state": "live", "english_name": None, "tick_size": "0.10"}
    perpetual |= {"base": "BTC", "quote": "USDT", "underlying_kind": "coin", "contract_size": "0.010"}
    names = {"korean_name": "비트코인", "english_name": "Bitcoin", "warning": True, "cautions": {"VOLUME": True}}
    warehouse.load(
        "market",
        [
            listing("BTC-KRW", at("10:00"), **names),
            listing("OLD-KRW", at("06:00")),
            listing("BTC-USDT", at("10:00"), **perpetual, begins_at=at("08:00")),
        ],
    )
    warehouse.run("market", "asset", "gold_market")
    columns = "exchange, market, korean_name, english_name, instrument, kind, state, warning, is_listed, listed_at"
    columns += ", first_seen_at, contract_size::text, tick_size::text"
    rows = warehouse.rows(f"select {columns} from gold.market order by exchange, market")
    bitcoin, first = ("비트코인", "Bitcoin"), at("10:00")
    assert [tuple(row.values()) for row in rows] == [
        ("okx", "BTC-USDT", *bitcoin, "swap", "coin", "live", None, True, at("08:00"), first, "0.01", "0.1"),
        ("upbit", "BTC-KRW", *bitcoin, "spot", "coin", None, True, True, None, first, None, None),
        ("upbit", "OLD-KRW", None, "Old", "spot", "coin", None, None, False, None, at("06:00"), None, None),
    ]
