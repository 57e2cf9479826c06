"""What to ask for when nobody said: every market that the exchange lists, watched as the list changes.

Contains: the market list over REST, when a market counts as gone, and which codes cannot be read and are left out.
Does not contain: how an answer is read (``tidemark.exchanges``), what follows from a change (``feed``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Self

from tidemark import bans
from tidemark.bans import Ban
from tidemark.exchanges import answers
from tidemark.exchanges.base import Exchange, Query, Unparsable
from tidemark.settings import ExchangeSettings
from tidemark.transport import Patience, Transport

#: One attempt, and no wait in the thread: the feed that asks has a back-off of its own, which a stop ends.
_PATIENCE = Patience(attempts=1, connect_timeout_s=3.0, read_timeout_s=10.0)


class Listing(tuple[str, ...]):
    """Market codes to subscribe, and with them ``unreadable``: codes or rows that cannot be read, and why not."""

    unreadable: Mapping[str, str]

    def __new__(cls, codes: Iterable[str], unreadable: Mapping[str, str]) -> Self:
        """Each code once; a code that can be read is not unreadable, whatever else is listed of it."""
        listing = super().__new__(cls, dict.fromkeys(codes))
        listing.unreadable = {code: why for code, why in unreadable.items() if code not in listing}
        return listing


class MarketList:
    """The codes of an exchange. A new one counts at once, a missing one when it is missing twice in a row.

    So half an answer doesn't take markets away; nor does a row that can't be read any more, while it names its code.
    """

    def __init__(self) -> None:
        self._known: tuple[str, ...] = ()
        self._missing: set[str] = set()

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes that count now; empty before the first list."""
        return self._known

    def update(self, listed: Sequence[str], unreadable: Collection[str] = ()) -> None:
        """Take the list as the exchange has just given it; of ``unreadable`` codes nothing is known anew."""
        there = {*listed, *unreadable}
        missing = {code for code in self._known if code not in there}
        kept = [code for code in self._known if code not in missing & self._missing]
        self._missing = missing - self._missing
        known = set(kept)
        self._known = (*kept, *(code for code in dict.fromkeys(listed) if code not in known))


def readable(exchange: Exchange, codes: Sequence[str]) -> Listing:
    """Codes as somebody has named them, without those that the exchange's parser cannot read."""
    found: list[str] = []
    unreadable: dict[str, str] = {}
    for code in dict.fromkeys(codes):
        try:
            exchange.market(code)
        except Unparsable as error:
            unreadable[code] = str(error)
        else:
            found.append(code)
    return Listing(found, unreadable)


def listed(exchange: Exchange, settings: ExchangeSettings, ban: Ban | None = None) -> Listing:
    """All codes that are traded now and can be read. Blocks. ``ban``: where bans are remembered (None: the machine's).

    Raises:
        TransportError: the exchange did not answer, refuses, or has banned this address.
        Unparsable: the answer is no list of markets, or no traded market of it can be read.
    """
    found: list[str] = []
    unreadable: dict[str, str] = {}
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
            request = query.request
            answer = transport.get(request.path, request.params, request.group)
            rows = query.rows(answer.body, answer.asked_at)
            for aside in rows.set_aside:
                unreadable[aside.code or f"{request.key()} row {aside.item}"] = f"{aside.reason}: {aside.message}"
            for row in rows:
                if not exchange.rest.is_traded(row):
                    continue
                if why := answers.misread(exchange, row):
                    unreadable[str(row["code"])] = why
                else:
                    found.append(str(row["code"]))
            query = query.following(rows)
    if not found:
        why = next((f"{code}: {why}" for code, why in unreadable.items()), "it is empty, or nothing in it is traded")
        raise Unparsable("no_markets", f"no market of the list can be subscribed; {why}")
    return Listing(found, unreadable)
