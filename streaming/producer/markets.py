"""What to ask for when nobody said: every market that the exchange lists, watched as the list changes.

Lives here: the market list over REST, and when a market counts as gone. Doesn't: how an answer is read
(``tidemark.exchanges``), what follows from a change (``feed``).
"""

from __future__ import annotations

from collections.abc import Sequence

from tidemark import bans
from tidemark.bans import Ban
from tidemark.exchanges.base import Exchange, Query, Unparsable
from tidemark.settings import ExchangeSettings
from tidemark.transport import Patience, Transport

#: One attempt, and no wait in the thread: the feed that asks has a back-off of its own, which a stop ends.
_PATIENCE = Patience(attempts=1, connect_timeout_s=3.0, read_timeout_s=10.0)


class MarketList:
    """The codes of an exchange. A new one counts at once, a missing one when it is missing twice in a row.

    So half an answer doesn't take markets away.
    """

    def __init__(self) -> None:
        self._known: tuple[str, ...] = ()
        self._missing: set[str] = set()

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes that count now; empty before the first list."""
        return self._known

    def update(self, listed: Sequence[str]) -> None:
        """Take the list as the exchange has just given it."""
        there = set(listed)
        missing = {code for code in self._known if code not in there}
        kept = [code for code in self._known if code not in missing & self._missing]
        self._missing = missing - self._missing
        known = set(kept)
        self._known = (*kept, *(code for code in dict.fromkeys(listed) if code not in known))


def listed(exchange: Exchange, settings: ExchangeSettings, ban: Ban | None = None) -> tuple[str, ...]:
    """All codes that are traded now. Blocks. ``ban``: where bans are remembered (None: the machine's directory).

    Raises:
        TransportError: the exchange did not answer, refuses, or has banned this address.
        Unparsable: the answer is no list of markets.
    """
    found: list[str] = []
    rest = exchange.rest
    remembered = ban or Ban(exchange.name, settings.rest_url, bans.directory())
    with Transport(
        settings.rest_url,
        rest.limits,
        rest.remaining,
        _PATIENCE,
        ban=remembered,
        banned_until=rest.banned_until,
        longest_wait_s=0.0,
    ) as transport:
        query: Query | None = rest.markets()
        while query is not None:
            answer = transport.get(query.request.path, query.request.params, query.request.group)
            rows = query.rows(answer.body, answer.asked_at)
            found += [str(row["code"]) for row in rows if rest.is_traded(row)]
            query = query.following(rows)
    if not found:
        raise Unparsable("no_markets", "the list of markets is empty")
    return tuple(found)
