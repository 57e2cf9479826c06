"""Recordings are played verbatim, in order, once."""

from __future__ import annotations

import ast
import asyncio
import gzip
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.exchanges.simulator.serving import decoded, frames, get, request, served, socket, whole_play
from tests.exchanges.simulator.swaps import Book, binance, okx, opened, until_done
from tidemark.local.simulator import RecordingError, Simulator, SimulatorConfig, replay
from tidemark.local.simulator.recording import read_recording

TRADE = '{"ty":"trade","cd":"KRW-ABC","ttms":1700000000000,"tp":%s,"tv":%s,"ab":"%s","sid":%d}'
LINES = [
    "wss://exchange.example/websocket/v1 <-> 1700000000.5",
    'wss://exchange.example/websocket/v1 <- 1700000000.6: [{"ticket":"x"}]',
    "1700000000.900000: b'" + TRADE % ("127.0", "0.5", "BID", 1700000000000003) + "'",
    "1700000001.000000: b'not json \\xff'",
    "1700000001.100000: " + TRADE % ("1.28E2", "2", "ASK", 1700000000000001),
    '1700000001.300000: b\'{"ty":"orderbook","cd":"BTC-DEF","obu":[]}\'',
    "https://exchange.example/v1/market/all -> 1700000002.1: []",
]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "hand-written.0"
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return path


def replaying(path: Path, speed: float | None = None) -> SimulatorConfig:
    return SimulatorConfig(port=0, replay=path, speed=speed, limits=False)


EXPECTED = [
    (TRADE % ("127.0", "0.5", "BID", 1700000000000003)).encode(),
    b"not json \xff",
    (TRADE % ("1.28E2", "2", "ASK", 1700000000000001)).encode(),
    b'{"ty":"orderbook","cd":"BTC-DEF","obu":[]}',
]


def test_frames_come_verbatim_whatever_was_asked_for(recording: Path) -> None:
    with served(replaying(recording)) as simulator:
        assert asyncio.run(whole_play(simulator, request("ticker", codes=["KRW-SOMETHING"]))) == EXPECTED
        assert [row["market"] for row in get(simulator, "/v1/market/all")] == ["BTC-DEF", "KRW-ABC"]
        assert get(simulator, "/v1/candles/minutes/1", market="KRW-ABC") == []
        state = get(simulator, "/_sim/status")
        assert (state["phase"], state["progress"]) == ("done", 1.0)
        assert state["frames"] == {"trade": 2, "unknown": 1, "orderbook": 1}
        assert asyncio.run(whole_play(simulator, request("trade", codes=["KRW-ABC"]))) == []  # once


def test_the_oracle_knows_recorded_trades(recording: Path) -> None:
    with served(replaying(recording)) as simulator:
        asyncio.run(whole_play(simulator, request("trade", codes=["KRW-ABC"])))
        summary = get(simulator, "/_sim/summary")["KRW-ABC"]
        assert summary == {"trades": 2, "volume": "2.5", "value": "319.5", "missed": 0}
        [bar] = get(simulator, "/_sim/candles", market="KRW-ABC", unit=1)
        assert (bar["open"], bar["close"], bar["sell_volume"]) == ("128", "127", "2")


def test_it_stands_while_nobody_is_connected(recording: Path) -> None:
    with served(replaying(recording, speed=0.5)) as simulator:

        async def first() -> list[bytes]:
            async with socket(simulator, request("trade", codes=["KRW-ABC"])) as ws:
                return await frames(ws, count=2)

        before = asyncio.run(first())
        time.sleep(0.3)
        after = asyncio.run(whole_play(simulator, request("trade", codes=["KRW-ABC"])))
        assert before == EXPECTED[:2]
        assert after[-2:] == EXPECTED[2:]


def test_speed_keeps_the_recorded_pace(recording: Path) -> None:
    with served(replaying(recording, speed=1.0)) as simulator:
        began = time.monotonic()
        assert asyncio.run(whole_play(simulator, request("trade", codes=["KRW-ABC"]))) == EXPECTED
        assert time.monotonic() - began >= 0.4


def test_bad_recordings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="can't read"):
        Simulator(replaying(tmp_path / "missing"))
    empty = tmp_path / "empty"
    empty.write_text("wss://x <-> 1.0\n")
    with pytest.raises(RecordingError, match="no received frame"):
        Simulator(replaying(empty))
    broken = tmp_path / "broken"
    broken.write_text("1.5: b'open\n")
    with pytest.raises(RecordingError, match="line 1"):
        Simulator(replaying(broken))


