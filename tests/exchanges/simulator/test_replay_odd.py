"""A recording may hold anything: it is played byte for byte or skipped, and nothing ends."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests

from tests.exchanges.simulator import odd_frames
from tests.exchanges.simulator.serving import answers, eventually, get, payloads, request, served
from tests.exchanges.simulator.swaps import binance, okx, opened
from tests.exchanges.simulator.test_command import start
from tidemark.local.simulator import RecordingError, Simulator, SimulatorConfig, replay
from tidemark.local.simulator.ledger import scaled, whole
from tidemark.local.simulator.recording import read_recording

OPENED = {
    "upbit": b"wss://api.upbit.example/websocket/v1 <-> 1700000000.5",
    "okx": b"wss://ws.okx.example:8443/ws/v5/public <-> 1700000000.5",
    "binance": b"wss://fstream.binance.example/stream?streams=a <-> 1700000000.5",
}
FRAMES = {
    "upbit": odd_frames.ANY + odd_frames.UPBIT,
    "okx": odd_frames.ANY + odd_frames.OKX,
    "binance": odd_frames.ANY + odd_frames.BINANCE,
}
GOOD = {
    "upbit": b'{"type":"trade","code":"KRW-OK","trade_timestamp":1700000000000,"trade_price":1.5,"trade_volume":2,'
    b'"ask_bid":"BID","sequential_id":17000000000000001}',
    "okx": b'{"arg":{"channel":"trades","instId":"OK-USDT"},"data":[{"instId":"OK-USDT","tradeId":"12","px":"1.5",'
    b'"sz":"4","side":"sell","ts":"1700000000123","count":"3"},{"instId":"OK-USDT","tradeId":"13","px":"1.5",'
    b'"sz":"4","side":"buy","ts":"1700000000124","count":"1"}]}',
    "binance": b'{"stream":"okusdt@aggTrade","data":{"e":"aggTrade","s":"OKUSDT","a":3,"p":"1.5","q":"4","f":10,'
    b'"l":12,"T":1700000000123,"m":true}}',
}
TOPICS = {
    "upbit": [("/websocket/v1", request("ticker", codes=["KRW-BTC"]))],
    "okx": [
        ("/ws/v5/public", okx("subscribe", ("trades", "X-USDT"))),
        ("/ws/v5/business", okx("subscribe", ("candle1m", "X-USDT"))),
    ],
    "binance": [
        ("/public/stream", binance("SUBSCRIBE", "xusdt@depth@100ms")),
        ("/market/stream", binance("SUBSCRIBE", "xusdt@aggTrade")),
    ],
}
REST = {
    "upbit": [
        "/v1/market/all?is_details=true", "/v1/ticker?markets=KRW-BTC", "/v1/ticker/all",
        "/v1/candles/minutes/1?market=KRW-BTC", "/v1/trades/ticks?market=KRW-BTC", "/v1/orderbook?markets=KRW-BTC",
    ],
    "okx": [
        *(f"/api/v5/public/instruments?instType={kind}" for kind in ("SPOT", "SWAP", "FUTURES", "OPTION")),
        "/api/v5/public/time", "/api/v5/market/candles?instId=BTC-USDT", "/api/v5/market/history-trades?instId=B",
        "/api/v5/market/tickers?instType=SPOT", "/api/v5/market/books?instId=BTC-USDT",
    ],
    "binance": [
        "/fapi/v1/exchangeInfo", "/fapi/v1/klines?symbol=BTCUSDT&interval=1m", "/fapi/v1/aggTrades?symbol=BTCUSDT",
        "/fapi/v1/ticker/24hr",
    ],
}  # fmt: skip
CLOSING = aiohttp.ClientWSTimeout(ws_close=1)
CONTROL = ("status", "trades", "summary", "candles?market=KRW-ODD&unit=1", "books?market=A", "anomalies", "faults")


def replaying(path: Path, **more: Any) -> SimulatorConfig:
    return SimulatorConfig(port=0, replay=path, limits=False, **more)


def recorded(folder: Path, *lines: bytes) -> Path:
    path = folder / "ODD.ws.1.0"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


async def everything(simulator: Simulator, exchange: str) -> list[bytes]:
    """The payloads that come on all roots of an exchange, and every connection is open at the end."""
    [room] = simulator.rooms.values()

    async def one(path: str, message: Any) -> list[bytes]:
        async with opened(simulator, path, message) as ws:
            received: list[Any] = []
            while room.phases.current != "done":
                received += await payloads(ws, quiet_s=0.2)
                assert not ws.closed, f"the connection was closed with {ws.close_code}"
            received += await answers(ws)
            return [data.encode() if isinstance(data, str) else data for data in received]

    found = await asyncio.gather(*(one(*topic) for topic in TOPICS[exchange]))
    acknowledged = 0 if exchange == "upbit" else 1
    return [payload for received in found for payload in received[acknowledged:]]


@pytest.mark.parametrize("exchange", ["upbit", "okx", "binance"])
def test_any_frame_is_played_byte_for_byte_and_rest_answers_beside_it(tmp_path: Path, exchange: str) -> None:
    frames = [*FRAMES[exchange], GOOD[exchange]]
    lines = [f"17000000{n:02d}.5: {frame!r}".encode() for n, frame in enumerate(frames)]
    with served(replaying(recorded(tmp_path, OPENED[exchange], *lines))) as simulator:
        assert list(simulator.rooms) == [exchange]
        assert sorted(asyncio.run(everything(simulator, exchange))) == sorted(frames)
        for path in REST[exchange]:
            answer = requests.get(simulator.url + path, timeout=10)
            assert answer.status_code == 200, (path, answer.text)
            answer.json()
        for path in CONTROL[:-1]:
            answer = requests.get(f"{simulator.url}/_sim/{path}", timeout=10)
            assert answer.status_code == 200, (path, answer.text)
            answer.json()
        state = get(simulator, "/_sim/status")
        assert (state["phase"], state["frames_given_up"], state["lines_skipped"]) == ("done", 0, 0)
        assert sum(state["frames"].values()) == len(frames)
        good = [t for t in get(simulator, "/_sim/trades") if t["market"] in ("KRW-OK", "OK-USDT", "OKUSDT")]
        assert len(good) == (2 if exchange == "okx" else 1), "every trade of a frame is on the ledger"


def test_frames_may_be_text_of_any_bytes(tmp_path: Path) -> None:
    """As text a frame has no line feed of its own, and everything else, bytes that are no UTF-8 too."""
    frames = [frame for frame in FRAMES["okx"] if b"\n" not in frame and not frame.startswith((b"b'", b'b"'))]
    frames = [frame for frame in frames if not frame.endswith(b"\r")]
    path = recorded(tmp_path, OPENED["okx"], *(b"1700000000.5: " + frame for frame in frames))
    with served(replaying(path)) as simulator:
        assert sorted(asyncio.run(everything(simulator, "okx"))) == sorted(frames)


@pytest.mark.parametrize("exchange", ["upbit", "okx", "binance"])
def test_nanosecond_lines_hold_any_frame_too(tmp_path: Path, exchange: str) -> None:
    frames = [frame for frame in FRAMES[exchange] if b"\n" not in frame and not frame.startswith(b"b'")]
    path = tmp_path / "odd.gz"
    lines = [OPENED[exchange], *(b"%019d " % (n * 10**15) + frame for n, frame in enumerate(frames))]
    path.write_bytes(gzip.compress(b"\n".join(lines)))
    assert [frame.payload for frame in read_recording(path).frames] == frames


LINES = [
    b"rubbish",
    b"1700000000.5 no colon",
    b"1700000001.5: b'not closed",
    b"1700000001.5: b'not \\x bytes'",
    b"1700000001.5: b'a' + b'b'",
    b"1700000001.5: b'\x00'",
    "1700000001.5: b'가'".encode(),
    b"-1.5: {}",
    b"nan: {}",
    b"1e9: {}",
    b'  "a": 1}',
    b"\xff\xfe",
]
TRAFFIC = [
    b"",
    b"wss://exchange.example/websocket/v1 <-> 1700000000.5",
    b'wss://exchange.example/websocket/v1 <- 1700000000.6: [{"ticket":"x"}]',
    b"https://[broken -> 1700000002.1: []",
    b"https://exchange.example/v1/market/all -> 1700000002.1: not json",
    b"https://exchange.example/v1/market/all -> 1700000002.1: \xff",
    b"https://exchange.example/v1/market/all <- 1700000002.0",
    b"https://exchange.example/v1/market/all -> soon",
]


def test_lines_that_are_no_frames_are_skipped_each_by_itself(tmp_path: Path) -> None:
    lines = [line for odd in LINES for line in (odd, b"1700000003.5: {}")]
    recording = read_recording(recorded(tmp_path, *TRAFFIC, *lines))
    assert len(recording.frames) == len(LINES)
    assert [one.line for one in recording.skipped] == [len(TRAFFIC) + 2 * n + 1 for n in range(len(LINES))]
    assert all(len(one.reason) < 300 for one in recording.skipped)


def test_a_gzip_file_that_was_cut_off_is_played_as_far_as_it_goes(tmp_path: Path) -> None:
    lines = b"\n".join(b'%019d {"e":"x","s":"%d"}' % (n, n) for n in range(50_000))
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(lines)[:-20_000])
    recording = read_recording(path)
    assert 1_000 < len(recording.frames) < 50_000
    assert "gzip" in recording.skipped[-1].reason
    (tmp_path / "none.gz").write_bytes(b"not gzip")
    with pytest.raises(RecordingError, match="gzip"):
        read_recording(tmp_path / "none.gz")


def test_a_file_beside_it_that_cannot_be_read_costs_only_its_answers(tmp_path: Path) -> None:
    path = recorded(tmp_path, OPENED["binance"], b"1700000000.5: " + GOOD["binance"])
    (tmp_path / "ODD.http.0.0").write_bytes(b"\xff\x00")
    (tmp_path / "ODD.http.1.gz").write_bytes(b"not gzip")
    (tmp_path / "ODD.http.2.0").write_bytes(b'https://x/fapi/v1/depth?symbol=OKUSDT -> 1.5: {"lastUpdateId":7}')
    assert read_recording(path).answer("/fapi/v1/depth", symbol="OKUSDT") == '{"lastUpdateId":7}'


def test_the_exchange_is_known_by_most_frames_whatever_comes_first(tmp_path: Path) -> None:
    for exchange, good in GOOD.items():
        frames = [*odd_frames.ANY, b'{"type":"odd one out"}', *[good] * 3]
        path = recorded(tmp_path, *(f"1700000000.5: {frame!r}".encode() for frame in frames))
        assert read_recording(path).exchange == exchange


def test_times_that_make_no_sense_are_not_waited_for(tmp_path: Path) -> None:
    times = ("0.0", "1700000000.0", "0.0", "4102444800.5", "1700000000.3", "99999999999999999999.0", "1700000000.4")
    path = recorded(tmp_path, OPENED["upbit"], *(f"{at}: {{}}".encode() for at in times))
    with served(replaying(path, speed=1.0)) as simulator:
        received = asyncio.run(asyncio.wait_for(everything(simulator, "upbit"), 10))
    assert received == [b"{}"] * len(times)


def test_a_root_without_a_connection_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "_PATIENCE_S", 0.5)
    depth = b'{"e":"depthUpdate","s":"OKUSDT"}'
    path = recorded(tmp_path, OPENED["binance"], *[b"1700000000.5: " + depth, b"1700000000.5: " + GOOD["binance"]] * 40)

    async def run(simulator: Simulator) -> list[Any]:
        async with opened(simulator, *TOPICS["binance"][1]) as ws:
            return await asyncio.wait_for(payloads(ws, count=41), 10)

    with served(replaying(path, speed=1000.0)) as simulator:
        assert len(asyncio.run(run(simulator))) == 41


def test_frames_that_no_connection_survives_are_given_up(tmp_path: Path) -> None:
    """A client that closes on a frame beyond its limit gets it again when it is back, and in the end what follows."""
    path = recorded(tmp_path, OPENED["upbit"], b"1700000000.5: " + b"x" * 32_000_000, b"1700000000.6: {}")

    async def visit(simulator: Simulator) -> bytes:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(simulator.ws_url, max_msg_size=1_000_000, timeout=CLOSING) as ws,
        ):
            await ws.send_str(request("ticker", codes=["KRW-BTC"]))
            message = await ws.receive(timeout=60)
            return message.data if message.type is aiohttp.WSMsgType.BINARY else b""

    with served(replaying(path, speed=100.0)) as simulator:
        received = [asyncio.run(visit(simulator))]
        while received[-1] != b"{}" and len(received) < 20:
            received.append(asyncio.run(visit(simulator)))
        assert 2 <= len(received) <= 6
        eventually(lambda: simulator.phases.current == "done")
        state = get(simulator, "/_sim/status")
        assert (state["frames_given_up"], state["frames"]) == (1, {"unknown": 1})


def test_the_command_names_what_is_skipped_and_counts_it_at_the_end(tmp_path: Path) -> None:
    path = recorded(tmp_path, *[b"rubbish"] * 30, b'1700000003.5: {"type":"trade"}')
    process = start("--port", "0", "--replay", str(path))
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().split("REST http://127.0.0.1:")[1].split(",")[0])

        async def listen() -> None:
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(f"ws://127.0.0.1:{port}/websocket/v1") as ws,
            ):
                await ws.send_str(request("ticker", codes=["KRW-BTC"]))
                await ws.receive(timeout=10)

        asyncio.run(listen())
        assert process.stdout.readline() == (
            "simulator: the recording is played: 1 frames sent, 30 lines skipped, 0 frames given up because no "
            "connection survived them\n"
        )
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=10)
    assert errors.count("of the recording is skipped: no frame begins here") == 20
    assert errors.splitlines()[0].startswith("simulate: line 1 of the recording is skipped")
    assert errors.splitlines()[-1] == "simulate: 10 more lines are skipped"
    assert isinstance(process, subprocess.Popen)


@pytest.mark.parametrize("value", ["1e20", "1e-9", "NaN", "Infinity", "1." + "0" * 40 + "1", "9" * 5000, [], None, "x"])
def test_the_oracle_holds_exact_numbers_only(value: Any) -> None:
    with pytest.raises((ValueError, ArithmeticError, TypeError)):
        scaled(value)
    assert scaled("99999999999999999999.99999999") == 99999999999999999999_99999999
    assert scaled("1.500000000000000000000000000000") == 150_000_000


@pytest.mark.parametrize("value", [2**63, "9" * 30, "1.5", None, [], "x"])
def test_the_oracle_holds_whole_numbers_of_64_bits(value: Any) -> None:
    with pytest.raises((ValueError, ArithmeticError, TypeError)):
        whole(value)
    assert whole(json.loads("-9223372036854775808")) == -(2**63)
