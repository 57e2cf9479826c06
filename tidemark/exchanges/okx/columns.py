"""How OKX's frames are read by the column: the same fields and conversions as one by one.

Contains: ``SHAPES``: trades, tickers, changes of order books and bars, of spot markets and of contracts, and amounts of
contracts turned into coins by the column. Does not contain: which field is which column (``rows``), what a contract is
(``sizes``), reading (``columnar``).
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tidemark.exchanges.base import Unparsable
from tidemark.exchanges.columnar import native
from tidemark.exchanges.columnar.shape import Column, Convert, Levels, Path, Rows, Shape
from tidemark.exchanges.layout import Layout
from tidemark.exchanges.okx import frames, rows, sizes, symbols
from tidemark.exchanges.values import decimal, integer, shown, text, unix_time

_EVENT: Final[Path] = ("data",)
_DECIMAL_BYTES: Final = 16
#: Columns without which a trade is left to the record parser.
_OF_EVERY_TRADE: Final = frozenset(("trade_id", "event_at", "price", "size", "side"))
_TIME: Final = pa.timestamp("us", "UTC")
#: The volumes of a bar by their position, before it is known of what they are.
_VOLUMES: Final = ("_first_volume", "_second_volume", "_third_volume")


def _channel_of(dataset: str) -> Convert:
    def checked(value: object, _: str) -> bool:
        if frames.CHANNELS.get(text(value, "channel")) != dataset:
            raise Unparsable("wrong_topic", f"a frame of channel {shown(value)} among those of {dataset}")
        return True

    return checked


def _interval(value: object, _: str) -> str:
    if frames.CHANNELS.get(text(value, "channel")) != "candle":
        raise Unparsable("wrong_topic", f"a frame of channel {shown(value)} among those of candle")
    return frames.interval(str(value))


def _market(value: object, _: str) -> str:
    return symbols.read(value).market


def _code_of(spot: bool | None) -> Convert:
    """The code of a spot market, of a contract, or (None) of either."""

    def checked(value: object, _: str) -> str:
        instrument = symbols.read(value)
        if spot is not None and (instrument.kind == "spot") is not spot:
            raise Unparsable("other_shape", f"{instrument.code} is a {instrument.kind}")
        return instrument.code

    return checked


def _action(value: object, _: str) -> str:
    return rows.action(value)


def _confirmed(value: object, _: str) -> bool:
    return rows.confirmed(value)


# --- amounts of contracts into coins ------------------------------------------------------------------------


class _Unit(NamedTuple):
    """What sizes of an instrument count.

    ``factor``: coins in one, as a whole number over a power of ten; (0, 0) where the price or the time decide.
    """

    instrument: symbols.Instrument
    is_spot: bool
    is_known: bool
    is_fixed: bool
    factor: tuple[int, int]


@lru_cache(maxsize=8192)
def _unit(code: str) -> _Unit:
    instrument = symbols.instrument(code)
    is_known = sizes.is_countable(instrument)
    factor = sizes.factor(instrument) if is_known else Decimal(1)
    fraction = (0, 0) if factor is None else _fraction(factor)
    return _Unit(instrument, instrument.kind == "spot", is_known, factor is not None, fraction)


class _Units:
    """The units of a batch's rows: ``units`` of its different instruments, ``of_row`` the number of each row's."""

    def __init__(self, batch: Rows) -> None:
        self.of_row, words = batch.words("code")
        self.units = [_unit(word) for word in words]
        self.only_spot = all(unit.is_spot for unit in self.units)

    def where(self, attribute: str) -> npt.NDArray[np.bool_]:
        """Which units have the attribute."""
        return np.asarray([getattr(unit, attribute) for unit in self.units], np.bool_)


def _trade_size(batch: Rows) -> None:
    units = _Units(batch)
    counts = batch.columns["_size"]
    batch.columns["size"] = _coins(batch, units, counts, batch.columns["price"])
    _add_contracts(batch, units, "size_contracts", counts)


def _ticker_sizes(batch: Rows) -> None:
    units = _Units(batch)
    for name, contracts, price in rows.TICKER_SIZES:
        if name in batch.columns:
            counts = batch.columns[name]
            batch.columns[name] = _coins(batch, units, counts, batch.columns.get(price))
            _add_contracts(batch, units, contracts, counts)


def _add_contracts(batch: Rows, units: _Units, name: str, counts: Any) -> None:
    """The counts of contracts; null where coins are counted."""
    values = _either(units.where("is_spot")[units.of_row], None, counts)
    if values is not None:
        batch.columns[name] = values


def _level_sizes(batch: Rows) -> None:
    """The levels' sizes; each level is of the instrument of its row."""
    units = _Units(batch)
    if units.only_spot:
        return
    for side in ("ask", "bid"):
        prices, counts = batch.columns[f"{side}_prices"], batch.columns[f"{side}_sizes"]
        lengths = np.diff(counts.offsets.to_numpy())
        of_row = np.repeat(np.arange(batch.count), lengths)
        flat = _coins(batch, units, counts.values, prices.values, of_row)
        mask = pc.invert(counts.is_valid()) if counts.null_count else None
        batch.columns[f"{side}_sizes"] = pa.ListArray.from_arrays(counts.offsets, flat, mask=mask)
    names = [None if unit.is_known else rows.IN_CONTRACTS for unit in units.units]
    if any(names):
        batch.columns["size_unit"] = pa.array(names, pa.string()).take(pa.array(units.of_row))


