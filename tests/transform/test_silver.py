"""Silver over real PostgreSQL: what each row becomes, however and whenever it arrives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.rows import dict_row
from pydantic import SecretStr

from tests.transform.conftest import BARS_OF_TRADES, SILVER, Warehouse
from tests.transform.rows import at, candle, listing, orderbook, snapshot, ticker, trade
from tidemark.completeness import accounting
from tidemark.completeness.verdicts import scope
from tidemark.warehouse.connection import connect

ID = 17732400590950000


def test_the_same_trade_by_socket_and_by_rest_is_one_trade(warehouse: Warehouse) -> None:
    warehouse.load("trade", [trade(ID, at("14:40"), "127.500"), trade(ID + 1, at("14:40"))])
    warehouse.load("trade", [trade(ID, at("14:40"), "127.5", source="rest")])
    warehouse.run("trade")
    kept = warehouse.rows("select trade_id, price::text, source from silver.trade order by trade_id")
    assert kept == [
        {"trade_id": ID, "price": "127.5", "source": "ws"},
        {"trade_id": ID + 1, "price": "100", "source": "ws"},
    ]
    assert warehouse.rows("select natural_key, source from silver.duplicate") == [
        {"natural_key": f"BTC-KRW|{ID}", "source": "rest"}
    ]
    warehouse.check()


def test_a_row_by_rest_gives_way_when_the_socket_row_comes(warehouse: Warehouse) -> None:
    warehouse.load("trade", [trade(ID, at("14:40"), source="rest")])
    warehouse.run("trade")
    warehouse.load("trade", [trade(ID, at("14:40"))])
    warehouse.run("trade")
    assert [row["source"] for row in warehouse.rows("select source from silver.trade")] == ["ws"]
    assert [row["source"] for row in warehouse.rows("select source from silver.duplicate")] == ["rest"]
    warehouse.check()


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 0, 2, 1)])
def test_a_conflict_ends_the_same_in_any_order(warehouse: Warehouse, order: tuple[int, ...]) -> None:
    """Two rows say 127 and come by REST, two say 128, one of them by socket: that one wins."""
    rows = [
        trade(ID, at("14:40"), "127", source="rest", kafka_offset=1),
        trade(ID, at("14:40"), "127", source="rest", kafka_offset=2),
        trade(ID, at("14:41"), "128", source="rest", kafka_offset=3),
        trade(ID, at("14:41"), "128", kafka_offset=4),
    ]
    for number in order:
        warehouse.load("trade", [rows[number]])
        warehouse.run("trade")
    warehouse.check()
    assert [row["kafka_offset"] for row in warehouse.rows("select kafka_offset from silver.trade")] == [4]
    assert [row["kafka_offset"] for row in warehouse.rows("select kafka_offset from silver.duplicate")] == [3]
    refused = warehouse.rows(
        "select kafka_offset, reason, payload->>'price' as price from silver.quarantine order by 1"
    )
    assert refused == [{"kafka_offset": n, "reason": "conflict", "price": "127"} for n in (1, 2)]


def test_bad_rows_are_quarantined_with_their_reason_and_the_rest_flows(warehouse: Warehouse) -> None:
    warehouse.load("market", [listing("BTC-KRW", at("00:00"))])
    warehouse.load(
        "trade",
        [
            trade(ID, at("14:40")),
            trade(ID + 1, at("14:40"), "-1"),
            trade(ID + 2, at("14:40"), None),
            trade(None, at("14:40")),
            trade(ID + 3, None, received_at=at("15:20")),
            trade(ID + 4, at("14:40"), side="up"),
            trade(ID + 5, at("14:40"), market="XYZ-KRW"),
            trade(ID + 6, at("14:40"), exchange=None),
            trade(ID + 7, at("14:40"), stream_type="SOMETHING_NEW"),
        ],
    )
    warehouse.run("market", "trade")
    assert warehouse.count("silver.trade") == 2
    reasons = warehouse.rows(
        "select reason, hour_at, payload->>'trade_id' as id from silver.quarantine order by reason"
    )
    assert [(row["reason"], row["hour_at"]) for row in reasons] == [
        ("bad_price", at("14:00")),
        ("bad_side", at("14:00")),
        ("missing_event_at", at("15:00")),
        ("missing_exchange", at("14:00")),
        ("missing_price", at("14:00")),
        ("missing_trade_id", at("14:00")),
        ("unknown_market", at("14:00")),
    ]
    warehouse.check()


def test_a_market_listed_later_gets_its_trades_back(warehouse: Warehouse) -> None:
    warehouse.load("market", [listing("BTC-KRW", at("00:00"))])
    warehouse.load("trade", [trade(1, at("14:40"), market="NEW-KRW"), trade(2, at("14:40"))])
    warehouse.run("market", *BARS_OF_TRADES)
    assert warehouse.count("silver.quarantine", "reason = 'unknown_market'") == 1
    assert warehouse.count("gold.ohlcv_1m") == 1
    warehouse.load("market", [listing("BTC-KRW", at("15:00")), listing("NEW-KRW", at("15:00"))])
    warehouse.run("market", *BARS_OF_TRADES)
    assert warehouse.count("silver.quarantine") == 0
    assert warehouse.count("silver.trade", "market = 'NEW-KRW'") == 1
    assert warehouse.count("gold.ohlcv_1d") == 2
    assert warehouse.count("silver.superseded", "dataset = 'market'") == 1
    warehouse.check()


def test_a_first_list_refuses_what_came_before_it(warehouse: Warehouse) -> None:
    """Without a list every market is taken; the verdict after it is the one of rows that come after it."""
    strays = [trade(1, at("14:40"), market="XYZ-KRW"), trade(1, at("14:40"), market="XYZ-KRW", source="rest")]
    warehouse.load("trade", [*strays, trade(2, at("14:40"))])
    warehouse.run("market", *BARS_OF_TRADES)
    assert warehouse.count("silver.trade") == 2
    assert warehouse.count("gold.ohlcv_1d") == 2
    warehouse.load("market", [listing("BTC-KRW", at("15:00"))])
    warehouse.run("market", *BARS_OF_TRADES)
    assert [row["market"] for row in warehouse.rows("select market from silver.trade")] == ["BTC-KRW"]
    assert warehouse.count("silver.quarantine", "reason = 'unknown_market'") == 2
    assert [row["market"] for row in warehouse.rows("select market from gold.ohlcv_1d")] == ["BTC-KRW"]
    warehouse.check()


def test_a_candle_is_its_latest_state(warehouse: Warehouse) -> None:
    """The latest by the exchange's clock, even if it takes volume back."""
    minute = at("14:40")
    warehouse.load("candle", [candle(minute, "50", at("14:40:20")), candle(minute, "9", at("14:41:00.3"))])
    warehouse.run("candle")
    warehouse.load(
        "candle", [candle(minute, "7", at("14:40:40")), candle(minute, "9", at("14:41:00.3"), source="rest")]
    )
    warehouse.run("candle")
    assert [str(row["volume_base"]) for row in warehouse.rows("select volume_base from silver.candle")] == ["9"]
    assert warehouse.count("silver.superseded") == 2
    assert warehouse.count("silver.duplicate") == 1
    warehouse.check()


