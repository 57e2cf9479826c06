"""What exchanges list beside their usual markets: each oddity is shown where it is wanted, and nowhere else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import requests

from tests.exchanges.simulator.serving import answers, binary, decoded, get, past, request, served, socket
from tests.exchanges.simulator.swaps import OKX_CODES, SYMBOLS, answered, okx, okx_all, opened, streams, until_done
from tidemark.local.simulator import Simulator
from tidemark.local.simulator.oddities import Oddity

ALL = frozenset(Oddity)
XPERP, DATED, AUCTION = "ETH-USD_UM_XPERP-310404", "BTC-USD_UM-311226", "SLX-USDT-SWAP"
ASIDE = {"BTCUSDT_311226": "BTCUSDT", "1000SHIBUSDT": "1000SHIBUSDT", "TSLAUSDT": "TSLAUSDT"}
PUBLIC = "/ws/v5/public"


@pytest.fixture(scope="module")
def idle() -> Iterator[Simulator]:
    """A simulator with every oddity, in which nothing plays."""
    with served(past(wait_for="all-trades", oddities=ALL)) as simulator:
        yield simulator


def instruments(simulator: Simulator, kind: str) -> list[Any]:
    return list(get(simulator, "/api/v5/public/instruments", instType=kind)["data"])


def symbols(simulator: Simulator) -> dict[str, Any]:
    return {row["symbol"]: row for row in get(simulator, "/fapi/v1/exchangeInfo")["symbols"]}


def test_without_oddities_only_the_usual_markets_are_listed() -> None:
    with served(past(wait_for="all-trades")) as simulator:
        assert [row["instId"] for row in instruments(simulator, "SWAP")] == OKX_CODES
        assert instruments(simulator, "FUTURES") == instruments(simulator, "SPOT") == []
        assert list(symbols(simulator)) == SYMBOLS
        events = [row["market_event"] for row in get(simulator, "/v1/market/all", is_details="true")]
        assert not any(event["warning"] or any(event["caution"].values()) for event in events)


def test_placeholders_of_okx(idle: Simulator) -> None:
    [spot] = [row for row in instruments(idle, "SPOT") if row["state"] == "preopen"]
    assert (spot["instId"], spot["instIdCode"], spot["tickSz"]) == ("LISTING-SPOT-SLX-USDT", None, "")
    swaps = {row["instId"]: row for row in instruments(idle, "SWAP")}
    assert swaps["LISTING-SWAP-SLX-USDT"]["instIdCode"] is None
    assert swaps["ETH-USD_UM-SWAP"] == {"instId": "ETH-USD_UM-SWAP", "instType": "SWAP", "state": "preopen"}
    [empty] = [row for row in instruments(idle, "FUTURES") if not row["instId"]]
    assert (empty["instIdCode"], empty["state"]) == (None, "preopen")


def test_contracts_of_okx_beside_the_usual_ones(idle: Simulator) -> None:
    futures = {row["instId"]: row for row in instruments(idle, "FUTURES")}
    told = ("instType", "instFamily", "uly", "ctType", "ctValCcy", "settleCcy", "ruleType", "state", "expTime")
    assert [futures[XPERP][name] for name in told] == [
        "FUTURES", "ETH-USD_UM_XPERP", "ETH-USD", "linear", "ETH", "USD", "xperp", "live", "1933056000000",
    ]  # fmt: skip
    assert [futures[DATED][name] for name in told] == [
        "FUTURES", "BTC-USD_UM", "BTC-USD", "linear", "BTC", "USD", "normal", "live", "1956038400000",
    ]  # fmt: skip
    inverse = futures["BTC-USD-311226"]
    assert [inverse[name] for name in ("ctType", "ctVal", "ctValCcy", "settleCcy", "state")] == [
        "inverse", "100", "USD", "BTC", "suspend",
    ]  # fmt: skip
    swaps = {row["instId"]: row for row in instruments(idle, "SWAP")}
    assert (swaps["TSLA-USDT-SWAP"]["instCategory"], swaps[OKX_CODES[0]]["instCategory"]) == ("3", "1")
    assert {row["state"] for row in swaps.values()} == {"live", "preopen", "suspend", "rebase"}


def test_symbols_of_binance_beside_the_usual_ones(idle: Simulator) -> None:
    rows = symbols(idle)
    assert list(rows)[:5] == SYMBOLS
    assert {row["status"] for row in rows.values()} == {"TRADING", "SETTLING", "PENDING_TRADING", "PRE_SETTLE"}
    trading = [name for name, row in rows.items() if row["status"] == "TRADING"]
    assert set(trading) == {*SYMBOLS, *ASIDE, "BTCUSD_PERP"}
    share, coins, quarter = (rows[name] for name in ("TSLAUSDT", "1000SHIBUSDT", "BTCUSDT_311226"))
    assert (share["contractType"], share["underlyingType"]) == ("TRADIFI_PERPETUAL", "EQUITY")
    assert (coins["baseAsset"], coins["contractType"]) == ("1000SHIB", "PERPETUAL")
    assert (quarter["pair"], quarter["contractType"]) == ("BTCUSDT", "CURRENT_QUARTER")
    assert quarter["deliveryDate"] == 1_956_038_400_000
    other = rows["BTCUSD_PERP"]
    assert (other["quoteAsset"], other["marginAsset"], other["contractSize"]) == ("USD", "BTC", 100)
    assert {row["symbol"] for row in get(idle, "/fapi/v1/ticker/24hr")} == {*SYMBOLS, *ASIDE}


def test_a_market_in_its_call_auction_has_bid_and_ask_and_no_price(idle: Simulator) -> None:
    async def run() -> list[Any]:
        asked = okx("subscribe", ("tickers", AUCTION), ("trades", AUCTION), ("books", AUCTION))
        async with opened(idle, PUBLIC, asked) as ws, opened(idle, "/ws/v5/business") as bars:
            await bars.send_json(okx("subscribe", ("candle1m", AUCTION)))
            assert [frame["event"] for frame in await answered(bars)] == ["subscribe"]
            return [frame for frame in await answered(ws) if "data" in frame]

    ticker, book = asyncio.run(run())
    [state], [levels] = ticker["data"], book["data"]
    empty = ("last", "lastSz", "open24h", "high24h", "low24h", "sodUtc0", "sodUtc8")
    assert {state[name] for name in empty} == {""}
    assert (state["askPx"], state["bidPx"]) == (levels["asks"][0][0], levels["bids"][0][0])
    [listed] = [row for row in instruments(idle, "SWAP") if row["instId"] == AUCTION]
    assert (listed["state"], listed["openType"]) == ("preopen", "call_auction")
    assert AUCTION in {row["instId"] for row in get(idle, "/api/v5/market/tickers", instType="SWAP")["data"]}
    for path in ("candles", "history-candles", "trades", "history-trades"):
        assert get(idle, f"/api/v5/market/{path}", instId=AUCTION)["data"] == []


def test_markets_aside_trade_like_any_other_and_the_oracle_knows_them() -> None:
    codes = [XPERP, DATED, AUCTION, "TSLA-USDT-SWAP"]
    contracts = dict(zip(codes, map(Decimal, ("0.1", "0.01", "10", "1")), strict=True))
    names = "/".join(f"{name.lower()}@aggTrade" for name in ASIDE)
    with served(past(2, wait_for="trade", oddities=ALL, swap_trades_per_day=40_000)) as simulator:

        async def run() -> list[Any]:
            asked = okx("subscribe", *((channel, code) for channel in ("trades", "tickers") for code in codes))
            async with opened(simulator, PUBLIC, asked) as one, opened(simulator, f"/market/ws/{names}") as two:
                (first,), (second,) = await asyncio.gather(
                    until_done(simulator, "okx", one), until_done(simulator, "binance", two)
                )
                return [[frame for frame in first if "data" in frame], second]

        swaps, trades = asyncio.run(run())
        told = [
            (row["instId"], int(row["tradeId"]), Decimal(row["px"]), Decimal(row["sz"]) * contracts[row["instId"]])
            for frame in swaps
            if frame["arg"]["channel"] == "trades"
            for row in frame["data"]
        ]
        sent = get(simulator, "/_sim/trades", exchange="okx")
        assert [(t["market"], t["id"], Decimal(t["price"]), Decimal(t["size"])) for t in sent] == told
        assert {code for code, *_ in told} == {XPERP, DATED, "TSLA-USDT-SWAP"}
        auctions = [f for f in swaps if f["arg"] == {"channel": "tickers", "instId": AUCTION}]
        assert len(auctions) > 10
        assert {frame["data"][0]["last"] for frame in auctions} == {""}
        assert {trade["s"]: trade["ps"] if "ps" in trade else ASIDE[trade["s"]] for trade in trades} == ASIDE
        sent = get(simulator, "/_sim/trades", exchange="binance")
        assert [(t["market"], t["id"], Decimal(t["price"])) for t in sent] == [
            (t["s"], t["l"], Decimal(t["p"])) for t in trades
        ]
        shib = next(Decimal(t["p"]) for t in trades if t["s"] == "1000SHIBUSDT")
        [spot] = get(simulator, "/v1/ticker", markets="KRW-SHIB")
        [dollar] = get(simulator, "/v1/ticker", markets="KRW-USDT")
        assert shib / 1000 == pytest.approx(spot["trade_price"] / dollar["trade_price"], rel=Decimal("0.1"))


def test_nobody_is_waited_for_and_nothing_is_missed_of_markets_aside() -> None:
    """The usual markets' trades are the same with oddities and without."""
    told = []
    for shown in (ALL, frozenset()):
        with served(past(0.5, wait_for="all-trades", oddities=shown)) as simulator:

            async def run(simulator: Simulator = simulator) -> None:
                names = "/".join(streams("aggTrade"))
                async with (
                    opened(simulator, PUBLIC, okx_all("trades")) as one,
                    opened(simulator, f"/market/ws/{names}") as two,
                ):
                    await asyncio.gather(until_done(simulator, "okx", one), until_done(simulator, "binance", two))

            asyncio.run(run())
            for exchange in ("okx", "binance"):
                assert not any(row["missed"] for row in get(simulator, "/_sim/summary", exchange=exchange).values())
                assert get(simulator, "/_sim/status", exchange=exchange)["trades_missed"] == 0
            told.append([get(simulator, "/_sim/trades", exchange=name) for name in ("okx", "binance")])
    assert told[0] == told[1]


