"""One row of a REST answer that cannot be read costs that row: every other row is taken, on every exchange."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.exchanges.okx import samples as okx_samples
from tidemark.exchanges import answers, registry
from tidemark.exchanges.base import Query, Rows, Unparsable

NOW = datetime(2026, 9, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
UPBIT, OKX, BINANCE = (registry.get(name) for name in ("upbit", "okx", "binance"))


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def bare(*rows: Any) -> bytes:
    return json.dumps(rows).encode()


def okx(*rows: Any) -> bytes:
    return json.dumps({"code": "0", "msg": "", "data": rows}).encode()


def contracts(*rows: Any) -> bytes:
    return json.dumps({"serverTime": 1, "symbols": rows}).encode()


def upbit_bar(minutes: int = 1) -> dict[str, Any]:
    prices = dict.fromkeys(("opening_price", "high_price", "low_price", "trade_price"), 5)
    return {"market": "KRW-BTC", "candle_date_time_utc": f"{NOW - minutes * timedelta(minutes=1):%FT%T}", **prices}


def upbit_tick(number: int = 7, **more: Any) -> dict[str, Any]:
    row = {"market": "KRW-BTC", "timestamp": ms(NOW), "trade_price": 5, "trade_volume": 1, "ask_bid": "ASK"}
    return {**row, "sequential_id": number, **more}


def okx_bar(minutes: int = 1) -> list[str]:
    return [str(ms(NOW - minutes * timedelta(minutes=1))), "5", "6", "4", "5", "1", "1", "5", "1"]


def okx_tick(number: int = 7, **more: Any) -> dict[str, Any]:
    row = {"instId": "BTC-USDT-SWAP", "side": "buy", "sz": "1", "px": "5", "tradeId": str(number), "ts": str(ms(NOW))}
    return {**row, **more}


def binance_bar(minutes: int = 1) -> list[Any]:
    start = ms(NOW - minutes * timedelta(minutes=1))
    return [start, "5", "6", "4", "5", "1", start + 59_999, "5", 3, "1", "5", "0"]


def binance_tick(number: int = 7, **more: Any) -> dict[str, Any]:
    return {"a": number, "p": "5", "q": "1", "f": number, "l": number, "T": ms(NOW), "m": False, **more}


def okx_instrument(code: Any, **more: Any) -> dict[str, Any]:
    return {"instType": "SWAP", "instId": code, "state": "live", "tickSz": "0.1", "ctVal": "1", "ctMult": "1", **more}


def contract(code: Any, base: Any = None, quote: Any = None, status: Any = "TRADING") -> dict[str, Any]:
    return {"symbol": code, "status": status, "baseAsset": base, "quoteAsset": quote, "filters": []}


(OKX_TICKER,) = json.loads(okx_samples.TICKER)["data"]


#: Of each exchange and dataset: the question, the answer around rows, a good row, and the field of a row's code.
Case = tuple[Query, Callable[..., bytes], Any, str]
CASES: dict[str, Case] = {
    "upbit market": (UPBIT.rest.markets(), bare, {"market": "KRW-BTC"}, "market"),
    "upbit ticker": (UPBIT.rest.tickers(["KRW-BTC"]), bare, {"market": "KRW-BTC", "trade_price": 5}, "market"),
    "upbit snapshot": (UPBIT.rest.snapshots(["KRW-BTC"]), bare, {"market": "KRW-BTC", "trade_price": 5}, "market"),
    "upbit candle": (UPBIT.rest.candles("KRW-BTC", "1m"), bare, upbit_bar(), "market"),
    "upbit trade": (UPBIT.rest.history("trade", "KRW-BTC", NOW - HOUR, NOW, NOW)[0], bare, upbit_tick(), "market"),
    "okx market": (OKX.rest.markets(), okx, okx_instrument("BTC-USDT-SWAP"), "instId"),
    "okx ticker": (OKX.rest.tickers([OKX_TICKER["instId"]]), okx, OKX_TICKER, "instId"),
    "okx snapshot": (OKX.rest.snapshots([OKX_TICKER["instId"]]), okx, OKX_TICKER, "instId"),
    "okx candle": (OKX.rest.candles("BTC-USDT-SWAP", "1m"), okx, okx_bar(), ""),
    "okx trade": (OKX.rest.history("trade", "BTC-USDT-SWAP", NOW - HOUR, NOW, NOW)[0], okx, okx_tick(), ""),
    "binance market": (BINANCE.rest.markets(), contracts, contract("BTCUSDT"), "symbol"),
    "binance ticker": (BINANCE.rest.tickers(["BTCUSDT"]), bare, {"symbol": "BTCUSDT", "lastPrice": "5"}, "symbol"),
    "binance snapshot": (BINANCE.rest.snapshots(["BTCUSDT"]), bare, {"symbol": "BTCUSDT", "lastPrice": "5"}, "symbol"),
    "binance candle": (BINANCE.rest.candles("BTCUSDT", "1m"), bare, binance_bar(), ""),
    "binance trade": (BINANCE.rest.history("trade", "BTCUSDT", NOW - HOUR, NOW, NOW)[0], bare, binance_tick(), ""),
}


def read(case: str, *rows: Any) -> Rows:
    query, around, _, _ = CASES[case]
    return query.rows(around(*rows), NOW)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("odd", [None, 5, "KRW-BTC", True, [], [None], 1.5])
def test_a_row_of_another_shape_costs_itself(case: str, odd: Any) -> None:
    _, _, good, _ = CASES[case]
    whole = read(case, good)
    found = read(case, odd, good, odd)
    assert list(found) == list(whole) != []
    assert [aside.item for aside in found.set_aside] == [0, 2]
    assert (found.answered, whole.set_aside) == (3, ())


@pytest.mark.parametrize("case", [case for case, (_, _, _, field) in CASES.items() if field])
@pytest.mark.parametrize("code", [None, "", 5, [], ["KRW-BTC"], {"a": 1}, True, "\0"])
def test_a_row_whose_code_is_no_code_costs_itself(case: str, code: Any) -> None:
    query, _, good, field = CASES[case]
    found = read(case, {**good, field: code}, good)
    assert list(found) == list(read(case, good))
    answers_for_others = query.dataset == "snapshot" or case == "okx ticker"
    assert [aside.item for aside in found.set_aside] == ([] if code == "\0" and answers_for_others else [0])


@pytest.mark.parametrize("case", [case for case in CASES if case.split()[1] in ("trade", "candle")])
def test_a_row_with_a_value_of_the_wrong_type_costs_itself(case: str) -> None:
    _, _, good, _ = CASES[case]
    bad = [good[0], {"odd": 1}, *good[2:]] if isinstance(good, list) else {**good, "px": {}, "p": {}, "trade_price": {}}
    found = read(case, bad, good)
    assert list(found) == list(read(case, good))
    ((reason, value),) = [(aside.reason, aside.value) for aside in found.set_aside]
    assert (reason, value) == ("bad_type", bad)


@pytest.mark.parametrize("case", ["upbit market", "okx market", "binance market", "okx ticker", "binance snapshot"])
def test_a_market_counts_once(case: str) -> None:
    _, _, good, _ = CASES[case]
    found = read(case, good, good, {**good, "odd": 1})
    assert list(found) == list(read(case, good))
    assert [(aside.item, aside.reason) for aside in found.set_aside] == [(1, "repeated"), (2, "repeated")]


@pytest.mark.parametrize("case", [case for case in CASES if case != "binance candle"])  # whose last value is not read
def test_a_number_beyond_all_bounds_costs_its_row(case: str) -> None:
    query, around, good, _ = CASES[case]
    wild = json.dumps(good)[:-1] + (', "odd": 1e999999999}' if isinstance(good, dict) else ", 1e999999999]")
    body = around(good).replace(json.dumps(good).encode(), f"{wild}, {json.dumps(good)}".encode(), 1)
    found = query.rows(body, NOW)
    assert list(found) == list(read(case, good))
    assert [aside.reason for aside in found.set_aside] == ["bad_number"]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"a":', b"5", b"null", b'"x"', b'[{"market":'])
def test_an_answer_that_is_none_is_an_error(case: str, body: bytes) -> None:
    with pytest.raises(Unparsable):
        CASES[case][0].rows(body, NOW)


def test_placeholders_of_listings_to_come_cost_nothing() -> None:
    found = read(
        "okx market",
        okx_instrument("LISTING-SWAP-SLX-USDT", state="preopen", tickSz="", ctVal=""),
        okx_instrument("", instIdCode=None, state="preopen"),
        okx_instrument(None),
        okx_instrument("BTC-USDT-SWAP"),
        {"instId": "ETH-USD_UM-SWAP", "instType": "SWAP"},
        okx_instrument("ETH-USDT-SWAP", state="suspend"),
    )
    assert [(row["code"], OKX.rest.is_traded(row)) for row in found] == [
        ("BTC-USDT-SWAP", True),
        ("ETH-USD_UM-SWAP", False),
        ("ETH-USDT-SWAP", False),
    ]
    assert [aside.code for aside in found.set_aside] == ["LISTING-SWAP-SLX-USDT", None, None]
    assert str(found.set_aside[0]).startswith("row 0: LISTING-SWAP-SLX-USDT: bad_code: ")


def test_a_listed_contract_has_the_market_that_the_list_names() -> None:
    found = read(
        "binance market",
        contract("BTCUSDT", "BTC", "USDT"),
        contract("BTCUSD_PERP", "BTC", "USD"),
        contract("BNBUSD_PERP", "BNB", "USD"),
        contract("BNBUSD_260327", "BNB", "USD"),
        contract("BTCBUSD", "BTCB", "USD"),
        contract("BTCXYZ", "BTC", "XYZ"),
        contract("ETHUSDT_260327", "ETH", "USDT"),
        contract("BTCUSDC"),
        contract("ETHUSDC", "ETH", "USDC", "PENDING_TRADING"),
        contract("SOLUSDC", "SOL", "USDC", None),
    )
    misread = {row["code"]: bool(answers.misread(BINANCE, row)) for row in found}
    assert {row["code"]: row["market"] for row in found if not misread[row["code"]]} == {
        "BTCUSDT": "BTC-USDT",
        "ETHUSDT_260327": "ETH-USDT-260327",
        "BTCUSDC": "BTC-USDC",
        "ETHUSDC": "ETH-USDC",
        "SOLUSDC": "SOL-USDC",
    }
    assert {row["code"]: row["market"] for row in found if misread[row["code"]]} == {
        "BTCUSD_PERP": "BTC-USD-PERP",
        "BNBUSD_PERP": "BNB-USD-PERP",
        "BNBUSD_260327": "BNB-USD-260327",
        "BTCBUSD": "BTCB-USD",
        "BTCXYZ": "BTC-XYZ",
    }
    assert [row["code"] for row in found if not BINANCE.rest.is_traded(row)] == ["ETHUSDC", "SOLUSDC"]


@pytest.mark.parametrize("code", ["BTCUSD_PERP", "BNBUSD_PERP", "BNBUSD_260327", "BNBUSD", "BTCUSDT_PERP"])
def test_a_code_that_may_be_another_kind_of_contract_has_no_market(code: str) -> None:
    with pytest.raises(Unparsable, match="bad_code"):
        BINANCE.market(code)


def test_states_are_asked_for_without_codes_that_cannot_be_read() -> None:
    query = OKX.rest.snapshots(["LISTING-SWAP-X-Y", "BTC-USDT-SWAP", "LISTING-SPOT-X-Y"])
    assert query.request.key() == "GET /api/v5/market/tickers?instType=SWAP"
    assert query.following(query.rows(okx(), NOW)) is None
    with pytest.raises(Unparsable, match="bad_code"):
        OKX.rest.tickers(["LISTING-SWAP-X-Y"])


# --- pages ----------------------------------------------------------------------------------------------------


def test_pages_of_trades_go_on_behind_a_row_that_cannot_be_read() -> None:
    upbit = UPBIT.rest.ticks("KRW-BTC")
    following = upbit.following(upbit.rows(bare(upbit_tick(9), upbit_tick(8, trade_price={})), NOW))
    assert following is not None
    assert dict(following.request.params)["cursor"] == "8"
    alone = following.following(following.rows(bare(upbit_tick(7, trade_price={})), NOW))
    assert alone is not None
    assert dict(alone.request.params)["cursor"] == "7"
    (query,) = OKX.rest.history("trade", "BTC-USDT-SWAP", NOW - HOUR, NOW, NOW)
    after = query.following(query.rows(okx(okx_tick(9), okx_tick(8, px={}), None), NOW))
    assert after is not None
    assert dict(after.request.params)["after"] == "8"


def test_a_full_page_is_full_though_a_row_of_it_cannot_be_read() -> None:
    (query,) = BINANCE.rest.history("trade", "BTCUSDT", NOW - HOUR, NOW, NOW)
    page = [binance_tick(number, T=ms(NOW - HOUR)) for number in range(1000)]
    page[999] = {**page[999], "p": {}}
    page[5] = None  # type: ignore[call-overload]
    rows = query.rows(bare(*page), NOW)
    following = query.following(rows)
    assert following is not None
    assert (len(rows), dict(following.request.params)["fromId"]) == (998, "1000")


def test_one_odd_time_does_not_end_the_pages() -> None:
    (query,) = BINANCE.rest.history("trade", "BTCUSDT", NOW - HOUR, NOW, NOW)
    page = [binance_tick(number, T=ms(NOW - HOUR)) for number in range(1000)]
    page[4]["T"] = ms(datetime(2100, 1, 1, tzinfo=UTC))
    assert query.following(query.rows(bare(*page), NOW)) is not None
    for odd in (0, 1_000):
        (asked,) = OKX.rest.history("trade", "BTC-USDT-SWAP", NOW - HOUR, NOW, NOW)
        assert asked.following(asked.rows(okx(okx_tick(9), okx_tick(8, ts=str(odd))), NOW)) is not None
        ticks = UPBIT.rest.ticks("KRW-BTC", since=NOW - HOUR)
        assert ticks.following(ticks.rows(bare(upbit_tick(9), upbit_tick(8, timestamp=odd)), NOW)) is not None
        bars = OKX.rest.candles("BTC-USDT-SWAP", "1m", since=NOW - HOUR)
        later = bars.following(bars.rows(okx(okx_bar(5), [str(odd), *okx_bar(6)[1:]]), NOW))
        assert later is not None
        assert dict(later.request.params)["after"] == okx_bar(5)[0]


@pytest.mark.parametrize("case", [case for case in CASES if case.split()[1] in ("trade", "candle")])
def test_a_page_of_nothing_readable_says_so(case: str) -> None:
    query, _, _, _ = CASES[case]
    rows = read(case, *[None] * 1000)
    with pytest.raises(Unparsable, match="cannot go on from it; the first that cannot be read is row 0: not_an_object"):
        query.following(rows)
