"""One connection of the plan, kept up: open it, replace it by overlap when that is due, open it anew when it broke.

Lives here: the loop around links. Doesn't: what happens on an open socket (``link``), whether it is well (``watch``),
which connections there should be (``feed``).

A planned replacement loses nothing: the next connection is opened and brings data before the one before it is closed.
What both bring is in Kafka twice, under two connections, and told apart by natural key downstream.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog
from picows import WSError, WSHandshakeError, ws_connect

from streaming.producer.breaker import Breaker
from streaming.producer.counts import End, ExchangeCounts
from streaming.producer.gate import Gate
from streaming.producer.link import LARGEST_MESSAGE, Desk, FrameListener, Link, Turn
from streaming.producer.plan import Place
from streaming.producer.records import ConnectionNames
from streaming.producer.waiting import Backoff, Turnstile, first_of
from streaming.producer.watch import Patience, Watch
from tidemark.bans import Ban
from tidemark.exchanges.base import Exchange
from tidemark.settings import ProducerSettings
from tidemark.transport import note_ban

log = structlog.get_logger()

_CLOSE_TIMEOUT_S: Final = 2.0
_CONNECT_TIMEOUT_S: Final = 10.0
_LOOK_S: Final = 0.05
#: An exchange's answers to too many connects.
_TOO_MANY: Final = frozenset({418, 429})
#: A next connection that brings nothing where the one before it does is given up so often.
_UNFIT: Final = 3
_STOPS: Final = "the producer stops"


@dataclass(frozen=True)
class Line:
    """What all connections of one exchange share; ``listeners`` follow their datasets."""

    exchange: Exchange
    producer: ProducerSettings
    desk: Desk
    gate: Gate
    names: ConnectionNames
    turnstile: Turnstile
    breaker: Breaker
    counts: ExchangeCounts
    listeners: Mapping[str, FrameListener] = field(default_factory=dict)
    #: The ban of this address by the sockets' host; None: a refused handshake is remembered by the breaker only.
    ban: Ban | None = None


class Session:
    """One connection of the plan, for as long as it is planned."""

    def __init__(self, line: Line, place: Place) -> None:
        self._line = line
        self._place = place
        self._patience = Patience()
        self._link: Link | None = None
        #: What each open link was opened for, and what looks after it.
        self._open: dict[Link, tuple[Place, asyncio.Task[None]]] = {}
        self._retired: End | None = None
        self._replanned = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the connection up until ``stop``, then close it; when this returns, that is on record."""
        backoff = self._backoff()
        loop = asyncio.get_running_loop()
        try:
            while not stop.is_set():
                started = loop.time()
                self._replanned.clear()
                link = await self._opened(stop)
                if link is not None:
                    link = await self._kept(link, stop)
                    if link.brought() and loop.time() - started > self._line.producer.reconnect_max_s:
                        backoff.reset()
                if not stop.is_set():
                    await self._rest(self._pause(backoff, link), stop)
        finally:
            for link in list(self._open):
                await self._close(link, self._retired or End.STOPPED, _STOPS if stop.is_set() else "an error of ours")

    def replan(self, place: Place) -> None:
        """From now on this is to be asked for; an open connection is replaced by overlap."""
        self._place = place
        self._replanned.set()
        if self._link is not None:
            self._link.ask_turn(End.REPLANNED, "the plan of connections changed")

    def retire(self) -> None:
        """The plan holds no such connection any more; ``stop`` is set next."""
        self._retired = End.RETIRED

    # --- one link after another ---

    async def _kept(self, link: Link, stop: asyncio.Event) -> Link:
        """Stay with a link and those that take its place; the last one, when it has ended or is to stop."""
        while True:
            self._link = link
            place, keeper = self._open[link]
            if self._place is not place:
                link.ask_turn(End.REPLANNED, "the plan of connections changed while it was opened")
            await first_of(stop, link.closed, link.turn, keeper)
            if keeper.done():
                keeper.result()
            ended = stop.is_set() or link.closed.done()
            successor = None if ended else await self._successor(link, link.turn.result(), stop)
            if successor is None:
                self._link = None
                await self._close(link, self._retired or End.STOPPED, _STOPS)
                return link
            turn = link.turn.result()
            await self._close(link, turn.end, turn.reason)
            link = successor

    async def _successor(self, link: Link, turn: Turn, stop: asyncio.Event) -> Link | None:
        """Another link that may take this one's place; None: this one ended before, or the worker stops."""
        log.info("another connection takes over", connection=link.name, because=turn.reason)
        backoff = self._backoff()
        unfit = 0
        while not (stop.is_set() or link.closed.done()):
            other = await self._opened(stop)
            if other is not None:
                strict = turn.end in (End.LIFETIME, End.LEAVING) and unfit < _UNFIT
                if await self._takes_over(other, link, stop, strict):
                    return other
                unfit += 1
                await self._close(other, End.UNFIT, "brought nothing where the connection before it did")
            await first_of(stop, link.closed, timeout_s=backoff.next())
        return None

    async def _takes_over(self, other: Link, link: Link, stop: asyncio.Event, strict: bool) -> bool:
        """Wait until ``other`` brings every dataset that ``link`` does, or for the time of an overlap.

        ``strict``: it must have brought something if ``link`` has in the meantime.
        """
        loop = asyncio.get_running_loop()
        before = link.frames
        until = loop.time() + self._line.producer.overlap_s
        while loop.time() < until and not (stop.is_set() or other.closed.done()):
            if link.closed.done() or (link.brought() and link.brought() <= other.brought()):
                break
            await asyncio.sleep(_LOOK_S)
        if other.closed.done():
            return False
        return bool(not strict or other.brought() or link.closed.done() or link.frames == before)

    def _pause(self, backoff: Backoff, link: Link | None) -> float:
        """Seconds until the next attempt. What was refused will be refused again: long, and longer every time."""
        seconds = backoff.next()
        if link is None or not link.heard.refusals:
            return seconds
        self._patience.lost("refused")
        return self._line.producer.reconnect_max_s * self._patience.factor("refused") / 2

    async def _rest(self, seconds: float, stop: asyncio.Event) -> None:
        """Wait before the next attempt; another plan is tried at once."""
        replanned = asyncio.ensure_future(self._replanned.wait())
        await first_of(stop, replanned, timeout_s=seconds)
        replanned.cancel()

    # --- one link ---

    async def _opened(self, stop: asyncio.Event) -> Link | None:
        """A new link, in its turn; None when it could not be opened or ``stop`` came first."""
        line = self._line
        if not await line.breaker.admitted(stop):
            return None
        await line.turnstile.pass_through(stop)
        if stop.is_set():
            return None
        place = self._place
        name = line.names.next()
        subscription = line.exchange.subscribe(place.settings, place.connection, name)
        link = Link(line.exchange, name, place.connection, subscription, line.desk, line.counts, line.listeners)
        if not await self._connect(link, place.settings.ws_url + place.connection.path, stop):
            return None
        line.gate.add(link)
        self._open[link] = place, asyncio.create_task(self._look_after(link, place))
        return link

    async def _connect(self, link: Link, url: str, stop: asyncio.Event) -> bool:
        """Open the socket; False when it cannot be, takes too long, or ``stop`` comes first."""
        attempt = asyncio.ensure_future(
            ws_connect(
                lambda: link,
                url,
                max_frame_size=LARGEST_MESSAGE,
                websocket_handshake_timeout=_CONNECT_TIMEOUT_S,
                read_buffer_init_size=64 * 1024,
            )
        )
        await first_of(stop, attempt, timeout_s=_CONNECT_TIMEOUT_S)
        if not attempt.done():
            attempt.cancel()
        try:
            transport, _ = await attempt
            # Else the kernel's own tuning lets tens of MB pile up behind a pause.
            plug = transport.underlying_transport.get_extra_info("socket")
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._line.producer.receive_buffer_bytes)
        except (OSError, WSError, asyncio.CancelledError) as error:
            await self._not_connected(link, url, error, stop)
            return False
        if self._line.ban is not None:
            self._line.ban.lift()
        return True

    async def _not_connected(self, link: Link, url: str, error: BaseException, stop: asyncio.Event) -> None:
        self._line.counts.failed_connects += 1
        log.warning("cannot connect", url=url, error=f"{type(error).__name__}: {error}"[:300])
        answer = error.response if isinstance(error, WSHandshakeError) else None
        if isinstance(error, WSHandshakeError) and answer is not None:
            self._remember_ban(int(answer.status), answer.headers, error.raw_body or b"")
        if not stop.is_set():
            self._line.breaker.failed(too_many=answer is not None and int(answer.status) in _TOO_MANY)
        if link.opened_at is not None:
            await self._end_of(link, End.LOST, "could not be opened")

    def _remember_ban(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Keep the end of the ban that a refused handshake imposes, for every process of this machine."""
        line = self._line
        if line.ban is None or not note_ban(line.ban, status, headers, body, line.exchange.rest.banned_until):
            return
        log.error("banned", exchange=line.exchange.name, status=status, waiting_s=line.ban.left_s)

    async def _look_after(self, link: Link, place: Place) -> None:
        """What goes on beside a link as long as it is open."""
        line = self._line
        expected = line.exchange.acknowledgements(place.settings, place.connection)
        watch = Watch(link, line.exchange, expected, line.producer, line.counts, self._patience)
        asking = asyncio.create_task(link.ask_on())
        bringing = False
        looking = asyncio.create_task(watch.run())
        try:
            while not (link.closed.done() or (bringing := bool(link.brought()))):
                await asyncio.wait({link.closed}, timeout=_LOOK_S)
            if bringing:
                line.breaker.brings()
            await asyncio.wait({link.closed, looking}, return_when=asyncio.FIRST_COMPLETED)
            if looking.done():
                looking.result()
        finally:
            asking.cancel()
            looking.cancel()
            watch.done()
            if bringing:
                line.breaker.brings_no_more()
            elif link.ended_for not in (End.STOPPED, End.RETIRED):
                line.breaker.failed()

    async def _close(self, link: Link, end: End, reason: str) -> None:
        """End a link if it hasn't ended, see to it that its close record is written, and forget it."""
        await self._end_of(link, end, reason if end is not End.RETIRED else "not in the plan any more")
        self._line.gate.remove(link)
        _, keeper = self._open.pop(link)
        keeper.cancel()
        await asyncio.wait({keeper})

    async def _end_of(self, link: Link, end: End, reason: str) -> None:
        if not link.closed.done():
            link.end(end, reason)
            if not (await asyncio.wait({link.closed}, timeout=_CLOSE_TIMEOUT_S))[0]:
                link.abort()
                await asyncio.wait({link.closed}, timeout=_CLOSE_TIMEOUT_S)
                link.flush()

    def _backoff(self) -> Backoff:
        return Backoff(self._line.producer.reconnect_min_s, self._line.producer.reconnect_max_s)