def _coins(
    batch: Rows,
    units: _Units,
    counts: Any,
    prices: Any,
    of_row: npt.NDArray[np.int64] | None = None,
) -> Any:
    """Counts of contracts as coins: by one factor an instrument, or one by one where price or time matter.

    ``of_row``: the row of each count, where a row has several (levels). Counts of a contract of unknown size are null,
    those of levels stay contracts.
    """
    if units.only_spot:
        return counts
    which = units.of_row if of_row is None else units.of_row[of_row]
    values = np.frombuffer(counts.buffers()[1], np.uint8, len(counts) * _DECIMAL_BYTES, counts.offset * _DECIMAL_BYTES)
    products, fits = native.multiply(values, which, [unit.factor for unit in units.units])
    valid = _valid(counts)
    refused = ~fits & valid
    if of_row is None:
        valid = valid & units.where("is_known")[which]
    by_itself = ~units.where("is_fixed")[which] & valid
    if by_itself.any():
        found, wrong = _one_by_one(batch, units, counts, prices, by_itself, of_row)
        products.reshape(-1, _DECIMAL_BYTES)[by_itself] = found[0]
        valid[by_itself] = found[1]
        refused[wrong] = True
    if refused.any():
        rows_refused = np.zeros(batch.count, np.bool_)
        rows_refused[np.flatnonzero(refused) if of_row is None else of_row[refused]] = True
        batch.refuse(rows_refused)
    validity = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(counts.type, len(counts), [validity, pa.py_buffer(products)])


def _one_by_one(
    batch: Rows,
    units: _Units,
    counts: Any,
    prices: Any,
    which: npt.NDArray[np.bool_],
    of_row: npt.NDArray[np.int64] | None,
) -> tuple[tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]], list[int]]:
    """The coins of these counts by the record parser's function: bytes and validity, and the places that it refuses."""
    times = batch.columns.get("event_at")
    found: list[Decimal | None] = []
    wrong = []
    for at in np.flatnonzero(which).tolist():
        row = at if of_row is None else int(of_row[at])
        price = None if prices is None else prices[at].as_py()
        moment = None if times is None else times[row].as_py()
        instrument = units.units[units.of_row[row]].instrument
        try:
            found.append(sizes.coins(instrument, counts[at].as_py(), price, moment))
        except Unparsable:
            found.append(None)
            wrong.append(at)
    array = pa.array(found, counts.type)
    numbers = np.frombuffer(array.buffers()[1], np.uint8).reshape(-1, _DECIMAL_BYTES)[: len(array)]
    return (numbers, _valid(array)), wrong


def _valid(array: Any) -> npt.NDArray[np.bool_]:
    return np.array(array.is_valid().to_numpy(zero_copy_only=False), np.bool_)


def _fraction(factor: Decimal) -> tuple[int, int]:
    """A factor as a whole number over a power of ten."""
    _, digits, exponent = factor.as_tuple()
    whole = int("".join(map(str, digits)))
    return (whole * 10 ** int(exponent), 0) if int(exponent) >= 0 else (whole, -int(exponent))


# --- ids, numbers, bars -------------------------------------------------------------------------------------


def _trade_ids(batch: Rows) -> None:
    """First and last id of the trades that a message stands for; none where it is one."""
    if "_count" not in batch.columns:
        return
    given = batch.columns["_count"]
    counts = np.asarray(given.fill_null(1).to_numpy(), np.int64)
    last = np.asarray(batch.columns["trade_id"].to_numpy(), np.int64)
    batch.refuse(counts < 1)
    one = pa.array(counts <= 1)
    for name, ids in (("first_trade_id", last - counts + 1), ("last_trade_id", last)):
        batch.columns[name] = pc.if_else(one, pa.scalar(None, pa.int64()), pa.array(ids))


def _book_numbers(batch: Rows) -> None:
    """A snapshot's number before is -1, a checksum of 0 is none."""
    for name, nothing in (("prev_update_id", -1), ("checksum", 0)):
        if name in batch.columns:
            given = batch.columns[name]
            batch.columns[name] = pc.if_else(pc.equal(given, nothing), pa.scalar(None, given.type), given)


def _volumes(batch: Rows) -> None:
    """A bar of a spot market has its volumes in coins and money; one of a contract has contracts before these."""
    units = _Units(batch)
    first, second, third = (batch.columns.pop(name, None) for name in _VOLUMES)
    spot = units.where("is_spot")[units.of_row]
    for name, of_spot, of_contract in (
        ("volume_contracts", None, first),
        ("volume_base", first, second),
        ("volume_quote", second, third),
    ):
        values = _either(spot, of_spot, of_contract)
        if values is not None:
            batch.columns[name] = values


