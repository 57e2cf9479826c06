"""A simulator on a thread of its own, and a small client: what the simulator's tests share.

Lives here: starting, stopping, receiving. Doesn't: any expectation.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import aiohttp
import requests

from tidemark.local.simulator import Simulator, SimulatorConfig

NIGHT = datetime(2026, 11, 18, 15, tzinfo=UTC)  # 00:00 KST
EVERYTHING = ("trade", "ticker", "orderbook", "candle.1m")


def past(hours: float = 2, **more: Any) -> SimulatorConfig:
    """A few hours of a Korean night, without request limits, and nothing after them."""
    settings: dict[str, Any] = {"from_at": NIGHT, "to_at": NIGHT + timedelta(hours=hours), "then_live": False}
    return SimulatorConfig(**{"port": 0, "limits": False, "trades_per_day": 10_000, **settings, **more})


@contextlib.contextmanager
def served(config: SimulatorConfig) -> Iterator[Simulator]:
    """A running simulator."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    simulator = Simulator(config)
    try:
        asyncio.run_coroutine_threadsafe(simulator.start(), loop).result(20)
        yield simulator
    finally:
        asyncio.run_coroutine_threadsafe(simulator.stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def request(*types: str, codes: list[str], form: str = "DEFAULT", **more: Any) -> str:
    """A subscription request."""
    return json.dumps([{"ticket": "t"}, *({"type": t, "codes": codes, **more} for t in types), {"format": form}])


def decoded(payload: bytes) -> Any:
    """JSON with exact numbers."""
    return json.loads(payload, parse_float=Decimal)


def get(simulator: Simulator, path: str, **parameters: Any) -> Any:
    """The JSON that REST answers, exact."""
    answer = requests.get(simulator.url + path, params=parameters, timeout=20)
    assert answer.status_code == 200, answer.text
    return decoded(answer.content)


def all_codes(simulator: Simulator) -> list[str]:
    """Every market."""
    return [row["market"] for row in get(simulator, "/v1/market/all")]


@contextlib.asynccontextmanager
async def socket(simulator: Simulator, *messages: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """An open socket on which these messages have been sent."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            simulator.ws_url, max_msg_size=0, autoping=False, timeout=aiohttp.ClientWSTimeout(ws_close=1)
        ) as ws,
    ):
        for message in messages:
            await ws.send_str(message)
        yield ws


async def frames(ws: aiohttp.ClientWebSocketResponse, *, count: int | None = None, quiet_s: float = 0.6) -> list[bytes]:
    """Received frames: so many, or all until nothing comes for a while or the socket closes."""
    received: list[bytes] = []
    while count is None or len(received) < count:
        try:
            message = await ws.receive(timeout=10 if count else quiet_s)
        except TimeoutError:
            break
        if message.type not in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
            break
        assert message.type is aiohttp.WSMsgType.BINARY
        received.append(message.data)
    return received


async def whole_play(simulator: Simulator, *messages: str) -> list[bytes]:
    """Everything that is received until the period has been played."""
    async with socket(simulator, *messages) as ws:
        received = []
        while simulator.phases.current != "done":
            received += await frames(ws, quiet_s=0.2)
        return received + await frames(ws, quiet_s=0.2)


def eventually(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it didn't happen"
        time.sleep(0.02)