def test_states_of_one_millisecond_are_kept_apart_unless_they_say_the_same(warehouse: Warehouse) -> None:
    moment = at("14:40:00.001")
    warehouse.load(
        "ticker",
        [
            ticker(moment, "100"),
            ticker(moment, "101"),
            ticker(moment, "100.0", stream_type="SNAPSHOT"),
            ticker(moment, "100", extra={"new": 1}),
        ],
    )
    warehouse.load("orderbook", [orderbook(moment, "101", "99"), orderbook(moment, "101", "98")])
    warehouse.load("orderbook", [orderbook(moment, "101", "99", stream_type="SNAPSHOT")])
    warehouse.run("ticker", "orderbook")
    assert warehouse.count("silver.ticker") == 3
    assert warehouse.count("silver.orderbook") == 2
    assert warehouse.count("silver.duplicate") == 2
    book = warehouse.rows(
        "select spread::text, mid_price::text, imbalance::text, ask_levels from silver.orderbook order by 1 limit 1"
    )
    assert book == [{"spread": "2", "mid_price": "100", "imbalance": "0", "ask_levels": 2}]
    warehouse.check()


def test_two_loads_that_commit_in_the_other_order_lose_nothing(warehouse: Warehouse) -> None:
    with psycopg.connect(warehouse.connection.info.dsn, row_factory=dict_row) as slow:
        first = warehouse.load("trade", [trade(1, at("14:40"))], slow)
        second = warehouse.load("trade", [trade(2, at("14:40"))])
        assert second > first
        warehouse.run("trade")
        assert [row["trade_id"] for row in warehouse.rows("select trade_id from silver.trade")] == [2]
        slow.commit()
    warehouse.run("trade")
    assert [row["trade_id"] for row in warehouse.rows("select trade_id from silver.trade order by 1")] == [1, 2]


