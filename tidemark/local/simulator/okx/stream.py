"""OKX's WebSocket.

Lives here: the life of one socket: limits, requests, text pings, the silence that closes it, the notice of a
restart. Doesn't: reading a request (``subscription``), frames (``frames``), when they come (``player``).

Where nothing is documented: a request beyond the hour's limit, or larger than 64 KB, is answered with an error
event (60014, 60012) and has no effect; a connection too many is refused with HTTP 429; a silent connection is
closed with code 4004; a new subscriber is told the state of tickers and candles at once.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Collection
from functools import partial
from typing import Any

from aiohttp import WSMsgType, web

from tidemark.local.simulator.config import SimulatorConfig
from tidemark.local.simulator.hub import Connection, Hub
from tidemark.local.simulator.okx.subscription import (
    CHANNELS,
    OkxSubscription,
    Request,
    RequestError,
    read_arg,
    read_request,
)
from tidemark.local.simulator.swap.timeline import SwapTimeline
from tidemark.local.simulator.window import Window

PATH = "/ws/v5"
_CONNECTS = (3, 1.0)
_REQUESTS = (480, 3600.0)
_MAX_BYTES = 64 * 1024
_NO_DATA = 4004


class OkxStream:
    """The WebSocket endpoints over a timeline; without one (a replay) nothing has a first state."""

    def __init__(
        self, config: SimulatorConfig, hub: Hub, timeline: SwapTimeline | None, known: Collection[str] | None
    ) -> None:
        """``known``: the instruments there are; None: whatever is asked for exists."""
        self._config = config
        self._hub = hub
        self._timeline = timeline
        self._known = known
        self._connects: dict[str, Window] = {}

    def routes(self) -> list[web.RouteDef]:
        """All paths."""
        return [web.get(f"{PATH}/{root}", partial(self._handle, root)) for root in CHANNELS]

    async def _handle(self, root: str, request: web.Request) -> web.StreamResponse:
        window = self._connects.setdefault(request.remote or "", Window(*_CONNECTS))
        if self._config.limits and window.take() < 0:
            return web.Response(status=429, text="Too many requests")
        ws = web.WebSocketResponse(autoping=False, compress=False, timeout=1.0)
        await ws.prepare(request)
        try:
            connection = Connection(self._hub.name(), request, ws, text=True, root=root)
        except ConnectionResetError:
            return ws
        self._hub.add(connection)
        watch = asyncio.create_task(self._close_when_silent(connection))
        try:
            await self._read(connection)
        finally:
            self._hub.remove(connection)
            watch.cancel()
        return ws

    async def _read(self, connection: Connection) -> None:
        requests = Window(*_REQUESTS)
        async for message in connection.ws:
            connection.active_at = time.monotonic()
            if message.type is WSMsgType.PING:
                await connection.ws.pong(message.data)
            elif message.type is WSMsgType.TEXT:
                if message.data == "ping":
                    connection.write([b"pong"])
                    continue
                try:
                    await self._take(connection, message.data, requests)
                except RequestError as error:
                    connection.write([_error(connection, error)])

    async def _take(self, connection: Connection, text: str, requests: Window) -> None:
        if len(text) > _MAX_BYTES:
            raise RequestError("60012", "Illegal request: longer than 64 KB")
        request = read_request(text)
        if self._config.limits and requests.take() < 0:
            raise RequestError("60014", "Requests too frequent")
        for given in request.args:
            try:
                await self._take_one(connection, request, given)
            except RequestError as error:
                connection.write([_error(connection, error, request.id)])

    async def _take_one(self, connection: Connection, request: Request, given: Any) -> None:
        arg = read_arg(given, connection.root, self._known)
        subscription = connection.subscription
        if not isinstance(subscription, OkxSubscription):
            subscription = OkxSubscription()
        connection.write([_acknowledgement(connection, request, given)])
        if request.operation == "unsubscribe":
            subscription.remove(arg)
            return
        followed = any(arg.code in other.codes(arg.channel) for _, other in self._hub.subscribers())
        subscription.add(arg)
        self._hub.subscribe(connection, subscription)
        state = self._timeline.latest(arg.channel, arg.code, followed) if self._timeline else None
        if state is not None:
            await self._hub.send_now(connection, [state])

    async def _close_when_silent(self, connection: Connection) -> None:
        while connection.open:
            rest = connection.active_at + self._config.okx_silence_s - time.monotonic()
            if rest <= 0:
                await connection.ws.close(code=_NO_DATA, message=b"No data received in 30s.")
                return
            await asyncio.sleep(rest)


def notice(connection: Connection) -> bytes:
    """What is said a minute before a connection is closed for an upgrade of the service."""
    message = "The connection will soon be closed for a service upgrade. Please reconnect."
    return _json({"event": "notice", "code": "64008", "msg": message, "connId": _conn_id(connection)})


def _acknowledgement(connection: Connection, request: Request, given: Any) -> bytes:
    named = {"id": request.id} if request.id is not None else {}
    return _json({**named, "event": request.operation, "arg": given, "connId": _conn_id(connection)})


def _error(connection: Connection, error: RequestError, of: str | None = None) -> bytes:
    named = {"id": of} if of is not None else {}
    return _json({**named, "event": "error", "code": error.code, "msg": str(error), "connId": _conn_id(connection)})


def _conn_id(connection: Connection) -> str:
    return f"{int(connection.name[1:]) * 0x9E3779B1 & 0xFFFFFFFF:08x}"


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
