"""One planned connection, kept up: connect, wait for its end, wait a while, connect again.

Lives here: the loop around links, and back-off. Doesn't: what happens on an open socket (``link``).
"""

from __future__ import annotations

import asyncio
import random
import socket
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from picows import WSError, ws_connect

from streaming.producer.gate import Gate
from streaming.producer.link import LARGEST_MESSAGE, Desk, Link
from streaming.producer.records import ConnectionNames, Framing
from tidemark.exchanges.base import Connection, Exchange
from tidemark.settings import ExchangeSettings, ProducerSettings

log = structlog.get_logger()

_CLOSE_TIMEOUT_S: Final = 2.0
_CONNECT_TIMEOUT_S: Final = 10.0
#: After so long a snapshot of every market has come; codes without one are not known to the exchange.
_FIRST_LOOK_S: Final = 30.0


@dataclass
class Backoff:
    """Full jitter: any pause up to a ceiling that doubles with every failure."""

    min_s: float
    max_s: float
    failures: int = 0

    def next(self) -> float:
        """Seconds to wait after one more failure."""
        ceiling = min(self.max_s, self.min_s * 2 ** min(self.failures, 30))
        self.failures += 1
        return random.uniform(0, ceiling)  # noqa: S311 - spreads reconnects, hides nothing

    def reset(self) -> None:
        """All was well."""
        self.failures = 0


@dataclass
class Turnstile:
    """Lets connections be opened one after another, no faster than the exchange allows."""

    per_second: float
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def pass_through(self, stop: asyncio.Event) -> None:
        """Wait for one's turn, or for ``stop``."""
        async with self._lock:
            await wait_for(stop, 1 / self.per_second)


async def wait_for(stop: asyncio.Event, seconds: float) -> bool:
    """Wait until ``stop`` or for so long; whether it was ``stop``."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True


@dataclass(frozen=True)
class Session:
    """One connection of the plan, for as long as the worker runs."""

    exchange: Exchange
    settings: ExchangeSettings
    plan: Connection
    producer: ProducerSettings
    desk: Desk
    gate: Gate
    names: ConnectionNames
    turnstile: Turnstile

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the connection up until ``stop``, then close it; when this returns, that is on record."""
        backoff = Backoff(self.producer.reconnect_min_s, self.producer.reconnect_max_s)
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            await self.turnstile.pass_through(stop)
            link = self._link()
            started = loop.time()
            if not stop.is_set() and await self._connect(link, stop):
                await self._live(link, stop)
            if loop.time() - started > self.producer.reconnect_max_s:
                backoff.reset()
            if not stop.is_set():
                await wait_for(stop, backoff.next())

    def _link(self) -> Link:
        name = self.names.next()
        subscription = self.exchange.subscribe(self.settings, self.plan, name)
        return Link(Framing(self.exchange, name), self.plan, subscription, self.desk)

    async def _connect(self, link: Link, stop: asyncio.Event) -> bool:
        """Open the socket; False when it cannot be, takes too long, or ``stop`` comes first."""
        url = self.settings.ws_url + self.plan.path
        attempt = asyncio.ensure_future(
            ws_connect(
                lambda: link,
                url,
                max_frame_size=LARGEST_MESSAGE,
                websocket_handshake_timeout=_CONNECT_TIMEOUT_S,
                read_buffer_init_size=64 * 1024,
            )
        )
        await _first(attempt, stop, _CONNECT_TIMEOUT_S)
        if not attempt.done():
            attempt.cancel()
        try:
            transport, _ = await attempt
            # Else the kernel's own tuning lets tens of MB pile up behind a pause.
            plug = transport.underlying_transport.get_extra_info("socket")
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.producer.receive_buffer_bytes)
        except (OSError, WSError, asyncio.CancelledError) as error:
            self.desk.counts.failed_connects += 1
            log.warning("cannot connect", url=url, error=f"{type(error).__name__}: {error}"[:300])
            if link.opened_at is not None:
                await self._close(link)
            return False
        return True

    async def _live(self, link: Link, stop: asyncio.Event) -> None:
        """Wait for the connection's end, or end it when the worker stops."""
        self.gate.add(link)
        keeper = asyncio.create_task(self._keep_alive(link))
        try:
            await _first(link.closed, stop, None)
            await self._close(link)
        finally:
            keeper.cancel()
            self.gate.remove(link)

    async def _close(self, link: Link) -> None:
        """End the connection if it hasn't ended, and see to it that its close record is written."""
        if not link.closed.done():
            link.end("the producer stops")
            if not (await asyncio.wait({link.closed}, timeout=_CLOSE_TIMEOUT_S))[0]:
                link.abort()
                await asyncio.wait({link.closed}, timeout=_CLOSE_TIMEOUT_S)
                link.flush()

    async def _keep_alive(self, link: Link) -> None:
        interval = self.producer.ping_interval_s
        loop = asyncio.get_running_loop()
        look_at = loop.time() + _FIRST_LOOK_S
        while not link.closed.done():
            await asyncio.sleep(interval)
            link.keep_alive(self.exchange.keep_alive, 2.5 * interval)
            if look_at and loop.time() >= look_at and not self.gate.held:
                look_at = 0.0
                if silent := link.silent_codes():
                    log.warning("nothing came of these codes", connection=link.name, codes=silent)


async def _first(future: asyncio.Future[Any], stop: asyncio.Event, timeout_s: float | None) -> None:
    """Wait for a future, for ``stop``, or for so long."""
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({future, stopping}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
