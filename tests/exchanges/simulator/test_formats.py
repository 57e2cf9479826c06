"""What the simulator sends has the fields that the exchanges send today, in their order and of their types."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
import requests

from tests.exchanges.simulator.serving import answers, binary, decoded, get, past, request, served, socket
from tests.exchanges.simulator.swaps import answered, binance, okx, okx_all, opened, received, streams, until_done
from tidemark.local.simulator import Simulator
from tidemark.local.simulator.market.ladder import Levels
from tidemark.local.simulator.okx.frames import render
from tidemark.local.simulator.swap.depth import DepthFeed
from tidemark.local.simulator.swap.timeline import SwapCadence
from tidemark.local.simulator.timeline import Happening

BTC = "BTC-USDT-SWAP"
#: A field's type by the sign before its name: " text, # number, ? true or false, - null, [ list, { object.
UPBIT = {
    "ticker": """"type "code #opening_price #high_price #low_price #trade_price #prev_closing_price #acc_trade_price
        "change #change_price #signed_change_price #change_rate #signed_change_rate "ask_bid #trade_volume
        #acc_trade_volume "trade_date "trade_time #trade_timestamp #acc_ask_volume #acc_bid_volume
        #highest_52_week_price "highest_52_week_date #lowest_52_week_price "lowest_52_week_date "market_state
        -delisting_date #timestamp #acc_trade_price_24h #acc_trade_volume_24h "stream_type""",
    "trade": """"type "code #timestamp "trade_date "trade_time #trade_timestamp #trade_price #trade_volume "ask_bid
        #prev_closing_price "change #change_price #sequential_id #best_ask_price #best_ask_size #best_bid_price
        #best_bid_size "stream_type""",
    "orderbook": """"type "code #timestamp #total_ask_size #total_bid_size [orderbook_units "stream_type #level""",
}
OKX = {
    "trades": '"instId "tradeId "px "sz "side "ts "count "source #seqId',
    "tickers": """"instType "instId "last "lastSz "askPx "askSz "bidPx "bidSz "open24h "high24h "low24h "volCcy24h
        "vol24h "sodUtc0 "sodUtc8 "ts""",
    "books": '[asks [bids "ts #checksum #seqId #prevSeqId',
}
BINANCE = {
    "aggTrade": '"e #E #a "s "p "q "nq #f #l #T ?m #st',
    "depthUpdate": '"e #E #T "s "ps #st #U #u #pu [b [a',
    "24hrTicker": '"e #E "s "ps "p "P "w "c "Q "o "h "l "v "q #O #C #F #L #n #st',
    "kline": '"e #E "s {k',
}
REST = {
    "/fapi/v1/aggTrades?symbol=BTCUSDT&limit=1": '#a "p "q "nq #f #l #T ?m',
    "/api/v5/market/trades?instId=BTC-USDT-SWAP&limit=1": '"instId "side "sz "source "px "tradeId "ts',
    "/api/v5/market/books?instId=BTC-USDT-SWAP&sz=5": '[asks [bids "ts #seqId',
    "/v1/orderbook?markets=KRW-BTC": '"market #timestamp #total_ask_size #total_bid_size [orderbook_units #level',
}
SIGNS = ((bool, "?"), (str, '"'), ((int, Decimal), "#"), (list, "["), (dict, "{"))


def shape(row: dict[str, Any]) -> list[str]:
    return [next((sign for kind, sign in SIGNS if isinstance(value, kind)), "-") + key for key, value in row.items()]


@pytest.fixture(scope="module")
def played() -> Iterator[tuple[Simulator, dict[str, list[Any]]]]:
    """Half an hour of OKX and Binance, their frames by channel or event."""
    fast = SwapCadence(ticker_ms=30_000, depth_ms=5_000, candle_ms=60_000)
    with served(past(0.5, swap_trades_per_day=40_000, swap_fast=fast, wait_for="trade")) as simulator:
        kinds = "/".join(streams("aggTrade", "ticker", "kline_1m"))
        names = "/".join(streams("depth@100ms"))

        async def run() -> list[Any]:
            async with (
                opened(simulator, "/ws/v5/public", okx_all("books", "tickers", "trades")) as first,
                opened(simulator, f"/public/ws/{names}") as public,
                opened(simulator, f"/market/ws/{kinds}") as market,
            ):
                swaps, rest = await asyncio.gather(
                    until_done(simulator, "okx", first), until_done(simulator, "binance", market)
                )
                return [*swaps[0], *rest[0], *await answered(public)]

        frames: dict[str, list[Any]] = {}
        for frame in asyncio.run(run()):
            name = frame["arg"]["channel"] if "data" in frame else frame.get("e")
            frames.setdefault(name, []).append(frame)
        yield simulator, frames


