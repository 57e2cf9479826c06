"""What is odd about the rows of an object, counted and never dropped: the footer and the metrics say it.

Lives here: the counts, by the column. Doesn't: quarantine (silver's, by the contract's conditions), holes in numbers
(``tidemark.completeness``).

Reasons: ``null.<column>`` a required column is null · ``range.<column>`` a value is against the contract's check (a
price that isn't positive) · ``clock`` the exchange's time lies more than a second after ours · ``late`` a row is older
than one of its market before it · ``duplicate`` the natural key stands twice · ``unsorted_book``, ``crossed_book``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tidemark.contracts import Contract
from tidemark.contracts.fields import ENVELOPE, Kind

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
            found[f"null.{field.name}"] = column.null_count
        if field.check and field.kind is Kind.DECIMAL and column.null_count < len(column):
            found[f"range.{field.name}"] = _against(field.check, column)
    if {"market", "event_at"} <= set(contract.names()):
        found |= _in_time(contract, table)
    if contract.dataset == "orderbook":
        found |= _books(table)
    return {reason: n for reason, n in sorted(found.items()) if n}


def _against(check: str, column: pa.ChunkedArray) -> int:
    """How many decimals are against ``> 0`` or ``>= 0``."""
    against = 0
    for chunk in column.chunks:
        low, high = _words(chunk)
        bad = (high < 0) | ((high == 0) & (low == 0)) if check == "> 0" else high < 0
        against += int(np.count_nonzero(bad & _valid(chunk)))
    return against


def _in_time(contract: Contract, table: pa.Table) -> dict[str, int]:
    """Rows that are ahead of our clock, behind their stream, or there twice."""
    received = _integers(table.column("received_at"))
    event = _integers(table.column("event_at"))
    known = table.column("event_at").null_count == 0 or _valid(table.column("event_at").combine_chunks())
    found = {"clock": int(np.count_nonzero((event > received + _CLOCK_TOLERANCE_US) & known))}
    streams = _streams(table, [name for name in _STREAM if name in contract.names()])
    moving = "updated_at" if "updated_at" in contract.names() else "event_at"
    if table.column(moving).null_count == 0:
        found["late"] = _late(streams, _integers(table.column(moving)))
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


def _books(table: pa.Table) -> dict[str, int]:
    """Books whose levels are out of order, and books whose best bid is not below the best ask."""
    unsorted = crossed = 0
    for asks, bids in zip(table.column("ask_prices").chunks, table.column("bid_prices").chunks, strict=True):
        unsorted += int(np.count_nonzero(_unsorted(asks, rising=True) | _unsorted(bids, rising=False)))
        both = (_lengths(asks) > 0) & (_lengths(bids) > 0)
        best_ask, best_bid = (_words(side.flatten(), _offsets(side)[:-1][both]) for side in (asks, bids))
        crossed += int(np.count_nonzero(~_below(best_bid, best_ask)))
    return {"unsorted_book": unsorted, "crossed_book": crossed}


def _unsorted(side: pa.ListArray, *, rising: bool) -> Mask:
    """Which lists hold a price that doesn't lie beyond the one before it."""
    low, high = _words(side.flatten())
    offsets = _offsets(side)
    if len(low) < 2:
        return np.zeros(len(side), np.bool_)
    before, after = (low[:-1], high[:-1]), (low[1:], high[1:])
    wrong = np.append(~(_below(before, after) if rising else _below(after, before)), False)
    last = offsets[1:][_lengths(side) > 0] - 1
    wrong[last] = False  # what follows it belongs to the next list
    passed = np.concatenate([np.zeros(1, np.int64), np.cumsum(wrong)])
    return np.asarray(passed[offsets[1:]] > passed[offsets[:-1]])


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
