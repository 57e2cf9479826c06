"""What is odd about the rows of an object, counted and never dropped: the footer and the metrics say it.

Contains: the counts, by the column. Does not contain: quarantine (silver's, by the contract's conditions), holes in
numbers (``tidemark.completeness``).

Reasons: ``null.<column>`` a required column is null · ``range.<column>`` a value is against the contract's check (a
price that isn't positive), or a level of a book is · ``implausible.<column>`` a time that no row can have
(``contracts.plausible``) · ``clock`` the exchange's time is more than a second after ours · ``late`` a row is older
than one of its market before it · ``duplicate`` the natural key occurs twice · ``uneven_book`` a side has another
number of prices than of sizes · ``unsorted_book``, ``crossed_book``. Silver quarantines rows of the first three
(``missing_``, ``bad_``, ``implausible_<column>``) and the odd books by the same names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tidemark.contracts import Contract, plausible_arrow
from tidemark.contracts.fields import ENVELOPE, BookRows, Field, Kind

_CLOCK_TOLERANCE_US: Final = 1_000_000
#: What tells the streams of a dataset apart, whose rows come in the order of time.
_STREAM: Final = ("market", "interval", "kind")
#: The number that makes a row unique within its stream.
_NUMBER: Final = {"trade": "trade_id", "depth": "last_update_id"}
#: Every column of the envelope is ours.
_OURS: Final = frozenset(field.name for field in ENVELOPE)

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def count(contract: Contract, batches: Sequence[pa.RecordBatch]) -> dict[str, int]:
    """How many rows there are of each oddity; those that don't occur are left out."""
    if not batches:
        return {}
    table = pa.Table.from_batches(batches).unify_dictionaries()
    found: dict[str, int] = {}
    for field in contract.fields:
        column = table.column(field.name)
        if field.required:
            found[f"null.{field.name}"] = _nulls(field, table)
        if field.check and field.kind is Kind.DECIMAL and column.null_count < len(column):
            found[f"range.{field.name}"] = _against(field.check, column)
        if field.plausible:
            found[f"implausible.{field.name}"] = _implausible(column, table.column("received_at"))
    if {"market", "event_at"} <= set(contract.names()):
        found |= _in_time(contract, table)
    if contract.book_rows:
        found |= _levels(table, contract.book_rows)
    return {reason: n for reason, n in sorted(found.items()) if n}


def _nulls(field: Field, table: pa.Table) -> int:
    """How many rows have neither the column nor the one from which it can be derived."""
    column = table.column(field.name)
    if not field.derived_from or not column.null_count:
        return int(column.null_count)
    return int(pc.sum(pc.and_(column.is_null(), table.column(field.derived_from).is_null())).as_py() or 0)


def _against(check: str, column: pa.ChunkedArray) -> int:
    """How many decimals are against ``> 0`` or ``>= 0``."""
    against = 0
    for chunk in column.chunks:
        low, high = _words(chunk)
        bad = (high < 0) | ((high == 0) & (low == 0)) if check == "> 0" else high < 0
        against += int(np.count_nonzero(bad & _valid(chunk)))
    return against


def _implausible(times: pa.ChunkedArray, received: pa.ChunkedArray) -> int:
    """How many times are given and can't be; without a receipt none can."""
    given = int(pc.count(times).as_py())
    return given - int(np.count_nonzero(_plausible(times, received)))


def _plausible(times: pa.ChunkedArray, received: pa.ChunkedArray) -> Mask:
    """Which times are given and plausible."""
    fits = pc.fill_null(plausible_arrow.holds(times, received), fill_value=False)
    return np.asarray(fits.combine_chunks().to_numpy(zero_copy_only=False), np.bool_)


def _in_time(contract: Contract, table: pa.Table) -> dict[str, int]:
    """Rows that are ahead of our clock, behind their stream, or there twice."""
    received = _integers(table.column("received_at"))
    event = _integers(table.column("event_at"))
    known = table.column("event_at").null_count == 0 or _valid(table.column("event_at").combine_chunks())
    found = {"clock": int(np.count_nonzero((event > received + _CLOCK_TOLERANCE_US) & known))}
    streams = _streams(table, [name for name in _STREAM if name in contract.names()])
    moving = "updated_at" if "updated_at" in contract.names() else "event_at"
    if table.column(moving).null_count == 0:
        # One time out of all order would make every row after it a late one.
        some = _plausible(table.column(moving), table.column("received_at"))
        found["late"] = _late(streams[some], _integers(table.column(moving))[some]) if some.any() else 0
    number = _NUMBER.get(contract.dataset)
    if number is not None:
        some = _valid(table.column(number).combine_chunks())
        found["duplicate"] = _twice(streams[some], _integers(table.column(number))[some])
    return found


def _streams(table: pa.Table, names: Iterable[str]) -> Ints:
    """A number for each row that is the same for the rows of a stream."""
    streams = np.zeros(len(table), np.int64)
    for name in names:
        encoded = table.column(name).combine_chunks()
        words = len(encoded.dictionary)
        streams = streams * (words + 1) + encoded.indices.fill_null(words).to_numpy()
    return streams


def _late(streams: Ints, times: Ints) -> int:
    """Rows whose time is before one that stands earlier in their stream."""
    order = np.argsort(streams, kind="stable")
    _, places = np.unique(streams[order], return_inverse=True)
    since = times[order] - times.min()
    mark = places * (since.max() + 1) + since
    return int(np.count_nonzero(mark < np.maximum.accumulate(mark)))


