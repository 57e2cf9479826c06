"""How OKX's frames are read by the column: the same fields and conversions as one by one.

Contains: ``SHAPES``: trades, tickers, changes of order books and bars, of spot markets and of contracts, and amounts of
contracts turned into coins by the column. Does not contain: which field is which column (``rows``), what a contract is
(``sizes``), reading (``columnar``).
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

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


def _trade_size(batch: Rows) -> None:
    codes, words = batch.words("code")
    counts = batch.columns["_size"]
    batch.columns["size"] = _coins(batch, counts, batch.columns["price"], codes, words)
    batch.columns["size_contracts"] = _contracts(counts, codes, words)


def _ticker_sizes(batch: Rows) -> None:
    codes, words = batch.words("code")
    for name, contracts, price in rows.TICKER_SIZES:
        if name in batch.columns:
            counts = batch.columns[name]
            batch.columns[name] = _coins(batch, counts, batch.columns.get(price), codes, words)
            batch.columns[contracts] = _contracts(counts, codes, words)


def _contracts(counts: Any, codes: npt.NDArray[np.int32], words: list[str]) -> Any:
    """The counts of contracts; null where coins are counted."""
    spot = np.asarray([symbols.instrument(word).kind == "spot" for word in words], np.bool_)[codes]
    return pc.if_else(pa.array(spot), pa.scalar(None, counts.type), counts) if spot.any() else counts


def _level_sizes(batch: Rows) -> None:
    """The levels' sizes; each level is of the instrument of its row."""
    codes, words = batch.words("code")
    for side in ("ask", "bid"):
        prices, counts = batch.columns[f"{side}_prices"], batch.columns[f"{side}_sizes"]
        lengths = np.diff(counts.offsets.to_numpy())
        of_row = np.repeat(np.arange(batch.count), lengths)
        flat = _coins(batch, counts.values, prices.values, codes[of_row], words, of_row, keep_unknown=True)
        mask = pc.invert(counts.is_valid()) if counts.null_count else None
        batch.columns[f"{side}_sizes"] = pa.ListArray.from_arrays(counts.offsets, flat, mask=mask)
    units = [None if sizes.is_countable(symbols.instrument(word)) else rows.IN_CONTRACTS for word in words]
    if any(units):
        batch.columns["size_unit"] = pa.array(units, pa.string()).take(pa.array(codes))


def _coins(
    batch: Rows,
    counts: Any,
    prices: Any,
    codes: npt.NDArray[np.int32],
    words: list[str],
    of_row: npt.NDArray[np.int64] | None = None,
    *,
    keep_unknown: bool = False,
) -> Any:
    """Counts of contracts as coins: by one factor an instrument, or one by one where price or time matter.

    Those of a contract of unknown size are null, or contracts still (``keep_unknown``).
    """
    instruments = [symbols.instrument(word) for word in words]
    unknown = np.asarray([not sizes.is_countable(one) for one in instruments], np.bool_)
    factors = [Decimal(1) if u else sizes.factor(one) for one, u in zip(instruments, unknown, strict=True)]
    values = np.frombuffer(counts.buffers()[1], np.uint8, len(counts) * _DECIMAL_BYTES, counts.offset * _DECIMAL_BYTES)
    scaled = [(0, 0) if factor is None else _fraction(factor) for factor in factors]
    products, fits = native.multiply(values, codes, scaled)
    valid = _valid(counts)
    refused = ~fits & valid
    if not keep_unknown:
        valid = valid & ~unknown[codes]
    by_itself = np.asarray([factor is None for factor in factors], np.bool_)[codes] & valid
    if by_itself.any():
        found, wrong = _one_by_one(batch, counts, prices, by_itself, codes, words, of_row)
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
    counts: Any,
    prices: Any,
    which: npt.NDArray[np.bool_],
    codes: npt.NDArray[np.int32],
    words: list[str],
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
        try:
            found.append(sizes.coins(symbols.instrument(words[codes[at]]), counts[at].as_py(), price, moment))
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


def _candle(*, spot: bool) -> Shape:
    volumes = ("volume_base", "volume_quote", None) if spot else ("volume_contracts", "volume_base", "volume_quote")
    return Shape(
        "candle",
        columns=(
            Column((0,), "event_at", unix_time, required=True),
            *(Column((n,), name, decimal) for n, name in enumerate(("open", "high", "low", "close"), 1)),
            *(Column((n,), name, decimal) for n, name in enumerate(volumes, 5)),
            Column((8,), "is_closed", _confirmed, never_null=True),
        ),
        event=_EVENT,
        alone=False,
        in_array=True,
        around=(
            Column(("arg", "channel"), "interval", _interval, required=True),
            Column(("arg", "instId"), "market", _market, required=True),
            Column(("arg", "instId"), "code", _code_of(spot), required=True),
        ),
        constants={"exchange": symbols.NAME},
        derive=(_updated_at,),
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
    "candle": (_candle(spot=False), _candle(spot=True)),
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
