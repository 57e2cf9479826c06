"""Binance's WebSocket.

Lives here: the life of one socket: its two roots and two shapes, requests, the server's pings, the limits that
cut it off, its end after a day. Doesn't: reading a request (``subscription``), frames (``frames``), when they come
(``player``).

Where nothing is documented: more streams than allowed are refused with an error; a connection that has lived its
day is closed with code 1001.
"""

from __future__ import annotations

import asyncio
import json
import time
from functools import partial

from aiohttp import WSMsgType, web

from tidemark.local.simulator.binance.subscription import (
    MAX_STREAMS,
    ROOTS,
    BinanceSubscription,
    RequestError,
    read_request,
)
from tidemark.local.simulator.config import SimulatorConfig
from tidemark.local.simulator.hub import Connection, Hub
from tidemark.local.simulator.window import Window

_MESSAGES = (10, 1.0)
_GOING_AWAY = 1001
_POLICY = 1008


class BinanceStream:
    """The WebSocket endpoints."""

    def __init__(self, config: SimulatorConfig, hub: Hub) -> None:
        self._config = config
        self._hub = hub

    def routes(self) -> list[web.RouteDef]:
        """All paths."""
        routes = []
        for root in ROOTS:
            routes += [
                web.get(f"/{root}/ws", partial(self._handle, root, False)),
                web.get(f"/{root}/ws/{{streams:.+}}", partial(self._handle, root, False)),
                web.get(f"/{root}/stream", partial(self._handle, root, True)),
            ]
        return routes

    async def _handle(self, root: str, combined: bool, request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse(autoping=False, compress=False, timeout=1.0)
        await ws.prepare(request)
        try:
            connection = Connection(self._hub.name(), request, ws, text=True, root=root)
        except ConnectionResetError:
            return ws
        self._hub.add(connection)
        subscription = BinanceSubscription(root, combined)
        named = request.query.get("streams", "") if combined else request.match_info.get("streams", "")
        subscription.add(name for name in named.split("/") if name)
        self._hub.subscribe(connection, subscription)
        heart = _Heart(connection, self._config)
        watch = asyncio.create_task(heart.beat())
        try:
            await self._read(connection, subscription, heart)
        finally:
            self._hub.remove(connection)
            watch.cancel()
        return ws

    async def _read(self, connection: Connection, subscription: BinanceSubscription, heart: _Heart) -> None:
        messages = Window(*_MESSAGES)
        async for message in connection.ws:
            if self._config.limits and messages.take() < 0:
                connection.abort()
                return
            if message.type is WSMsgType.PING:
                await connection.ws.pong(message.data)
            elif message.type is WSMsgType.PONG:
                heart.answered()
            elif message.type is WSMsgType.BINARY:
                await connection.ws.close(code=_POLICY, message=b"Invalid request")
            elif message.type is WSMsgType.TEXT:
                try:
                    connection.write([self._answer(connection, subscription, message.data)])
                except RequestError as error:
                    connection.write([error.frame()])

    def _answer(self, connection: Connection, subscription: BinanceSubscription, text: str) -> bytes:
        request = read_request(text)
        if request.method == "LIST_SUBSCRIPTIONS":
            return json.dumps({"result": list(subscription.names), "id": request.id}).encode()
        if request.method == "SUBSCRIBE":
            if len(subscription.names.keys() | set(request.streams)) > MAX_STREAMS:
                raise RequestError(2, f"Invalid request: more than {MAX_STREAMS} streams", request.id)
            subscription.add(request.streams)
        else:
            subscription.remove(request.streams)
        self._hub.subscribe(connection, subscription)
        return json.dumps({"result": None, "id": request.id}).encode()


class _Heart:
    """The server's pings, and the end of a connection that doesn't answer them or has grown old."""

    def __init__(self, connection: Connection, config: SimulatorConfig) -> None:
        self._connection = connection
        self._config = config
        self._answered_at = time.monotonic()

    def answered(self) -> None:
        """A pong has come."""
        self._answered_at = time.monotonic()

    async def beat(self) -> None:
        """Ping until the end."""
        config, connection = self._config, self._connection
        born = time.monotonic()
        while connection.open:
            left = born + config.binance_lifetime_s - time.monotonic()
            await asyncio.sleep(max(min(config.binance_ping_s, left), 0))
            if left <= config.binance_ping_s:
                await connection.close(_GOING_AWAY)
            elif time.monotonic() - self._answered_at > config.binance_pong_s:
                connection.abort()
            elif connection.open:
                await connection.ws.ping(str(time.time_ns() // 1_000_000).encode())
