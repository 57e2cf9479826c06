"""Faults to order, on every exchange: what goes missing is known as not sent, and REST still serves it."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
import requests

from tests.exchanges.simulator.serving import (
    NIGHT,
    all_codes,
    decoded,
    eventually,
    frames,
    get,
    past,
    request,
    served,
    socket,
    whole_play,
)
from tests.exchanges.simulator.swaps import (
    OKX_CODES,
    SYMBOLS,
    answered,
    binance,
    okx,
    okx_all,
    opened,
    order,
    ordered,
    received,
    streams,
    until_done,
)
from tidemark.local.simulator import ConfigError, Simulator, SimulatorConfig

PUBLIC = "/ws/v5/public"


def play_okx(simulator: Simulator, *channels: str) -> list[Any]:
    """The data frames of a whole play of OKX."""

    async def run() -> list[Any]:
        async with opened(simulator, PUBLIC, okx_all(*channels)) as ws:
            return (await until_done(simulator, "okx", ws))[0]

    return [frame for frame in asyncio.run(run()) if "data" in frame]


def play_binance(simulator: Simulator, path: str, *kinds: str) -> list[Any]:
    """The frames of a whole play of Binance."""

    async def run() -> list[Any]:
        async with opened(simulator, path, binance("SUBSCRIBE", *streams(*kinds))) as ws:
            return (await until_done(simulator, "binance", ws))[0]

    return [frame for frame in asyncio.run(run()) if "e" in frame]


def test_dropped_trades_are_a_hole_that_rest_fills() -> None:
    with served(past(1)) as simulator:
        order(simulator, "binance", kind="drop", frames=7, channel="trade", market="ETHUSDT")
        told = [frame for frame in play_binance(simulator, "/market/ws", "aggTrade") if frame["s"] == "ETHUSDT"]
        sent = get(simulator, "/_sim/trades", exchange="binance", market="ETHUSDT")
        assert [row["number"] for row in sent] == [frame["a"] for frame in told]
        assert get(simulator, "/_sim/summary", exchange="binance")["ETHUSDT"]["missed"] == 7
        before = get(simulator, "/fapi/v1/aggTrades", symbol="ETHUSDT", fromId=told[0]["a"] - 7, limit=8)
        assert [row["a"] for row in before] == list(range(told[0]["a"] - 7, told[0]["a"] + 1))
        begin = simulator.rooms["binance"].period()[0]
        assert all(row["T"] >= begin for row in before)


def test_dropped_changes_break_the_chain_of_a_book() -> None:
    with served(past(1)) as simulator:

        async def run() -> list[Any]:
            async with (
                opened(simulator, "/public/ws", binance("SUBSCRIBE", "btcusdt@depth@100ms")) as ws,
                opened(simulator, "/market/ws") as market,
            ):
                await ordered(simulator, "binance", kind="silent", seconds=60)
                first = await answered(ws)
                await ordered(simulator, "binance", kind="drop", frames=1, channel="depth.100")
                await ordered(simulator, "binance", kind="silent", seconds=0)
                rest = await until_done(simulator, "binance", ws, market)
                return [frame for frame in first + rest[0] if "e" in frame]

        told = asyncio.run(run())
        breaks = [after for before, after in pairwise(told) if after["pu"] != before["u"]]
        known = {row["id"] for row in get(simulator, "/_sim/books", exchange="binance", market="BTCUSDT")}
        assert known == {frame["u"] for frame in told}
        assert len(breaks) <= 1
        assert breaks or told[0]["pu"] not in known


def test_frames_out_of_order_all_come() -> None:
    with served(past(1)) as simulator:
        order(simulator, "okx", kind="reorder", frames=20, channel="trade", market="BTC-USDT-SWAP")
        told = play_okx(simulator, "trades")
        ids = [int(f["data"][0]["tradeId"]) for f in told if f["arg"]["instId"] == "BTC-USDT-SWAP"]
        assert ids[:20] == sorted(ids[:20], reverse=True)
        assert ids[20:] == sorted(ids[20:])
        sent = get(simulator, "/_sim/trades", exchange="okx", market="BTC-USDT-SWAP")
        assert sorted(row["id"] for row in sent) == sorted(ids)
        assert simulator.rooms["okx"].log.missed.total() == 0


def test_doubled_frames_are_one_sent_trade() -> None:
    with served(past(1)) as simulator:
        order(simulator, "okx", kind="duplicate", frames=30, channel="trade")
        told = Counter(f["data"][0]["tradeId"] + f["arg"]["instId"] for f in play_okx(simulator, "trades"))
        assert Counter(told.values())[2] == 30
        assert len(simulator.rooms["okx"].log) == len(told)


def test_one_stream_falls_silent_and_the_others_go_on() -> None:
    with served(past(1)) as simulator:
        order(simulator, "okx", kind="silent", seconds=60, channel="trade", market="XRP-USDT-SWAP")
        told = {(f["arg"]["channel"], f["arg"]["instId"]) for f in play_okx(simulator, "trades", "tickers")}
        expected = {(channel, code) for channel in ("trades", "tickers") for code in OKX_CODES}
        assert expected - told == {("trades", "XRP-USDT-SWAP")}
        assert simulator.rooms["okx"].log.missed["XRP-USDT-SWAP"] > 0


def test_upbit_has_the_same_faults() -> None:
    with served(past(0.5)) as simulator:
        order(simulator, "upbit", kind="drop", frames=3, channel="trade", market="KRW-BTC")
        received = asyncio.run(whole_play(simulator, request("trade", codes=["KRW-BTC"], is_only_realtime=True)))
        assert simulator.log.missed["KRW-BTC"] == 3
        told = [decoded(frame)["sequential_id"] for frame in received]
        assert [row["id"] for row in get(simulator, "/_sim/trades", market="KRW-BTC")] == told
        served_ids = {r["sequential_id"] for r in get(simulator, "/v1/trades/ticks", market="KRW-BTC", count=500)}
        assert len(served_ids - set(told)) >= 3


def test_a_half_open_connection_hears_nothing_and_stays_open() -> None:
    with served(past(1)) as simulator:

        async def run() -> None:
            await ordered(simulator, "okx", kind="silent", seconds=60)
            async with opened(simulator, PUBLIC, okx("subscribe", ("trades", "BTC-USDT-SWAP"))) as ws:
                await received(ws, count=1)
                assert await ordered(simulator, "okx", kind="half-open") == 1
                await ordered(simulator, "okx", kind="silent", seconds=0)
                now = simulator.rooms["okx"].period()[1]
                await ws.send_str("ping")
                assert await received(ws, quiet_s=0.5) == []
                assert not ws.closed
                assert simulator.rooms["okx"].period()[1] == now  # it waits for others
                async with opened(simulator, PUBLIC, okx("subscribe", ("trades", "BTC-USDT-SWAP"))) as other:
                    assert len(await received(other, count=10)) == 10
                assert await received(ws, quiet_s=0.2) == []
                assert not ws.closed

        asyncio.run(run())


def test_garbage_and_floods() -> None:
    with served(past(wait_for="all-trades")) as simulator:

        async def run() -> None:
            async with opened(simulator, PUBLIC, okx("subscribe", ("tickers", "BTC-USDT-SWAP"))) as ws:
                last = (await received(ws, count=2))[1]
                await ordered(simulator, "okx", kind="raw", text='{"arg":{"channel":"trades"},"data":[{}]}')
                assert await received(ws, count=1) == [{"arg": {"channel": "trades"}, "data": [{}]}]
                await ordered(simulator, "okx", kind="raw", size=200_000)
                assert len((await received(ws, count=1))[0]) == 200_000
                simulator.rooms["okx"].hub.chosen()[0].last = b'{"arg":1}'
                assert await ordered(simulator, "okx", kind="flood", frames=5_000) == 1
                assert await received(ws, count=5_000) == [{"arg": 1}] * 5_000
                assert last["arg"]["channel"] == "tickers"
                broken = base64.b64encode(b"\xff\xfe").decode()
                assert await ordered(simulator, "okx", kind="raw", base64=broken) == 1
                assert (await ws.receive(timeout=5)).type is not aiohttp.WSMsgType.TEXT

        asyncio.run(run())


@pytest.mark.parametrize("fault", [{"kind": "explode"}, {"kind": "notice"}, {"kind": "drop"}, {"kind": "flood"}])
def test_faults_that_there_are_not(fault: dict[str, str]) -> None:
    with served(past(wait_for="all-trades", exchanges=("binance",))) as simulator:
        assert requests.post(simulator.url + "/_sim/faults", json=fault, timeout=5).status_code == 400
        answer = requests.post(simulator.url + "/_sim/faults", json={"exchange": "kraken", **fault}, timeout=5)
        assert (answer.status_code, answer.text) == (400, "no exchange 'kraken' here; there are: binance")
        assert requests.get(simulator.url + "/_sim/status?exchange=kraken", timeout=5).status_code == 400


def test_no_exchange_waits_for_anothers_subscribers() -> None:
    with served(past(0.5, wait_for="all-trades")) as simulator:
        codes = all_codes(simulator)
        asyncio.run(whole_play(simulator, request("trade", codes=codes)))
        phases = {name: get(simulator, "/_sim/status", exchange=name)["phase"] for name in simulator.rooms}
        assert phases == {"upbit": "done", "okx": "waiting", "binance": "waiting"}
        assert play_binance(simulator, "/market/ws", "aggTrade")
        eventually(lambda: simulator.rooms["binance"].phases.current == "done")
        assert simulator.rooms["okx"].phases.current == "waiting"


def test_only_the_named_codes_are_waited_for() -> None:
    wait_codes = {"okx": {"BTC-USDT-SWAP", "NOPE-USDT-SWAP"}}
    with served(past(0.5, wait_for="all-trades", wait_codes=wait_codes)) as simulator:

        async def run() -> None:
            async with opened(simulator, PUBLIC, okx("subscribe", ("trades", "BTC-USDT-SWAP"))) as ws:
                [told] = await until_done(simulator, "okx", ws)
                assert {f["arg"]["instId"] for f in told} == {"BTC-USDT-SWAP"}

        asyncio.run(run())


def test_only_the_chosen_exchanges_are_there() -> None:
    with served(past(exchanges=("upbit",))) as simulator:
        assert requests.get(simulator.url + "/fapi/v1/time", timeout=5).status_code == 404
        assert requests.get(simulator.url + "/api/v5/public/time", timeout=5).status_code == 404
        asyncio.run(_one_trade(simulator))
    with pytest.raises(ConfigError, match="no exchange kraken"):
        Simulator(SimulatorConfig(exchanges=("kraken",)))


async def _one_trade(simulator: Simulator) -> None:
    async with socket(simulator, request("trade", codes=["KRW-BTC"])) as ws:
        assert len(await frames(ws, count=1)) == 1


def test_the_premium_can_be_measured() -> None:
    """Trades of two exchanges and the rate on one of them give the hidden premium back."""
    with served(past(1, trades_per_day=200_000, swap_trades_per_day=200_000)) as simulator:
        codes = ["KRW-BTC", "KRW-USDT"]
        asyncio.run(whole_play(simulator, request("trade", codes=codes, is_only_realtime=True)))
        play_binance(simulator, "/market/ws", "aggTrade")
        won, rate, dollar = (
            {bar["start"]: float(bar["close"]) for bar in get(simulator, "/_sim/candles", unit=5, **where)}
            for where in (
                {"market": "KRW-BTC"},
                {"market": "KRW-USDT"},
                {"market": "BTCUSDT", "exchange": "binance"},
            )
        )
        assert len(won) == len(rate) == len(dollar) == 12
        for start, price in won.items():
            at = f"{(start + 299_000) / 1000:.0f}"
            hidden = get(simulator, "/_sim/premium", at=_iso(int(at)))["premium"]
            assert price / (rate[start] * dollar[start]) - 1 == pytest.approx(float(hidden), abs=0.003)


def _iso(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()


def test_ids_do_not_depend_on_where_the_play_begins() -> None:
    told = []
    for begin in (0, 30):
        config = past(from_at=NIGHT + timedelta(minutes=begin), to_at=NIGHT + timedelta(hours=1))
        with served(config) as simulator:
            play_binance(simulator, "/market/ws", "aggTrade")
            told.append(get(simulator, "/_sim/trades", exchange="binance", market=SYMBOLS[0]))
    assert told[1] == told[0][-len(told[1]) :]
    assert 10 < len(told[1]) < len(told[0])
