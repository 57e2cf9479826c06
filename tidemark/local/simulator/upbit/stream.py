"""Upbit's WebSocket.

Contains: the life of one socket: limits, requests, PING, idle timeout, errors.
Does not contain: reading a request (``subscription``), frames (``frames``), when they come (``player``).

Where nothing is documented: a message over the limit is answered with TOO_MANY_REQUESTS and a close, as other
errors.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection

from aiohttp import WSMsgType, web

from tidemark.local.simulator.config import SimulatorConfig
from tidemark.local.simulator.hub import Connection, Hub
from tidemark.local.simulator.timeline import Happening, Timeline
from tidemark.local.simulator.upbit.limits import Limits, refusal
from tidemark.local.simulator.upbit.subscription import (
    RequestError,
    UpbitSubscription,
    read_list_request,
    read_request,
)
from tidemark.local.simulator.window import Window

PATH = "/websocket/v1"
_STATUS_UP = b'{"status":"UP"}'
_CONNECTS_PER_SECOND = 5
_MESSAGES = ((5, 1.0), (100, 60.0))


class UpbitStream:
    """The WebSocket endpoint over a timeline; without one (a replay) nothing has a snapshot."""

    def __init__(
        self,
        config: SimulatorConfig,
        hub: Hub,
        timeline: Timeline | None,
        known: Callable[[list[str]], Collection[str]],
        limits: Callable[[str], Limits],
    ) -> None:
        """``known``: of the codes asked for, those that exist; ``limits``: the limits of a client address."""
        self._config = config
        self._hub = hub
        self._timeline = timeline
        self._known = known
        self._limits = limits

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One socket, from its opening to its end."""
        limits = self._limits(request.remote or "")
        verdict = limits.take("websocket", _CONNECTS_PER_SECOND)
        if verdict.status == 200 and "Origin" in request.headers:
            verdict = limits.take_of_page()
        headers = {"Remaining-Req": f"group=websocket; min=300; sec={max(verdict.remaining, 0)}"}
        if verdict.status != 200:
            return web.Response(status=verdict.status, text=refusal(verdict), headers=headers)
        ws = web.WebSocketResponse(autoping=False, compress=False, timeout=1.0)
        ws.headers.update(headers)
        await ws.prepare(request)
        try:
            connection = Connection(self._hub.name(), request, ws)
        except ConnectionResetError:
            return ws
        self._hub.add(connection)
        watch = asyncio.create_task(self._close_when_idle(connection))
        session = _Session(connection, self._config)
        try:
            await self._read(session)
        finally:
            self._hub.remove(connection)
            watch.cancel()
            session.end()
        return ws

    async def _read(self, session: _Session) -> None:
        connection = session.connection
        async for message in connection.ws:
            connection.active_at = time.monotonic()
            if message.type is WSMsgType.PING:
                await connection.ws.pong(message.data)
            elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                try:
                    await self._take(session, message.data)
                except RequestError as error:
                    connection.write([error.frame()])
                    await connection.ws.close(code=1000)
                    return

    async def _take(self, session: _Session, text: str | bytes) -> None:
        session.count()
        if text in ("PING", b"PING"):
            session.start_status(self._hub)
            return
        asked = read_list_request(text)
        if asked is not None:
            had = session.connection.subscription
            session.connection.write(
                [(had if isinstance(had, UpbitSubscription) else UpbitSubscription()).listed(asked)]
            )
            return
        subscription = read_request(text, self._known_in(text))
        self._hub.subscribe(session.connection, subscription)
        await self._hub.send_now(session.connection, self._snapshots(subscription))

    def _known_in(self, text: str | bytes) -> Collection[str]:
        named = text.decode(errors="replace") if isinstance(text, bytes) else text
        return self._known(named.split('"'))

    def _snapshots(self, subscription: UpbitSubscription) -> list[Happening]:
        if self._timeline is None:
            return []
        for channel in subscription.live:
            if channel not in subscription.first:  # from now on its candles are followed
                self._timeline.snapshot(channel, next(iter(subscription.live[channel])))
        found = (
            self._timeline.snapshot(channel, code)
            for channel, codes in subscription.first.items()
            for code in codes
        )  # fmt: skip
        return [happening for happening in found if happening is not None]

    async def _close_when_idle(self, connection: Connection) -> None:
        """Upbit drops a connection on which nothing was sent either way (seen as code 1006)."""
        while connection.open:
            if connection.frozen:
                return
            rest = connection.active_at + self._config.idle_timeout_s - time.monotonic()
            if rest <= 0:
                connection.abort()
                return
            await asyncio.sleep(rest)


class _Session:
    """What the server remembers of one socket."""

    def __init__(self, connection: Connection, config: SimulatorConfig) -> None:
        self.connection = connection
        self._config = config
        self._windows = [Window(limit, seconds) for limit, seconds in _MESSAGES] if config.limits else []
        self._status: asyncio.Task[None] | None = None

    def count(self) -> None:
        """Count a received message; RequestError when it is one too many."""
        if any(window.take() < 0 for window in self._windows):
            raise RequestError("TOO_MANY_REQUESTS", "요청 수 제한을 초과했습니다.")

    def start_status(self, hub: Hub) -> None:
        """After a text PING the server says UP, at once and then every ten seconds."""
        if self._status is not None:
            self._status.cancel()
        self._status = asyncio.create_task(self._say_up(hub))

    def end(self) -> None:
        """The socket has closed."""
        if self._status is not None:
            self._status.cancel()

    async def _say_up(self, hub: Hub) -> None:
        with contextlib.suppress(ConnectionError):
            while self.connection.open:
                if not hub.silent():
                    self.connection.write([_STATUS_UP])
                    hub.counts["status"] += 1
                await asyncio.sleep(self._config.status_every_s)