def _either(which: npt.NDArray[np.bool_], one: Any, other: Any) -> Any:
    """Values of ``one`` where ``which``, else of ``other``; None stands for a column of nulls."""
    if one is other or which.all():
        return one
    if not which.any():
        return other
    null = pa.scalar(None, (other if one is None else one).type)
    return pc.if_else(pa.array(which), null if one is None else one, null if other is None else other)


def _updated_at(batch: Rows) -> None:
    """A bar's end where it is closed, else its start."""
    starts = batch.columns["event_at"]
    if "is_closed" not in batch.columns:
        batch.columns["updated_at"] = starts
        return
    closed = np.asarray(batch.columns["is_closed"].fill_null(False).to_numpy(zero_copy_only=False), np.bool_)
    intervals, words = batch.words("interval")
    given = np.asarray(starts.cast(pa.int64()).to_numpy(), np.int64)
    updated = given.copy()
    for number, interval in enumerate(words):
        mine = closed & (intervals == number)
        moments = np.unique(given[mine])
        ends = [symbols.end_of(interval, pa.scalar(int(moment), _TIME).as_py()) for moment in moments]
        microseconds = pa.array(ends, _TIME).cast(pa.int64()).to_numpy()
        updated[mine] = microseconds[np.searchsorted(moments, given[mine])] if len(moments) else []
    batch.columns["updated_at"] = pa.array(updated).view(_TIME)


def _event_columns(layout: Layout, *internal: str, required: frozenset[str] = frozenset()) -> Iterator[Column]:
    for column, name, convert in layout.fields:
        yield Column((name,), f"_{column}" if column in internal else column, convert, column in required)


def _ticker(layout: Layout, *, spot: bool) -> Shape:
    return Shape(
        "ticker",
        columns=(
            Column(("instId",), "market", _market, required=True),
            Column(("instId",), "code", _code_of(spot), required=True),
            *_event_columns(layout),
        ),
        event=_EVENT,
        alone=False,
        in_array=True,
        around=(Column(("arg", "channel"), None, _channel_of("ticker"), required=True),),
        redundant=frozenset((name,) for name in layout.redundant - {"instId"}),
        constants={"exchange": symbols.NAME},
        derive=(_ticker_sizes,),
        empty_is_null=True,
    )


def _candle() -> Shape:
    return Shape(
        "candle",
        columns=(
            Column((0,), "event_at", unix_time, required=True),
            *(Column((n,), name, decimal) for n, name in enumerate(("open", "high", "low", "close"), 1)),
            *(Column((n,), name, decimal) for n, name in enumerate(_VOLUMES, 5)),
            Column((8,), "is_closed", _confirmed, never_null=True),
        ),
        event=_EVENT,
        alone=False,
        in_array=True,
        around=(
            Column(("arg", "channel"), "interval", _interval, required=True),
            Column(("arg", "instId"), "market", _market, required=True),
            Column(("arg", "instId"), "code", _code_of(None), required=True),
        ),
        constants={"exchange": symbols.NAME},
        derive=(_volumes, _updated_at),
        empty_is_null=True,
        lengths=(rows.LEAST_VALUES, *range(rows.ALL_VALUES, 63)),
    )


def _sides() -> tuple[Levels, ...]:
    return tuple(Levels((f"{side}s",), (0, 1), (f"{side}_prices", f"{side}_sizes")) for side in ("ask", "bid"))


SHAPES: Final = {
    "trade": (
        Shape(
            "trade",
            columns=(
                Column(("instId",), "market", _market, required=True),
                Column(("instId",), "code", _code_of(None), required=True),
                *_event_columns(rows.TRADE, "size", required=_OF_EVERY_TRADE),
                Column(("count",), "_count", integer),
            ),
            event=_EVENT,
            alone=False,
            in_array=True,
            around=(Column(("arg", "channel"), None, _channel_of("trade"), required=True),),
            constants={"exchange": symbols.NAME},
            derive=(_trade_size, _trade_ids),
            empty_is_null=True,
        ),
    ),
    "ticker": (_ticker(rows.CONTRACT_TICKER, spot=False), _ticker(rows.SPOT_TICKER, spot=True)),
    "candle": (_candle(),),
    "depth": (
        Shape(
            "depth",
            columns=tuple(_event_columns(rows.DEPTH)),
            event=_EVENT,
            alone=False,
            in_array=True,
            around=(
                Column(("arg", "channel"), None, _channel_of("depth"), required=True),
                Column(("arg", "instId"), "market", _market, required=True),
                Column(("arg", "instId"), "code", _code_of(None), required=True),
                Column(("action",), "kind", _action, required=True),
            ),
            # An event that names its instrument itself is another instrument's, for all that is known here.
            refused=frozenset((("instId",),)),
            levels=_sides(),
            constants={"exchange": symbols.NAME},
            derive=(_level_sizes, _book_numbers),
            empty_is_null=True,
        ),
    ),
}
