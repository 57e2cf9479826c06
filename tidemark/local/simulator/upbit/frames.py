"""Upbit's WebSocket frames.

Contains: every field, long and short name, and its spelling.
Does not contain: who gets a frame (``subscription``).

The fields ``is_trading_suspended`` and ``market_warning`` of tickers have been announced to go, and are gone here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from tidemark.local.simulator.market.board import Ticker
from tidemark.local.simulator.market.book import Book, group
from tidemark.local.simulator.market.candles import Candle
from tidemark.local.simulator.timeline import CANDLE, Happening, TradeTold
from tidemark.local.simulator.upbit import spelling
from tidemark.local.simulator.upbit.spelling import E8

CANDLE_TYPES = {
    "candle.1s": 1,
    **{f"candle.{minutes}m": minutes * 60 for minutes in (1, 3, 5, 10, 15, 30, 60, 240)},
}
CANDLE_NAMES = {f"{CANDLE}{unit}": name for name, unit in CANDLE_TYPES.items()}
FORMATS = ("DEFAULT", "SIMPLE", "JSON_LIST", "SIMPLE_LIST")


class Variant(NamedTuple):
    """How a subscriber wants a frame: format, and for books how many levels and the price group (1e-8)."""

    format: str
    levels: int = 30
    level: int = 0


# name, short name; a name in quotes is text, the others are numbers, true, false or null
_TRADE = """'type' ty|'code' cd|timestamp tms|'trade_date' td|'trade_time' ttm|trade_timestamp ttms
|trade_price tp|trade_volume tv|'ask_bid' ab|prev_closing_price pcp|'change' c|change_price cp
|sequential_id sid|best_ask_price bap|best_ask_size bas|best_bid_price bbp|best_bid_size bbs
|'stream_type' st"""
_TICKER = """'type' ty|'code' cd|opening_price op|high_price hp|low_price lp|trade_price tp
|prev_closing_price pcp|acc_trade_price atp|'change' c|change_price cp|signed_change_price scp|change_rate cr
|signed_change_rate scr|'ask_bid' ab|trade_volume tv|acc_trade_volume atv|'trade_date' tdt|'trade_time' ttm
|trade_timestamp ttms|acc_ask_volume aav|acc_bid_volume abv|highest_52_week_price h52wp
|'highest_52_week_date' h52wdt|lowest_52_week_price l52wp|'lowest_52_week_date' l52wdt|'market_state' ms
|delisting_date dd|timestamp tms|acc_trade_price_24h atp24h
|acc_trade_volume_24h atv24h|'stream_type' st"""
_BOOK = """'type' ty|'code' cd|timestamp tms|total_ask_size tas|total_bid_size tbs|orderbook_units obu
|'stream_type' st|level lv"""
_UNIT = "ask_price ap|bid_price bp|ask_size as|bid_size bs"
_CANDLE = """'type' ty|'code' cd|'candle_date_time_utc' cdttmu|'candle_date_time_kst' cdttmk|opening_price op
|high_price hp|low_price lp|trade_price tp|candle_acc_trade_volume catv|candle_acc_trade_price catp
|timestamp tms|'stream_type' st"""


def _template(fields: str, short: bool, in_list: bool = False) -> str:
    parts = []
    for field in fields.replace("\n", "").split("|"):
        name, abbreviation = field.split()
        value = '"%s"' if name.startswith("'") else "%s"
        parts.append(f'"{abbreviation if short else name.strip(chr(39))}":{value}')
    body = "{" + ",".join(parts) + "}"
    return f"[{body}]" if in_list else body


def _templates(fields: str) -> dict[str, str]:
    return {name: _template(fields, name.startswith("SIMPLE"), name.endswith("LIST")) for name in FORMATS}


_TRADES, _TICKERS, _BOOKS, _CANDLES = (_templates(fields) for fields in (_TRADE, _TICKER, _BOOK, _CANDLE))
_UNITS = {name: _template(_UNIT, name.startswith("SIMPLE")) for name in FORMATS}


def render(happening: Happening, variant: Variant) -> bytes:
    """The frame's bytes; each (happening, variant) is made once."""
    frame = happening.rendered.get(variant)
    if frame is None:
        body = happening.body
        stream = "SNAPSHOT" if happening.snapshot else "REALTIME"
        if isinstance(body, TradeTold):
            text = _TRADES[variant.format] % _trade(happening.code, body, stream)
        elif isinstance(body, Ticker):
            text = _TICKERS[variant.format] % _ticker(happening.code, body, stream)
        elif isinstance(body, Book):
            text = _BOOKS[variant.format] % _book(happening.code, body, stream, variant)
        else:
            assert isinstance(body, Candle)  # noqa: S101 (there is nothing else to tell)
            name = CANDLE_NAMES[happening.channel]
            text = _CANDLES[variant.format] % _candle(name, happening.code, body, stream)
        frame = happening.rendered[variant] = text.encode()
    return frame


