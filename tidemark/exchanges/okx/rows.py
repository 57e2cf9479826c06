"""One event of OKX as a row: a trade, a ticker, a bar, a change of a book.

Lives here: which field is which column, the same for the socket and for REST, which send the same objects. Doesn't:
the frame around them (``frames``), the answer around them (``rest``).

All numbers come as text, and an empty text is no value. A field that no column holds stays in ``extra``; what repeats a
column (the instrument, its type) and the number of orders at a price are read over (the lake keeps the frame verbatim).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from tidemark.exchanges import messages
from tidemark.exchanges.base import Row, Unparsable
from tidemark.exchanges.layout import Layout, fill
from tidemark.exchanges.okx import sizes, symbols
from tidemark.exchanges.okx.symbols import Instrument
from tidemark.exchanges.values import decimal, integer, shown, text, unix_time

#: A finished row, and the fields of its message that belong into ``extra``.
Read = tuple[Row, list[str]]

#: The ``size_unit`` of depth rows whose sizes are contracts.
IN_CONTRACTS: Final = "contract"
#: Seven values of a bar are all there were in 2022; nine are all there are now.
LEAST_VALUES: Final = 7
ALL_VALUES: Final = 9


def side(value: object, name: str) -> str | None:
    """The taker's side; another word has no translation."""
    word = text(value, name)
    return word if word in ("buy", "sell") else None


TRADE: Final = Layout(
    "trade",
    (
        ("trade_id", "tradeId", integer),
        ("event_at", "ts", unix_time),
        ("price", "px", decimal),
        ("size", "sz", decimal),
        ("side", "side", side),
        ("order_source", "source", text),
        ("sequence_id", "seqId", integer),
    ),
    frozenset(("instId", "count")),
)
_STATE: Final = (
    ("event_at", "ts", unix_time),
    ("trade_price", "last", decimal),
    ("trade_volume", "lastSz", decimal),
    ("best_ask_price", "askPx", decimal),
    ("best_ask_size", "askSz", decimal),
    ("best_bid_price", "bidPx", decimal),
    ("best_bid_size", "bidSz", decimal),
    ("opening_price", "sodUtc0", decimal),
    ("open_price_24h", "open24h", decimal),
    ("high_price_24h", "high24h", decimal),
    ("low_price_24h", "low24h", decimal),
)
#: What happened in 24 hours: of a spot market in coins and money, of contracts in coins (and in contracts: ``vol24h``).
_SPOT_DAY: Final = (("acc_trade_volume_24h", "vol24h", decimal), ("acc_trade_price_24h", "volCcy24h", decimal))
_CONTRACT_DAY: Final = (("acc_trade_volume_24h", "volCcy24h", decimal),)
SPOT_TICKER: Final = Layout("ticker", (*_STATE, *_SPOT_DAY), frozenset(("instId", "instType")))
CONTRACT_TICKER: Final = Layout("ticker", (*_STATE, *_CONTRACT_DAY), frozenset(("instId", "instType")))
#: Sizes of a ticker, the column of the same in contracts, and that of the price that turns inverse ones into coins.
TICKER_SIZES: Final = (
    ("trade_volume", "trade_volume_contracts", "trade_price"),
    ("best_ask_size", "best_ask_contracts", "best_ask_price"),
    ("best_bid_size", "best_bid_contracts", "best_bid_price"),
)
_CANDLE: Final = Layout("candle", (), frozenset())
DEPTH: Final = Layout(
    "depth",
    (
        ("event_at", "ts", unix_time),
        ("last_update_id", "seqId", integer),
        ("prev_update_id", "prevSeqId", integer),
        ("checksum", "checksum", integer),
    ),
    frozenset(("instId", "asks", "bids")),
)


def filled(layout: Layout, instrument: Instrument, message: Mapping[str, Any]) -> Read:
    """A row of ``instrument`` with the columns that the message's fields give; an empty text gives none."""
    row, left = fill(layout, {name: value for name, value in message.items() if value != ""})
    return _place(row, instrument), left


def trade(instrument: Instrument, message: Mapping[str, Any]) -> Read:
    """One trade, or the trades of one taker at one price: ``count`` of them, whose last id is ``tradeId``."""
    row, left = filled(TRADE, instrument, message)
    if instrument.kind != "spot":
        row["size_contracts"] = row["size"]
        row["size"] = _coins(instrument, row, "size", "price")
    count = 1 if message.get("count") in (None, "") else integer(message["count"], "count")
    if count < 1:
        raise Unparsable("bad_number", f"count = {count}: a message stands for one trade at least")
    last = row["trade_id"]
    if count > 1 and isinstance(last, int):
        row["first_trade_id"], row["last_trade_id"] = last - count + 1, last
    return row, left


