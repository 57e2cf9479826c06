"""OKX's rules on real sockets and over HTTP, and its frames against one another."""

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

from tests.exchanges.simulator.serving import NIGHT, decoded, get, past, served
from tests.exchanges.simulator.swaps import OKX_CODES, answered, okx, okx_all, opened, ordered, received, until_done
from tidemark.local.simulator import Simulator
from tidemark.local.simulator.swap.timeline import SwapCadence

PUBLIC, BUSINESS = "/ws/v5/public", "/ws/v5/business"
BTC = "BTC-USDT-SWAP"
CONTRACTS = dict(zip(OKX_CODES, map(Decimal, ("0.01", "0.1", "100", "1", "1000")), strict=True))
HOUR_MS = 3_600_000


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


def rest(simulator: Simulator, path: str, **parameters: Any) -> list[Any]:
    answer = get(simulator, f"/api/v5/{path}", **parameters)
    assert (answer["code"], answer["msg"]) == ("0", "")
    return list(answer["data"])


def test_each_arg_is_acknowledged_by_itself(idle: Simulator) -> None:
    request = okx("subscribe", ("trades", BTC), ("tickers", BTC), id="17")
    answer = ask(idle, PUBLIC, request)
    acks = [frame for frame in answer if "event" in frame]
    assert [ack["arg"] for ack in acks] == request["args"]
    assert {(ack["id"], ack["event"]) for ack in acks} == {("17", "subscribe")}
    assert len({ack["connId"] for ack in acks}) == 1
    assert len(acks[0]["connId"]) == 8
    assert [frame["arg"]["channel"] for frame in answer if "data" in frame] == ["tickers"]
    assert "id" not in ask(idle, PUBLIC, okx("subscribe", ("trades", BTC)))[0]


@pytest.mark.parametrize(
    ("path", "message", "code", "named"),
    [
        (PUBLIC, "nonsense", "60012", "nonsense"),
        (PUBLIC, '{"op":"subscribe"}', "60012", "Illegal"),
        (PUBLIC, '{"op":"login","args":[{}]}', "60012", "login"),
        (PUBLIC, {"op": "subscribe", "args": ["trades"]}, "60012", "trades"),
        (PUBLIC, okx("subscribe", ("candle1m", BTC)), "60018", "Wrong URL or channel:candle1m,instId:BTC-USDT-SWAP"),
        (BUSINESS, okx("subscribe", ("trades", BTC)), "60018", "Wrong URL or channel:trades"),
        (BUSINESS, okx("subscribe", ("candle1h", BTC)), "60018", "candle1h"),
        (PUBLIC, okx("subscribe", ("trades", "NOPE-USDT-SWAP")), "60018", "NOPE-USDT-SWAP doesn't exist"),
        (PUBLIC, '{"op":"subscribe","args":[' + " " * 66_000 + "]}", "60012", "64 KB"),
    ],
)
def test_wrong_requests_are_answered_and_leave_the_socket_open(
    idle: Simulator, path: str, message: Any, code: str, named: str
) -> None:
    [error, pong] = ask(idle, path, message, "ping")
    assert (error["event"], error["code"], pong) == ("error", code, "pong")
    assert named in error["msg"]


def test_a_good_arg_stands_beside_a_bad_one(idle: Simulator) -> None:
    answer = ask(idle, PUBLIC, okx("subscribe", ("trades", "NOPE"), ("trades", BTC)))
    assert [frame["event"] for frame in answer] == ["error", "subscribe"]


@pytest.mark.usefixtures("still_clock")
def test_more_requests_than_an_hour_allows_are_refused() -> None:
    with served(replace(past(wait_for="all-trades"), limits=True)) as simulator:
        answer = ask(simulator, PUBLIC, *[okx("subscribe", ("trades", BTC))] * 482)
        assert [frame.get("code") for frame in answer] == [None] * 480 + ["60014"] * 2


@pytest.mark.usefixtures("still_clock")
def test_connections_too_fast_are_refused() -> None:
    async def run(simulator: Simulator) -> None:
        async with aiohttp.ClientSession() as session:
            for _ in range(3):
                await session.ws_connect(simulator.ws_root + PUBLIC)
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(simulator.ws_root + BUSINESS)
            assert refused.value.status == 429

    with served(replace(past(wait_for="all-trades"), limits=True)) as simulator:
        asyncio.run(run(simulator))


def test_a_silent_connection_is_closed_and_a_ping_keeps_it_open() -> None:
    async def run(simulator: Simulator) -> None:
        async with opened(simulator, PUBLIC) as ws:
            await asyncio.sleep(1.3)
            await ws.send_str("ping")
            assert await received(ws, count=1) == ["pong"]
            await asyncio.sleep(1.3)
            assert not ws.closed
            message = await ws.receive(timeout=5)
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 4004)

    with served(past(wait_for="all-trades", okx_silence_s=2.5)) as simulator:
        asyncio.run(run(simulator))


