"""The circuit breaker of one exchange: when nothing works, most connections wait and one tries.

Contains: its three states. Does not contain: connecting (``session``), remembering a ban (``tidemark.bans``).

Failures count while no connection of the exchange brings data: one that fails beside others that work has its own
back-off. A refusal for too many requests opens it at once. While the exchange's host has banned this address, nobody
connects, whatever the state.
"""

from __future__ import annotations

import asyncio

import structlog

from streaming.producer.counts import ExchangeCounts
from streaming.producer.waiting import first_of, wait_for
from tidemark.bans import Ban

log = structlog.get_logger()

#: Seconds after which the end of a ban is read again: another process may have lengthened or lifted it.
_LOOK_AGAIN_S = 30.0


class Breaker:
    """``closed``: all may connect. ``open``: none, for ``open_s``. ``trial``: one has, the others wait for what comes.

    A trial that brings nothing, neither data nor an error, is over after ``open_s`` too.
    """

    def __init__(
        self, exchange: str, counts: ExchangeCounts, failures: int, open_s: float, ban: Ban | None = None
    ) -> None:
        self._exchange = exchange
        self._counts = counts
        self._most = failures
        self._open_s = open_s
        self._ban = ban
        self._in_a_row = 0
        self._bringing = 0
        self._until = 0.0
        self._changed = asyncio.Event()

    async def admitted(self, stop: asyncio.Event) -> bool:
        """Wait until a connection may be tried; False when ``stop`` came first."""
        while not stop.is_set():
            if self._ban is not None and (banned_s := self._ban.left_s) > 0:
                await wait_for(stop, min(banned_s, _LOOK_AGAIN_S))
                continue
            now = asyncio.get_running_loop().time()
            if self._counts.breaker == "closed":
                return True
            if now >= self._until:
                self._state("trial", self._open_s)
                return True
            self._changed.clear()
            await first_of(stop, asyncio.ensure_future(self._changed.wait()), timeout_s=self._until - now)
        return False

    def brings(self) -> None:
        """A connection has brought its first data."""
        self._bringing += 1
        self._in_a_row = 0
        if self._counts.breaker != "closed":
            log.info("the exchange is back", exchange=self._exchange)
            self._state("closed", 0)

    def brings_no_more(self) -> None:
        """A connection that had brought data is no more."""
        self._bringing -= 1

    def failed(self, too_many: bool = False) -> None:
        """A connection could not be opened, or ended without data; ``too_many``: the exchange asks for a pause."""
        if self._bringing and not too_many:
            return
        self._in_a_row += 1
        if too_many or self._in_a_row >= self._most or self._counts.breaker == "trial":
            if self._counts.breaker == "closed":
                log.error("nothing works: connections wait", exchange=self._exchange, failures=self._in_a_row)
                self._counts.breaker_opened += 1
            self._state("open", self._open_s)

    def _state(self, state: str, for_s: float) -> None:
        self._counts.breaker = state
        self._until = asyncio.get_running_loop().time() + for_s
        self._changed.set()
