"""Which asset a market is of, and the premium between markets of one asset, over real PostgreSQL."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.transform.conftest import Warehouse
from tests.transform.rows import Row, at, listing, trade

KIMCHI = ("trade", "ohlcv_1m", "kimchi_premium_1m", "suspect_premium_1m")


def quoted(number: int, market: str, price: str, exchange: str = "upbit", clock: str = "10:00") -> Row:
    return trade(number, at(clock), price, market=market, exchange=exchange)


def listed(exchange: str, market: str, base: str, kind: str | None = "coin", **more: Any) -> Row:
    about = {"exchange": exchange, "base": base, "quote": market.split("-")[1], "underlying_kind": kind}
    return listing(market, at("00:00"), **about, **more)


def pairs(warehouse: Warehouse, relation: str = "kimchi_premium_1m") -> dict[str, float]:
    rows = warehouse.rows(
        f"select market, counter_exchange, premium::float as premium from gold.{relation} order by bucket_at"
    )
    return {f"{row['market']} {row['counter_exchange']}": row["premium"] for row in rows}


@pytest.mark.parametrize("base", ["META", "TON"])
def test_one_ticker_of_two_assets_has_no_premium(warehouse: Warehouse, base: str) -> None:
    """Metadium and Meta's share, Tokamak Network and Toncoin; no list has arrived."""
    warehouse.load(
        "trade",
        [
            quoted(1, "USDT-KRW", "1343"), quoted(2, "BTC-KRW", "116500000"), quoted(3, f"{base}-KRW", "1210"),
            quoted(4, "BTC-USDT", "86700", "binance"), quoted(5, f"{base}-USDT", "1.45", "binance"),
        ],
    )  # fmt: skip
    warehouse.run("market", *KIMCHI)
    assert list(pairs(warehouse)) == ["BTC-KRW binance"]
    assert pairs(warehouse, "suspect_premium_1m") == {}


@pytest.mark.parametrize("with_list", [True, False])
def test_a_thousand_coins_are_held_against_one(warehouse: Warehouse, with_list: bool) -> None:
    if with_list:
        warehouse.load("market", [
            listed("upbit", "PEPE-KRW", "PEPE", None), listed("upbit", "USDT-KRW", "USDT", None),
            listed("binance", "1000PEPE-USDT", "1000PEPE", instrument="swap"),
        ])  # fmt: skip
    trades = [
        quoted(1, "USDT-KRW", "1000"),
        quoted(2, "PEPE-KRW", "0.0103"),
        quoted(3, "1000PEPE-USDT", "0.01", "binance"),
    ]
    warehouse.load("trade", trades)
    warehouse.run("market", *KIMCHI)
    found = warehouse.rows(
        "select asset, counter_multiplier::int as n, counter_instrument as what, premium::float as premium, "
        "counter_price_in_won::float as won from gold.kimchi_premium_1m"
    )
    assert found == [
        {
            "asset": "PEPE", "n": 1000, "what": "swap" if with_list else None, "premium": pytest.approx(0.03),
            "won": pytest.approx(0.01),
        }
    ]  # fmt: skip


def test_only_coins_join_coins(warehouse: Warehouse) -> None:
    """MU, T and a token before its listing: what the exchange says of them decides."""
    kinds = {"MU": "equity", "T": "fx", "NEW": "premarket", "GOLD": "commodity", "ETH": "coin", "XRP": None}
    warehouse.load("market", [listed("okx", f"{base}-USDT", base, kind) for base, kind in kinds.items()])
    warehouse.load("trade", [quoted(0, "USDT-KRW", "1000")])
    for number, base in enumerate(kinds, 1):
        warehouse.load("trade", [quoted(number, f"{base}-KRW", "1010"), quoted(number, f"{base}-USDT", "1", "okx")])
    warehouse.run("market", *KIMCHI)
    assert sorted(pairs(warehouse)) == ["ETH-KRW okx", "XRP-KRW okx"]


def test_another_unit_is_left_out_at_once_and_listed(warehouse: Warehouse) -> None:
    """Six coins at a premium of 55 %, which is real, and one that is priced as a thousand."""
    coins = ["BTC", "ETH", "XRP", "SOL", "ADA", "DOGE"]
    trades = [quoted(0, "USDT-KRW", "1000")]
    for number, base in enumerate(coins, 1):
        trades += [quoted(number, f"{base}-KRW", "1550"), quoted(number, f"{base}-USDT", "1", "binance")]
    trades += [quoted(9, "ODD-KRW", "1550"), quoted(9, "ODD-USDT", "1000", "binance")]
    warehouse.load("trade", trades)
    warehouse.run("market", *KIMCHI)
    assert pairs(warehouse) == {f"{base}-KRW binance": pytest.approx(0.55) for base in coins}
    assert pairs(warehouse, "suspect_premium_1m") == {"ODD-KRW binance": pytest.approx(1.55 / 1000 - 1)}


def test_what_is_far_off_for_an_hour_is_left_out_from_then_on(warehouse: Warehouse) -> None:
    """40 % above the others from 10:00 to 11:10: in the premiums for 50 minutes, suspect from there on."""
    coins = ["BTC", "ETH", "XRP", "SOL", "ADA", "ODD"]
    number = 0
    trades = []
    for minute in range(70):
        when = at("10:00") + timedelta(minutes=minute)
        for base in coins:
            number += 1
            price = "1414" if base == "ODD" else "1010"
            trades.append(trade(number, when, price, market=f"{base}-KRW"))
            trades.append(trade(number, when, "1", market=f"{base}-USDT", exchange="binance"))
        trades.append(trade(number, when, "1000", market="USDT-KRW"))
    warehouse.load("trade", trades)
    warehouse.run("market", *KIMCHI)
    odd = "market = 'ODD-KRW'"
    assert warehouse.count("gold.kimchi_premium_1m", odd) == 50
    assert warehouse.count("gold.suspect_premium_1m") == 20
    first = warehouse.rows("select min(bucket_at) as at, min(reason) as why from gold.suspect_premium_1m")
    assert first == [{"at": at("10:50"), "why": "far off for an hour"}]
    assert warehouse.count("gold.kimchi_premium_1m", "not (" + odd + ")") == 350


def test_every_listed_market_has_its_asset(warehouse: Warehouse) -> None:
    warehouse.load("market", [
        listed("binance", "1MBABYDOGE-USDT", "1MBABYDOGE"), listed("binance", "1000000MOG-USDT", "1000000MOG"),
        listed("upbit", "1INCH-KRW", "1INCH", None), listed("okx", "OPENAI-USDT", "OPENAI", "premarket"),
        listed("okx", "XAAPL-USDT-SPOT", "XAAPL", "equity", instrument="spot"), listed("okx", "QNT-USDT", "QNT"),
        listed("binance", "NEIRO-USDT", "NEIRO"),
    ])  # fmt: skip
    warehouse.run("market", "asset")
    rows = warehouse.rows(
        "select exchange || ' ' || base as base, asset, multiplier::text as n, kind, valid_from is null as always "
        "from gold.asset order by 1, 2"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("binance 1000000MOG", "MOG", "1000000", "coin", True),
        ("binance 1MBABYDOGE", "BABYDOGE", "1000000", "coin", True),
        ("binance NEIRO", "NEIRO", "1", "coin", False),
        ("binance NEIRO", "NEIROETH", "1", "coin", True),
        ("okx OPENAI", "OPENAI", "0.1", "equity", True),
        ("okx QNT", "QNT.OKX", "1", "coin", True),
        ("okx XAAPL", "AAPL", "1", "equity", True),
        ("upbit 1INCH", "1INCH", "1", "coin", True),
    ]
