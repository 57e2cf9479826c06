"""What to ask for when nobody said: every market that the exchange lists.

Lives here: the market list over REST, asked for until it comes. Doesn't: how it is read
(``tidemark.exchanges``).
"""

from __future__ import annotations

import asyncio

import structlog

from streaming.producer.session import Backoff, wait_for
from tidemark.exchanges.base import Exchange, Query, Unparsable
from tidemark.settings import ExchangeSettings
from tidemark.transport import Patience, Transport, UnavailableError

log = structlog.get_logger()


async def codes(
    exchange: Exchange, settings: ExchangeSettings, backoff: Backoff, stop: asyncio.Event
) -> tuple[str, ...]:
    """The configured codes, or all that are listed; empty when ``stop`` came first.

    Raises:
        RefusedError, BannedError: the exchange says no for good.
    """
    if settings.codes:
        return settings.codes
    while not stop.is_set():
        try:
            return await asyncio.to_thread(_listed, exchange, settings)
        except (UnavailableError, Unparsable) as error:
            log.warning("no market list yet", exchange=exchange.name, error=str(error))
        await wait_for(stop, backoff.next())
    return ()


def _listed(exchange: Exchange, settings: ExchangeSettings) -> tuple[str, ...]:
    found: list[str] = []
    patience = Patience(attempts=1, connect_timeout_s=3.0, read_timeout_s=10.0)
    with Transport(settings.rest_url, exchange.rest.limits, exchange.rest.remaining, patience) as transport:
        query: Query | None = exchange.rest.markets()
        while query is not None:
            answer = transport.get(query.request.path, query.request.params, query.request.group)
            rows = query.rows(answer.body, answer.asked_at)
            found += [str(row["code"]) for row in rows]
            query = query.following(rows)
    if not found:
        raise Unparsable("no_markets", "the list of markets is empty")
    return tuple(found)
