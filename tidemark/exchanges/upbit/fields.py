"""Which field of Upbit's messages is which column.

Lives here: one table a dataset with the long name (format DEFAULT), the short name (SIMPLE), the name in REST
answers where it differs, and the conversion. Doesn't: the shape of messages (``frames``, ``rest``).
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Final

from tidemark.exchanges.base import Unparsable
from tidemark.exchanges.layout import Layout
from tidemark.exchanges.values import boolean, decimal, integer, iso_time, shown, text, unix_time


def side(value: object, name: str) -> str | None:
    """The taker's side: ASK is a taker who sold. Another word has no translation."""
    return {"ASK": "sell", "BID": "buy"}.get(text(value, name))


def day(value: object, name: str) -> str:
    """A day as ``yyyy-MM-dd``, from that text, from ``yyyyMMdd``, or from ``{"year": …, "month": …, "day": …}``.

    Raises:
        Unparsable: ``bad_type``; ``bad_time`` where there is no such day.
    """
    parts = [value.get(part) for part in _DAY_PARTS] if isinstance(value, dict) else None
    try:
        if parts is not None:
            return date(*(integer(part, name) for part in parts)).isoformat()
        return date.fromisoformat(text(value, name)[:_DAY_LENGTH]).isoformat()
    except (ValueError, OverflowError):
        raise Unparsable("bad_time", f"{name} = {shown(value)} is not a day") from None


def magnitude(value: object, name: str) -> Decimal:
    """A number without its sign."""
    return abs(decimal(value, name))


_DAY_PARTS: Final = ("year", "month", "day")
_DAY_LENGTH: Final = len("2026-12-01")

# column, long name, short name, conversion
_TRADE: Final = (
    ("trade_id", "sequential_id", "sid", integer),
    ("event_at", "trade_timestamp", "ttms", unix_time),
    ("price", "trade_price", "tp", decimal),
    ("size", "trade_volume", "tv", decimal),
    ("side", "ask_bid", "ab", side),
    ("published_at", "timestamp", "tms", unix_time),
    ("prev_closing_price", "prev_closing_price", "pcp", decimal),
    ("change", "change", "c", text),
    ("change_price", "change_price", "cp", decimal),
    ("best_ask_price", "best_ask_price", "bap", decimal),
    ("best_ask_size", "best_ask_size", "bas", decimal),
    ("best_bid_price", "best_bid_price", "bbp", decimal),
    ("best_bid_size", "best_bid_size", "bbs", decimal),
    ("stream_type", "stream_type", "st", text),
)
_TICKER: Final = (
    ("event_at", "timestamp", "tms", unix_time),
    ("opening_price", "opening_price", "op", decimal),
    ("high_price", "high_price", "hp", decimal),
    ("low_price", "low_price", "lp", decimal),
    ("trade_price", "trade_price", "tp", decimal),
    ("prev_closing_price", "prev_closing_price", "pcp", decimal),
    ("change", "change", "c", text),
    ("change_price", "change_price", "cp", decimal),
    ("signed_change_price", "signed_change_price", "scp", decimal),
    ("change_rate", "change_rate", "cr", decimal),
    ("signed_change_rate", "signed_change_rate", "scr", decimal),
    ("trade_volume", "trade_volume", "tv", decimal),
    ("acc_trade_volume", "acc_trade_volume", "atv", decimal),
    ("acc_trade_volume_24h", "acc_trade_volume_24h", "atv24h", decimal),
    ("acc_trade_price", "acc_trade_price", "atp", decimal),
    ("acc_trade_price_24h", "acc_trade_price_24h", "atp24h", decimal),
    ("trade_date", "trade_date", "tdt", text),
    ("trade_time", "trade_time", "ttm", text),
    ("trade_at", "trade_timestamp", "ttms", unix_time),
    ("side", "ask_bid", "ab", side),
    ("acc_ask_volume", "acc_ask_volume", "aav", decimal),
    ("acc_bid_volume", "acc_bid_volume", "abv", decimal),
    ("highest_52_week_price", "highest_52_week_price", "h52wp", decimal),
    ("highest_52_week_date", "highest_52_week_date", "h52wdt", text),
    ("lowest_52_week_price", "lowest_52_week_price", "l52wp", decimal),
    ("lowest_52_week_date", "lowest_52_week_date", "l52wdt", text),
    ("market_state", "market_state", "ms", text),
    ("is_trading_suspended", "is_trading_suspended", "its", boolean),
    ("delisting_date", "delisting_date", "dd", day),
    ("market_warning", "market_warning", "mw", text),
    ("stream_type", "stream_type", "st", text),
)
_ORDERBOOK: Final = (
    ("event_at", "timestamp", "tms", unix_time),
    ("total_ask_size", "total_ask_size", "tas", decimal),
    ("total_bid_size", "total_bid_size", "tbs", decimal),
    ("level", "level", "lv", decimal),
    ("stream_type", "stream_type", "st", text),
)
_CANDLE: Final = (
    ("event_at", "candle_date_time_utc", "cdttmu", iso_time),
    ("open", "opening_price", "op", decimal),
    ("high", "high_price", "hp", decimal),
    ("low", "low_price", "lp", decimal),
    ("close", "trade_price", "tp", decimal),
    ("volume_base", "candle_acc_trade_volume", "catv", decimal),
    ("volume_quote", "candle_acc_trade_price", "catp", decimal),
    ("updated_at", "timestamp", "tms", unix_time),
    ("stream_type", "stream_type", "st", text),
)
# What repeats another field: long names, short names.
_REDUNDANT: Final = {
    "trade": (("trade_date", "trade_time"), ("td", "ttm")),
    "ticker": ((), ()),
    "orderbook": (("orderbook_units",), ("obu",)),
    "candle": (("candle_date_time_kst",), ("cdttmk",)),
}
_TABLES: Final = {"trade": _TRADE, "ticker": _TICKER, "orderbook": _ORDERBOOK, "candle": _CANDLE}