@pytest.mark.parametrize("channel", OKX)
def test_frames_of_okx(played: tuple[Simulator, dict[str, list[Any]]], channel: str) -> None:
    for frame in played[1][channel]:
        assert list(frame) == (["arg", "action", "data"] if channel == "books" else ["arg", "data"])
        assert shape(frame["arg"]) == ['"channel', '"instId']
        [row] = frame["data"]
        assert shape(row) == OKX[channel].split()


@pytest.mark.parametrize("event", BINANCE)
def test_frames_of_binance(played: tuple[Simulator, dict[str, list[Any]]], event: str) -> None:
    for frame in played[1][event]:
        assert shape(frame) == BINANCE[event].split()
        assert (frame.get("st", 1), frame.get("ps", frame["s"])) == (1, frame["s"])


@pytest.mark.parametrize("kind", UPBIT)
def test_frames_of_upbit(played: tuple[Simulator, dict[str, list[Any]]], kind: str) -> None:
    async def run() -> list[Any]:
        async with socket(played[0], request(kind, codes=["KRW-BTC", "KRW-XRP"])) as ws:
            return [decoded(frame) for frame in binary(await answers(ws))]

    rows = asyncio.run(run())
    assert len(rows) >= 2
    for row in rows:
        assert shape(row) == UPBIT[kind].split()
        assert row.get("level", 0) == 0


@pytest.mark.parametrize("path", REST)
def test_rows_of_rest(played: tuple[Simulator, dict[str, list[Any]]], path: str) -> None:
    answer = get(played[0], path)
    [row] = answer["data"][:1] if isinstance(answer, dict) else answer
    assert shape(row) == REST[path].split()


def test_what_ordinary_orders_filled_is_all_a_part_or_nothing(played: tuple[Simulator, dict[str, list[Any]]]) -> None:
    trades = played[1]["aggTrade"]
    shares = [(Decimal(trade["nq"]), Decimal(trade["q"])) for trade in trades]
    assert all(0 <= nq <= q for nq, q in shares)
    assert {"all", "part", "none"} == {"all" if nq == q else "part" if nq else "none" for nq, q in shares}
    assert {row["source"] for frame in played[1]["trades"] for row in frame["data"]} == {"0", "1"}


def test_trades_of_one_moment_share_a_number_and_none_goes_back(
    played: tuple[Simulator, dict[str, list[Any]]],
) -> None:
    rows = [row for frame in played[1]["trades"] if frame["arg"]["instId"] == BTC for row in frame["data"]]
    assert all(before["seqId"] <= after["seqId"] for before, after in pairwise(rows))
    assert len({row["seqId"] for row in rows}) < len(rows)


def test_books_of_okx_are_a_snapshot_and_changes_without_a_hole(
    played: tuple[Simulator, dict[str, list[Any]]],
) -> None:
    """The book of a client is, at each number, that of the oracle."""
    simulator, frames = played
    oracle = {row["id"]: row for row in get(simulator, "/_sim/books", exchange="okx", market=BTC)}
    told = [(f["action"], f["data"][0]) for f in frames["books"] if f["arg"]["instId"] == BTC]
    assert [action for action, _ in told] == ["snapshot"] + ["update"] * (len(told) - 1)
    assert len(told) > 100
    sides: dict[str, dict[Decimal, str]] = {"asks": {}, "bids": {}}
    last = -1
    for _, book in told:
        assert (book["prevSeqId"], book["checksum"]) == (last, 0)
        last = book["seqId"]
        for name, side in sides.items():
            for price, size, deprecated, orders in book[name]:
                assert deprecated == "0"
                assert (orders == "0") == (size == "0")
                side[Decimal(price)] = size
                if size == "0":
                    del side[Decimal(price)]
        assert min(sides["asks"]) == Decimal(oracle[last]["ask"]["price"])
        assert max(sides["bids"]) == Decimal(oracle[last]["bid"]["price"])


def test_a_second_subscriber_of_a_book_gets_the_one_that_the_first_has() -> None:
    fast = SwapCadence(ticker_ms=60_000, depth_ms=1_000, candle_ms=60_000)
    asked = okx("subscribe", ("books", BTC))

    async def run(simulator: Simulator) -> None:
        async with opened(simulator, "/ws/v5/public", asked) as one:
            begin = await received(one, count=20)
            async with opened(simulator, "/ws/v5/public", asked) as two:
                told, other = await until_done(simulator, "okx", one, two)
        first = {f["data"][0]["seqId"] for f in begin + told if "data" in f}
        snapshot, *changes = [f["data"][0] for f in other if "data" in f]
        assert snapshot["prevSeqId"] == -1
        assert snapshot["seqId"] in first
        assert [change["prevSeqId"] for change in changes] == [before["seqId"] for before in (snapshot, *changes[:-1])]

    with served(past(0.5, swap_fast=fast)) as simulator:
        asyncio.run(run(simulator))


