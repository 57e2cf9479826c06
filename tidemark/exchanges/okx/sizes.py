"""What one contract of an instrument is by the shipped file, so that sizes can be given in coins when a frame is read.

Contains: reading ``contract_sizes.csv``, and the size of an instrument at a time. Does not contain: the exchange's own
list (``rest.MarketsQuery``; ``silver.instrument`` keeps its history), the arithmetic (``exchanges.contract_size``).

Trades, tickers and books of swaps, futures and options count contracts, and no frame says what one is. The file keeps
parsing a pure function: the same frame gives the same row today and in a replay next year. An instrument that the file
does not have is no error: its row keeps the contracts (``size_contracts``, ``size_unit``), and the warehouse fills in
the coins from the exchange's list.

The file has two kinds of rows. ``known`` rows are a fallback for as long as the exchange's list has not been fetched:
``applies_to`` is a family (``BTC-USDT``: its swap and its dated futures), and ``*`` stands for every family. An
``override`` row is for an instrument of which the exchange's list is wrong: ``applies_to`` is one code, and it wins
over the list. ``since`` (ISO 8601, UTC; empty: always) dates a row, ``size`` is coins, or for ``inverse`` contracts the
quote currency.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from importlib import resources
from typing import Final, NamedTuple

from tidemark.exchanges.base import SizeOverride
from tidemark.exchanges.contract_size import ContractSize
from tidemark.exchanges.okx.symbols import NAME, Instrument

_FILE: Final = "contract_sizes.csv"
_EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ANY: Final = "*"


class _Row(NamedTuple):
    rule: str
    contract: str
    applies_to: str
    since: datetime
    size: Decimal


#: Sizes by the time from which each holds, latest first.
Sizes = tuple[tuple[datetime, ContractSize], ...]


def _rows() -> Iterator[_Row]:
    text = resources.files(__package__).joinpath(_FILE).read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        since = datetime.fromisoformat(row["since"]) if row["since"] else _EVER
        yield _Row(row["rule"], row["contract"], row["applies_to"], since, Decimal(row["size"]))


def _table(rows: list[_Row]) -> Mapping[tuple[str, str], Sizes]:
    found: defaultdict[tuple[str, str], list[tuple[datetime, ContractSize]]] = defaultdict(list)
    for row in rows:
        size = ContractSize(row.size, is_inverse=row.contract == "inverse")
        found[row.contract, row.applies_to].append((row.since, size))
    return {key: tuple(sorted(sizes, key=lambda one: one[0], reverse=True)) for key, sizes in found.items()}


_ALL: Final = list(_rows())
#: By kind of contract (linear, inverse, option) and family.
KNOWN: Final = _table([row for row in _ALL if row.rule == "known"])
#: What wins over the exchange's list.
OVERRIDES: Final = tuple(
    SizeOverride(NAME, row.applies_to, row.since, row.size, row.contract == "inverse")
    for row in _ALL
    if row.rule == "override"
)


def size_of(instrument: Instrument, at: datetime | None) -> ContractSize | None:
    """One contract of ``instrument`` at ``at`` (None: now) by the file; None: it is spot, or the file has no row."""
    sizes = _sizes(instrument)
    return next((size for since, size in sizes if at is None or at >= since), sizes[-1][1] if sizes else None)


def is_countable(instrument: Instrument) -> bool:
    """Whether sizes of ``instrument`` can be given in coins: it is spot, or the file knows its contract."""
    return instrument.kind == "spot" or bool(_sizes(instrument))


def coins(instrument: Instrument, count: Decimal, price: Decimal | None, at: datetime | None) -> Decimal | None:
    """``count`` of the exchange's units in coins: coins of a spot market stay, contracts are converted.

    None: no size is known, or the contract is inverse and there is no ``price``. ``at`` is the time of the event (UTC);
    None: the size of today holds.

    Raises:
        Unparsable: ``bad_number``: the amount does not fit the lake.
    """
    if instrument.kind == "spot":
        return count
    size = size_of(instrument, at)
    return None if size is None else size.coins(count, price)


@lru_cache(maxsize=8192)
def factor(instrument: Instrument) -> Decimal | None:
    """Coins in one of the exchange's units, where neither the price nor the time matter and it is known; else None."""
    if instrument.kind == "spot":
        return Decimal(1)
    sizes = _sizes(instrument)
    return sizes[0][1].value if len(sizes) == 1 and not sizes[0][1].is_inverse else None


@lru_cache(maxsize=8192)
def _sizes(instrument: Instrument) -> Sizes:
    if instrument.kind == "spot":
        return ()
    overrides = [
        (one.valid_from, ContractSize(one.size, one.is_inverse)) for one in OVERRIDES if one.code == instrument.code
    ]
    if overrides:
        return tuple(sorted(overrides, key=lambda one: one[0], reverse=True))
    contract = "option" if instrument.kind == "option" else "inverse" if instrument.is_inverse else "linear"
    return KNOWN.get((contract, instrument.family)) or KNOWN.get((contract, _ANY), ())