def test_a_failure_at_the_very_end_leaves_no_trace(warehouse: Warehouse) -> None:
    """The last statement of silver's transaction fails: no mark, no row, no account, no build."""
    warehouse.connection.execute(
        """
        create function ops.refuse() returns trigger language plpgsql as 'begin raise ''no room''; end';
        create trigger refuse before insert on ops.touched_bucket for each row execute function ops.refuse();
        """
    )
    warehouse.load("trade", [trade(1, at("14:40")), trade(1, at("14:40"), source="rest"), trade(2, None)])
    assert "no room" in warehouse.fails("trade")
    for relation in (*SILVER, "ops.load_mark", "ops.build", "ops.touched_bucket"):
        assert warehouse.count(relation) == 0, relation
    warehouse.connection.execute("drop trigger refuse on ops.touched_bucket")
    warehouse.run("trade")
    places = ("silver.trade", "silver.duplicate", "silver.quarantine", "ops.build")
    assert [warehouse.count(relation) for relation in places] == [1, 1, 1, 1]
    warehouse.check()


def test_a_dropped_table_is_made_anew_from_everything(warehouse: Warehouse) -> None:
    warehouse.load("trade", [trade(n % 7, at(f"14:{n:02}"), source="rest" if n % 2 else "ws") for n in range(30)])
    warehouse.run()
    before = warehouse.contents()
    warehouse.connection.execute(
        "drop table silver.trade; drop table gold.ohlcv_5m cascade; drop table gold.price_anomaly_1m"
    )
    warehouse.run()
    assert warehouse.contents() == before
    warehouse.check()


SUM = {"first_trade_id": 101, "last_trade_id": 103, "exchange": "okx", "market": "BTC-USDT"}


@pytest.mark.parametrize("order", [(1, 0, 3, 2), (2, 3, 0, 1)])
def test_a_sum_of_several_trades_holds_each_of_them_in_any_order(warehouse: Warehouse, order: tuple[int, ...]) -> None:
    """One socket row stands for ids 101 to 103; REST brings them one by one, and 104, which the socket missed."""
    rest = {"source": "rest", "exchange": "okx", "market": "BTC-USDT"}
    loads = [
        [trade(103, at("14:40"), size="6", kafka_offset=1, **SUM)],
        [trade(n, at("14:40"), size=str(n - 100), kafka_offset=n, **rest) for n in (101, 102)],
        [trade(103, at("14:40"), size="3", kafka_offset=103, **rest)],
        [trade(104, at("14:40"), size="1", kafka_offset=104, **rest)],
    ]
    for number in order:
        warehouse.load("trade", loads[number])
        warehouse.run("trade", "ohlcv_1m")
    kept = warehouse.rows("select trade_id, size::text as size from silver.trade order by trade_id")
    assert kept == [{"trade_id": 103, "size": "6"}, {"trade_id": 104, "size": "1"}]
    assert warehouse.count("silver.duplicate") == 3
    assert warehouse.count("silver.quarantine") == 0
    assert warehouse.rows("select volume_base::text as v from gold.ohlcv_1m") == [{"v": "7"}]


def test_a_sum_that_contradicts_another_is_a_conflict(warehouse: Warehouse) -> None:
    warehouse.load("trade", [trade(103, at("14:40"), size="6", kafka_offset=1, **SUM)])
    warehouse.load("trade", [trade(103, at("14:40"), size="7", kafka_offset=2, **SUM)])
    warehouse.run("trade")
    assert warehouse.rows("select reason from silver.quarantine") == [{"reason": "conflict"}]
    warehouse.check()


def test_ids_of_trades_within_an_aggregate_are_not_its_own(warehouse: Warehouse) -> None:
    """Elsewhere first and last count something else than the row's own id: nothing is covered there."""
    binance = {"exchange": "binance", "market": "BTC-USDT"}
    sums = {"first_trade_id": 5, "last_trade_id": 9}
    warehouse.load("trade", [trade(4, at("14:40"), **sums, **binance)])
    warehouse.load("trade", [trade(n, at("14:41"), source="rest", **binance) for n in (5, 6)])
    warehouse.run("trade")
    assert warehouse.count("silver.trade") == 3
    assert warehouse.count("silver.duplicate") == 0


def test_a_closed_bar_is_the_bar_whatever_was_said_later(warehouse: Warehouse) -> None:
    warehouse.load("candle", [candle(at("14:40"), "3", at("14:41"), is_closed=True, source="rest")])
    warehouse.load("candle", [candle(at("14:40"), "2", at("14:41:00.5"), is_closed=False)])
    warehouse.run("candle")
    assert warehouse.rows("select volume_base::text as v from silver.candle") == [{"v": "3"}]
    warehouse.check()


