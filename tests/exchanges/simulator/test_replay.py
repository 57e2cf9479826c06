"""Recordings are played verbatim, in order, once."""

from __future__ import annotations

import ast
import asyncio
import time
from decimal import Decimal
from pathlib import Path

import pytest

from tests.exchanges.simulator.serving import frames, get, request, served, socket, whole_play
from tidemark.local.simulator import RecordingError, Simulator, SimulatorConfig

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