BINANCE = [
    "wss://fstream.binance.example/stream?streams=abcusdt@aggTrade/abcusdt@depth@100ms <-> 1700000000.5",
    'https://fapi.binance.example/fapi/v1/depth?symbol=ABCUSDT&limit=1000 -> 1700000000.7: {"lastUpdateId":7}',
    '1700000000.8: {"stream":"abcusdt@depth@100ms","data":{"e":"depthUpdate","s":"ABCUSDT","U":6,"u":8,"pu":5}}',
    '1700000000.9: {"stream":"abcusdt@aggTrade","data":{"e":"aggTrade","s":"ABCUSDT","a":3,"p":"1.5","q":"4",'
    '"f":10,"l":12,"T":1700000000123,"m":true}}',
]
OKX = [
    "wss://ws.okx.example:8443/ws/v5/public <-> 1700000000.5",
    '1700000000.8: {"arg":{"channel":"trades","instId":"ABC-USDT"},"data":[{"instId":"ABC-USDT","tradeId":"12",'
    '"px":"1.5","sz":"4","side":"sell","ts":"1700000000123","count":"3"}]}',
    '1700000000.9: {"arg":{"channel":"candle1m","instId":"ABC-USDT"},"data":[["1700000000000"]]}',
]


def written(folder: Path, name: str, lines: list[str]) -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


async def both(simulator: Simulator, first: tuple[str, Any], second: tuple[str, Any]) -> list[list[Any]]:
    """What two sockets receive: (path, message) each."""
    [exchange] = simulator.rooms
    async with opened(simulator, *first) as one, opened(simulator, *second) as other:
        return await until_done(simulator, exchange, one, other)


def frames_of(lines: list[str]) -> list[Any]:
    return [decoded(line.split(": ", 1)[1].encode()) for line in lines if line[0].isdigit()]


def test_a_recording_of_binance_is_played_by_root_with_its_books(tmp_path: Path) -> None:
    path = written(tmp_path, "SOMETHING.ws.1.0", [BINANCE[0], *BINANCE[2:]])
    written(tmp_path, "SOMETHING.http.0.0", [BINANCE[1]])
    with served(replaying(path)) as simulator:
        assert list(simulator.rooms) == ["binance"]
        public, market = asyncio.run(
            both(
                simulator,
                ("/public/stream", binance("SUBSCRIBE", "abcusdt@depth@100ms")),
                ("/market/stream", binance("SUBSCRIBE", "abcusdt@aggTrade")),
            )
        )
        assert public[1:] == frames_of(BINANCE)[:1]
        assert market[1:] == frames_of(BINANCE)[1:]
        assert get(simulator, "/fapi/v1/depth", symbol="ABCUSDT", limit=100) == {"lastUpdateId": 7}
        assert [row["symbol"] for row in get(simulator, "/fapi/v1/exchangeInfo")["symbols"]] == ["ABCUSDT"]
        [trade] = get(simulator, "/_sim/trades")
        assert (trade["id"], trade["first"], trade["number"], trade["size"], trade["side"]) == (12, 10, 3, "4", "sell")


def test_a_recording_of_okx_is_played_by_root(tmp_path: Path) -> None:
    with served(replaying(written(tmp_path, "ANY.0", OKX))) as simulator:
        assert list(simulator.rooms) == ["okx"]
        public, business = asyncio.run(
            both(
                simulator,
                ("/ws/v5/public", okx("subscribe", ("trades", "ABC-USDT"))),
                ("/ws/v5/business", okx("subscribe", ("candle1m", "ABC-USDT"))),
            )
        )
        assert public[1:] == frames_of(OKX)[:1]
        assert business[1:] == frames_of(OKX)[1:]
        instruments = get(simulator, "/api/v5/public/instruments", instType="SPOT")["data"]
        assert [row["instId"] for row in instruments] == ["ABC-USDT"]
        [trade] = get(simulator, "/_sim/trades", exchange="okx")
        assert (trade["id"], trade["first"]) == (12, 10)