def test_a_market_has_a_history_of_its_states(warehouse: Warehouse) -> None:
    """A warning that comes and goes is three rows; lists that say the same are none."""
    for clock, warning in (("09:00", False), ("10:00", False), ("11:00", True), ("12:00", False), ("13:00", False)):
        warehouse.load("market", [listing("BTC-KRW", at(clock), warning=warning), listing("ETH-KRW", at(clock))])
        result = warehouse.dbt(
            "build", "--select", "market", "market_history", "--exclude-resource-type", "test", "unit_test"
        )
        assert result.success, result.result
    rows = warehouse.rows(
        "select warning, valid_from, valid_to from silver.market_history where market = 'BTC-KRW' order by valid_from"
    )
    assert [tuple(row.values()) for row in rows] == [
        (False, at("09:00"), at("11:00")),
        (True, at("11:00"), at("12:00")),
        (False, at("12:00"), None),
    ]
    assert warehouse.count("silver.market_history", "market = 'ETH-KRW'") == 1


#: Times that no row received at noon can have: 0, a unit too small, before any exchange, ahead of us, a unit too large.
ODD_TIMES = (
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1970, 1, 21, 13, 38, 52, tzinfo=UTC),
    datetime(2016, 12, 31, tzinfo=UTC),
    at("12:15:01"),
    datetime(2100, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, tzinfo=UTC),
)


def test_a_row_whose_time_is_implausible_is_quarantined_and_counts_at_its_receipt(warehouse: Warehouse) -> None:
    noon = {"received_at": at("12:00")}
    old, ahead = at("12:00") - timedelta(days=800), at("12:15")
    makers = {
        "trade": lambda when, n: trade(ID + n, when, **noon),
        "ticker": lambda when, n: ticker(when, "5", **noon),
        "orderbook": lambda when, n: orderbook(when, "101", "100", **noon),
        "candle": lambda when, n: candle(when, "1", at("12:00"), **noon),
        "snapshot": lambda when, n: snapshot("BTC-KRW", when, {"last": "5"}, **noon),
        "market": lambda when, n: listing("BTC-KRW", when, **noon),
    }
    for dataset, made in makers.items():
        warehouse.load(dataset, [made(when, n) for n, when in enumerate((*ODD_TIMES, old, ahead))])
    warehouse.load("candle", [candle(at("11:59"), "2", when, **noon) for when in (at("12:00"), *ODD_TIMES)])
    warehouse.run(*makers)
    for dataset in makers:
        assert warehouse.count(f"silver.{dataset}", "event_at < '2017-01-01' or event_at > '2026-03-11 12:15'") == 0
    refused = warehouse.rows("select dataset, reason, hour_at, count(*) as n from silver.quarantine group by 1, 2, 3")
    assert {(r["dataset"], r["reason"], r["hour_at"]): r["n"] for r in refused} == {
        **{(dataset, "implausible_event_at", at("12:00")): len(ODD_TIMES) for dataset in makers},
        ("candle", "implausible_updated_at", at("11:00")): len(ODD_TIMES),
    }
    assert warehouse.rows("select updated_at from silver.candle where event_at = '2026-03-11 11:59'") == [
        {"updated_at": at("12:00")}
    ]
    assert warehouse.count("silver.trade", "event_at < '2025-01-01'") == 1  # an old row is no implausible one
    warehouse.check()


def test_identity_3_is_green_in_the_hour_of_receipt_and_knows_no_other(warehouse: Warehouse) -> None:
    rows = [trade(ID + n, when, received_at=at("12:00")) for n, when in enumerate((at("11:59"), *ODD_TIMES))]
    warehouse.load("trade", rows)
    warehouse.connection.execute(
        """insert into ops.load_hour (load_id, hour_at, rows)
        select load_id, hour, 1 from ops.load_ledger, unnest(%s::timestamptz[]) as hour""",
        [[at("11:00"), at("12:00")]],
    )
    warehouse.connection.execute(
        "update ops.load_ledger set received_min = %s, received_max = %s", [at("12:00"), at("12:00")]
    )
    warehouse.connection.execute("alter table raw.trade_v1_any rename to trade_v1_20260311")  # the day is still there
    warehouse.run("trade")
    info = warehouse.connection.info
    url = SecretStr(f"postgresql://tidemark_loader@{info.host}:{info.port}/{info.dbname}")
    with connect(url, "test") as connection:
        frame = scope(connection, "upbit", at("11:00"), at("13:00"), at("15:00"))
        found = accounting.check(connection, frame, "trade")
    assert [(v.hour_at, v.status, v.expected, v.actual, v.detail["quarantine"]) for v in found] == [
        (at("11:00"), "green", 1, 1, 0),
        (at("12:00"), "green", len(ODD_TIMES), len(ODD_TIMES), len(ODD_TIMES)),
    ]


