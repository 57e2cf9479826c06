"""Binance's rules on real sockets and over HTTP, and its frames against one another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

import aiohttp
import pytest
import requests

from tests.exchanges.simulator.serving import NIGHT, get, past, served
from tests.exchanges.simulator.swaps import (
    SYMBOLS,
    Book,
    answered,
    binance,
    opened,
    ordered,
    received,
    streams,
    until_done,
)
from tidemark.local.simulator import Simulator, SimulatorConfig
from tidemark.local.simulator.binance.limits import PER_MINUTE, BinanceLimits
from tidemark.local.simulator.swap.timeline import SwapCadence

HOUR_MS = 3_600_000
NAMES = ["btcusdt@aggTrade", "btcusdt@kline_1m"]


@pytest.fixture(scope="module")
def idle() -> Iterator[Simulator]:
    """A simulator that waits for somebody to cover all trades, so that nothing plays."""
    with served(past(wait_for="all-trades")) as simulator:
        yield simulator


def ask(simulator: Simulator, path: str, *messages: Any) -> list[Any]:
    async def run() -> list[Any]:
        async with opened(simulator, path, *messages) as ws:
            return await answered(ws)

    return asyncio.run(run())


def test_requests_are_acknowledged_by_their_id(idle: Simulator) -> None:
    answer = ask(
        idle,
        "/market/ws",
        binance("SUBSCRIBE", *NAMES, request_id=7),
        binance("UNSUBSCRIBE", NAMES[1], request_id="x"),
        {"method": "LIST_SUBSCRIPTIONS", "id": 9},
    )
    assert answer == [{"result": None, "id": 7}, {"result": None, "id": "x"}, {"result": NAMES[:1], "id": 9}]
    assert ask(idle, f"/market/stream?streams={'/'.join(NAMES)}", {"method": "LIST_SUBSCRIPTIONS", "id": 1}) == [
        {"result": NAMES, "id": 1}
    ]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("nonsense", 3),
        ("[]", 2),
        ('{"method":"SUBSCRIBE","params":"btcusdt@aggTrade","id":1}', 1),
        ('{"method":"EXPLODE","params":[],"id":1}', 2),
        (binance("SUBSCRIBE", *(f"x{n}@aggTrade" for n in range(1025))), 2),
    ],
)
def test_wrong_requests_are_answered_and_leave_the_socket_open(idle: Simulator, message: Any, code: int) -> None:
    error, after = ask(idle, "/market/ws", message, {"method": "LIST_SUBSCRIPTIONS", "id": 2})
    assert error["error"]["code"] == code
    assert error["error"]["msg"]
    assert after == {"result": [], "id": 2}


def test_the_old_root_is_gone(idle: Simulator) -> None:
    for path in ("/ws/btcusdt@aggTrade", "/stream?streams=btcusdt@aggTrade"):
        with pytest.raises(aiohttp.WSServerHandshakeError):
            ask(idle, path)


@pytest.mark.usefixtures("still_clock")
def test_too_many_messages_cut_the_connection() -> None:
    async def run(simulator: Simulator) -> None:
        async with opened(simulator, "/public/ws", *[binance("SUBSCRIBE", "btcusdt@depth")] * 11) as ws:
            assert len(await received(ws, quiet_s=20)) == 10
            assert ws.close_code == 1006

    with served(replace(past(wait_for="all-trades"), limits=True)) as simulator:
        asyncio.run(run(simulator))


def test_the_server_pings_and_drops_who_does_not_answer() -> None:
    async def run(simulator: Simulator) -> None:
        async with (
            opened(simulator, "/public/ws", autoping=True) as answering,
            opened(simulator, "/public/ws") as deaf,
        ):
            assert (await deaf.receive(timeout=5)).type is aiohttp.WSMsgType.PING
            waiting = asyncio.create_task(answering.receive())
            while (message := await deaf.receive(timeout=5)).type is aiohttp.WSMsgType.PING:
                pass
            assert message.type is aiohttp.WSMsgType.CLOSED
            assert deaf.close_code == 1006
            await asyncio.sleep(1)
            assert not waiting.done()  # pinged all the while, and still open
            waiting.cancel()

    with served(past(wait_for="all-trades", binance_ping_s=0.2, binance_pong_s=0.7)) as simulator:
        asyncio.run(run(simulator))


def test_a_connection_ends_after_its_day() -> None:
    async def run(simulator: Simulator) -> None:
        async with opened(simulator, "/public/ws") as ws:
            message = await ws.receive(timeout=5)
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1001)

    with served(past(wait_for="all-trades", binance_lifetime_s=0.5)) as simulator:
        asyncio.run(run(simulator))


class Played(NamedTuple):
    """A finished simulator, the raw frames of its market root by event, and the combined ones of its public root."""

    simulator: Simulator
    market: dict[str, list[Any]]
    public: list[Any]
    snapshots: dict[str, Any]

    def of(self, event: str, symbol: str, interval: str = "") -> list[Any]:
        """Events of a symbol."""
        found = [frame for frame in self.market[event] if frame["s"] == symbol]
        return [frame for frame in found if not interval or frame["k"]["i"] == interval]


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    """Two hours around midnight UTC; books are followed from a snapshot that is taken on the way."""
    fast = SwapCadence(ticker_ms=10_000, depth_ms=2_000, candle_ms=5_000)
    period = {"from_at": NIGHT + timedelta(hours=8), "to_at": NIGHT + timedelta(hours=10)}
    with served(past(**period, swap_trades_per_day=40_000, swap_fast=fast, wait_for="all-trades")) as simulator:
        snapshots: dict[str, Any] = {}

        async def run() -> list[list[Any]]:
            names = "/".join(streams("depth@100ms"))
            async with opened(simulator, f"/public/stream?streams={names}") as public:
                kinds = ("aggTrade", "kline_1m", "kline_5m", "kline_1h", "kline_1d", "ticker")
                async with opened(simulator, "/market/ws", binance("SUBSCRIBE", *streams(*kinds))) as market:
                    begin = await received(public, count=600)
                    for symbol in SYMBOLS:
                        snapshots[symbol] = await asyncio.to_thread(
                            get, simulator, "/fapi/v1/depth", symbol=symbol, limit=1000
                        )
                    told = await until_done(simulator, "binance", market, public)
                    return [told[0], begin + told[1]]

        market, public = asyncio.run(run())
        by_event: dict[str, list[Any]] = {}
        for frame in market:
            by_event.setdefault(frame.get("e", "ack"), []).append(frame)
        yield Played(simulator, by_event, public, snapshots)


def test_aggregate_trades_and_fills_are_numbered_without_a_hole(played: Played) -> None:
    sizes = set()
    for symbol in SYMBOLS:
        trades = played.of("aggTrade", symbol)
        assert len(trades) > 100
        for before, after in pairwise(trades):
            assert after["a"] == before["a"] + 1
            assert after["f"] == before["l"] + 1
            assert after["l"] >= after["f"]
            assert after["T"] >= before["T"]
            assert after["E"] >= max(after["T"], before["E"])
        sizes |= {trade["l"] - trade["f"] + 1 for trade in trades}
    assert {1, 2, 3} <= sizes


def test_the_oracle_knows_the_trades(played: Played) -> None:
    sent = get(played.simulator, "/_sim/trades", exchange="binance")
    told = [
        (t["s"], t["l"], t["f"], t["a"], Decimal(t["p"]), Decimal(t["q"]), "sell" if t["m"] else "buy")
        for t in played.market["aggTrade"]
    ]
    assert told == [
        (t["market"], t["id"], t["first"], t["number"], Decimal(t["price"]), Decimal(t["size"]), t["side"])
        for t in sent
    ]
    bars = get(played.simulator, "/_sim/candles", exchange="binance", market="BTCUSDT", unit=60)
    mine = [trade for trade in played.of("aggTrade", "BTCUSDT") if trade["T"] // HOUR_MS * HOUR_MS == bars[0]["start"]]
    assert bars[0]["fills"] == sum(trade["l"] - trade["f"] + 1 for trade in mine)
    assert (bars[0]["trades"], Decimal(bars[0]["volume"])) == (len(mine), sum(Decimal(t["q"]) for t in mine))


def kline_of(trades: list[Any]) -> dict[str, Any]:
    prices = [Decimal(trade["p"]) for trade in trades]
    bought = [trade for trade in trades if not trade["m"]]
    return {
        "f": trades[0]["f"], "L": trades[-1]["l"], "n": trades[-1]["l"] - trades[0]["f"] + 1,
        "o": prices[0], "c": prices[-1], "h": max(prices), "l": min(prices),
        "v": sum(Decimal(t["q"]) for t in trades), "q": sum(Decimal(t["q"]) * Decimal(t["p"]) for t in trades),
        "V": sum(Decimal(t["q"]) for t in bought), "Q": sum(Decimal(t["q"]) * Decimal(t["p"]) for t in bought),
    }  # fmt: skip


@pytest.mark.parametrize(("interval", "width_ms"), [("1m", 60_000), ("5m", 300_000), ("1h", HOUR_MS)])
def test_closed_klines_are_the_sums_of_the_trades(played: Played, interval: str, width_ms: int) -> None:
    for symbol in SYMBOLS:
        klines = [frame["k"] for frame in played.of("kline", symbol, interval) if frame["k"]["x"]]
        starts = [k["t"] for k in klines]
        assert starts == list(range(starts[0], starts[0] + len(starts) * width_ms, width_ms))
        made: dict[int, list[Any]] = {}
        for trade in played.of("aggTrade", symbol):
            made.setdefault(trade["T"] // width_ms * width_ms, []).append(trade)
        for k in klines:
            assert k["T"] == k["t"] + width_ms - 1
            if k["t"] in made:
                expected = kline_of(made[k["t"]])
                assert {name: k[name] if name in "fLn" else Decimal(k[name]) for name in expected} == expected
            else:
                assert (k["f"], k["L"], k["n"], Decimal(k["v"])) == (-1, -1, 0, 0)
        filled = [k for k in klines if k["n"]]
        assert len(filled) == len(made)
        assert all(after["f"] == before["L"] + 1 for before, after in pairwise(filled))


def test_the_day_before_the_play_is_part_of_its_bars(played: Played) -> None:
    days = [frame["k"] for frame in played.of("kline", "BTCUSDT", "1d")]
    assert {k["t"] for k in days} == {1_794_960_000_000, 1_795_046_400_000}
    whole = [k for k in days if k["x"]]
    assert len(whole) == 1
    [row] = get(played.simulator, "/fapi/v1/klines", symbol="BTCUSDT", interval="1d", startTime=whole[0]["t"], limit=1)
    assert (row[1], row[5], row[8]) == (whole[0]["o"], whole[0]["v"], whole[0]["n"])


def test_books_follow_from_a_snapshot_and_every_change(played: Played) -> None:
    """The book of a client that keeps to the exchange's rules is, at each number, that of the oracle."""
    for symbol in SYMBOLS:
        events = [frame["data"] for frame in played.public if frame["data"]["s"] == symbol]
        assert all(after["pu"] == before["u"] for before, after in pairwise(events))
        assert all(event["pu"] < event["U"] <= event["u"] for event in events)
        book = Book(played.snapshots[symbol])
        oracle = {row["id"]: row for row in get(played.simulator, "/_sim/books", exchange="binance", market=symbol)}
        compared = 0
        for event in events:
            assert book.apply(event)
            if book.applied:
                row = oracle[book.last]
                told = [(Decimal(row[side]["price"]), Decimal(row[side]["size"])) for side in ("bid", "ask")]
                assert list(book.best()) == told
                compared += 1
        assert compared > 1000
        end = get(played.simulator, "/fapi/v1/depth", symbol=symbol, limit=1000)
        for name in ("bids", "asks"):
            assert {Decimal(price): Decimal(size) for price, size in end[name]} == book.sides[name]