def test_a_market_of_upbit_that_will_leave_names_the_day(idle: Simulator) -> None:
    async def run() -> list[Any]:
        async with socket(idle, request("ticker", codes=["KRW-ARDR", "BTC-ARDR", "KRW-BTC"])) as ws:
            return [decoded(frame) for frame in binary(await answers(ws))]

    dates = {row["code"]: row["delisting_date"] for row in asyncio.run(run())}
    day = {"year": 2026, "month": 12, "day": 9}
    assert dates == {"KRW-ARDR": day, "BTC-ARDR": day, "KRW-BTC": None}
    events = {row["market"]: row["market_event"] for row in get(idle, "/v1/market/all", is_details="true")}
    assert {code for code, event in events.items() if event["warning"]} == {"KRW-ARDR", "BTC-ARDR"}
    assert sum(any(event["caution"].values()) for event in events.values()) == 4
    assert {len(event["caution"]) for event in events.values()} == {5}


@pytest.mark.usefixtures("still_clock")
@pytest.mark.parametrize("shown", [ALL, frozenset()])
def test_the_end_of_a_ban_of_binance_is_in_its_words(shown: frozenset[Oddity]) -> None:
    with served(replace(past(wait_for="all-trades", oddities=shown), limits=True)) as simulator:
        with requests.Session() as session:
            path = f"{simulator.url}/fapi/v1/depth?symbol=BTCUSDT&limit=1000"
            found = [session.get(path, timeout=20) for _ in range(132)]
        assert [answer.status_code for answer in found] == [200] * 120 + [429] * 10 + [418] * 2
        banned = found[-1]
        until = re.search(r"IP banned until (\d{13})", banned.json()["msg"])
        assert until
        assert ("Retry-After" in banned.headers) == (Oddity.BINANCE_BAN_IN_WORDS not in shown)
        assert all("Retry-After" in answer.headers for answer in found if answer.status_code == 429)
