"""Binance's data frames and rows.

Contains: every field of aggTrade, kline, depthUpdate and 24hrTicker, and its spelling.
Does not contain: who gets a frame (``subscription``), answers to requests (``stream``, ``rest``), the list of symbols
(``listing``).

Where nothing is documented: of one trade in seven a part, of one in twenty-three all, is met by orders of the retail
price improvement programme, which ``nq`` leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping

from tidemark.local.simulator.binance.instruments import INTERVALS, named, pair
from tidemark.local.simulator.market.candles import Candle
from tidemark.local.simulator.market.instruments import Market
from tidemark.local.simulator.market.ladder import Levels
from tidemark.local.simulator.market.tape import Trade
from tidemark.local.simulator.swap.bars import SETTLED_MS, Bar
from tidemark.local.simulator.swap.day import Day
from tidemark.local.simulator.swap.depth import DepthUpdate
from tidemark.local.simulator.swap.spelling import E8, E16, decimals_of, fixed, plain
from tidemark.local.simulator.timeline import CANDLE, Happening

_USD_MARGINED = 1  # and 2 is coin-margined
_NONE = -1  # the fill ids of a kline without trades


def render(happening: Happening, stream: str, combined: bool) -> bytes:
    """The frame's bytes, made once for each way of telling it; ``stream``: the name that it was asked for by."""
    key = stream if combined else ""
    frame = happening.rendered.get(key)
    if frame is None:
        text = _body(happening)
        frame = (f'{{"stream":"{stream}","data":{text}}}' if combined else text).encode()
        happening.rendered[key] = frame
    return frame


def _body(happening: Happening) -> str:
    market, body = named(happening.code), happening.body
    if isinstance(body, Trade):
        return (
            f'{{"e":"aggTrade","E":{body.wire_ms},"a":{body.number},"s":"{market.code}",'
            f'"p":"{price(market, body.price)}","q":"{quantity(market, body.size)}",'
            f'"nq":"{quantity(market, _without_rpi(market, body))}","f":{body.first},"l":{body.id},'
            f'"T":{body.ms},"m":{_flag(body.is_ask)},"st":{_USD_MARGINED}}}'
        )
    if isinstance(body, DepthUpdate):
        return (
            f'{{"e":"depthUpdate","E":{body.ms + 3},"T":{body.ms},"s":"{market.code}",'
            f'"ps":"{pair(market)}","st":{_USD_MARGINED},"U":{body.first},"u":{body.last},"pu":{body.previous},'
            f'"b":{levels(market, body.bids)},"a":{levels(market, body.asks)}}}'
        )
    if isinstance(body, Day):
        return _day(market, body)
    assert isinstance(body, Bar)  # noqa: S101 (there is nothing else to tell)
    return _kline(market, happening.channel.removeprefix(CANDLE), body)


def _kline(market: Market, interval: str, bar: Bar) -> str:
    c = bar.candle
    told_ms = bar.end * 1000 + SETTLED_MS if bar.closed else c.last_ms + SETTLED_MS
    return (
        f'{{"e":"kline","E":{told_ms},"s":"{market.code}","k":{{"t":{c.start * 1000},"T":{bar.end * 1000 - 1},'
        f'"s":"{market.code}","i":"{interval}","f":{c.first or _NONE},"L":{c.last or _NONE},'
        f'"o":"{price(market, c.open)}","c":"{price(market, c.close)}","h":"{price(market, c.high)}",'
        f'"l":"{price(market, c.low)}","v":"{quantity(market, c.volume)}","n":{c.fills},"x":{_flag(bar.closed)},'
        f'"q":"{plain(c.value, E16)}","V":"{quantity(market, c.bought)}","Q":"{plain(c.bought_value, E16)}","B":"0"}}}}'
    )