class Played(NamedTuple):
    """A finished simulator, and what came on its two roots, by channel."""

    simulator: Simulator
    frames: dict[str, list[Any]]

    def rows(self, channel: str, code: str) -> list[Any]:
        """The data of a channel and an instrument."""
        return [row for f in self.frames[channel] if f["arg"]["instId"] == code for row in f["data"]]


CANDLES = ("candle1s", "candle1m", "candle5m", "candle1H", "candle6H", "candle1D", "candle1Dutc", "candle1M")
DONE = {"from_at": NIGHT + timedelta(hours=7, minutes=30), "to_at": NIGHT + timedelta(hours=9, minutes=30)}


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    """Two hours around midnight UTC."""
    fast = SwapCadence(ticker_ms=10_000, depth_ms=60_000, candle_ms=5_000)
    with served(past(**DONE, swap_trades_per_day=40_000, swap_fast=fast, wait_for="all-trades")) as simulator:

        async def run() -> list[list[Any]]:
            async with (
                opened(simulator, BUSINESS, okx_all(*CANDLES)) as business,
                opened(simulator, PUBLIC, okx_all("trades", "tickers")) as public,
            ):
                return await until_done(simulator, "okx", business, public)

        frames: dict[str, list[Any]] = {}
        for frame in (frame for told in asyncio.run(run()) for frame in told if "data" in frame):
            frames.setdefault(frame["arg"]["channel"], []).append(frame)
        yield Played(simulator, frames)


def test_trades_are_numbered_without_a_hole_and_stand_for_several(played: Played) -> None:
    counts = set()
    for code in OKX_CODES:
        trades = played.rows("trades", code)
        assert len(trades) > 100
        for before, after in pairwise(trades):
            assert int(after["tradeId"]) - int(after["count"]) == int(before["tradeId"])
            assert int(after["ts"]) >= int(before["ts"])
        counts |= {int(trade["count"]) for trade in trades}
    assert {1, 2, 3} <= counts


def test_the_oracle_knows_the_trades_in_coins(played: Played) -> None:
    sent = get(played.simulator, "/_sim/trades", exchange="okx")
    told = [
        (t["instId"], int(t["tradeId"]), Decimal(t["px"]), Decimal(t["sz"]) * CONTRACTS[t["instId"]], t["side"])
        for frame in played.frames["trades"]
        for t in frame["data"]
    ]
    assert [(t["market"], t["id"], Decimal(t["price"]), Decimal(t["size"]), t["side"]) for t in sent] == told
    summary = get(played.simulator, "/_sim/summary", exchange="okx")
    assert sum(row["trades"] for row in summary.values()) == len(told)
    assert not any(row["missed"] for row in summary.values())
    assert get(played.simulator, "/_sim/summary") == {}  # nobody has listened to Upbit


def bars_of(trades: list[Any], code: str, begin_of: Any) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for trade in trades:
        found.setdefault(begin_of(int(trade["ts"])), []).append(trade)
    return {
        begin: [
            rows[0]["px"], max((r["px"] for r in rows), key=Decimal), min((r["px"] for r in rows), key=Decimal),
            rows[-1]["px"], sum(Decimal(r["sz"]) for r in rows),
            sum(Decimal(r["sz"]) * CONTRACTS[code] for r in rows),
            sum(Decimal(r["sz"]) * CONTRACTS[code] * Decimal(r["px"]) for r in rows),
        ]
        for begin, rows in found.items()
    }  # fmt: skip


