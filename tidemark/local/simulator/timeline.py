"""What happens in the simulated market, in the order in which subscribers see it.

Contains: the simulated clock, and the happenings (trade, ticker, orderbook, candle) as it moves on.
Does not contain: how fast it moves (``player``), the receivers (``hub``), the spelling (``upbit``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import NamedTuple

from tidemark.local.simulator.market.board import Ticker
from tidemark.local.simulator.market.book import Book
from tidemark.local.simulator.market.candles import Candle
from tidemark.local.simulator.market.hidden import HiddenMarket
from tidemark.local.simulator.market.instruments import MARKETS, Market, tick_size
from tidemark.local.simulator.market.tape import HOUR_MS, LATEST_DELIVERY_MS, Trade

CANDLE = "candle."  # a candle channel is this and the unit in seconds
_REFRESH_EVERY = 5  # a book without trades changes at one of so many pushes
_KEPT_CANDLES = 150  # more than can change between two pushes


class TradeTold(NamedTuple):
    """A trade as told: with the previous UTC day's close and the price step (1e-8)."""

    trade: Trade
    prev_close: int
    tick: int


class Happening:
    """One thing to tell on a channel; ``rendered`` keeps its frames by format, so each is made once.

    What its body is follows from the channel and the kind of market.
    """

    __slots__ = ("body", "channel", "code", "rendered", "snapshot")

    def __init__(self, channel: str, code: str, body: object, snapshot: bool = False) -> None:
        self.channel = channel
        self.code = code
        self.body = body
        self.snapshot = snapshot
        self.rendered: dict[object, bytes] = {}

    @property
    def trade(self) -> Trade | None:
        """The trade that it tells, if it tells one."""
        body = self.body
        return body.trade if isinstance(body, TradeTold) else body if isinstance(body, Trade) else None


@dataclass(frozen=True, slots=True)
class Cadence:
    """At most one ticker, book or candle push per market in so many seconds of market time."""

    ticker_s: int
    orderbook_s: int
    candle_s: int


FAST = Cadence(ticker_s=30, orderbook_s=60, candle_s=10)
LIVE = Cadence(ticker_s=1, orderbook_s=1, candle_s=1)


class _LiveCandles:
    """The last candles of one unit as published so far."""

    def __init__(self, unit: int) -> None:
        self.unit = unit
        self._rows: dict[str, dict[int, list[int]]] = {code: {} for code in MARKETS}
        self._dirty: dict[tuple[str, int], None] = {}

    def apply(self, code: str, trade: Trade, tell: bool = True) -> None:
        start = trade.ms // 1000 // self.unit * self.unit
        rows = self._rows[code]
        row = rows.get(start)
        price = trade.price
        if row is None:
            value = price * trade.size
            rows[start] = [trade.id, trade.id, price, price, price, price, trade.size, value, trade.wire_ms]
            if len(rows) > _KEPT_CANDLES:
                del rows[min(rows)]
        else:
            if trade.id < row[0]:
                row[0], row[2] = trade.id, price
            if trade.id > row[1]:
                row[1], row[5] = trade.id, price
            row[3], row[4] = max(row[3], price), min(row[4], price)
            row[6] += trade.size
            row[7] += price * trade.size
            row[8] = max(row[8], trade.wire_ms)
        if tell:
            self._dirty[code, start] = None

    def latest(self, code: str) -> Candle | None:
        rows = self._rows[code]
        return self._candle(code, max(rows)) if rows else None

    def changed(self) -> list[tuple[str, Candle]]:
        """Candles changed since the last call, oldest first."""
        changed = sorted(self._dirty, key=lambda key: key[1])
        self._dirty.clear()
        return [(code, self._candle(code, start)) for code, start in changed if start in self._rows[code]]

    def _candle(self, code: str, start: int) -> Candle:
        return Candle(start, *self._rows[code][start][2:])


