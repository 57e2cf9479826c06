"""The open sockets, whatever exchange's words are spoken on them.

Contains: frames onto sockets in large writes, back-pressure, who subscribes to what, and the faults of a socket that
tests order.
Does not contain: the meaning of a request or a frame (``upbit``, ``okx``, ``binance``), the pace (``player``), faults
of frames in transit (``faults``).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Set
from typing import Protocol

from aiohttp import web

from tidemark.local.simulator.faults import Faults, Frame
from tidemark.local.simulator.ledger import Sent, SentBook, SentLog
from tidemark.local.simulator.market.tape import Trade
from tidemark.local.simulator.swap.depth import DepthUpdate
from tidemark.local.simulator.timeline import Happening

_SEND_BUFFER = 256 * 1024  # little in flight: what the kernel holds when a client dies is lost to it
#: With every trade subscribed to, seconds that playing waits for the other channels: a client may leave them out.
OTHERS_S = 60.0
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
    """One open socket; frames are written straight to the transport, many at a time and unmasked.

    ``root`` names the part of the exchange that it was opened at, where an exchange has several.
    """

    def __init__(
        self, name: str, request: web.Request, ws: web.WebSocketResponse, *, text: bool = False, root: str = ""
    ) -> None:
        """``text``: frames are text, else binary."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client went away before the socket was open")
        self.name = name
        self.ws = ws
        self.subscription: Subscription | None = None
        self.frames = 0
        self.opened_at = time.time()
        self.active_at = time.monotonic()
        self.root = root
        self.frozen = False
        self.last = b""
        self._text = text
        self._transport = transport
        self._writer = request.writer
        transport.set_write_buffer_limits(high=0)  # so that a drain means: the kernel has it all
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)

    @property
    def open(self) -> bool:
        """Whether frames can still be written."""
        return not (self.frozen or self._transport.is_closing() or self.ws.closed)

    def write(self, payloads: Iterable[bytes]) -> None:
        """Queue these payloads, each a frame of the connection's type."""
        self._write((payload, not self._text) for payload in payloads)

    def write_recorded(self, payloads: Iterable[bytes]) -> None:
        """Queue these payloads, whatever their bytes are.

        Bytes that are no UTF-8 go as a binary frame: as text they would end the connection by the protocol's rules.
        """
        self._write((payload, not self._text or not _is_utf8(payload)) for payload in payloads)

    def _write(self, payloads: Iterable[tuple[bytes, bool]]) -> None:
        parts: list[bytes] = []
        for payload, binary in payloads:
            parts += (_header(0x82 if binary else 0x81, len(payload)), payload)
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

    def freeze(self) -> None:
        """Neither read nor write from now on, and leave it open: what a client sees of a server that is gone."""
        self.frozen = True
        self._transport.pause_reading()

    async def close(self, code: int) -> None:
        """Close it in order."""
        if self.open:
            await self.ws.close(code=code)