def test_combined_frames_name_their_stream_and_raw_ones_do_not(played: Played) -> None:
    assert {frame["stream"] for frame in played.public} == set(streams("depth@100ms"))
    assert all(frame["stream"].startswith(frame["data"]["s"].lower()) for frame in played.public)
    assert set(played.market) == {"aggTrade", "kline", "24hrTicker", "ack"}
    assert len(played.market["ack"]) == 1


def test_streams_on_the_wrong_root_are_acknowledged_and_silent() -> None:
    with served(past(0.5, wait_for="trade")) as simulator:

        async def run() -> tuple[list[Any], list[Any]]:
            async with (
                opened(simulator, "/public/ws", binance("SUBSCRIBE", "btcusdt@aggTrade", "BTCUSDT@depth")) as wrong,
                opened(simulator, "/market/ws", binance("SUBSCRIBE", "btcusdt@depth", "ethusdt@aggTrade")) as half,
            ):
                first, second = await until_done(simulator, "binance", wrong, half)
                return first, second

        wrong, half = asyncio.run(run())
        assert wrong == [{"result": None, "id": 1}]
        assert {(frame.get("e"), frame.get("s")) for frame in half} == {(None, None), ("aggTrade", "ETHUSDT")}


def test_books_are_pushed_ten_times_a_second_in_real_time() -> None:
    with served(SimulatorConfig(port=0, trades_per_day=2_000, limits=False)) as simulator:

        async def run() -> list[Any]:
            names = "btcusdt@depth@100ms/btcusdt@depth@500ms"
            async with opened(simulator, f"/public/stream?streams={names}") as ws:
                return await received(ws, count=40)

        told = asyncio.run(run())
        fast = [frame["data"] for frame in told if frame["stream"].endswith("100ms")]
        slow = [frame["data"] for frame in told if frame["stream"].endswith("500ms")]
        assert len(fast) > len(slow) > 1
        for chain, every_ms in ((fast, 100), (slow, 500)):
            assert all(after["pu"] == before["u"] for before, after in pairwise(chain))
            assert all(before["T"] < after["T"] for before, after in pairwise(chain))
            assert {frame["T"] % every_ms for frame in chain} == {0}
        assert (fast[-1]["E"] - fast[0]["E"]) / 1000 >= 2


