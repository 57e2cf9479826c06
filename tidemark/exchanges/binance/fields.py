"""Which field of Binance's messages is which column.

Lives here: one table a dataset for the socket and one for REST where it differs, and the bars' places in REST's
arrays. Doesn't: the shape of messages (``frames``, ``rest``).
"""

from __future__ import annotations

from typing import Final

from tidemark.exchanges.binance import symbols
from tidemark.exchanges.layout import Layout
from tidemark.exchanges.values import boolean, decimal, integer, text, unix_time


def taker(value: object, name: str) -> str:
    """The taker's side: where the buyer was the maker, the taker sold."""
    return "sell" if boolean(value, name) else "buy"


def interval(value: object, name: str) -> str | None:
    """Our name of an interval; a new one has no translation."""
    return symbols.OURS.get(text(value, name))


#: Aggregate trades; REST's lack ``e``, ``E`` and ``s``. ``st`` (1: USDⓈ-M) and ``ps`` (the pair) repeat the code.
TRADE: Final = Layout(
    "trade",
    (
        ("trade_id", "a", integer),
        ("event_at", "T", unix_time),
        ("price", "p", decimal),
        ("size", "q", decimal),
        ("side", "m", taker),
        ("published_at", "E", unix_time),
        ("first_trade_id", "f", integer),
        ("last_trade_id", "l", integer),
        ("size_without_rpi", "nq", decimal),
    ),
    frozenset(("e", "s", "st")),
)
#: What lies around a bar.
CANDLE_FRAME: Final = Layout("candle", (("updated_at", "E", unix_time),), frozenset(("e", "s", "k")))
#: The bar itself. ``T`` is its last millisecond, ``B`` is always 0.
CANDLE: Final = Layout(
    "candle",
    (
        ("event_at", "t", unix_time),
        ("interval", "i", interval),
        ("open", "o", decimal),
        ("high", "h", decimal),
        ("low", "l", decimal),
        ("close", "c", decimal),
        ("volume_base", "v", decimal),
        ("volume_quote", "q", decimal),
        ("is_closed", "x", boolean),
        ("trade_count", "n", integer),
        ("buy_volume_base", "V", decimal),
        ("buy_volume_quote", "Q", decimal),
        ("first_trade_id", "f", integer),
        ("last_trade_id", "L", integer),
    ),
    frozenset(("s", "T", "B")),
)
DEPTH: Final = Layout(
    "depth",
    (
        ("event_at", "E", unix_time),
        ("changed_at", "T", unix_time),
        ("first_update_id", "U", integer),
        ("last_update_id", "u", integer),
        ("prev_update_id", "pu", integer),
    ),
    frozenset(("e", "s", "ps", "st", "a", "b")),
)
#: Statistics of 24 hours; the changes and the weighted price follow from them, and stay with the unknown fields.
TICKER: Final = Layout(
    "ticker",
    (
        ("event_at", "E", unix_time),
        ("trade_price", "c", decimal),
        ("trade_volume", "Q", decimal),
        ("open_price_24h", "o", decimal),
        ("high_price_24h", "h", decimal),
        ("low_price_24h", "l", decimal),
        ("acc_trade_volume_24h", "v", decimal),
        ("acc_trade_price_24h", "q", decimal),
    ),
    frozenset(("e", "s", "ps", "st")),
)

REST_DEPTH: Final = Layout(
    "depth",
    (("event_at", "E", unix_time), ("changed_at", "T", unix_time), ("last_update_id", "lastUpdateId", integer)),
    frozenset(("asks", "bids")),
)
REST_TICKER: Final = Layout(
    "ticker",
    (
        ("event_at", "closeTime", unix_time),
        ("trade_price", "lastPrice", decimal),
        ("trade_volume", "lastQty", decimal),
        ("open_price_24h", "openPrice", decimal),
        ("high_price_24h", "highPrice", decimal),
        ("low_price_24h", "lowPrice", decimal),
        ("acc_trade_volume_24h", "volume", decimal),
        ("acc_trade_price_24h", "quoteVolume", decimal),
    ),
    frozenset(("symbol",)),
)
#: ``contractType`` is seen in the code (a future's is dated) and kept. Many an ``onboardDate`` was wrong until 2026-05.
REST_MARKET: Final = Layout(
    "market",
    (
        ("state", "status", text),
        ("base", "baseAsset", text),
        ("quote", "quoteAsset", text),
        ("settle", "marginAsset", text),
        ("underlying", "pair", text),
        ("begins_at", "onboardDate", unix_time),
        ("expires_at", "deliveryDate", unix_time),
    ),
    frozenset(("symbol", "underlyingType")),
)
_UNDERLYINGS: Final = {
    "COIN": "coin",
    "INDEX": "index",
    "PREMARKET": "premarket",
    "COMMODITY": "commodity",
    "FX": "fx",
}


def underlying_kind(value: object) -> str:
    """What a contract follows; all kinds of stocks (EQUITY, KR_EQUITY, HK_EQUITY, ...) are ``equity``."""
    word = str(value)
    return "equity" if word.endswith("EQUITY") else _UNDERLYINGS.get(word, "other")


#: Fields of a bar in the order of REST's arrays; an eleventh is always "0".
REST_CANDLE: Final = ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")
