"""The open sockets, whatever exchange's words are spoken on them.

Lives here: frames onto sockets in large writes, back-pressure, who subscribes to what, and the faults that
tests ask for. Doesn't: the meaning of a request or a frame (``upbit``), and the pace (``player``).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import time
from collections import Counter
from collections.abc import Iterable, Set
from typing import Protocol

from aiohttp import web

from tidemark.local.simulator.ledger import Sent, SentLog
from tidemark.local.simulator.timeline import Happening, TradeTold

_SEND_BUFFER = 256 * 1024  # little in flight: what the kernel holds when a client dies is lost to it
_LIVE_BUFFER = 32 * 1024 * 1024  # a real-time client this far behind is cut off


class Subscription(Protocol):
    """What a connection asked for, in the words of its exchange."""

    def channels(self) -> Set[str]:
        """Channels that get real-time frames."""

    def codes(self, channel: str) -> Set[str]:
        """Market codes that get real-time frames on a channel."""

    def frame(self, happening: Happening) -> bytes | None:
        """The payload for this subscriber; None when it didn't ask for it."""


class Connection:
    """One open socket; frames are written straight to the transport, many at a time, unmasked and binary."""

    def __init__(self, name: str, request: web.Request, ws: web.WebSocketResponse) -> None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client went away before the socket was open")
        self.name = name
        self.ws = ws
        self.subscription: Subscription | None = None
        self.frames = 0
        self.opened_at = time.time()
        self.active_at = time.monotonic()
        self._transport = transport
        self._writer = request.writer
        transport.set_write_buffer_limits(high=0)  # so that a drain means: the kernel has it all
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)

    @property
    def open(self) -> bool:
        """Whether frames can still be written."""
        return not (self._transport.is_closing() or self.ws.closed)

    def write(self, payloads: Iterable[bytes], *, twice: int = 0) -> None:
        """Queue these payloads, the first ``twice`` of them two times."""
        parts: list[bytes] = []
        for number, payload in enumerate(payloads):
            for _ in range(2 if number < twice else 1):
                parts += (_header(len(payload)), payload)
                self.frames += 1
        if parts and self.open:
            self._transport.write(b"".join(parts))
            self.active_at = time.monotonic()

    async def drain(self) -> bool:
        """Wait until the kernel has taken all; whether the connection is still open then."""
        with contextlib.suppress(ConnectionError):
            while self.open and self._transport.get_write_buffer_size():
                await self._writer.drain()
                await asyncio.sleep(0)
        return self.open

    def behind(self) -> bool:
        """Whether the client is hopelessly slow."""
        return self._transport.get_write_buffer_size() > _LIVE_BUFFER

    def abort(self) -> None:
        """Drop the connection without a word (the client sees code 1006)."""
        self._transport.abort()