def _day(market: Market, day: Day) -> str:
    change, mean = price(market, day.last.price - day.open), _mean(day)
    return (
        f'{{"e":"24hrTicker","E":{day.ms},"s":"{market.code}","ps":"{pair(market)}","p":"{change}",'
        f'"P":"{_ratio((day.last.price - day.open) * 100, day.open, 3)}","w":"{mean}",'
        f'"c":"{price(market, day.last.price)}","Q":"{quantity(market, day.last.size)}",'
        f'"o":"{price(market, day.open)}","h":"{price(market, day.high)}","l":"{price(market, day.low)}",'
        f'"v":"{quantity(market, day.volume)}","q":"{plain(day.value, E16)}","O":{day.ms - 86_400_000},'
        f'"C":{day.ms},"F":{day.first},"L":{day.last.id},"n":{day.last.id - day.first + 1},'
        f'"st":{_USD_MARGINED}}}'
    )


def _without_rpi(market: Market, trade: Trade) -> int:
    """The quantity (1e-8) that ordinary orders filled."""
    if trade.number % 23 == 0:
        return 0
    return trade.size - trade.size // market.lot // 3 * market.lot if trade.number % 7 == 0 else trade.size


def price(market: Market, value: int) -> str:
    """A price (1e-8) with the market's decimals."""
    return fixed(value, max(decimals_of(market.tick), 2))


def quantity(market: Market, value: int) -> str:
    """A quantity (1e-8) with the market's decimals."""
    return fixed(value, decimals_of(market.lot))


def levels(market: Market, side: Mapping[int, int]) -> str:
    """A list of price and quantity; a level that is gone has the quantity 0."""
    return "[" + ",".join(f'["{price(market, at)}","{quantity(market, size)}"]' for at, size in side.items()) + "]"


def trade_row(market: Market, trade: Trade) -> str:
    """An aggregate trade, as REST tells it."""
    return (
        f'{{"a":{trade.number},"p":"{price(market, trade.price)}","q":"{quantity(market, trade.size)}",'
        f'"nq":"{quantity(market, _without_rpi(market, trade))}",'
        f'"f":{trade.first},"l":{trade.id},"T":{trade.ms},"m":{_flag(trade.is_ask)}}}'
    )


def kline_row(market: Market, interval: str, c: Candle) -> str:
    """A kline, as REST tells it."""
    end = INTERVALS[interval].end(c.start)
    return (
        f'[{c.start * 1000},"{price(market, c.open)}","{price(market, c.high)}","{price(market, c.low)}",'
        f'"{price(market, c.close)}","{quantity(market, c.volume)}",{end * 1000 - 1},"{plain(c.value, E16)}",'
        f'{c.fills},"{quantity(market, c.bought)}","{plain(c.bought_value, E16)}","0"]'
    )


def book_body(market: Market, number: int, book: Levels, count: int) -> str:
    """A book with the number of its last change."""
    bids, asks = ({at: side[at] for at in list(side)[:count]} for side in (book.bids, book.asks))
    return (
        f'{{"lastUpdateId":{number},"E":{book.ms + 3},"T":{book.ms},"bids":{levels(market, bids)},'
        f'"asks":{levels(market, asks)}}}'
    )


def day_row(market: Market, day: Day) -> str:
    """The last 24 hours."""
    change = day.last.price - day.open
    return (
        f'{{"symbol":"{market.code}","priceChange":"{price(market, change)}",'
        f'"priceChangePercent":"{_ratio(change * 100, day.open, 3)}",'
        f'"weightedAvgPrice":"{_mean(day)}",'
        f'"lastPrice":"{price(market, day.last.price)}","lastQty":"{quantity(market, day.last.size)}",'
        f'"openPrice":"{price(market, day.open)}","highPrice":"{price(market, day.high)}",'
        f'"lowPrice":"{price(market, day.low)}","volume":"{quantity(market, day.volume)}",'
        f'"quoteVolume":"{plain(day.value, E16)}","openTime":{day.ms - 86_400_000},"closeTime":{day.ms},'
        f'"firstId":{day.first},"lastId":{day.last.id},"count":{day.last.id - day.first + 1}}}'
    )


def _mean(day: Day) -> str:
    """The mean price, weighted by quantity."""
    return _ratio(day.value, day.volume * E8, 8) if day.volume else "0"


def _ratio(a: int, b: int, decimals: int) -> str:
    """A / b with so many decimals, cut off."""
    scaled = abs(a) * 10**decimals // b
    return f"{'-' if a < 0 else ''}{scaled // 10**decimals}.{scaled % 10**decimals:0{decimals}d}"


def _flag(value: bool) -> str:
    return "true" if value else "false"