def ticker(instrument: Instrument, message: Mapping[str, Any]) -> Read:
    """The state of one instrument, of contracts in coins (null where these are unknown) and in contracts."""
    row, left = filled(SPOT_TICKER if instrument.kind == "spot" else CONTRACT_TICKER, instrument, message)
    if instrument.kind != "spot":
        for column, contracts, price in TICKER_SIZES:
            row[contracts] = row[column]
            row[column] = _coins(instrument, row, column, price)
    return row, left


def candle(instrument: Instrument, interval: str, values: object) -> Row:
    """One state of one bar: ``[ts, open, high, low, close, vol, volCcy, volCcyQuote, confirm]``, or the first seven.

    No bar says when it was sent, so ``updated_at`` is the bar's start while it is forming and its end once ``confirm``
    closes it. With the volume, which only grows, that puts all states of a bar in order, whichever way they came.
    """
    if not isinstance(values, list) or len(values) < LEAST_VALUES:
        raise Unparsable("bad_type", f"a bar is {shown(values)}: it must be a list of {LEAST_VALUES} values at least")
    row = _place(_CANDLE.empty.copy(), instrument)
    start = unix_time(values[0], "ts")
    row["event_at"], row["interval"] = start, interval
    for position, column in enumerate(("open", "high", "low", "close"), 1):
        row[column] = _decimal(values[position], column)
    whole = len(values) >= ALL_VALUES
    quote = _decimal(values[7], "volCcyQuote") if whole else None
    if instrument.kind == "spot":
        row["volume_base"], row["volume_quote"] = _decimal(values[5], "vol"), _decimal(values[6], "volCcy")
    else:
        row["volume_contracts"], row["volume_base"] = _decimal(values[5], "vol"), _decimal(values[6], "volCcy")
        row["volume_quote"] = quote
    closed = row["is_closed"] = confirmed(values[8]) if whole else None
    row["updated_at"] = symbols.end_of(interval, start) if closed else start
    unknown = {str(n): values[n] for n in range(ALL_VALUES if whole else LEAST_VALUES, len(values))}
    row["extra"] = messages.text(unknown) if unknown else None
    return row


def depth(instrument: Instrument, kind: object, message: Mapping[str, Any]) -> Read:
    """A change of a book (``update``) or the whole book (``snapshot``), sizes in coins.

    Of a contract whose size the shipped file does not have, every row keeps contracts and says so (``size_unit``), one
    that only removes levels too: the changes of one book must not be split between two units.

    A checksum of 0 is none: the exchange has sent nothing else since 2026-06-23. Messages of 2022 have no numbers.
    """
    kind = action(kind)
    row, left = filled(DEPTH, instrument, message)
    row["kind"] = kind
    if row["prev_update_id"] == -1:
        row["prev_update_id"] = None
    if row["checksum"] == 0:
        row["checksum"] = None
    at = row["event_at"]
    if not sizes.is_countable(instrument):
        row["size_unit"] = IN_CONTRACTS
    row["ask_prices"], row["ask_sizes"] = _levels(instrument, message.get("asks"), "asks", at)
    row["bid_prices"], row["bid_sizes"] = _levels(instrument, message.get("bids"), "bids", at)
    return row, left


def _levels(instrument: Instrument, levels: object, name: str, at: object) -> tuple[object, object]:
    """Prices and sizes of one side as they stand; each level is price, size, and what isn't kept."""
    if levels is None:
        return None, None
    if not isinstance(levels, list) or not all(isinstance(one, list) and len(one) >= 2 for one in levels):
        raise Unparsable("bad_type", f"{name} is not a list of levels of a price and a size")
    when = at if isinstance(at, datetime) else None
    prices = [decimal(level[0], name) for level in levels]
    counts = [decimal(level[1], name) for level in levels]
    if not sizes.is_countable(instrument):
        return prices, counts
    return prices, [sizes.coins(instrument, n, price, when) for n, price in zip(counts, prices, strict=True)]


def _coins(instrument: Instrument, row: Row, size: str, price: str) -> Decimal | None:
    """The row's size in coins; None where it has none, or none can be known."""
    count, at, paid = row[size], row["event_at"], row[price]
    if not isinstance(count, Decimal):
        return None
    when = at if isinstance(at, datetime) else None
    return sizes.coins(instrument, count, paid if isinstance(paid, Decimal) else None, when)


def _place(row: Row, instrument: Instrument) -> Row:
    row["exchange"], row["market"], row["code"] = symbols.NAME, instrument.market, instrument.code
    return row


def _decimal(value: object, name: str) -> Decimal | None:
    return None if value is None or value == "" else decimal(value, name)


def action(value: object) -> str:
    """Whether a book's change is a snapshot or an update."""
    if value not in ("snapshot", "update"):
        raise Unparsable("unknown_type", f"a book's action is {shown(value)}; known are snapshot and update")
    return str(value)


def confirmed(value: object) -> bool:
    """Whether a bar is closed."""
    if value not in ("0", "1"):
        raise Unparsable("bad_type", f"confirm = {shown(value)} is neither 0 nor 1")
    return value == "1"
