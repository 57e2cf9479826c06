"""Asking an exchange for books over REST: one question after another, at the exchange's pace.

Lives here: the one line at which all keepers of an exchange stand, and waiting out a ban. Doesn't: when to ask, and
when to ask again (``books``); how an answer is read (``tidemark.exchanges``).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import structlog

from tidemark.exchanges.base import Exchange, Row
from tidemark.exchanges.book_records import SnapshotRecord
from tidemark.settings import ExchangeSettings
from tidemark.transport import BannedError, Patience, Transport

log = structlog.get_logger()

_PATIENCE = Patience(attempts=1, connect_timeout_s=3.0, read_timeout_s=5.0)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A book as an exchange answered: the row, the record to keep of it, and when it came (Unix ns)."""

    row: Row
    record: SnapshotRecord
    received_ns: int


class Snapshots:
    """Shared by all keepers of one exchange, since its limits are for the address.

    A banned address asks nothing for ``ban_s`` seconds, and for twice as long after each ban that follows.
    """

    def __init__(self, exchange: Exchange, settings: ExchangeSettings, *, ban_s: float = 150.0) -> None:
        self._exchange = exchange
        self._settings = settings
        self._ban_s = self._first_ban_s = ban_s
        self._turn = asyncio.Lock()
        self._transport = self._open()

    async def ask(self, code: str) -> Snapshot:
        """The book of one market now.

        Raises:
            TransportError: no usable answer; ask again later.
            Unparsable: the answer is no book.
        """
        async with self._turn:
            try:
                snapshot = await asyncio.to_thread(self._ask, code)
            except BannedError as error:
                log.error("banned", exchange=self._exchange.name, error=str(error), waiting_s=self._ban_s)
                await asyncio.sleep(self._ban_s)
                self._ban_s = min(2 * self._ban_s, 24 * 3600.0)
                self._transport.close()
                self._transport = self._open()
                raise
            self._ban_s = self._first_ban_s
            return snapshot

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _open(self) -> Transport:
        rest = self._exchange.rest
        return Transport(self._settings.rest_url, rest.limits, rest.remaining, _PATIENCE)

    def _ask(self, code: str) -> Snapshot:
        query = self._exchange.rest.depth(code)
        request = query.request
        answer = self._transport.get(request.path, request.params, request.group)
        received_ns = time.time_ns()
        (row,) = query.rows(answer.body, answer.asked_at)
        return Snapshot(row, SnapshotRecord(code, answer.asked_at, answer.body), received_ns)