def test_rest_klines_are_those_of_the_socket(played: Played) -> None:
    told = {frame["k"]["t"]: frame["k"] for frame in played.of("kline", "ETHUSDT", "1m") if frame["k"]["x"]}
    rows = get(played.simulator, "/fapi/v1/klines", symbol="ETHUSDT", interval="1m", startTime=min(told), limit=1500)
    assert [row[0] for row in rows] == list(range(min(told), rows[-1][0] + 1, 60_000))
    for row in rows[: len(told)]:
        k = told[row[0]]
        assert row == [
            k["t"], k["o"], k["h"], k["l"], k["c"], k["v"], k["T"], k["q"], k["n"], k["V"], k["Q"], "0",
        ]  # fmt: skip
    newest = get(played.simulator, "/fapi/v1/klines", symbol="ETHUSDT", interval="1m", limit=3)
    assert newest == rows[-3:]
    older = get(played.simulator, "/fapi/v1/klines", symbol="ETHUSDT", interval="1m", endTime=rows[10][0], limit=4)
    assert older == rows[7:11]


def test_rest_trades_are_paged_by_number_and_time(played: Played) -> None:
    told = played.of("aggTrade", "BTCUSDT")
    rows: list[Any] = []
    page: list[Any] = [{"a": told[0]["a"] - 1}]
    while page:
        page = get(
            played.simulator, "/fapi/v1/aggTrades", symbol="BTCUSDT", fromId=page[-1]["a"] + 1, limit=300
        )  # fmt: skip
        rows += page
    assert rows == [{name: trade[name] for name in ("a", "p", "q", "nq", "f", "l", "T", "m")} for trade in told]
    begin, end = told[0]["T"], told[0]["T"] + HOUR_MS - 1
    by_time = get(played.simulator, "/fapi/v1/aggTrades", symbol="BTCUSDT", startTime=begin, endTime=end, limit=1000)
    assert by_time == [row for row in rows if begin <= row["T"] <= end][:1000]
    newest = get(played.simulator, "/fapi/v1/aggTrades", symbol="BTCUSDT", limit=5)
    assert newest == rows[-5:]
    [old] = get(played.simulator, "/fapi/v1/aggTrades", symbol="BTCUSDT", fromId=told[0]["a"] - 5000, limit=1)
    assert old["a"] == told[0]["a"] - 5000


