"""What happens in a market of swaps, in the order in which subscribers see it.

Contains: the simulated clock, and the happenings (trade, ticker, candle, depth) as it moves on.
Does not contain: how fast it moves (``player``), the receivers (``hub``), the spelling (``okx``, ``binance``), the spot
markets' clock (``timeline``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial

from tidemark.local.simulator.market.bars import bars
from tidemark.local.simulator.market.candles import Candle
from tidemark.local.simulator.market.hidden import SwapMarket
from tidemark.local.simulator.market.instruments import Market
from tidemark.local.simulator.market.intervals import Interval
from tidemark.local.simulator.market.ladder import Levels
from tidemark.local.simulator.market.tape import HOUR_MS, Trade
from tidemark.local.simulator.swap.bars import SETTLED_MS, GrowingBars
from tidemark.local.simulator.swap.day import DAY_MS, Auction, Day, Day24h
from tidemark.local.simulator.swap.depth import DepthFeed, DepthUpdate, best
from tidemark.local.simulator.timeline import CANDLE, Happening

DEPTH = "depth."  # a depth channel is this and the speed in milliseconds
DEPTH_SPEEDS = (100, 250, 500)


@dataclass(frozen=True, slots=True)
class SwapCadence:
    """At most one ticker, change of the book or candle push per market in so many ms of market time."""

    ticker_ms: int
    depth_ms: int
    candle_ms: int


SWAP_FAST = SwapCadence(ticker_ms=60_000, depth_ms=60_000, candle_ms=60_000)
SWAP_LIVE = SwapCadence(ticker_ms=500, depth_ms=100, candle_ms=1_000)
SWAP_LIVE_250 = SwapCadence(ticker_ms=1_000, depth_ms=100, candle_ms=250)  # candles four times a second


class SwapTimeline:
    """The simulated clock over a market of swaps; it only moves forward."""

    def __init__(
        self,
        market: SwapMarket,
        intervals: Mapping[str, Interval],
        start_ms: int,
        end_ms: int | None,
        fast: SwapCadence,
        live: SwapCadence,
        heartbeat_ms: int | None = None,
    ) -> None:
        """Tells trades executed in [start, end), without an end for ever; ``intervals``: those of candles, by name.

        ``heartbeat_ms``: a book that has not changed for so long is reported unchanged; None: it is not.
        """
        self.market = market
        self.now_ms = start_ms
        self.start_ms, self.end_ms = start_ms, end_ms
        self.intervals = intervals
        self._cadence = fast
        self._live = live
        self._heartbeat_ms = heartbeat_ms
        self._queue: list[tuple[int, str, Trade]] = []
        self._place = 0
        self._loaded = False
        self._bars: dict[str, GrowingBars] = {}
        self._days: dict[str, Day24h] = {}
        self._traded: set[str] = set()
        self._feeds = {
            (code, speed): DepthFeed(start_ms, partial(market.ladder.at, one))
            for code, one in market.markets.items()
            for speed in DEPTH_SPEEDS
        }

    @property
    def codes(self) -> list[str]:
        """All markets."""
        return list(self.market.markets)

    def go_live(self) -> None:
        """From now on at the pace of real time."""
        self._cadence = self._live

    def advance(self, until_ms: int, channels: Set[str]) -> list[Happening]:
        """Move the clock to ``until_ms``; what happens on the way on these channels, and every trade."""
        if not self._loaded:
            self._load(self.now_ms // HOUR_MS)
            self._loaded = True
        self._follow(channels)
        told: list[Happening] = []
        while self.now_ms < until_ms:
            tick = min(_next(self.now_ms, every) for every in self._everys())
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
        """After the end: trades that are published late, and the last state of candles, tickers and books."""
        told = self.advance(self.now_ms + 2 * SETTLED_MS, channels)
        self._push_bars(channels, told)
        self._push_tickers(channels, told)
        self._push_depth([speed for speed in DEPTH_SPEEDS if f"{DEPTH}{speed}" in channels], told)
        return told

    def day(self, code: str) -> Day | None:
        """The state of a market now."""
        day = self._day(code).at(self.now_ms)
        if day is None:
            return None
        book = self.book(code)
        return day._replace(best_ask=best(book.asks), best_bid=best(book.bids))

    def state(self, code: str) -> Day | Auction | None:
        """The state of a market now, before its first trade too; None when there is nothing to report."""
        if not self.market.markets[code].auction:
            return self.day(code)
        book = self.book(code)
        return Auction(self.now_ms, best(book.asks), best(book.bids))

    def book(self, code: str) -> Levels:
        """The book of a market now."""
        return self.market.ladder.at(self.market.markets[code], self.now_ms)

    def numbered_book(self, code: str) -> tuple[int, Levels]:
        """The book of a market now, and the number of the last change in it, for those who follow the changes."""
        book = self.book(code)
        feeds = [self._feeds[code, speed] for speed in DEPTH_SPEEDS]
        number = max(feed.number(self.now_ms) for feed in feeds)
        for feed in feeds:
            feed.show(number, book)
        return number, book

    def latest(self, channel: str, code: str, followed: bool = False) -> Happening | None:
        """What a new subscriber is told first; None when there is nothing.

        ``followed``: whether others follow this channel of this market: then its book is the one that they have.
        """
        body: object = None
        if channel == "ticker":
            body = self.state(code)
        elif channel.startswith(DEPTH):
            feed = self._feeds[code, int(channel.removeprefix(DEPTH))]
            if not followed:
                feed.update(self.book(code))
            body = feed.whole()
        elif channel.startswith(CANDLE) and not self.market.markets[code].auction:
            self._follow({channel})
            body = self._bars[channel].latest(code)
        return Happening(channel, code, body, snapshot=True) if body is not None else None

    def _everys(self) -> tuple[int, int, int]:
        return self._cadence.ticker_ms, self._cadence.candle_ms, self._cadence.depth_ms

    def _load(self, hour: int) -> None:
        """Queue the hour's trades behind those of the hour before that are published late."""
        queue = self._queue[self._place :]
        end = self.end_ms if self.end_ms is not None else (hour + 1) * HOUR_MS
        for code, market in self.market.markets.items():
            trades = self.market.tape.hour(market, hour)
            queue += [(t.wire_ms, code, t) for t in trades if self.start_ms <= t.ms < end]
        queue.sort(key=lambda entry: (entry[0], entry[1], entry[2].id))
        self._queue, self._place = queue, 0

    def _tell_trades(self, edge: int, told: list[Happening]) -> None:
        queue, place = self._queue, self._place
        growing = list(self._bars.values())
        while place < len(queue) and queue[place][0] < edge:
            _, code, trade = queue[place]
            place += 1
            for one in growing:
                one.apply(code, trade)
            if code in self._days:
                self._days[code].apply(trade)
            self._traded.add(code)
            told.append(Happening("trade", code, trade))
        self._place = place

    def _tell_states(self, channels: Set[str], told: list[Happening]) -> None:
        cadence, at = self._cadence, self.now_ms - SETTLED_MS
        if at % cadence.candle_ms == 0:
            self._push_bars(channels, told)
        if at % cadence.ticker_ms == 0:
            self._push_tickers(channels, told)
        if at % cadence.depth_ms == 0:
            speeds = [speed for speed in DEPTH_SPEEDS if f"{DEPTH}{speed}" in channels]
            self._push_depth([speed for speed in speeds if at % max(speed, cadence.depth_ms) == 0], told)

    def _push_bars(self, channels: Set[str], told: list[Happening]) -> None:
        for channel, growing in self._bars.items():
            for code in self._trading():
                changed = growing.changed(code, self.now_ms)
                if channel in channels:
                    told += [Happening(channel, code, bar) for bar in changed]

    def _push_tickers(self, channels: Set[str], told: list[Happening]) -> None:
        if "ticker" in channels:
            auctions = {code for code, market in self.market.markets.items() if market.auction}
            found = ((code, self.state(code)) for code in sorted(self._traded | auctions))
            told += [Happening("ticker", code, state) for code, state in found if state]
            self._traded.clear()

    def _push_depth(self, speeds: Sequence[int], told: list[Happening]) -> None:
        for code, market in self.market.markets.items() if speeds else ():
            book = self.market.ladder.at(market, self.now_ms)
            for speed in speeds:
                update = self._feeds[code, speed].update(book) or self._heartbeat(self._feeds[code, speed])
                if update is not None:
                    told.append(Happening(f"{DEPTH}{speed}", code, update))

    def _heartbeat(self, feed: DepthFeed) -> DepthUpdate | None:
        return feed.heartbeat(self.now_ms, self._heartbeat_ms) if self._heartbeat_ms else None

    def _trading(self) -> list[str]:
        return [code for code, market in self.market.markets.items() if not market.auction]

    def _day(self, code: str) -> Day24h:
        if code not in self._days:
            market = self.market.markets[code]
            begin = self.now_ms // DAY_MS * DAY_MS - DAY_MS  # what it asks of the history is all published
            self._days[code] = Day24h(self.market.history.trades(market, begin, self.now_ms))
        return self._days[code]

    def _follow(self, channels: Set[str]) -> None:
        """From now on these channels' candles are followed."""
        for channel in channels:
            if channel.startswith(CANDLE) and channel not in self._bars:
                interval = self.intervals[channel.removeprefix(CANDLE)]
                self._bars[channel] = GrowingBars(interval, self._running(interval), self.now_ms)

    def _running(self, interval: Interval) -> Iterator[tuple[Market, Candle | None]]:
        history, now_ms = self.market.history, self.now_ms
        for market in map(self.market.markets.__getitem__, self._trading()):
            yield market, next(bars(history, market, interval, now_ms), None)


def _next(now_ms: int, every: int) -> int:
    """The next moment of a grid of ``every`` ms on which bars that have ended are settled."""
    return (now_ms - SETTLED_MS) // every * every + every + SETTLED_MS