_price = lru_cache(maxsize=16_384)(spelling.double)
_fixed = lru_cache(maxsize=16_384)(spelling.fixed)
_plain = lru_cache(maxsize=16_384)(spelling.plain)


def _trade(code: str, told: TradeTold, stream: str) -> tuple[object, ...]:
    trade, change = told.trade, told.trade.price - told.prev_close
    day, clock = spelling.date_and_time(trade.ms // 1000)
    # The book's top at the trade: the taker's side met its price, the other side stands a step or two away.
    mixed = trade.id * 2_654_435_761 & 0xFFFFFFFF
    gap = told.tick * (1 + mixed % 2)
    ask, bid = (trade.price + gap, trade.price) if trade.is_ask else (trade.price, max(trade.price - gap, 0))
    rest, other = trade.size * (mixed & 0xFF) >> 7, trade.size * (mixed >> 8 & 0xFF) >> 6
    return (
        "trade",
        code,
        trade.wire_ms,
        day,
        clock,
        trade.ms,
        _price(trade.price) if mixed & 3 == 0 else _plain(trade.price),
        spelling.double(trade.size) if mixed & 12 == 0 else spelling.plain(trade.size),
        "ASK" if trade.is_ask else "BID",
        _fixed(told.prev_close),
        spelling.direction(change),
        _fixed(abs(change)),
        trade.id,
        _plain(ask),
        spelling.plain(rest + 1),
        _plain(bid),
        spelling.plain(other + 1),
        stream,
    )


def _ticker(code: str, t: Ticker, stream: str) -> tuple[object, ...]:
    trade, change = t.last, t.last.price - t.prev_close
    day, clock = spelling.compact(trade.ms // 1000)
    change_rate = spelling.rate(abs(change), t.prev_close)
    return (
        "ticker",
        code,
        _fixed(t.open),
        _fixed(t.high),
        _fixed(t.low),
        _fixed(trade.price),
        _fixed(t.prev_close),
        spelling.amount(t.value),
        spelling.direction(change),
        _fixed(abs(change)),
        _fixed(change),
        change_rate,
        spelling.rate(change, t.prev_close),
        "ASK" if trade.is_ask else "BID",
        spelling.fixed(trade.size),
        spelling.fixed(t.volume),
        day,
        clock,
        trade.ms,
        spelling.fixed(t.ask_volume),
        spelling.fixed(t.bid_volume),
        _fixed(t.highest.price),
        spelling.date_and_time(t.highest.day * 86_400)[0],
        _fixed(t.lowest.price),
        spelling.date_and_time(t.lowest.day * 86_400)[0],
        "ACTIVE",
        "null" if t.leaves is None else spelling.calendar(t.leaves),
        t.ms,
        spelling.amount(t.value_24h),
        spelling.fixed(t.volume_24h),
        stream,
    )


def shown(book: Book, levels: int, level: int) -> tuple[list[tuple[int, int, int, int]], int, int]:
    """The units (ask price, bid price, ask size, bid size) of a book, and the sums of the sizes shown."""
    seen = group(book, level) if level else book
    asks, bids = seen.asks[:levels], seen.bids[:levels]
    units = [(ask, bid, ask_size, bid_size) for (ask, ask_size), (bid, bid_size) in zip(asks, bids, strict=True)]
    return units, sum(size for _, size in asks), sum(size for _, size in bids)


def _book(code: str, book: Book, stream: str, variant: Variant) -> tuple[object, ...]:
    units, asks, bids = shown(book, variant.levels, variant.level)
    template = _UNITS[variant.format]
    listed = ",".join(
        template % (_level_price(ask), _level_price(bid), spelling.plain(ask_size), spelling.plain(bid_size))
        for ask, bid, ask_size, bid_size in units
    )
    level = spelling.plain(variant.level) if variant.level else "0"
    return (
        "orderbook", code, book.ms, spelling.plain(asks), spelling.plain(bids), f"[{listed}]", stream, level,
    )  # fmt: skip


def _level_price(price: int) -> str:
    return "0" if price == 0 else str(price // E8) if price % E8 == 0 else _plain(price)


def _candle(name: str, code: str, candle: Candle, stream: str) -> tuple[object, ...]:
    return (
        name,
        code,
        spelling.iso(candle.start),
        spelling.iso(candle.start + spelling.KST_S),
        _fixed(candle.open),
        _fixed(candle.high),
        _fixed(candle.low),
        _fixed(candle.close),
        spelling.fixed(candle.volume),
        spelling.amount(candle.value),
        candle.last_ms,
        stream,
    )