class Hub:
    """All open connections, and the log of what they were sent."""

    def __init__(self, log: SentLog, wait_for: str, codes: Iterable[str]) -> None:
        """``wait_for``: "any" subscriber, one of "trade", or such that cover "all-trades" of ``codes``."""
        self.log = log
        self.connections: dict[str, Connection] = {}
        self.counts: Counter[str] = Counter()
        self.closed = 0
        self.duplicate_next = 0
        self._silent_until = 0.0
        self._wait_for = wait_for
        self._codes = frozenset(codes)
        self._changed = asyncio.Event()
        self._numbers = itertools.count(1)

    def name(self) -> str:
        """A name for a new connection."""
        return f"c{next(self._numbers)}"

    def add(self, connection: Connection) -> None:
        """A connection has opened."""
        self.connections[connection.name] = connection

    def remove(self, connection: Connection) -> None:
        """A connection has closed."""
        self.connections.pop(connection.name, None)
        self.closed += 1
        self._changed.set()

    def subscribe(self, connection: Connection, subscription: Subscription) -> None:
        """The connection's new subscription, in place of the one before."""
        connection.subscription = subscription
        self._changed.set()

    def subscribers(self) -> list[tuple[Connection, Subscription]]:
        """Open connections that have asked for something."""
        found = ((one, one.subscription) for one in self.connections.values() if one.open)
        return [(one, subscription) for one, subscription in found if subscription is not None]

    def channels(self) -> set[str]:
        """All channels that anybody listens to."""
        return {channel for _, subscription in self.subscribers() for channel in subscription.channels()}

    def ready(self) -> bool:
        """Whether those are connected for whom playing waits."""
        subscriptions = [subscription for _, subscription in self.subscribers()]
        if self._wait_for == "all-trades":
            covered = {code for subscription in subscriptions for code in subscription.codes("trade")}
            return self._codes <= covered
        if self._wait_for == "trade":
            return any("trade" in subscription.channels() for subscription in subscriptions)
        return any(subscription.channels() for subscription in subscriptions)

    async def until_ready(self) -> None:
        """Wait for subscribers, and for the end of an ordered silence."""
        while self.silent() or not self.ready():
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), 0.05 if self.silent() else 1.0)

    def silence(self, seconds: float) -> None:
        """Send nothing for so long."""
        self._silent_until = time.monotonic() + seconds

    def silent(self) -> bool:
        """Whether nothing may be sent just now."""
        return time.monotonic() < self._silent_until

    async def deliver(self, happenings: list[Happening], *, wait: bool) -> list[Happening]:
        """Send these to whoever subscribes; returns the trades that a connection lost while it was sent to.

        With ``wait`` every subscriber sets the pace; without, a slow one is cut off. Records what was sent
        and missed.
        """
        wanted = {} if self.silent() else {one: _frames(to, happenings) for one, to in self.subscribers()}
        for connection, frames in wanted.items():
            connection.write((payload for payload, _ in frames), twice=self._take_duplicates(len(frames)))
        taken: set[int] = set()
        for connection, frames in wanted.items():
            if await self._arrived(connection, wait):
                taken.update(self._record(connection, frames))
        missing = {id(h): h for frames in wanted.values() for _, h in frames if id(h) not in taken}
        for happening in happenings:
            if happening.channel == "trade" and id(happening) not in taken and id(happening) not in missing:
                self.log.missed[happening.code] += 1
        return [h for h in missing.values() if h.channel == "trade"]

    async def send_now(self, connection: Connection, happenings: list[Happening]) -> None:
        """Send a snapshot to one connection."""
        subscription = connection.subscription
        if subscription is not None and not self.silent():
            frames = _frames(subscription, happenings)
            connection.write(payload for payload, _ in frames)
            if await connection.drain():
                self._record(connection, frames)

    def send_raw(self, payload: bytes) -> int:
        """Send these bytes as one frame on every subscribed connection; to how many."""
        receivers = self.subscribers()
        for connection, _ in receivers:
            connection.write([payload])
        self.counts["raw"] += len(receivers)
        return len(receivers)

    def abort_all(self) -> int:
        """Drop every connection; how many there were."""
        dropped = list(self.connections.values())
        for connection in dropped:
            connection.abort()
        return len(dropped)

    def _take_duplicates(self, frames: int) -> int:
        twice = min(self.duplicate_next, frames)
        self.duplicate_next -= twice
        return twice

    async def _arrived(self, connection: Connection, wait: bool) -> bool:
        if wait:
            return await connection.drain()
        if connection.behind():
            connection.abort()
        return connection.open

    def _record(self, connection: Connection, frames: list[tuple[bytes, Happening]]) -> list[int]:
        self.counts.update(happening.channel for _, happening in frames)
        self.log.record(connection.name, (_sent(h.code, h.body) for _, h in frames if isinstance(h.body, TradeTold)))
        return [id(happening) for _, happening in frames]


def _frames(subscription: Subscription, happenings: list[Happening]) -> list[tuple[bytes, Happening]]:
    return [(payload, happening) for happening in happenings if (payload := subscription.frame(happening)) is not None]


def _sent(code: str, told: TradeTold) -> Sent:
    trade = told.trade
    return Sent(code, trade.id, trade.ms, trade.price, trade.size, trade.is_ask)


def _header(length: int) -> bytes:
    """Head of a final, unmasked, binary WebSocket frame."""
    if length < 126:
        return bytes((0x82, length))
    if length < 65_536:
        return b"\x82\x7e" + length.to_bytes(2, "big")
    return b"\x82\x7f" + length.to_bytes(8, "big")