def test_a_rest_book_of_okx_falls_between_two_changes() -> None:
    """A client may begin with it: prevSeqId <= seqId of REST < seqId of the first change that it applies."""
    fast = SwapCadence(ticker_ms=60_000, depth_ms=1_000, candle_ms=60_000)

    async def run(simulator: Simulator) -> None:
        async with opened(simulator, "/ws/v5/public", okx("subscribe", ("books", BTC))) as ws:
            begin = await received(ws, count=20)
            [book] = (await asyncio.to_thread(get, simulator, "/api/v5/market/books", instId=BTC, sz=400))["data"]
            [rest] = await until_done(simulator, "okx", ws)
        changes = [f["data"][0] for f in begin + rest if f.get("action") == "update"]
        [first] = [change for change in changes if change["prevSeqId"] <= book["seqId"] < change["seqId"]]
        sides = {name: {level[0]: level[1] for level in book[name]} for name in ("asks", "bids")}
        for change in changes[changes.index(first) :]:
            for name, side in sides.items():
                side.update({level[0]: level[1] for level in change[name]})
        [now] = (await asyncio.to_thread(get, simulator, "/api/v5/market/books", instId=BTC, sz=400))["data"]
        held = {name: {price: size for price, size in side.items() if size != "0"} for name, side in sides.items()}
        assert held == {name: {level[0]: level[1] for level in now[name]} for name in ("asks", "bids")}

    with served(past(0.2, swap_fast=fast)) as simulator:
        asyncio.run(run(simulator))


def test_a_book_that_stands_still_has_a_heartbeat_without_levels() -> None:
    feed = DepthFeed(1_000, lambda ms: Levels(ms, {200: 1}, {100: 1}))
    assert feed.update(Levels(60_900, {200: 1}, {100: 1})) is None
    assert feed.heartbeat(60_900, 60_000) is None
    beat = feed.heartbeat(61_000, 60_000)
    assert beat is not None
    assert feed.heartbeat(61_100, 60_000) is None
    frame = decoded(render(Happening("depth.100", BTC, beat)))
    [row] = frame["data"]
    assert (frame["action"], row["asks"], row["bids"], row["checksum"]) == ("update", [], [], 0)
    assert row["seqId"] == row["prevSeqId"] == feed.whole().last


def test_instruments_of_okx_have_the_fields_of_today() -> None:
    with served(past(wait_for="all-trades")) as simulator:
        rows = get(simulator, "/api/v5/public/instruments", instType="SWAP")["data"]
    assert len(rows) == 5
    assert len({row["instIdCode"] for row in rows}) == 5
    eth = next(row for row in rows if row["instId"] == "ETH-USDT-SWAP")
    expected = {
        "instType": "SWAP", "instId": "ETH-USDT-SWAP", "instFamily": "ETH-USDT", "uly": "ETH-USDT", "ctType": "linear",
        "ctVal": "0.1", "ctMult": "1", "ctValCcy": "ETH", "settleCcy": "USDT", "baseCcy": "", "quoteCcy": "",
        "lotSz": "0.01", "minSz": "0.01", "tickSz": "0.01", "listTime": "1573557408000", "expTime": "",
        "state": "live", "ruleType": "normal", "instCategory": "1", "tradeQuoteCcyList": [], "upcChg": [],
    }  # fmt: skip
    assert {name: eth[name] for name in expected} == expected
    assert isinstance(eth["instIdCode"], int)


def test_symbols_of_binance_have_the_fields_of_today() -> None:
    with served(past(wait_for="all-trades")) as simulator:
        rows = get(simulator, "/fapi/v1/exchangeInfo")["symbols"]
    fields = """symbol pair contractType underlyingType underlyingSubType status baseAsset quoteAsset marginAsset
        deliveryDate onboardDate filters orderTypes"""
    assert all(set(fields.split()) < set(row) for row in rows)
    assert [(row["baseAsset"] + row["quoteAsset"], row["status"]) for row in rows] == [
        (row["symbol"], "TRADING") for row in rows
    ]


