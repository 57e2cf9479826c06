"""OKX's data frames and rows.

Contains: every field of trades, tickers, candles and books, and its spelling.
Does not contain: who gets a frame (``subscription``), answers to requests (``stream``, ``rest``), the list of
instruments (``listing``).

Where nothing is documented: a trade's ``seqId`` is that of the book about its time, so that trades of one moment share
it; one trade in thirteen is met by an order of the retail price improvement programme (``source`` 1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tidemark.local.simulator.market.candles import Candle
from tidemark.local.simulator.market.instruments import Market
from tidemark.local.simulator.market.ladder import Levels
from tidemark.local.simulator.market.tape import Trade
from tidemark.local.simulator.okx.instruments import contract, kind_of, named
from tidemark.local.simulator.swap.bars import Bar
from tidemark.local.simulator.swap.day import Auction, Day
from tidemark.local.simulator.swap.depth import DepthUpdate, number_at
from tidemark.local.simulator.swap.spelling import E8, E16, plain
from tidemark.local.simulator.swap.timeline import DEPTH
from tidemark.local.simulator.timeline import CANDLE, Happening

BOOKS = f"{DEPTH}100"
_RPI_EVERY = 13


def channel_of(happening: Happening) -> str:
    """OKX's name of the channel."""
    if happening.channel.startswith(CANDLE):
        return f"candle{happening.channel.removeprefix(CANDLE)}"
    return {"trade": "trades", "ticker": "tickers", BOOKS: "books"}[happening.channel]


def render(happening: Happening) -> bytes:
    """The frame's bytes, made once."""
    frame = happening.rendered.get(None)
    if frame is None:
        market, body, action = named(happening.code), happening.body, ""
        if isinstance(body, Trade):
            row = _trade(market, body)
        elif isinstance(body, Day):
            row = ticker_row(market, body)
        elif isinstance(body, Auction):
            row = auction_row(market, body)
        elif isinstance(body, DepthUpdate):
            action = f'"action":"{"snapshot" if happening.snapshot else "update"}",'
            row = _change(market, body)
        else:
            assert isinstance(body, Bar)  # noqa: S101 (there is nothing else to tell)
            row = candle_row(market, body.candle, body.closed)
        arg = f'{{"channel":"{channel_of(happening)}","instId":"{market.code}"}}'
        frame = happening.rendered[None] = f'{{"arg":{arg},{action}"data":[{row}]}}'.encode()
    return frame


def contracts(market: Market, size: int) -> str:
    """A size (1e-8 coins) in contracts."""
    return plain(size * E8 // contract(market))


def _trade(market: Market, trade: Trade) -> str:
    return (
        f'{{"instId":"{market.code}","tradeId":"{trade.id}","px":"{plain(trade.price)}",'
        f'"sz":"{contracts(market, trade.size)}","side":"{_side(trade)}","ts":"{trade.ms}",'
        f'"count":"{trade.id - trade.first + 1}","source":"{_source(trade)}","seqId":{number_at(trade.ms)}}}'
    )


def _source(trade: Trade) -> int:
    return 1 if trade.number % _RPI_EVERY == 0 else 0


def auction_row(market: Market, auction: Auction) -> str:
    """The state of a market before its first trade: an order book, and nothing traded."""
    (ask, ask_size), (bid, bid_size) = auction.best_ask, auction.best_bid
    return (
        f'{{"instType":"{kind_of(market.code)}","instId":"{market.code}","last":"","lastSz":"","askPx":"{plain(ask)}",'
        f'"askSz":"{contracts(market, ask_size)}","bidPx":"{plain(bid)}","bidSz":"{contracts(market, bid_size)}",'
        f'"open24h":"","high24h":"","low24h":"","volCcy24h":"0","vol24h":"0","sodUtc0":"","sodUtc8":"",'
        f'"ts":"{auction.ms}"}}'
    )


def ticker_row(market: Market, day: Day) -> str:
    """The state of a market; volumes in contracts and, as volCcy, in coins."""
    (ask, ask_size), (bid, bid_size) = day.best_ask, day.best_bid
    return (
        f'{{"instType":"{kind_of(market.code)}","instId":"{market.code}","last":"{plain(day.last.price)}",'
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
            f'"source":"{_source(trade)}","px":"{plain(trade.price)}","tradeId":"{number}","ts":"{trade.ms}"}}',
        )


def book_row(market: Market, number: int, book: Levels, levels: int) -> str:
    """A book of REST with the number of its last change."""
    asks, bids = (_side_of(market, dict(list(side.items())[:levels])) for side in (book.asks, book.bids))
    return f'{{"asks":[{asks}],"bids":[{bids}],"ts":"{book.ms}","seqId":{number}}}'


def _change(market: Market, update: DepthUpdate) -> str:
    """A whole book, or what changed in it; the checksum has been 0 since 2026-06-23."""
    return (
        f'{{"asks":[{_side_of(market, update.asks)}],"bids":[{_side_of(market, update.bids)}],"ts":"{update.ms}",'
        f'"checksum":0,"seqId":{update.last},"prevSeqId":{update.previous}}}'
    )


def _side_of(market: Market, side: Mapping[int, int]) -> str:
    """Levels: price, size in contracts, a deprecated zero, number of orders; all zero for a level that is gone."""
    return ",".join(
        f'["{plain(price)}","{contracts(market, size)}","0","{1 + size // market.lot % 9 if size else 0}"]'
        for price, size in side.items()
    )


def _side(trade: Trade) -> str:
    return "sell" if trade.is_ask else "buy"