def test_a_ticker_before_the_first_trade_keeps_its_bid_and_ask(warehouse: Warehouse) -> None:
    books = {"best_ask_price": "25", "best_ask_size": "1000", "best_bid_price": "22.827", "best_bid_size": "21"}
    warehouse.load(
        "ticker",
        [
            ticker(at("10:00"), None, **books),
            ticker(at("10:01"), "24", **books),
            ticker(at("10:02"), "0", **books),
            ticker(at("10:03"), "-1", **books),
        ],
    )
    warehouse.run("ticker")
    kept = warehouse.rows("select trade_price::text, best_bid_price::text from silver.ticker order by event_at")
    assert kept == [
        {"trade_price": None, "best_bid_price": "22.827"},
        {"trade_price": "24", "best_bid_price": "22.827"},
    ]
    assert [r["reason"] for r in warehouse.rows("select reason from silver.quarantine")] == ["bad_trade_price"] * 2
    warehouse.check()


BOOKS = {
    "one-sided": ({"bid_prices": [], "bid_sizes": []}, None),
    "empty": ({f"{side}_{what}": [] for side in ("ask", "bid") for what in ("prices", "sizes")}, None),
    "ask of 0": ({"ask_prices": ["0", "102"]}, "bad_ask_prices"),
    "negative ask": ({"ask_prices": ["-101", "102"]}, "bad_ask_prices"),
    "ask without a price": ({"ask_prices": ["101", None]}, "bad_ask_prices"),
    "size of 0": ({"ask_sizes": ["1", "0"]}, "bad_ask_sizes"),
    "negative size": ({"bid_sizes": ["-1", "1"]}, "bad_bid_sizes"),
    "no size": ({"bid_sizes": [None, "1"]}, "bad_bid_sizes"),
    "bid of 0": ({"bid_prices": ["100", "0"]}, "bad_bid_prices"),
    "uneven": ({"bid_sizes": ["1"]}, "uneven_book"),
    "asks falling": ({"ask_prices": ["102", "101"]}, "unsorted_book"),
    "bids rising": ({"bid_prices": ["99", "100"]}, "unsorted_book"),
    "a price twice": ({"ask_prices": ["101", "101"]}, "unsorted_book"),
    "crossed": ({"bid_prices": ["101.5", "99"]}, "crossed_book"),
    "locked": ({"bid_prices": ["101", "99"]}, "crossed_book"),
    "no asks": ({"ask_prices": None}, "missing_ask_prices"),
}


def test_each_state_of_a_book_is_valid_or_quarantined_by_its_reason(warehouse: Warehouse) -> None:
    for built in (False, True):  # whole books of an exchange, and books that we built of its changes
        more = {"update_id": 7, "stream_type": None} if built else {}
        warehouse.load(
            "orderbook",
            [
                orderbook(
                    at("10:00") + timedelta(minutes=n), "101", "100", exchange="okx" if built else "upbit", **more
                )
                | changes
                for n, (changes, _) in enumerate(BOOKS.values())
            ],
        )
    warehouse.run("orderbook")
    found = {
        (row["exchange"], row["event_at"]): row["reason"]
        for row in warehouse.rows(
            """select exchange, event_at, null as reason from silver.orderbook
            union all select exchange, event_at, reason from silver.quarantine"""
        )
    }
    assert found == {
        (exchange, at("10:00") + timedelta(minutes=n)): reason
        for exchange in ("okx", "upbit")
        for n, (_, reason) in enumerate(BOOKS.values())
    }
    one_sided = warehouse.rows(
        "select best_ask_price::int, best_bid_price, spread from silver.orderbook order by event_at limit 1"
    )
    assert one_sided == [{"best_ask_price": 101, "best_bid_price": None, "spread": None}]
    warehouse.check()


def test_a_sum_of_impossibly_many_trades_is_quarantined_alone(warehouse: Warehouse) -> None:
    warehouse.load(
        "trade",
        [
            trade(10**12, at("10:00"), first_trade_id=1, last_trade_id=10**12),
            trade(200_000, at("10:00"), first_trade_id=100_001, last_trade_id=200_000),
            trade(7, at("10:00"), first_trade_id=8, last_trade_id=7),
        ],
    )
    warehouse.run("trade")
    assert [r["trade_id"] for r in warehouse.rows("select trade_id from silver.trade")] == [200_000]
    assert [r["reason"] for r in warehouse.rows("select reason from silver.quarantine")] == ["bad_first_trade_id"] * 2
    warehouse.check()
