"""Hand-written clients of the exchanges of swaps, and what can be said of what they received.

Lives here: sockets by root, frames by channel, bars made of trades, a book made of changes. Doesn't: any
expectation; nothing of the project's own exchange folders, which are judged by the simulator.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import aiohttp
import requests

from tests.exchanges.simulator.serving import all_played, answers, decoded, payloads
from tidemark.local.simulator import Simulator

OKX_CODES = [f"{coin}-USDT-SWAP" for coin in ("BTC", "ETH", "XRP", "SOL", "DOGE")]
SYMBOLS = [f"{coin}USDT" for coin in ("BTC", "ETH", "XRP", "SOL", "DOGE")]
Ws = aiohttp.ClientWebSocketResponse


@contextlib.asynccontextmanager
async def opened(simulator: Simulator, path: str, *messages: Any, **options: Any) -> AsyncIterator[Ws]:
    """An open socket at ``path``, on which these messages have been sent (text, or anything as JSON)."""
    settings: dict[str, Any] = {
        "max_msg_size": 0,
        "autoping": False,
        "timeout": aiohttp.ClientWSTimeout(ws_close=1),
        **options,
    }
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(simulator.ws_root + path, **settings) as ws,
    ):
        for message in messages:
            await ws.send_str(message if isinstance(message, str) else json.dumps(message))
        yield ws


async def received(ws: Ws, *, count: int | None = None, quiet_s: float = 0.5) -> list[Any]:
    """Frames as ``payloads`` gives them, decoded exactly where they are JSON."""
    return _decoded(await payloads(ws, count=count, quiet_s=quiet_s))


async def answered(ws: Ws) -> list[Any]:
    """Everything that the server says to what was said to it."""
    return _decoded(await answers(ws))


async def until_done(simulator: Simulator, exchange: str, *sockets: Ws) -> list[list[Any]]:
    """Everything that comes on these sockets until the exchange's period has been played."""
    return [_decoded(one) for one in await all_played(simulator, *sockets, exchange=exchange)]


def _decoded(texts: list[Any]) -> list[Any]:
    return [decoded(text.encode()) if text[:1] in "{[" else text for text in texts]


def okx(operation: str, *args: tuple[str, str], **more: str) -> dict[str, Any]:
    """A request of OKX's; ``args``: channel and instrument."""
    return {**more, "op": operation, "args": [{"channel": channel, "instId": code} for channel, code in args]}


def okx_all(*channels: str) -> dict[str, Any]:
    """A subscription to these channels of every instrument."""
    return okx("subscribe", *((channel, code) for channel in channels for code in OKX_CODES))


def binance(method: str, *streams: str, request_id: Any = 1) -> dict[str, Any]:
    """A request of Binance's."""
    return {"method": method, "params": list(streams), "id": request_id}


def streams(*kinds: str) -> list[str]:
    """These streams of every symbol."""
    return [f"{symbol.lower()}@{kind}" for kind in kinds for symbol in SYMBOLS]


def order(simulator: Simulator, exchange: str, **fault: Any) -> int:
    """Order a fault."""
    answer = requests.post(simulator.url + "/_sim/faults", json={"exchange": exchange, **fault}, timeout=5)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["done"])


async def ordered(simulator: Simulator, exchange: str, **fault: Any) -> int:
    """Order a fault without standing in the way of the event loop."""
    return await asyncio.to_thread(order, simulator, exchange, **fault)


class Book:
    """A local book, by the exchange's own rules: a snapshot, then changes that follow one another."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.last = snapshot["lastUpdateId"]
        self.sides = {
            name: {Decimal(price): Decimal(size) for price, size in snapshot[name]} for name in ("bids", "asks")
        }
        self.applied = 0

    def apply(self, event: dict[str, Any]) -> bool:
        """Take a change in, or skip one that is older than the snapshot; False when there is a hole before it."""
        if event["u"] < self.last:
            return True
        fits = event["pu"] == self.last if self.applied else event["U"] <= self.last <= event["u"]
        if not fits:
            return False
        for name, key in (("bids", "b"), ("asks", "a")):
            for price, size in event[key]:
                if Decimal(size):
                    self.sides[name][Decimal(price)] = Decimal(size)
                else:
                    self.sides[name].pop(Decimal(price), None)
        self.last, self.applied = event["u"], self.applied + 1
        return True

    def best(self) -> tuple[tuple[Decimal, Decimal], tuple[Decimal, Decimal]]:
        """Best bid and best ask, each price and size."""
        bid, ask = max(self.sides["bids"]), min(self.sides["asks"])
        return (bid, self.sides["bids"][bid]), (ask, self.sides["asks"][ask])
