"""One exchange, kept running: what it lists, the plan of connections that follows, and a session for each.

Lives here: the supervision of one exchange. Doesn't: a connection's life (``session``), the plan's arithmetic
(``plan``), the other exchanges: a feed knows of none, and whatever happens to it stays in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from streaming.producer import markets
from streaming.producer.link import FrameListener
from streaming.producer.markets import Listing, MarketList
from streaming.producer.plan import Key, Place, Planner
from streaming.producer.session import Line, Session
from streaming.producer.waiting import Backoff, wait_for
from tidemark.bans import Ban
from tidemark.exchanges.base import Unparsable
from tidemark.settings import ExchangeSettings
from tidemark.transport import TransportError

log = structlog.get_logger()

_NAMED: Final = 10


@dataclass(frozen=True)
class _Running:
    session: Session
    place: Place
    stop: asyncio.Event


class Feed:
    """Everything of one exchange. ``run`` ends when it is stopped, and for no other reason."""

    def __init__(self, line: Line, settings: ExchangeSettings, ban: Ban | None = None) -> None:
        self._line = line
        #: The ban of this address by the host of the market list.
        self._ban = ban
        self._configured = settings
        self._wanted = settings
        self._changed = asyncio.Event()
        self._markets = MarketList()
        self._planner = Planner(line.exchange)
        self._running: dict[Key, _Running] = {}
        #: Also of connections that are not in the plan any more, until they have ended.
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """The exchange's name."""
        return self._line.exchange.name

    @property
    def configured(self) -> ExchangeSettings:
        """What the settings say, whatever has been ordered since."""
        return self._configured

    def order(self, settings: ExchangeSettings | None) -> None:
        """Ask for something else from now on; None: for what the settings say.

        Raises:
            ValueError: the exchange cannot be asked for that; what was asked for before goes on.
        """
        wanted = settings or self._configured
        codes = wanted.codes or self._markets.codes or self._configured.codes
        if codes:
            self._line.exchange.connections(wanted, codes, wanted.codes_per_connection)
        self._wanted = wanted
        self._changed.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the exchange's connections as they should be; when this returns, the end of each is on record."""
        backoff = self._backoff()
        beside = [asyncio.create_task(self._follow_frames(one)) for one in self._line.listeners.values()]
        try:
            while not stop.is_set():
                try:
                    await self._follow(stop, backoff)
                except (TransportError, Unparsable) as error:
                    self._line.counts.market_list_failures += 1
                    kept = len(self._markets.codes)
                    log.warning("no market list", exchange=self.name, error=str(error), kept_codes=kept)
                except Exception as error:
                    self._line.counts.restarts += 1
                    log.error("an exchange cannot be followed", exchange=self.name, exc_info=error)
                await wait_for(stop, backoff.next())
        finally:
            for task in beside:
                task.cancel()
            await self._end()

    async def _follow(self, stop: asyncio.Event, backoff: Backoff) -> None:
        """Plan, and plan again with every change.

        Raises:
            TransportError, Unparsable: no market list.
            ValueError: the exchange cannot be asked for what is wanted.
        """
        while not stop.is_set():
            self._changed.clear()
            wanted = self._wanted
            codes = await self._codes(wanted)
            if stop.is_set():
                return
            if codes:
                self._apply(self._planner.plan(wanted, codes))
            backoff.reset()
            await self._wait_for_change(stop, None if wanted.codes else self._line.producer.markets_interval_s)

    async def _codes(self, wanted: ExchangeSettings) -> Sequence[str]:
        """The codes to subscribe; none: not one of those that are wanted can be read, and what is open stays.

        Raises:
            TransportError, Unparsable: no market list.
        """
        if wanted.codes:
            named = markets.readable(self._line.exchange, wanted.codes)
            self._leave_out(named)
            return named
        found = await asyncio.to_thread(markets.listed, self._line.exchange, wanted, self._ban)
        self._markets.update(found, found.unreadable)
        self._leave_out(found)
        return self._markets.codes

    def _leave_out(self, listing: Listing) -> None:
        """Count the codes that cannot be read, and name each once."""
        unreadable = listing.unreadable
        for code, why in unreadable.items():
            if code not in self._line.counts.unreadable_codes:
                log.warning("code_left_out", exchange=self.name, code=code, because=why)
        if not listing:
            log.error("no_readable_code", exchange=self.name, codes=list(unreadable)[:_NAMED], number=len(unreadable))
        self._line.counts.unreadable_codes = dict(unreadable)

    async def _wait_for_change(self, stop: asyncio.Event, timeout_s: float | None) -> None:
        waits = [asyncio.create_task(event.wait()) for event in (stop, self._changed)]
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()

    def _apply(self, plan: dict[Key, Place]) -> None:
        """Start what is new, replace what has changed, end what is gone, and leave the rest alone."""
        exchange = self._line.exchange
        new = [key for key in plan if key not in self._running]
        gone = [key for key in self._running if key not in plan]
        changed = [
            key
            for key, running in self._running.items()
            if key in plan and not running.place.asks_the_same(plan[key], exchange)
        ]
        if not (new or gone or changed):
            return
        first = not self._running
        for key in gone:
            running = self._running.pop(key)
            running.session.retire()
            running.stop.set()
        for key in changed:
            running = self._running[key]
            running.session.replan(plan[key])
            self._running[key] = replace(running, place=plan[key])
        for key in new:
            self._start(key, plan[key])
        self._line.counts.planned = len(plan)
        self._line.counts.replanned += not first
        codes = {code for place in plan.values() for code in place.connection.codes}
        log.info(
            "planned",
            exchange=exchange.name,
            codes=len(codes),
            connections=len(plan),
            new=len(new),
            changed=len(changed),
            gone=len(gone),
        )

    def _start(self, key: Key, place: Place) -> None:
        session, stop = Session(self._line, place), asyncio.Event()
        task = asyncio.create_task(self._supervise(session, stop))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._running[key] = _Running(session, place, stop)

    async def _supervise(self, session: Session, stop: asyncio.Event) -> None:
        """Run a session; an error of ours in it is said, counted, and the session started again."""
        backoff = self._backoff()
        while not stop.is_set():
            try:
                await session.run(stop)
            except Exception:
                self._line.counts.restarts += 1
                log.exception("a session failed", exchange=self.name)
                await wait_for(stop, backoff.next())

    async def _follow_frames(self, listener: FrameListener) -> None:
        """Keep what follows the data running; an error of ours in it costs no data."""
        while True:
            try:
                await listener.run()
            except Exception:
                self._line.counts.restarts += 1
                log.exception("what follows the data failed", exchange=self.name)
            await asyncio.sleep(self._line.producer.reconnect_max_s)

    async def _end(self) -> None:
        for running in self._running.values():
            running.stop.set()
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    def _backoff(self) -> Backoff:
        return Backoff(self._line.producer.reconnect_min_s, self._line.producer.reconnect_max_s)
