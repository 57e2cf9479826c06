"""Answers kept as documents, for every exchange: which request, which markets, every digit."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tidemark.contracts import CONTRACTS
from tidemark.exchanges import registry
from tidemark.exchanges.base import Unparsable

ASKED = datetime(2026, 4, 12, 12, 0, 30, tzinfo=UTC)
#: Of each exchange: the codes asked for, the answer, the requests of all pages, and the markets of the first.
CASES = {
    "upbit": (
        ["KRW-BTC", "KRW-ETH"],
        b'[{"market":"KRW-BTC","trade_price":1.16539E8,"new":{"a":[1]}},{"market":"KRW-XRP","trade_price":1}]',
        ["GET /v1/ticker?markets=KRW-BTC%2CKRW-ETH"],
        {"BTC-KRW": {"market": "KRW-BTC", "trade_price": 116539000.0, "new": {"a": [1]}}},
    ),
    "okx": (
        ["BTC-USDT-SWAP", "BTC-USDT"],
        b'{"code":"0","msg":"","data":[{"instId":"BTC-USDT-SWAP","last":"1.10"},{"instId":"ETH-USDT-SWAP"}]}',
        ["GET /api/v5/market/tickers?instType=SWAP", "GET /api/v5/market/tickers?instType=SPOT"],
        {"BTC-USDT": {"instId": "BTC-USDT-SWAP", "last": "1.10"}},
    ),
    "binance": (
        ["BTCUSDT", "ETHUSDT"],
        b'[{"symbol":"BTCUSDT","lastPrice":"1.10"},{"symbol":"XRPUSDT"}]',
        ["GET /fapi/v1/ticker/24hr?"],
        {"BTC-USDT": {"symbol": "BTCUSDT", "lastPrice": "1.10"}},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_market_is_a_row_with_all_that_is_said_of_it(name: str) -> None:
    codes, body, requests, expected = CASES[name]
    query = registry.get(name).rest.snapshots(codes)
    rows = query.rows(body, ASKED)
    assert {row["market"]: json.loads(str(row["document"])) for row in rows} == expected
    for row in rows:
        assert tuple(row) == CONTRACTS["snapshot"].names()
        assert (row["exchange"], row["event_at"]) == (name, ASKED)
    asked = []
    while query is not None:
        asked.append(query.request.key())
        assert query.request.group in registry.get(name).rest.limits
        query = query.following(rows)
    assert asked == requests


def test_digits_are_kept() -> None:
    (row,) = (
        registry.get("upbit")
        .rest.snapshots(["KRW-BTC"])
        .rows(b'[{"market":"KRW-BTC","v":0.10000000000000000001}]', ASKED)
    )
    assert row["document"] == '{"market":"KRW-BTC","v":0.10000000000000000001}'


def test_a_code_that_is_no_market_becomes_a_row_without_one() -> None:
    """Silver quarantines it; the others are kept."""
    (row,) = registry.get("upbit").rest.snapshots(["odd"]).rows(b'[{"market":"odd"}]', ASKED)
    assert row["market"] is None


@pytest.mark.parametrize("name", CASES)
def test_no_codes_and_no_answer_are_errors(name: str) -> None:
    rest = registry.get(name).rest
    with pytest.raises(ValueError, match="no market codes"):
        rest.snapshots([])
    with pytest.raises(Unparsable):
        rest.snapshots(CASES[name][0]).rows(b"1", ASKED)