def test_gzipped_lines_of_nanoseconds_are_a_recording_too(tmp_path: Path) -> None:
    path = tmp_path / "abc.gz"
    lines = [f"17000000008{n:08d} {line.split(': ', 1)[1]}" for n, line in enumerate(BINANCE[2:])]
    path.write_bytes(gzip.compress("\n".join([*lines, '1700000000900000000 {"lastUpdateId":9}']).encode()))
    with served(replaying(path)) as simulator:
        assert simulator.rooms["binance"].player.recording.frames[0].at == 1700000000.8  # type: ignore[union-attr]
        assert get(simulator, "/fapi/v1/depth", symbol="ABCUSDT") == {"lastUpdateId": 9}


def test_a_root_that_nobody_opens_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "_PATIENCE_S", 0.5)
    with served(replaying(written(tmp_path, "ANY.0", OKX))) as simulator:

        async def run() -> list[Any]:
            async with opened(simulator, "/ws/v5/public", okx("subscribe", ("trades", "ABC-USDT"))) as ws:
                return (await until_done(simulator, "okx", ws))[0]

        assert asyncio.run(run())[1:] == frames_of(OKX)[:1]


def test_the_captured_session_of_binance(captures: Path) -> None:
    path = captures / "binance-usdm" / "cryptofeed-2021-07-22" / "BINANCE_FUTURES.ws.1.0"
    recorded = frames_of([line for line in path.read_text(encoding="utf-8").splitlines() if line])
    with served(replaying(path)) as simulator:
        public, market = asyncio.run(
            both(
                simulator,
                ("/public/stream", binance("SUBSCRIBE", "sushiusdt@depth@100ms")),
                ("/market/stream", binance("SUBSCRIBE", "sushiusdt@aggTrade")),
            )
        )
        told = [frame["data"]["e"] for frame in public[1:] + market[1:]]
        assert Counter(told) == {"depthUpdate": 764, "bookTicker": 613, "aggTrade": 91, "kline": 67}
        assert [f for f in recorded if f["data"]["e"] in ("depthUpdate", "bookTicker")] == public[1:]
        assert len(simulator.log) == 91
        for symbol in ("SUSHIUSDT", "AKROUSDT", "KEEPUSDT", "CTKUSDT"):
            book = Book(get(simulator, "/fapi/v1/depth", symbol=symbol, limit=1000))
            changes = [f["data"] for f in public[1:] if f["data"]["e"] == "depthUpdate" and f["data"]["s"] == symbol]
            assert all(book.apply(change) for change in changes)
            assert book.applied > 100


def test_the_captured_session_of_okx(captures: Path) -> None:
    path = captures / "okx" / "cryptofeed-2022-02-27" / "OKX.ws.1.0"
    recorded = frames_of([line for line in path.read_text(encoding="utf-8").splitlines() if line])
    with served(replaying(path)) as simulator:

        async def run() -> list[Any]:
            async with opened(simulator, "/ws/v5/public", okx("subscribe", ("books", "ZEN-USDT"))) as ws:
                return (await until_done(simulator, "okx", ws))[0]

        assert asyncio.run(run())[1:] == recorded
        assert len(recorded) == 3777
        assert len(simulator.log) == 19 - 3  # prices of ELON-USDT have eleven decimals, the oracle holds eight


def test_the_captured_nanosecond_session_of_binance(captures: Path) -> None:
    path = captures / "binance-usdm" / "hftbacktest-2024-08-08" / "btcusdt_20240808_first30s.gz"
    recording = read_recording(path)
    assert recording.exchange == "binance"
    assert len(recording.frames) == 7271
    assert recording.codes() == ["BTCUSDT"]
    assert "lastUpdateId" in (recording.answer("/fapi/v1/depth", symbol="BTCUSDT") or "")


def test_the_captured_session_of_2021(captures: Path) -> None:
    path = captures / "upbit" / "cryptofeed-2021-04-17" / "UPBIT.ws.62.0"
    recorded = [
        ast.literal_eval(line.split(": ", 1)[1])
        for line in path.read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("wss:")
    ]
    with served(replaying(path)) as simulator:
        received = asyncio.run(whole_play(simulator, request("trade", "orderbook", codes=["KRW-LAMB"])))
        assert len(received) == 449
        assert received == recorded
        summary = get(simulator, "/_sim/summary")
        assert sum(row["trades"] for row in summary.values()) == 304
        assert summary["KRW-LAMB"]["trades"] == 299
        assert Decimal(summary["KRW-LAMB"]["volume"]) == Decimal("663504.02962134")
        assert {row["market"] for row in get(simulator, "/v1/market/all")} >= {
            "KRW-LAMB",
            "KRW-WAVES",
            "BTC-ITAM",
        }
