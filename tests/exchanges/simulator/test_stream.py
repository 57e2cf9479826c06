"""Upbit's WebSocket rules, on a real socket."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import aiohttp
import pytest

from tests.exchanges.simulator.serving import (
    NIGHT,
    all_codes,
    answers,
    binary,
    decoded,
    frames,
    get,
    past,
    request,
    served,
    socket,
    whole_play,
)
from tidemark.local.simulator import Cadence, Simulator, SimulatorConfig

TRADE_FIELDS = """type code timestamp trade_date trade_time trade_timestamp trade_price trade_volume ask_bid
prev_closing_price change change_price sequential_id best_ask_price best_ask_size best_bid_price best_bid_size
stream_type"""
TRADE_SHORT = "ty cd tms td ttm ttms tp tv ab pcp c cp sid bap bas bbp bbs st"
TICKER_SHORT = """ty cd op hp lp tp pcp c cp scp cr scr tv atv atv24h atp atp24h tdt ttm ttms ab aav abv
h52wp h52wdt l52wp l52wdt ms dd tms st"""


@pytest.fixture(scope="module")
def idle() -> Iterator[Simulator]:
    """A simulator that waits for somebody to cover all trades, so that nothing but snapshots is sent."""
    with served(past(wait_for="all-trades", status_every_s=0.2)) as simulator:
        yield simulator


def ask(simulator: Simulator, *messages: str) -> list[Any]:
    async def run() -> list[Any]:
        async with socket(simulator, *messages) as ws:
            return [decoded(frame) for frame in binary(await answers(ws))]

    return asyncio.run(run())


def test_snapshots_come_first_and_say_so(idle: Simulator) -> None:
    answer = ask(idle, request("trade", "ticker", "orderbook", "candle.1m", "candle.240m", codes=["KRW-BTC"]))
    assert [frame["type"] for frame in answer] == ["trade", "ticker", "orderbook", "candle.1m", "candle.240m"]
    assert {frame["stream_type"] for frame in answer} == {"SNAPSHOT"}
    assert list(answer[0]) == TRADE_FIELDS.split()
    assert len(answer[1]) == 31
    assert len(answer[2]["orderbook_units"]) == 30
    assert len(answer[3]) == 12


def test_formats(idle: Simulator) -> None:
    for form in ("DEFAULT", "SIMPLE", "JSON_LIST", "SIMPLE_LIST"):
        [frame] = ask(idle, request("ticker", codes=["KRW-ETH"], form=form))
        assert isinstance(frame, list) == form.endswith("LIST")
        row = frame[0] if isinstance(frame, list) else frame
        assert (set(row) == set(TICKER_SHORT.split())) == form.startswith("SIMPLE")
    [trade] = ask(
        idle,
        '[{"format":"SIMPLE"},{"ticket":"t"},{"type":"trade","codes":["KRW-ETH"],"isOnlySnapshot":true}]',
    )
    assert set(trade) == set(TRADE_SHORT.split())


def test_the_format_may_be_left_out(idle: Simulator) -> None:
    [frame] = ask(idle, '[{"ticket":"t"},{"type":"ticker","codes":["KRW-ETH"]}]')
    assert frame["type"] == "ticker"


def test_unknown_and_lower_case_codes_are_silently_ignored(idle: Simulator) -> None:
    answer = ask(idle, request("ticker", codes=["krw-btc", "KRW-NOPE", "BTC-KRW", "KRW-XRP"]))
    assert [frame["code"] for frame in answer] == ["KRW-XRP"]
    assert ask(idle, request("ticker", codes=["KRW-NOPE"])) == []


def test_a_second_request_replaces_the_first(idle: Simulator) -> None:
    async def run() -> None:
        async with socket(idle, request("ticker", codes=["KRW-BTC"])) as ws:
            await frames(ws, count=1)
            await ws.send_str(request("trade", codes=["KRW-ETH"]))
            [frame] = await frames(ws, count=1)
            assert decoded(frame)["code"] == "KRW-ETH"
            [connection] = get(idle, "/_sim/status")["connections"]
            assert connection["subscribed"] == ["trade"]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("nonsense", "WRONG_FORMAT"),
        ('{"ticket":"t"}', "WRONG_FORMAT"),
        ('[{"type":"ticker","codes":["KRW-BTC"]}]', "NO_TICKET"),
        ('[{"ticket":"t"}]', "NO_TYPE"),
        ('[{"ticket":"t"},{"codes":["KRW-BTC"]}]', "NO_TYPE"),
        ('[{"ticket":"t"},{"type":"ticker"}]', "NO_CODES"),
        ('[{"ticket":"t"},{"type":"ticker","codes":[]}]', "NO_CODES"),
        ('[{"ticket":"t"},{"type":"candle.7m","codes":["KRW-BTC"]}]', "INVALID_PARAM"),
        ('[{"ticket":"t"},{"type":"ticker","codes":["KRW-BTC"]},{"format":"LONG"}]', "INVALID_PARAM"),
    ],
)
def test_errors_are_told_and_then_the_socket_closes(idle: Simulator, message: str, name: str) -> None:
    async def run() -> None:
        async with socket(idle, message) as ws:
            [frame] = await frames(ws, count=1)
            assert decoded(frame)["error"]["name"] == name
            assert decoded(frame)["error"]["message"]
            assert (await ws.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
            assert ws.close_code == 1000

    asyncio.run(run())


def test_text_ping_is_answered_and_repeated(idle: Simulator) -> None:
    async def run() -> None:
        async with socket(idle, "PING") as ws:
            assert await frames(ws, count=3) == [b'{"status":"UP"}'] * 3

    asyncio.run(run())


def test_protocol_ping_gets_a_pong_and_the_server_never_pings(idle: Simulator) -> None:
    async def run() -> None:
        async with socket(idle) as ws:
            await ws.ping(b"here")
            answer = await ws.receive(timeout=5)
            assert (answer.type, answer.data) == (aiohttp.WSMsgType.PONG, b"here")
            assert await frames(ws, quiet_s=0.3) == []

    asyncio.run(run())


def test_idle_sockets_are_dropped_without_a_word() -> None:
    async def run(simulator: Simulator) -> None:
        async with socket(simulator) as ws:
            await asyncio.sleep(1.3)
            await ws.ping()  # keeps it open
            assert (await ws.receive(timeout=20)).type is aiohttp.WSMsgType.PONG
            await asyncio.sleep(1.3)
            assert not ws.closed
            message = await ws.receive(timeout=20)
            assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
            assert ws.close_code == 1006

    with served(past(idle_timeout_s=2.5)) as simulator:
        asyncio.run(run(simulator))


def test_book_suffixes_and_levels(idle: Simulator) -> None:
    for suffix, levels in ((".5", 5), (".15", 15), (".30", 30), (".7", 30), (".1", 1), ("", 30)):
        [book] = ask(idle, request("orderbook", codes=["KRW-BTC" + suffix]))
        assert (book["code"], len(book["orderbook_units"])) == ("KRW-BTC", levels)
        assert book["total_ask_size"] == sum(unit["ask_size"] for unit in book["orderbook_units"])
    [grouped] = ask(idle, request("orderbook", codes=["KRW-BTC"], level=10_000))
    assert grouped["level"] == 10_000
    assert all(unit["ask_price"] % 10_000 == unit["bid_price"] % 10_000 == 0 for unit in grouped["orderbook_units"])
    assert ask(idle, request("orderbook", codes=["BTC-ETH", "KRW-XRP"], level=12_345)) == []


def test_thin_sides_are_filled_with_zeros(idle: Simulator) -> None:
    [book] = ask(idle, request("orderbook", codes=["BTC-ARDR"]))
    assert [unit["ask_price"] for unit in book["orderbook_units"]][13:] == [0] * 17


def test_only_realtime_has_no_snapshot_and_only_snapshot_nothing_else() -> None:
    config = past(0.25)
    with served(config) as simulator:
        received = asyncio.run(
            whole_play(
                simulator,
                json.dumps(
                    [
                        {"ticket": "t"},
                        {"type": "trade", "codes": ["KRW-BTC"], "is_only_realtime": True},
                        {"type": "ticker", "codes": ["KRW-BTC"], "is_only_snapshot": True},
                        {"format": "DEFAULT"},
                    ]
                ),
            )
        )
    told = [(frame["type"], frame["stream_type"]) for frame in map(decoded, received)]
    assert set(told) == {("trade", "REALTIME"), ("ticker", "SNAPSHOT")}
    assert told.count(("ticker", "SNAPSHOT")) == 1


@pytest.mark.usefixtures("still_clock")
def test_connections_and_messages_are_limited() -> None:
    async def too_many_messages(simulator: Simulator) -> None:
        async with socket(simulator, *["PING"] * 6) as ws:
            told = [decoded(frame) for frame in await frames(ws, quiet_s=20)]
            assert told[-1]["error"]["name"] == "TOO_MANY_REQUESTS"
            assert ws.close_code == 1000

    async def too_many_sockets(simulator: Simulator) -> None:
        async with aiohttp.ClientSession() as session:
            for _ in range(5):
                await session.ws_connect(simulator.ws_url)
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(simulator.ws_url)
            assert refused.value.status == 429
            assert refused.value.headers is not None
            assert refused.value.headers["Remaining-Req"].startswith("group=websocket")

    config = replace(past(wait_for="all-trades"), limits=True)
    with served(config) as simulator:
        asyncio.run(too_many_messages(simulator))
    with served(config) as simulator:
        asyncio.run(too_many_sockets(simulator))


class Played(NamedTuple):
    """A finished simulator, and what its only subscriber received."""

    simulator: Simulator
    raw: list[bytes]
    frames: dict[str, list[Any]]


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    """Two hours around midnight UTC, everything subscribed, candles every second."""
    begin = NIGHT + timedelta(hours=8)
    config = past(from_at=begin, to_at=begin + timedelta(hours=2), fast=Cadence(10, 10, 1))
    with served(config) as simulator:
        kinds = ("trade", "ticker", "orderbook", "candle.1s", "candle.1m", "candle.60m")
        raw = asyncio.run(whole_play(simulator, request(*kinds, codes=all_codes(simulator))))
        by_type: dict[str, list[Any]] = {kind: [] for kind in kinds}
        for frame in map(decoded, raw):
            by_type[frame["type"]].append(frame)
        yield Played(simulator, raw, by_type)


def test_tickers_keep_their_identities(played: Played) -> None:
    tickers = played.frames["ticker"]
    assert len(tickers) > 500
    for t in tickers:
        assert t["signed_change_price"] == t["trade_price"] - t["prev_closing_price"]
        assert abs(t["signed_change_price"]) == t["change_price"]
        exact = t["signed_change_price"] / Decimal(t["prev_closing_price"])
        assert abs(t["signed_change_rate"] - exact) <= Decimal("5.1e-11")
        assert t["change"] == ("RISE" if exact > 0 else "FALL" if exact < 0 else "EVEN")
        assert t["acc_ask_volume"] + t["acc_bid_volume"] == t["acc_trade_volume"] <= t["acc_trade_volume_24h"]
        assert t["low_price"] <= t["trade_price"] <= t["high_price"] <= t["highest_52_week_price"]
        assert t["lowest_52_week_price"] <= t["low_price"] <= t["opening_price"] <= t["high_price"]
        assert t["acc_trade_price"] <= t["acc_trade_price_24h"]


def test_ticker_sums_are_those_of_the_trades(played: Played) -> None:
    trades = [t for t in played.frames["trade"] if t["trade_date"] == "2026-11-19"]
    last = {t["code"]: t for t in played.frames["ticker"]}
    for code in ("KRW-BTC", "KRW-XRP", "USDT-BTC", "BTC-ETH"):
        mine = sorted((t for t in trades if t["code"] == code), key=lambda t: t["sequential_id"])
        assert last[code]["acc_trade_volume"] == sum(t["trade_volume"] for t in mine)
        assert last[code]["acc_trade_price"] == sum(t["trade_volume"] * t["trade_price"] for t in mine)
        assert last[code]["opening_price"] == mine[0]["trade_price"]
        assert last[code]["trade_price"] == mine[-1]["trade_price"]
        assert last[code]["trade_timestamp"] == mine[-1]["trade_timestamp"]


def test_books_are_sane(played: Played) -> None:
    books = played.frames["orderbook"]
    assert len(books) > 1000
    for book in books[::7]:
        asks = [(u["ask_price"], u["ask_size"]) for u in book["orderbook_units"] if u["ask_price"]]
        bids = [(u["bid_price"], u["bid_size"]) for u in book["orderbook_units"] if u["bid_price"]]
        assert asks[0][0] > bids[0][0]
        assert [p for p, _ in asks] == sorted({p for p, _ in asks})
        assert [p for p, _ in bids] == sorted({p for p, _ in bids}, reverse=True)
        assert book["total_ask_size"] == sum(size for _, size in asks)
        assert book["total_bid_size"] == sum(size for _, size in bids)


def test_trades_are_whole_and_not_in_order(played: Played) -> None:
    trades = played.frames["trade"]
    late, highest = 0, dict.fromkeys({t["code"] for t in trades}, 0)
    for t in trades:
        assert t["trade_timestamp"] <= t["timestamp"]
        assert t["best_bid_price"] < t["best_ask_price"]
        assert t["trade_price"] == (t["best_bid_price"] if t["ask_bid"] == "ASK" else t["best_ask_price"])
        assert t["change_price"] == abs(t["trade_price"] - t["prev_closing_price"])
        late += t["sequential_id"] < highest[t["code"]]
        highest[t["code"]] = max(highest[t["code"]], t["sequential_id"])
    assert 0.001 < late / len(trades) < 0.05
    spelled = b"".join(played.raw)
    assert b"0E-8" in spelled
    assert any(b'"trade_price":%dE' % digit or b"E8," in spelled for digit in range(10))


@pytest.mark.parametrize(("kind", "unit"), [("candle.1s", 1), ("candle.1m", 60), ("candle.60m", 3600)])
def test_the_last_candle_of_an_interval_is_that_of_its_trades(played: Played, kind: str, unit: int) -> None:
    begin = played.simulator.status()["from_ms"]
    last = {(c["code"], c["candle_date_time_utc"]): c for c in played.frames[kind]}
    buckets: dict[tuple[str, int], list[Any]] = {}
    for trade in played.frames["trade"]:
        if trade["trade_timestamp"] >= begin:
            buckets.setdefault((trade["code"], trade["trade_timestamp"] // 1000 // unit * unit), []).append(trade)
    assert len(buckets) > 30
    for (code, start), trades in buckets.items():
        ordered = sorted(trades, key=lambda t: t["sequential_id"])
        candle = last[code, iso(start)]
        assert candle["opening_price"] == ordered[0]["trade_price"]
        assert candle["trade_price"] == ordered[-1]["trade_price"]
        assert candle["high_price"] == max(t["trade_price"] for t in ordered)
        assert candle["low_price"] == min(t["trade_price"] for t in ordered)
        assert candle["candle_acc_trade_volume"] == sum(t["trade_volume"] for t in ordered)
        assert candle["candle_acc_trade_price"] == sum(t["trade_volume"] * t["trade_price"] for t in ordered)


def iso(second: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def test_candles_without_trades_never_appear(played: Played) -> None:
    quiet = [c for c in played.frames["candle.1m"] if c["code"] == "BTC-ARDR"]
    assert 0 < len({c["candle_date_time_utc"] for c in quiet}) < 60


def order(simulator: Simulator, **fault: Any) -> int:
    import requests

    answer = requests.post(simulator.url + "/_sim/faults", json=fault, timeout=5)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["done"])


def test_faults_to_order(idle: Simulator) -> None:
    async def run() -> None:
        async with socket(idle, request("ticker", codes=["KRW-BTC"])) as ws:
            await frames(ws, count=1)
            loop = asyncio.get_running_loop()

            async def fault(**what: Any) -> int:
                return await loop.run_in_executor(None, lambda: order(idle, **what))

            assert await fault(kind="raw", text='{"type":"trade","trade_price":-1}') == 1
            assert await frames(ws, count=1) == [b'{"type":"trade","trade_price":-1}']
            await fault(kind="raw", base64=base64.b64encode(b"\x00\xff").decode())
            assert await frames(ws, count=1) == [b"\x00\xff"]
            await fault(kind="raw", size=5_000_000)
            assert len((await frames(ws, count=1))[0]) == 5_000_000
            assert await fault(kind="close") == 1
            assert (await ws.receive(timeout=3)).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)

    asyncio.run(run())


def test_unknown_faults_are_refused(idle: Simulator) -> None:
    import requests

    for body in ('{"kind":"explode"}', "[]", "{", '{"kind":"raw"}'):
        assert requests.post(idle.url + "/_sim/faults", data=body, timeout=5).status_code == 400


def test_live_only_needs_no_period() -> None:
    with served(SimulatorConfig(port=0, trades_per_day=200_000, limits=False)) as simulator:

        async def run() -> None:
            async with socket(simulator, request("trade", codes=["KRW-BTC", "KRW-XRP"], is_only_realtime=True)) as ws:
                assert len(await frames(ws, count=1)) == 1

        asyncio.run(run())
        assert simulator.phases.current == "live"