@pytest.mark.parametrize(
    ("path", "parameters", "code"),
    [
        ("klines", {"interval": "1m"}, -1102),
        ("klines", {"symbol": "NOPE", "interval": "1m"}, -1121),
        ("klines", {"symbol": "BTCUSDT", "interval": "7m"}, -1120),
        ("klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": "9999"}, -1130),
        ("aggTrades", {"symbol": "BTCUSDT", "startTime": "0", "endTime": "3600000"}, -4188),
        ("aggTrades", {"symbol": "BTCUSDT", "fromId": "1", "startTime": "1"}, -1128),
        ("depth", {"symbol": "BTCUSDT", "limit": "7"}, -4021),
    ],
)
def test_rest_errors(idle: Simulator, path: str, parameters: dict[str, str], code: int) -> None:
    answer = requests.get(f"{idle.url}/fapi/v1/{path}", parameters, timeout=5)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert answer.json()["msg"]


def test_other_rest_answers(idle: Simulator) -> None:
    info = get(idle, "/fapi/v1/exchangeInfo")
    assert [symbol["symbol"] for symbol in info["symbols"]] == SYMBOLS
    assert {symbol["contractType"] for symbol in info["symbols"]} == {"PERPETUAL"}
    assert get(idle, "/fapi/v1/time")["serverTime"] == idle.rooms["binance"].period()[1]
    assert len(get(idle, "/fapi/v1/ticker/24hr")) == 5
    day = get(idle, "/fapi/v1/ticker/24hr", symbol="BTCUSDT")
    assert Decimal(day["lowPrice"]) <= Decimal(day["lastPrice"]) <= Decimal(day["highPrice"])
    assert day["count"] == day["lastId"] - day["firstId"] + 1