class Hub:
    """All open connections, and the log of what they were sent."""

    def __init__(
        self,
        log: SentLog,
        wait_for: str,
        codes: Iterable[str],
        missable: Collection[str] | None = None,
        channels: Mapping[str, int] | None = None,
    ) -> None:
        """``wait_for``: "any" subscriber, one of "trade", or such that cover "all-trades" of ``codes``.

        ``channels``: with "all-trades", the number of channels of each kind that must cover the codes too.
        ``missable``: the markets whose trades count as missed when nobody subscribes to them; None: all.
        """
        self.log = log
        self.connections: dict[str, Connection] = {}
        self.counts: Counter[str] = Counter()
        self.closed = 0
        self.faults = Faults()
        self._silent_until = 0.0
        self._wait_for = wait_for
        self._codes = frozenset(codes)
        self._kinds = dict(channels or {})
        self._trades_since: float | None = None
        self._missable = missable
        self._changed = asyncio.Event()
        self._numbers = itertools.count(1)
        self._closing: set[asyncio.Task[None]] = set()

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
            return self._covered(subscriptions)
        if self._wait_for == "trade":
            return any("trade" in subscription.channels() for subscription in subscriptions)
        return any(subscription.channels() for subscription in subscriptions)

    def _covered(self, subscriptions: list[Subscription]) -> bool:
        covered: dict[str, set[str]] = defaultdict(set)
        for subscription in subscriptions:
            for channel in subscription.channels():
                covered[channel] |= subscription.codes(channel)
        whole = Counter(channel.partition(".")[0] for channel, codes in covered.items() if self._codes <= codes)
        if not whole["trade"]:
            self._trades_since = None
            return False
        if self._trades_since is None:
            self._trades_since = time.monotonic()
        missing = any(whole[kind] < count for kind, count in self._kinds.items())
        return not missing or time.monotonic() - self._trades_since > OTHERS_S

    async def until_ready(self) -> None:
        """Wait for subscribers, and for the end of an ordered silence."""
        while self.silent() or not self.ready():
            self._changed.clear()
            with contextlib.suppress(TimeoutError):  # not wait_for: until 3.12 it may swallow a cancellation
                async with asyncio.timeout(0.05 if self.silent() else 1.0):
                    await self._changed.wait()

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
        wanted: dict[Connection, list[Frame]] = {}
        for connection, subscription in [] if self.silent() else self.subscribers():
            wanted[connection] = self.faults.arrange(connection.name, _frames(subscription, happenings))
        for connection, frames in wanted.items():
            connection.write(payload for payload, _ in frames)
        taken = self.faults.held()
        for connection, frames in wanted.items():
            if await self._arrived(connection, wait):
                taken.update(self._record(connection, frames))
        missing = {id(h): h for frames in wanted.values() for _, h in frames if id(h) not in taken}
        for happening in happenings:
            missed = happening.channel == "trade" and id(happening) not in taken and id(happening) not in missing
            if missed and (self._missable is None or happening.code in self._missable):
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

    def chosen(self, name: str = "") -> list[Connection]:
        """The connection of this name, or all."""
        return [one for one in self.connections.values() if name in ("", one.name)]

    def send_raw(self, payload: bytes, name: str = "") -> int:
        """Send these bytes as one frame on every subscribed connection, or on one; to how many."""
        receivers = [one for one, _ in self.subscribers() if name in ("", one.name)]
        for connection in receivers:
            connection.write([payload])
        self.counts["raw"] += len(receivers)
        return len(receivers)

    def flood(self, frames: int, name: str = "") -> int:
        """Send the last frame so many times again, on every connection that has had one; on how many."""
        receivers = [one for one in self.chosen(name) if one.last]
        for connection in receivers:
            connection.write([connection.last] * frames)
        self.counts["flood"] += frames * len(receivers)
        return len(receivers)

    def close_after(self, seconds: float, code: int, name: str = "") -> int:
        """Close every connection that is open now, or one, in order after so long; how many."""
        chosen = self.chosen(name)
        for connection in chosen:
            task = asyncio.create_task(_close_later(connection, seconds, code))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        return len(chosen)

    def abort(self, name: str = "") -> int:
        """Drop every connection, or one; how many there were."""
        chosen = self.chosen(name)
        for connection in chosen:
            connection.abort()
        return len(chosen)

    def freeze(self, name: str = "") -> int:
        """Leave every connection that is open now, or one, half open; how many."""
        chosen = self.chosen(name)
        for connection in chosen:
            connection.freeze()
        self._changed.set()
        return len(chosen)

    async def _arrived(self, connection: Connection, wait: bool) -> bool:
        if wait:
            return await connection.drain()
        if connection.behind():
            connection.abort()
        return connection.open

    def _record(self, connection: Connection, frames: list[Frame]) -> list[int]:
        self.counts.update(happening.channel for _, happening in frames)
        self.log.record(connection.name, (_sent(h.code, h.trade) for _, h in frames if h.trade is not None))
        for _, happening in frames:
            if isinstance(happening.body, DepthUpdate):
                self.log.record_book(happening.code, _book(happening.body))
        if frames:
            connection.last = frames[-1][0]
        return [id(happening) for _, happening in frames]


async def _close_later(connection: Connection, seconds: float, code: int) -> None:
    await asyncio.sleep(seconds)
    await connection.close(code)


def _frames(subscription: Subscription, happenings: list[Happening]) -> list[Frame]:
    return [(payload, happening) for happening in happenings if (payload := subscription.frame(happening)) is not None]


def _sent(code: str, trade: Trade) -> Sent:
    return Sent(code, trade.id, trade.ms, trade.price, trade.size, trade.is_ask, trade.first, trade.number)


def _book(update: DepthUpdate) -> SentBook:
    return SentBook(update.last, update.ms, update.best_bid, update.best_ask)


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def _header(head: int, length: int) -> bytes:
    """Head of a final, unmasked WebSocket frame; ``head``: its first byte."""
    if length < 126:
        return bytes((head, length))
    if length < 65_536:
        return bytes((head, 126)) + length.to_bytes(2, "big")
    return bytes((head, 127)) + length.to_bytes(8, "big")