@pytest.mark.parametrize(("channel", "width_ms"), [("candle1s", 1000), ("candle1m", 60_000), ("candle5m", 300_000)])
def test_closed_candles_are_those_of_the_trades_and_none_is_missing(
    played: Played, channel: str, width_ms: int
) -> None:
    for code in OKX_CODES:
        closed = [row for row in played.rows(channel, code) if row[8] == "1"]
        starts = [int(row[0]) for row in closed]
        assert starts == list(range(starts[0], starts[0] + len(starts) * width_ms, width_ms))  # each once, in order
        assert len(starts) >= 2 * HOUR_MS // width_ms - 1
        made = bars_of(played.rows("trades", code), code, lambda ms, w=width_ms: ms // w * w)
        flat = 0
        for row in closed:
            if int(row[0]) in made:
                assert [*row[1:5], *map(Decimal, row[5:8])] == made[int(row[0])]
            else:
                flat += 1
                assert len(set(row[1:5])) == 1
                assert row[5:8] == ["0", "0", "0"]
        assert len(closed) - flat == len(made)
        for before, after in pairwise(closed):
            assert before[4] == after[1] or Decimal(after[5])  # a flat bar begins where the one before ended


def test_forming_candles_grow_to_closed_ones(played: Played) -> None:
    rows = played.rows("candle1m", BTC)
    open_bar: dict[str, Decimal] = {}
    closed: set[str] = set()
    for row in rows:
        assert row[0] not in closed
        assert Decimal(row[5]) >= open_bar.get(row[0], Decimal())
        open_bar[row[0]] = Decimal(row[5])
        if row[8] == "1":
            closed.add(row[0])
    assert sum(row[8] == "0" for row in rows) > len(closed) / 2


def test_days_open_where_their_names_say(played: Played) -> None:
    opens = {channel: {int(row[0]) for row in played.rows(channel, BTC)} for channel in CANDLES}
    midnight = int((NIGHT + timedelta(hours=9)).timestamp() * 1000)
    assert opens["candle1Dutc"] == {midnight - 24 * HOUR_MS, midnight}
    assert opens["candle1D"] == {midnight - 8 * HOUR_MS}
    assert opens["candle6H"] == {midnight - 2 * HOUR_MS}  # 22:00 UTC is 06:00 UTC+8
    assert opens["candle1M"] == {1_793_462_400_000}  # 2026-11-01 00:00 UTC+8


def test_tickers_follow_the_trades(played: Played) -> None:
    trades = played.rows("trades", BTC)
    last = played.rows("tickers", BTC)[-1]
    assert (last["last"], last["lastSz"]) == (trades[-1]["px"], trades[-1]["sz"])
    for ticker in played.rows("tickers", BTC):
        low, high = Decimal(ticker["low24h"]), Decimal(ticker["high24h"])
        assert low <= Decimal(ticker["last"]) <= high
        assert low <= Decimal(ticker["open24h"]) <= high
        assert Decimal(ticker["vol24h"]) * CONTRACTS[BTC] == Decimal(ticker["volCcy24h"])
        assert Decimal(ticker["bidPx"]) < Decimal(ticker["askPx"])
    midnight = int((NIGHT + timedelta(hours=9)).timestamp() * 1000)
    first = next(trade for trade in trades if int(trade["ts"]) >= midnight)
    assert last["sodUtc0"] == first["px"]


def test_instruments_say_what_a_contract_is(played: Played) -> None:
    rows = rest(played.simulator, "public/instruments", instType="SWAP")
    assert {row["instId"]: Decimal(row["ctVal"]) for row in rows} == CONTRACTS
    assert rest(played.simulator, "public/instruments", instType="SPOT") == []


def test_rest_candles_are_those_of_the_socket(played: Played) -> None:
    for code in (BTC, "DOGE-USDT-SWAP"):
        told = [row for row in played.rows("candle1m", code) if row[8] == "1"]
        rows = rest(played.simulator, "market/candles", instId=code, bar="1m", limit=300)
        closed = {row[0]: row for row in rows if row[8] == "1"}
        assert all(closed[row[0]] == row for row in told if row[0] in closed)
        assert len(closed.keys() & {row[0] for row in told}) > 100


def test_the_newest_candle_is_unconfirmed_and_pages_go_back_without_a_hole(played: Played) -> None:
    rows: list[Any] = []
    after: dict[str, str] = {}
    for _ in range(4):
        page = rest(played.simulator, "market/history-candles", instId=BTC, bar="1m", limit=300, **after)
        assert len(page) == 100
        rows += page
        after = {"after": page[-1][0]}
    starts = [int(row[0]) for row in rows]
    assert starts == list(range(starts[0], starts[0] - 400 * 60_000, -60_000))
    newer = rest(played.simulator, "market/history-candles", instId=BTC, bar="1m", before=str(starts[5]))
    assert newer == rows[:5]
    between = {"after": str(starts[2]), "before": str(starts[6])}
    assert rest(played.simulator, "market/candles", instId=BTC, bar="1m", **between) == rows[3:6]
    hours = rest(played.simulator, "market/candles", instId=BTC, bar="1H")
    assert [row[8] for row in hours] == ["0"] + ["1"] * (len(hours) - 1)
    assert len(rest(played.simulator, "market/candles", instId=BTC, bar="1M")) >= 3


def test_history_trades_are_single_fills_that_add_up(played: Played) -> None:
    told = {int(t["tradeId"]): t for t in played.rows("trades", BTC)}
    fills: list[Any] = []
    after: dict[str, str] = {}
    while not fills or int(fills[-1]["tradeId"]) > min(told):
        page = rest(played.simulator, "market/history-trades", instId=BTC, limit=100, **after)
        fills += page
        after = {"after": page[-1]["tradeId"]}
    ids = [int(fill["tradeId"]) for fill in fills]
    assert ids == list(range(ids[0], ids[0] - len(ids), -1))
    sizes = {int(fill["tradeId"]): Decimal(fill["sz"]) for fill in fills}
    for last, trade in list(told.items())[1:]:
        parts = [sizes[number] for number in range(last - int(trade["count"]) + 1, last + 1)]
        assert sum(parts) == Decimal(trade["sz"])
        assert min(parts) > 0
    some = {"after": str(ids[3]), "before": str(ids[9])}
    assert rest(played.simulator, "market/history-trades", instId=BTC, **some) == fills[4:9]
    by_time = rest(played.simulator, "market/history-trades", instId=BTC, type=2, after=fills[50]["ts"])
    assert all(int(fill["ts"]) < int(fills[50]["ts"]) for fill in by_time)
    assert fills.index(by_time[0]) > 50


def test_other_rest_answers(played: Played) -> None:
    simulator = played.simulator
    assert len(rest(simulator, "market/tickers", instType="SWAP")) == 5
    [ticker] = rest(simulator, "market/ticker", instId=BTC)
    [book] = rest(simulator, "market/books", instId=BTC, sz=40)
    asks, bids = ([Decimal(level[0]) for level in book[side]] for side in ("asks", "bids"))
    assert (len(asks), len(bids)) == (40, 40)
    assert asks == sorted(asks)
    assert bids == sorted(bids, reverse=True)
    assert (ticker["askPx"], ticker["bidPx"]) == (book["asks"][0][0], book["bids"][0][0])
    [now] = rest(simulator, "public/time")
    assert int(now["ts"]) == simulator.rooms["okx"].period()[1]


@pytest.mark.parametrize(
    ("path", "parameters", "status", "code"),
    [
        ("market/candles", {"bar": "1m"}, 400, "50014"),
        ("market/candles", {"instId": "NOPE"}, 200, "51001"),
        ("market/candles", {"instId": BTC, "bar": "7m"}, 400, "51000"),
        ("market/candles", {"instId": BTC, "after": "soon"}, 400, "51000"),
        ("public/instruments", {}, 400, "50014"),
    ],
)
def test_rest_errors(idle: Simulator, path: str, parameters: dict[str, str], status: int, code: str) -> None:
    answer = requests.get(f"{idle.url}/api/v5/{path}", parameters, timeout=5)
    assert (answer.status_code, answer.json()["code"], answer.json()["data"]) == (status, code, [])


@pytest.mark.usefixtures("still_clock")
def test_rest_is_limited_by_path() -> None:
    with served(replace(past(wait_for="all-trades"), limits=True)) as simulator:
        url = f"{simulator.url}/api/v5/public/time"
        with requests.Session() as session:
            answers = [session.get(url, timeout=5) for _ in range(11)]
            assert [answer.status_code for answer in answers] == [200] * 10 + [429]
            assert answers[-1].json() == {"code": "50011", "msg": "Too Many Requests", "data": []}
            tickers = session.get(f"{simulator.url}/api/v5/market/tickers?instType=SWAP", timeout=5)
            assert tickers.status_code == 200


def test_a_notice_comes_before_the_close(idle: Simulator) -> None:
    async def run() -> None:
        async with opened(idle, BUSINESS, okx("subscribe", ("candle1m", BTC))) as ws:
            await received(ws, count=2)
            assert await ordered(idle, "okx", kind="notice", seconds=0.3) == 1
            [notice] = await received(ws, count=1)
            assert (notice["event"], notice["code"]) == ("notice", "64008")
            assert not ws.closed
            assert (await ws.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE

    asyncio.run(run())


def test_unsubscribed_channels_bring_nothing() -> None:
    with served(past(0.5, wait_for="trade")) as simulator:

        async def run() -> list[Any]:
            both = okx("subscribe", ("tickers", BTC), ("tickers", "ETH-USDT-SWAP"))
            async with opened(simulator, PUBLIC, both, okx("unsubscribe", ("tickers", BTC))) as ws:
                first = await answered(ws)
                assert [frame["event"] for frame in first if "event" in frame] == ["subscribe"] * 2 + ["unsubscribe"]
                await ws.send_json(okx("subscribe", ("trades", BTC)))
                [rest] = await until_done(simulator, "okx", ws)
                return rest

        told = {(f["arg"]["channel"], f["arg"]["instId"]) for f in asyncio.run(run()) if "data" in f}
        assert told == {("trades", BTC), ("tickers", "ETH-USDT-SWAP")}


def test_frames_are_text(idle: Simulator) -> None:
    async def run() -> None:
        async with opened(idle, PUBLIC, okx("subscribe", ("tickers", BTC))) as ws:
            await received(ws, count=1)
            message = await ws.receive(timeout=5)
            assert message.type is aiohttp.WSMsgType.TEXT
            assert decoded(message.data.encode())["arg"] == {"channel": "tickers", "instId": BTC}

    asyncio.run(run())