def _twice(streams: Ints, numbers: Ints) -> int:
    """Rows whose number stands in their stream before."""
    order = np.argsort(numbers, kind="stable")
    same = numbers[order][1:] == numbers[order][:-1]
    if not same.any():
        return 0
    some = order[np.append(same, False) | np.append(False, same)]
    pairs = np.stack([numbers[some], streams[some]])
    return len(some) - int(np.unique(pairs, axis=1).shape[1])


_SIDES: Final = ("ask", "bid")


def _levels(table: pa.Table, rows: BookRows) -> dict[str, int]:
    """Rows with a level that can't be, or with more prices than sizes or fewer; of whole books also their order."""
    found: Counter[str] = Counter()
    chunks = [table.column(f"{side}_{what}").chunks for side in _SIDES for what in ("prices", "sizes")]
    for ask_prices, ask_sizes, bid_prices, bid_sizes in zip(*chunks, strict=True):
        for side, prices, sizes in (("ask", ask_prices, ask_sizes), ("bid", bid_prices, bid_sizes)):
            found[f"range.{side}_prices"] += _holding(prices, _not_above_zero(prices.flatten()))
            found[f"range.{side}_sizes"] += _holding(
                sizes, _not_above_zero(sizes.flatten(), or_zero=rows is BookRows.CHANGES)
            )
        uneven = (_lengths(ask_prices) != _lengths(ask_sizes)) | (_lengths(bid_prices) != _lengths(bid_sizes))
        found["uneven_book"] += int(np.count_nonzero(uneven))
        if rows is BookRows.WHOLE:
            found["unsorted_book"] += _holding(
                ask_prices, _unsorted(ask_prices, rising=True), bid_prices, _unsorted(bid_prices, rising=False)
            )
            found["crossed_book"] += _crossed(ask_prices, bid_prices)
    return dict(found)


def _not_above_zero(numbers: pa.Array, *, or_zero: bool = False) -> Mask:
    """Which decimals are null, negative or (unless ``or_zero``) zero."""
    low, high = _words(numbers)
    wrong = high < 0 if or_zero else (high < 0) | ((high == 0) & (low == 0))
    return wrong | ~_valid(numbers) if numbers.null_count else wrong


def _unsorted(side: pa.ListArray, *, rising: bool) -> Mask:
    """Which prices of the flattened lists are not beaten by the next one of their list."""
    low, high = _words(side.flatten())
    if not len(low):
        return np.zeros(0, np.bool_)
    before, after = (low[:-1], high[:-1]), (low[1:], high[1:])
    wrong = np.append(~(_below(before, after) if rising else _below(after, before)), False)
    last = _offsets(side)[1:][_lengths(side) > 0] - 1
    wrong[last] = False  # what follows it belongs to the next list
    return wrong


def _crossed(asks: pa.ListArray, bids: pa.ListArray) -> int:
    """How many books have a best bid that is not below the best ask."""
    both = (_lengths(asks) > 0) & (_lengths(bids) > 0)
    best_ask, best_bid = (_words(side.flatten(), _offsets(side)[:-1][both]) for side in (asks, bids))
    return int(np.count_nonzero(~_below(best_bid, best_ask)))


def _holding(*sides: Any) -> int:
    """How many rows hold a marked value: pairs of a list column, and marks of its flattened values."""
    rows = np.zeros(len(sides[0]), np.bool_)
    for side, marked in zip(sides[::2], sides[1::2], strict=True):
        if marked.any():
            offsets = _offsets(side)
            passed = np.concatenate([np.zeros(1, np.int64), np.cumsum(marked)])
            rows |= passed[offsets[1:]] > passed[offsets[:-1]]
    return int(np.count_nonzero(rows))


def _below(one: tuple[Any, Any], other: tuple[Any, Any]) -> Mask:
    """Where a decimal is less than another, both as low and high words."""
    return np.asarray((one[1] < other[1]) | ((one[1] == other[1]) & (one[0] < other[0])))


def _words(decimals: pa.Array, places: Ints | None = None) -> tuple[npt.NDArray[np.uint64], Ints]:
    """The low and the high words of 128-bit decimals (of those at ``places``)."""
    data = np.frombuffer(decimals.buffers()[1] or b"", np.uint64)
    pairs = data[2 * decimals.offset : 2 * (decimals.offset + len(decimals))].reshape(-1, 2)
    pairs = pairs if places is None else pairs[places]
    return pairs[:, 0], pairs[:, 1].view(np.int64)


def _offsets(side: pa.ListArray) -> Ints:
    """Where each list begins in the flattened values, and where the last ends; a null list is empty."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(_lengths(side))])


def _lengths(side: pa.ListArray) -> Ints:
    return np.asarray(side.value_lengths().fill_null(0).to_numpy(), np.int64)


def _integers(column: pa.ChunkedArray) -> Ints:
    """Integers or times as integers; null is 0."""
    return np.asarray(column.combine_chunks().cast(pa.int64()).fill_null(0).to_numpy(), np.int64)


def _valid(array: pa.Array) -> Mask:
    return np.asarray(array.is_valid().to_numpy(zero_copy_only=False), np.bool_)