LONG: Final = {
    dataset: Layout(
        dataset,
        tuple((column, long, convert) for column, long, _, convert in table),
        frozenset(("type", "code", *_REDUNDANT[dataset][0])),
    )
    for dataset, table in _TABLES.items()
}
SHORT: Final = {
    dataset: Layout(
        dataset,
        tuple((column, short, convert) for column, _, short, convert in table),
        frozenset(("ty", "cd", *_REDUNDANT[dataset][1])),
    )
    for dataset, table in _TABLES.items()
}

_REST_TRADE: Final = (
    ("trade_id", "sequential_id", integer),
    ("event_at", "timestamp", unix_time),
    ("price", "trade_price", decimal),
    ("size", "trade_volume", decimal),
    ("side", "ask_bid", side),
    ("prev_closing_price", "prev_closing_price", decimal),
    ("change_price", "change_price", magnitude),
)
_REST_CANDLE: Final = (
    *((column, long, convert) for column, long, _, convert in _CANDLE if column != "stream_type"),
    ("prev_closing_price", "prev_closing_price", decimal),
    ("signed_change_price", "change_price", decimal),
    ("signed_change_rate", "change_rate", decimal),
)
_REST_MARKET: Final = (("korean_name", "korean_name", text), ("english_name", "english_name", text))
REST: Final = {
    "trade": Layout("trade", _REST_TRADE, frozenset(("market", "trade_date_utc", "trade_time_utc"))),
    "ticker": Layout("ticker", LONG["ticker"].fields, frozenset(("market", "trade_date_kst", "trade_time_kst"))),
    "candle": Layout("candle", _REST_CANDLE, frozenset(("market", "candle_date_time_kst", "unit"))),
    "market": Layout("market", _REST_MARKET, frozenset(("market", "market_event"))),
}
