"""OKX's data frames and rows.

Lives here: every field of trades, tickers and candles, and its spelling. Doesn't: who gets a frame
(``subscription``), answers to requests (``stream``, ``rest``).
"""

from __future__ import annotations

from collections.abc import Iterator

from tidemark.local.simulator.market.candles import Candle
from tidemark.local.simulator.market.instruments import Market
from tidemark.local.simulator.market.ladder import Levels
from tidemark.local.simulator.market.tape import Trade
from tidemark.local.simulator.okx.instruments import SWAPS, contract
from tidemark.local.simulator.swap.bars import Bar
from tidemark.local.simulator.swap.day import Day
from tidemark.local.simulator.swap.spelling import E8, E16, plain
from tidemark.local.simulator.timeline import CANDLE, Happening


def channel_of(happening: Happening) -> str:
    """OKX's name of the channel."""
    if happening.channel.startswith(CANDLE):
        return f"candle{happening.channel.removeprefix(CANDLE)}"
    return {"trade": "trades", "ticker": "tickers"}[happening.channel]


def render(happening: Happening) -> bytes:
    """The frame's bytes, made once."""
    frame = happening.rendered.get(None)
    if frame is None:
        market, body = SWAPS[happening.code], happening.body
        if isinstance(body, Trade):
            row = _trade(market, body)
        elif isinstance(body, Day):
            row = ticker_row(market, body)
        else:
            assert isinstance(body, Bar)  # noqa: S101 (there is nothing else to tell)
            row = candle_row(market, body.candle, body.closed)
        arg = f'{{"channel":"{channel_of(happening)}","instId":"{market.code}"}}'
        frame = happening.rendered[None] = f'{{"arg":{arg},"data":[{row}]}}'.encode()
    return frame


def contracts(market: Market, size: int) -> str:
    """A size (1e-8 coins) in contracts."""
    return plain(size * E8 // contract(market))


def _trade(market: Market, trade: Trade) -> str:
    return (
        f'{{"instId":"{market.code}","tradeId":"{trade.id}","px":"{plain(trade.price)}",'
        f'"sz":"{contracts(market, trade.size)}","side":"{_side(trade)}","ts":"{trade.ms}",'
        f'"count":"{trade.id - trade.first + 1}","source":"0","seqId":{trade.number}}}'
    )


def ticker_row(market: Market, day: Day) -> str:
    """The state of a market; volumes in contracts and, as volCcy, in coins."""
    (ask, ask_size), (bid, bid_size) = day.best_ask, day.best_bid
    return (
        f'{{"instType":"SWAP","instId":"{market.code}","last":"{plain(day.last.price)}",'
        f'"lastSz":"{contracts(market, day.last.size)}","askPx":"{plain(ask)}",'
        f'"askSz":"{contracts(market, ask_size)}","bidPx":"{plain(bid)}","bidSz":"{contracts(market, bid_size)}",'
        f'"open24h":"{plain(day.open)}","high24h":"{plain(day.high)}","low24h":"{plain(day.low)}",'
        f'"volCcy24h":"{plain(day.volume)}","vol24h":"{contracts(market, day.volume)}",'
        f'"sodUtc0":"{plain(day.open_utc0)}","sodUtc8":"{plain(day.open_utc8)}","ts":"{day.ms}"}}'
    )


def candle_row(market: Market, candle: Candle, closed: bool) -> str:
    """ts, open, high, low, close, then the volume in contracts, coins and quote currency, and whether it is closed."""
    values = (
        str(candle.start * 1000),
        plain(candle.open),
        plain(candle.high),
        plain(candle.low),
        plain(candle.close),
        contracts(market, candle.volume),
        plain(candle.volume),
        plain(candle.value, E16),
        "1" if closed else "0",
    )
    return "[" + ",".join(f'"{value}"' for value in values) + "]"


def fill_rows(market: Market, trade: Trade) -> Iterator[tuple[int, str]]:
    """The single fills behind a trade, newest first, each with its id: REST tells them one by one."""
    count = trade.id - trade.first + 1
    share = trade.size // market.lot // count * market.lot
    for number in range(trade.id, trade.first - 1, -1):
        size = trade.size - share * (count - 1) if number == trade.first else share
        yield (
            number,
            f'{{"instId":"{market.code}","side":"{_side(trade)}","sz":"{contracts(market, size)}",'
            f'"source":"0","px":"{plain(trade.price)}","tradeId":"{number}","ts":"{trade.ms}"}}',
        )


def book_row(market: Market, book: Levels, levels: int) -> str:
    """A book: price, size in contracts, a deprecated zero, number of orders."""
    asks, bids = (
        ",".join(
            f'["{plain(price)}","{contracts(market, size)}","0","{1 + size // market.lot % 9}"]'
            for price, size in list(side.items())[:levels]
        )
        for side in (book.asks, book.bids)
    )
    return f'{{"asks":[{asks}],"bids":[{bids}],"ts":"{book.ms}"}}'


def _side(trade: Trade) -> str:
    return "sell" if trade.is_ask else "buy"
