"""Asking an exchange for books over REST: one question after another, at the exchange's pace.

Contains: the one line at which all keepers of an exchange stand, and waiting out a ban. Does not contain: when to ask,
and when to ask again (``books``); how an answer is read (``exchanges``); where a ban is remembered (``bans``).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import structlog

from tidemark import bans
from tidemark.bans import UNNAMED_S, Ban
from tidemark.exchanges.base import Exchange, Row
from tidemark.exchanges.book_records import SnapshotRecord
from tidemark.settings import ExchangeSettings
from tidemark.transport import BannedError, Patience, Transport

log = structlog.get_logger()

#: A ban is waited out here, where the wait can be cancelled, never in the thread that asks.
_PATIENCE = Patience(attempts=1, connect_timeout_s=3.0, read_timeout_s=5.0)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A book as an exchange answered: the row, the record to keep of it, and when it came (Unix ns)."""

    row: Row
    record: SnapshotRecord
    received_ns: int


class Snapshots:
    """Shared by all keepers of one exchange, since its limits are for the address.

    A banned address asks nothing until the end that the exchange names; where it names none, for ``ban_s`` seconds, and
    for twice as long after each ban that follows. ``ban``: where bans are remembered (None: the machine's directory).
    """

    def __init__(
        self, exchange: Exchange, settings: ExchangeSettings, *, ban_s: float = UNNAMED_S, ban: Ban | None = None
    ) -> None:
        rest = exchange.rest
        self._exchange = exchange
        self._turn = asyncio.Lock()
        self._ban = ban or Ban(exchange.name, settings.rest_url, bans.directory(), ban_s)
        self._transport = Transport(
            settings.rest_url,
            rest.limits,
            rest.remaining,
            _PATIENCE,
            ban=self._ban,
            banned_until=rest.banned_until,
            longest_wait_s=0.0,
        )

    async def ask(self, code: str) -> Snapshot:
        """The book of one market now.

        Raises:
            TransportError: no usable answer; ask again later. After a ban: once it has ended.
            Unparsable: the answer is no book.
        """
        async with self._turn:
            try:
                return await asyncio.to_thread(self._ask, code)
            except BannedError as error:
                waiting_s = self._ban.left_s
                log.error("banned", exchange=self._exchange.name, error=str(error), waiting_s=waiting_s)
                await asyncio.sleep(waiting_s)
                raise

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _ask(self, code: str) -> Snapshot:
        query = self._exchange.rest.depth(code)
        request = query.request
        answer = self._transport.get(request.path, request.params, request.group)
        received_ns = time.time_ns()
        (row,) = query.rows(answer.body, answer.asked_at)
        return Snapshot(row, SnapshotRecord(code, answer.asked_at, answer.body), received_ns)
