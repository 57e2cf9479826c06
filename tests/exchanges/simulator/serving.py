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
_FRAMES = (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT)
EVERYTHING = ("trade", "ticker", "orderbook", "candle.1m")


def past(hours: float = 2, **more: Any) -> SimulatorConfig:
    """A few hours of a Korean night of the usual markets, without request limits, and nothing after them."""
    settings: dict[str, Any] = {"from_at": NIGHT, "to_at": NIGHT + timedelta(hours=hours), "then_live": False}
    return SimulatorConfig(
        **{"port": 0, "limits": False, "trades_per_day": 10_000, "oddities": frozenset(), **settings, **more}
    )


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


async def payloads(ws: aiohttp.ClientWebSocketResponse, *, count: int | None = None, quiet_s: float = 0.6) -> list[Any]:
    """What is received: so many frames, or all until nothing comes for a while or the socket closes.

    That nothing came for a while proves nothing on a busy machine: to have all, use ``answers`` or ``all_played``.
    """
    received: list[Any] = []
    while count is None or len(received) < count:
        try:
            message = await ws.receive(timeout=10 if count else quiet_s)
        except TimeoutError:
            break
        if message.type not in _FRAMES:
            break
        received.append(message.data)
    return received


async def answers(ws: aiohttp.ClientWebSocketResponse) -> list[Any]:
    """Everything that the server sends until it has taken all that was said: a ping is answered in its turn."""
    await ws.ping(b"all said")
    received: list[Any] = []
    while (message := await ws.receive(timeout=20)).type in _FRAMES:
        received.append(message.data)
    assert message.type is aiohttp.WSMsgType.PONG, f"the socket closed with {ws.close_code}"
    return received


async def all_played(simulator: Simulator, *sockets: aiohttp.ClientWebSocketResponse, exchange: str) -> list[list[Any]]:
    """Everything that comes on these sockets until the exchange's period has been played."""

    async def one(ws: aiohttp.ClientWebSocketResponse) -> list[Any]:
        received: list[Any] = []
        while simulator.rooms[exchange].phases.current != "done":
            received += await payloads(ws, quiet_s=0.2)
        return received + (await answers(ws) if not ws.closed else [])

    return list(await asyncio.gather(*map(one, sockets)))


async def frames(ws: aiohttp.ClientWebSocketResponse, *, count: int | None = None, quiet_s: float = 0.6) -> list[bytes]:
    """Upbit's frames, which are binary, as ``payloads`` gives them."""
    return binary(await payloads(ws, count=count, quiet_s=quiet_s))


async def whole_play(simulator: Simulator, *messages: str) -> list[bytes]:
    """Upbit's frames to these requests, until the period has been played."""
    async with socket(simulator, *messages) as ws:
        [received] = await all_played(simulator, ws, exchange="upbit")
        return binary(received)


def binary(received: list[Any]) -> list[bytes]:
    """These frames, each of which has to be binary."""
    assert {type(data) for data in received} <= {bytes}
    return received


def eventually(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it didn't happen"
        time.sleep(0.02)