def list_of(simulator: Simulator, form: str) -> tuple[Any, Any]:
    """The answer to LIST_SUBSCRIPTIONS in this format, and a frame that comes after it."""
    question = [{"ticket": "mine"}, {"method": "LIST_SUBSCRIPTIONS"}, {"format": form}]

    async def run() -> tuple[Any, Any]:
        first = json.dumps(
            [
                {"ticket": "t"},
                {"type": "ticker", "codes": ["KRW-BTC", "KRW-NOPE"]},
                {"type": "orderbook", "codes": ["KRW-ETH"], "level": 10_000},
                {"type": "candle.1m", "codes": ["KRW-BTC"], "is_only_realtime": True},
                {"type": "trade", "codes": ["KRW-BTC"]},
            ]
        )
        async with socket(simulator, first) as ws:
            while decoded(await ws.receive_bytes(timeout=10))["type"] != "trade":
                pass
            await ws.send_json(question)
            while True:
                frame = decoded(await ws.receive_bytes(timeout=10))
                if "ticket" in frame or "tckt" in frame:
                    listed = frame
                    break
            return listed, decoded(await ws.receive_bytes(timeout=10))

    return asyncio.run(run())


def test_a_connection_of_upbit_lists_its_subscriptions_and_takes_the_format() -> None:
    with served(past(0.5, then_live=True)) as simulator:
        listed, after = list_of(simulator, "SIMPLE")
        assert listed == {
            "mthd": "LIST_SUBSCRIPTIONS",
            "rslt": [
                {"ty": "ticker", "cds": ["KRW-BTC"]},
                {"ty": "orderbook", "cds": ["KRW-ETH"], "lv": 10_000},
                {"ty": "candle.1m", "cds": ["KRW-BTC"]},
                {"ty": "trade", "cds": ["KRW-BTC"]},
            ],
            "tckt": "mine",
        }
        assert "ty" in after
        listed, after = list_of(simulator, "DEFAULT")
        assert [row["type"] for row in listed["result"]] == ["ticker", "orderbook", "candle.1m", "trade"]
        assert listed["result"][1]["level"] == 10_000
        assert (listed["method"], listed["ticket"]) == ("LIST_SUBSCRIPTIONS", "mine")
        assert "type" in after


def test_a_list_of_nothing_and_a_list_that_is_asked_for_wrongly() -> None:
    async def ask(simulator: Simulator, *items: dict[str, str]) -> Any:
        async with socket(simulator, json.dumps(items)) as ws:
            return decoded(await ws.receive_bytes(timeout=10))

    method = {"method": "LIST_SUBSCRIPTIONS"}
    with served(past(wait_for="all-trades")) as simulator:
        answer = asyncio.run(ask(simulator, {"ticket": "x"}, method))
        assert answer == {"method": "LIST_SUBSCRIPTIONS", "result": [], "ticket": "x"}
        assert asyncio.run(ask(simulator, method))["error"]["name"] == "NO_TICKET"
        wrong = asyncio.run(ask(simulator, {"ticket": "x"}, method, {"format": "LONG"}))
        assert wrong["error"]["name"] == "INVALID_PARAM"


def test_rest_of_upbit_takes_lower_case_and_fails_as_a_whole_on_an_unknown_code() -> None:
    with served(past(wait_for="all-trades")) as simulator:
        [book] = get(simulator, "/v1/orderbook", markets="krw-btc")
        [bar] = get(simulator, "/v1/candles/minutes/1", market="krw-btc")
        assert (book["market"], bar["market"]) == ("KRW-BTC", "KRW-BTC")
        for path in ("ticker", "orderbook", "orderbook/instruments"):
            answer = requests.get(f"{simulator.url}/v1/{path}?markets=KRW-BTC,KRW-LOOM,KRW-ETH", timeout=10)
            assert (answer.status_code, answer.json()) == (404, {"error": {"name": 404, "message": "Code not found"}})
        nowhere = requests.get(f"{simulator.url}/v1/nowhere", timeout=10)
        assert (nowhere.status_code, nowhere.json()["error"]["name"]) == (404, "not_found")


@pytest.mark.usefixtures("still_clock")
def test_a_web_page_opens_one_socket_of_upbit_in_ten_seconds() -> None:
    async def run(simulator: Simulator) -> None:
        page = {"Origin": "http://example.org"}
        async with aiohttp.ClientSession() as session:
            await session.ws_connect(simulator.ws_url, headers=page)
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(simulator.ws_url, headers=page)
            assert refused.value.status == 429
            await session.ws_connect(simulator.ws_url)

    with served(replace(past(wait_for="all-trades"), limits=True)) as simulator:
        asyncio.run(run(simulator))


def test_a_binary_request_ends_a_connection_of_binance() -> None:
    async def run(simulator: Simulator) -> None:
        async with opened(simulator, "/market/ws") as ws:
            await ws.send_bytes(json.dumps(binance("SUBSCRIBE", "btcusdt@aggTrade")).encode())
            message = await ws.receive(timeout=10)
            assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 1008, "Invalid request")

    with served(past(wait_for="all-trades")) as simulator:
        asyncio.run(run(simulator))