class Timeline:
    """The simulated clock over a hidden market; it only moves forward."""

    def __init__(
        self, market: HiddenMarket, start_ms: int, end_ms: int | None, fast: Cadence, live: Cadence,
        leaves: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        """Tells trades executed in [start, end); without an end it goes on for ever. Times in Unix ms.

        ``leaves``: the UTC epoch day on which a market will be delisted.
        """
        self._leaves = leaves or {}
        self.market = market
        self.now_ms = start_ms
        self._cadence = fast
        self._live = live
        self.start_ms, self.end_ms = start_ms, end_ms
        self._boards = {code: market.board(one) for code, one in MARKETS.items()}
        self._candles: dict[int, _LiveCandles] = {}
        self._queue: list[tuple[int, str, Trade]] = []
        self._place = 0
        self._load(start_ms // HOUR_MS)
        self._quiet: dict[str, set[str]] = {"ticker": set(MARKETS), "orderbook": set(MARKETS)}

    @property
    def codes(self) -> list[str]:
        """All markets."""
        return list(MARKETS)

    def go_live(self) -> None:
        """From now on at the pace of real time."""
        self._cadence = self._live

    def advance(self, until_ms: int, channels: Set[str]) -> list[Happening]:
        """Move the clock to ``until_ms``; what happens on the way on these channels, and every trade."""
        told: list[Happening] = []
        while self.now_ms < until_ms:
            grid = self._grid_ms()
            tick = (self.now_ms // grid + 1) * grid
            hour_end = (self.now_ms // HOUR_MS + 1) * HOUR_MS
            edge = min(until_ms, tick, hour_end)
            self._tell_trades(edge, told)
            self.now_ms = edge
            if edge == hour_end:
                self._load(edge // HOUR_MS)
            if edge == tick:
                self._tell_states(channels, told)
        return told

    def flush(self, channels: Set[str]) -> list[Happening]:
        """After the end: trades that are published late, and the last state of candles and tickers."""
        told = self.advance(self.now_ms + LATEST_DELIVERY_MS, channels)
        self._push_candles(channels, told)
        self._push_tickers(told)
        return told

    def snapshot(self, channel: str, code: str) -> Happening | None:
        """What a new subscriber is told first; None when there is nothing yet."""
        market = MARKETS[code]
        body: object
        if channel == "trade":
            trade = self._boards[code].last
            body = self._told(market, trade) if trade else None
        elif channel == "ticker":
            body = self.ticker(code)
        elif channel == "orderbook":
            body = self.market.book(market, self.now_ms)
        else:
            body = self._latest_candle(int(channel.removeprefix(CANDLE)), market)
        return Happening(channel, code, body, snapshot=True) if body else None

    def ticker(self, code: str) -> Ticker | None:
        """The state of a market now."""
        ticker = self._boards[code].ticker(self.now_ms)
        return ticker._replace(leaves=self._leaves.get(code)) if ticker else None

    def book(self, code: str) -> Book:
        """The book of a market now."""
        return self.market.book(MARKETS[code], self.now_ms)

    def _grid_ms(self) -> int:
        c = self._cadence
        return 1000 * min(c.ticker_s, c.orderbook_s, c.candle_s)

    def _load(self, hour: int) -> None:
        """Queue the hour's trades behind those of the hour before that are published late."""
        queue = self._queue[self._place :]
        end = self.end_ms if self.end_ms is not None else (hour + 1) * HOUR_MS
        for code, market in MARKETS.items():
            trades = self.market.tape.hour(market, hour)
            queue += [(t.wire_ms, code, t) for t in trades if self.start_ms <= t.ms < end]
        queue.sort()
        self._queue, self._place = queue, 0

    def _tell_trades(self, edge: int, told: list[Happening]) -> None:
        queue, place = self._queue, self._place
        states = list(self._candles.values())
        while place < len(queue) and queue[place][0] < edge:
            _, code, trade = queue[place]
            place += 1
            self._boards[code].apply(trade)
            for state in states:
                state.apply(code, trade)
            told.append(Happening("trade", code, self._told(MARKETS[code], trade)))
            for quiet in self._quiet.values():
                quiet.discard(code)
        self._place = place

    def _told(self, market: Market, trade: Trade) -> TradeTold:
        return TradeTold(trade, self._boards[market.code].prev_close, tick_size(market.quote, trade.price))

    def _tell_states(self, channels: Set[str], told: list[Happening]) -> None:
        second = self.now_ms // 1000
        if second % self._cadence.candle_s == 0:
            self._push_candles(channels, told)
        if second % self._cadence.ticker_s == 0 and "ticker" in channels:
            self._push_tickers(told)
        if second % self._cadence.orderbook_s == 0 and "orderbook" in channels:
            self._push_books(second // self._cadence.orderbook_s, told)

    def _push_candles(self, channels: Set[str], told: list[Happening]) -> None:
        for unit, state in self._candles.items():
            channel = f"{CANDLE}{unit}"
            changed = state.changed()
            if channel in channels:
                told += [Happening(channel, code, candle) for code, candle in changed]

    def _push_tickers(self, told: list[Happening]) -> None:
        for code in self._traded("ticker"):
            ticker = self.ticker(code)
            if ticker:
                told.append(Happening("ticker", code, ticker))

    def _push_books(self, turn: int, told: list[Happening]) -> None:
        traded = set(self._traded("orderbook"))
        halt = self.market.plan.at(self.now_ms).halt
        stands = halt.market if halt.at_ms <= self.now_ms < halt.until_ms else None
        for place, (code, market) in enumerate(MARKETS.items()):
            if code != stands and (code in traded or (turn + place) % _REFRESH_EVERY == 0):
                told.append(Happening("orderbook", code, self.market.book(market, self.now_ms)))

    def _traded(self, channel: str) -> Iterable[str]:
        traded = [code for code in MARKETS if code not in self._quiet[channel]]
        self._quiet[channel] = set(MARKETS)
        return traded

    def _latest_candle(self, unit: int, market: Market) -> Candle | None:
        if unit not in self._candles:
            self._candles[unit] = self._open_unit(unit)
        latest = self._candles[unit].latest(market.code)
        return latest or next(self.market.history.newest(market, unit, self.now_ms // 1000 + 1), None)

    def _open_unit(self, unit: int) -> _LiveCandles:
        """Candles that nobody asked for until now: from the trades of this interval and the one before."""
        state = _LiveCandles(unit)
        begin = (self.now_ms // 1000 // unit - 1) * unit * 1000
        for code, market in MARKETS.items():
            for trade in self.market.history.trades(market, begin, self.now_ms):
                state.apply(code, trade, tell=False)
        return state