@pytest.mark.usefixtures("still_clock")
def test_weights_are_told_and_kept() -> None:
    with served(replace(past(wait_for="all-trades"), limits=True)) as simulator, requests.Session() as session:
        used = 0
        for path, weight in (
            ("time", 1), ("klines?symbol=BTCUSDT&interval=1d&limit=99", 1), ("klines?symbol=BTCUSDT&interval=1d", 5),
            ("aggTrades?symbol=BTCUSDT&limit=1", 20), ("depth?symbol=BTCUSDT&limit=1000", 20),
        ):  # fmt: skip
            answer = session.get(f"{simulator.url}/fapi/v1/{path}", timeout=60)
            used += weight
            assert answer.headers["X-MBX-USED-WEIGHT-1M"] == str(used)


def test_too_much_weight_is_refused_and_then_banned() -> None:
    now = [1_000_000.0]
    limits = BinanceLimits(True, lambda: now[0])
    assert limits.take("a", PER_MINUTE).status == 200
    refusals = [limits.take("a", 1) for _ in range(11)]
    assert [verdict.status for verdict in refusals] == [429] * 10 + [418]
    assert limits.take("b", 1).status == 200
    now[0] += 60
    assert limits.take("a", 1).status == 418
    assert refusals[-1].banned_until_ms == (now[0] - 60 + 120) * 1000
    now[0] += refusals[-1].retry_s or 0
    assert limits.take("a", 1).status == 200


def test_a_cut_to_order(idle: Simulator) -> None:
    async def run() -> None:
        async with opened(idle, "/public/ws") as ws, opened(idle, "/public/ws") as other:
            [*_, first, _] = get(idle, "/_sim/status", exchange="binance")["connections"]
            assert await ordered(idle, "binance", kind="close", code=1001, connection=first["name"]) == 1
            message = await ws.receive(timeout=5)
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1001)
            assert await ordered(idle, "binance", kind="abort") >= 1
            assert (await other.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSED
            assert other.close_code == 1006

    asyncio.run(run())
