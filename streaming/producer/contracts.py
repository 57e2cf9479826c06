"""What the contracts of one exchange are, by its own list: so that order books are built in coins.

Contains: asking for the list, and changes of books turned from contracts into coins. Does not contain: what is shipped
for the time before the first list (``Exchange.contract_size``), books (``books``).

A size comes from the override file first, then from the list, then from what is shipped. With none of them no book can
be built in coins: the code is reported once and its changes are recorded all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Final

import structlog

from streaming.producer.waiting import Backoff, wait_for
from tidemark import bans
from tidemark.bans import Ban
from tidemark.exchanges.base import Exchange, Query, Row, Unparsable
from tidemark.exchanges.contract_size import ContractSize
from tidemark.settings import ExchangeSettings
from tidemark.transport import Patience, Transport, TransportError

log = structlog.get_logger()

#: Seconds between two lists, and after a list that failed or lacked a code that is wanted.
_EVERY_S: Final = 3_600.0
_AGAIN_S: Final = (10.0, 600.0)
_PATIENCE: Final = Patience(attempts=1, connect_timeout_s=3.0, read_timeout_s=10.0)


class ContractSizes:
    """The sizes of an exchange's contracts. Nothing is asked of one that counts coins (``Exchange.counts_contracts``).

    ``settings`` None: only what is shipped is known.
    """

    def __init__(self, exchange: Exchange, settings: ExchangeSettings | None = None) -> None:
        self._exchange = exchange
        self._settings = settings
        self._overridden = frozenset(one.code for one in exchange.size_overrides)
        #: By code what the list says, where that is not what the parser uses.
        self._listed: dict[str, ContractSize] = {}
        self._unknown: set[str] = set()
        self._wanted = asyncio.Event()

    def in_coins(self, row: Row) -> Row | None:
        """A row of the dataset ``depth`` with its sizes in coins; None: the size of its contract is unknown.

        Raises:
            Unparsable: ``bad_number``: a size does not fit the lake, or a level of an inverse contract has no price.
        """
        code = str(row["code"])
        listed = self._listed.get(code)
        if row["size_unit"] is not None:
            if listed is None:
                self._report(code)
                return None
            return _converted(row, listed.coins)
        shipped = None if listed is None else self._exchange.contract_size(code)
        if listed is None or shipped is None:
            return row
        return _converted(row, lambda coins, price: listed.coins(_some(shipped.contracts(coins, price)), price))

    def learn(self, rows: Iterable[Row]) -> set[str]:
        """Take a list; the codes whose size is another one now, or known for the first time."""
        changed = set()
        for row in rows:
            code, value = str(row["code"]), row["contract_value"]
            if not isinstance(value, Decimal) or value <= 0 or code in self._overridden:
                continue
            size = ContractSize(value, bool(row["is_inverse"]))
            before = self._listed.get(code) or self._shipped(code)
            if size != before:
                self._listed[code] = size
                changed.add(code)
                log.info("contract_size_learnt", exchange=self._exchange.name, code=code, size=str(value.normalize()))
        self._unknown -= changed
        return changed

    async def follow(self, codes: Callable[[], Sequence[str]], changed: Callable[[set[str]], None]) -> None:
        """Ask for the list now and then, until cancelled. ``changed`` takes what ``learn`` returns.

        ``codes`` gives those whose size is wanted.
        """
        if self._settings is None or not self._exchange.counts_contracts:
            return
        backoff = Backoff(*_AGAIN_S)
        while True:
            if await self._ask(codes(), changed) and not self._unknown:
                backoff.reset()
                await wait_for(self._wanted, _EVERY_S)
            await asyncio.sleep(max(_AGAIN_S[0], backoff.next()))
            self._wanted.clear()

    async def _ask(self, codes: Sequence[str], changed: Callable[[set[str]], None]) -> bool:
        try:
            rows = await asyncio.to_thread(self._rows, codes)
        except (TransportError, Unparsable) as error:
            log.warning("contract_sizes_not_listed", exchange=self._exchange.name, error=str(error))
            return False
        if found := self.learn(rows):
            changed(found)
        return True

    def _rows(self, codes: Sequence[str]) -> list[Row]:
        rest, found = self._exchange.rest, list[Row]()
        settings = self._settings
        if settings is None:
            return found
        with Transport(
            settings.rest_url,
            rest.limits,
            rest.remaining,
            _PATIENCE,
            ban=Ban(self._exchange.name, settings.rest_url, bans.directory()),
            banned_until=rest.banned_until,
            longest_wait_s=0.0,
        ) as transport:
            query: Query | None = rest.markets(codes)
            while query is not None:
                answer = transport.get(query.request.path, query.request.params, query.request.group)
                rows = query.rows(answer.body, answer.asked_at)
                found += rows
                query = query.following(rows)
        return found

    def _shipped(self, code: str) -> ContractSize | None:
        try:
            return self._exchange.contract_size(code)
        except Unparsable:
            return None

    def _report(self, code: str) -> None:
        if code not in self._unknown:
            self._unknown.add(code)
            self._wanted.set()
            log.warning(
                "contract_size_unknown",
                exchange=self._exchange.name,
                code=code,
                effect="no book is built; its changes are recorded",
            )


def _converted(row: Row, coins: Callable[[Decimal, Decimal | None], Decimal | None]) -> Row:
    changed = {**row, "size_unit": None}
    for side in ("ask", "bid"):
        prices, sizes = row[f"{side}_prices"], row[f"{side}_sizes"]
        if isinstance(prices, list) and isinstance(sizes, list):
            changed[f"{side}_sizes"] = [_some(coins(n, price)) for n, price in zip(sizes, prices, strict=True)]
    return changed


def _some(number: Decimal | None) -> Decimal:
    if number is None:
        raise Unparsable("bad_number", "a level of an inverse contract has no price")
    return number
