"""The trades of every market and hour.

Lives here: one list per (seed, market, hour), drawn once and kept for a while. Doesn't: in which order and
when subscribers see them (``timeline``).
"""

from __future__ import annotations

from collections import OrderedDict
from math import exp
from random import Random
from typing import NamedTuple, Protocol

from tidemark.local.simulator.market.instruments import E8, E16, MARKETS, Market, tick_size
from tidemark.local.simulator.market.plan import Plan
from tidemark.local.simulator.market.prices import HiddenPrices

HOUR_MS = 3_600_000
LATEST_DELIVERY_MS = 2_000  # every trade is on the wire this long after its execution

# How busy each hour of the Korean day is, from 00 to 23 KST; the mean is about 1.
SEASON = (
    1.25, 0.95, 0.70, 0.55, 0.45, 0.45, 0.55, 0.75, 1.10, 1.55, 1.25, 1.05,
    0.95, 0.95, 1.00, 1.00, 1.00, 0.95, 0.95, 1.00, 1.10, 1.30, 1.60, 1.65,
)  # fmt: skip
_CACHED_TRADES = 250_000
_SIZE_STEPS = 4096
_WIRE_LATE_SHARE = 0.015


class Trade(NamedTuple):
    """One trade: id, execution time, price and size in 1e-8, whether the taker sold, publication time.

    It stands for the fills ``first`` to ``id``; ``number`` counts such trades where the market does.
    """

    id: int
    ms: int
    price: int
    size: int
    is_ask: bool
    wire_ms: int
    first: int
    number: int = 0


class Trades(Protocol):
    """The trades of some markets, by hour."""

    def hour(self, market: Market, hour: int) -> list[Trade]:
        """The trades executed in epoch ``hour``, by id. Don't change the list."""

    def between(self, market: Market, from_ms: int, to_ms: int) -> list[Trade]:
        """The trades executed in [from, to), by id."""

    def intensity(self, market: Market, hour: int) -> float:
        """Trades per minute to be expected in epoch ``hour``, before bursts."""


class Tape:
    """Trades by market and hour, in order of their ids."""

    def __init__(self, seed: int, prices: HiddenPrices, plan: Plan, trades_per_day: int) -> None:
        self._seed = seed
        self._prices = prices
        self._plan = plan
        total = sum(market.share for market in MARKETS.values())
        self._per_minute = {m.code: trades_per_day * m.share / total / 1440 for m in MARKETS.values()}
        self._hours: OrderedDict[tuple[str, int], list[Trade]] = OrderedDict()
        self._cached = 0
        rng = Random(f"{seed}/sizes")
        self._sizes = [rng.lognormvariate(0, 1.35) for _ in range(_SIZE_STEPS)]

    def hour(self, market: Market, hour: int) -> list[Trade]:
        """The trades executed in epoch ``hour``, by id. Don't change the list."""
        key = (market.code, hour)
        trades = self._hours.get(key)
        if trades is None:
            trades = self._draw(market, hour)
            self._hours[key] = trades
            self._cached += len(trades)
            while self._cached > _CACHED_TRADES and len(self._hours) > 1:
                self._cached -= len(self._hours.popitem(last=False)[1])
        else:
            self._hours.move_to_end(key)
        return trades

    def between(self, market: Market, from_ms: int, to_ms: int) -> list[Trade]:
        """The trades executed in [from, to), by id."""
        hours = range(from_ms // HOUR_MS, (to_ms - 1) // HOUR_MS + 1)
        return [trade for hour in hours for trade in self.hour(market, hour) if from_ms <= trade.ms < to_ms]

    def intensity(self, market: Market, hour: int) -> float:
        """Trades per minute to be expected in epoch ``hour``, before bursts."""
        return self._per_minute[market.code] * SEASON[(hour + 9) % 24]

    def _draw(self, market: Market, hour: int) -> list[Trade]:
        rng = Random(f"{self._seed}/trades/{market.code}/{hour}")
        mids = self._prices.mids(market, hour)
        plan = self._plan.at(hour * HOUR_MS)
        usual = self.intensity(market, hour) * rng.lognormvariate(-0.045, 0.3)
        calm = market.coin.daily_volatility / 38 or 1.0
        trades: list[Trade] = []
        for i in range(60):
            minute = hour * 60 + i
            restless = min(abs(mids[i + 1] / mids[i] - 1) / calm, 4.0)
            surge = plan.surge(market, minute)
            more_trades = min(surge, 5.0)
            mean = usual * burst(rng) * (0.6 + 0.31 * restless) * more_trades
            count = _poisson(rng, mean)
            if count and not plan.halted(market, minute):
                begin = len(trades)
                self._draw_minute(market, rng, minute, mids[i], mids[i + 1], count, surge / more_trades, trades)
                if block := plan.block(market, minute):
                    first = trades[begin]
                    trades[begin] = first._replace(size=int(block * E16 / first.price))
        return trades

    def _draw_minute(
        self, market: Market, rng: Random, minute: int, first: float, last: float, count: int, larger: float,
        trades: list[Trade],
    ) -> None:  # fmt: skip
        random, sizes, new = rng.random, self._sizes, tuple.__new__
        # The larger step is valid on both sides of a border between two steps.
        tick = max(tick_size(market.quote, first), tick_size(market.quote, last))
        half = max(tick * 0.5, first * market.spread * 0.5)
        buying = 0.5 + max(-0.2, min(0.2, (last / first - 1) * 150))
        value = market.value * larger * E8 / first * E8
        start = minute * 60_000
        ms, counter, price, is_ask = -1, 0, 0, False
        for offset in sorted([int(random() * 60_000) for _ in range(count)]):
            if ms >= 0 and random() < 0.2:  # the same taker's order goes on through the book
                counter += 1
                price = max(tick, price + (-tick if is_ask else tick)) if random() < 0.5 else price
            else:
                counter = counter + 1 if start + offset == ms else 0
                ms = start + offset
                is_ask = random() > buying
                at = first + (last - first) * offset / 60_000 + (random() - 0.5) * half
                price = max(int((at - half if is_ask else at + half) / tick + 0.5), 1) * tick
            size = int(value * sizes[int(random() * _SIZE_STEPS)] * (0.8 + 0.4 * random())) or 1
            if size % 9 == 0:
                size = _rounded(size)
            late = random()
            delay = 15 + int(late * 90) if late > _WIRE_LATE_SHARE else 200 + int(late / _WIRE_LATE_SHARE * 1400)
            number = ms * 10_000 + counter
            trades.append(new(Trade, (number, ms, price, size, is_ask, ms + delay, number, 0)))


def burst(rng: Random) -> float:
    """How busy a minute is against its hour: mostly about 1, now and then a multiple."""
    calm = exp(rng.gauss(-0.1, 0.4))
    return calm * rng.uniform(3, 7) if rng.random() < 0.02 else calm


def _poisson(rng: Random, mean: float) -> int:
    if mean > 30:
        return max(0, round(rng.gauss(mean, mean**0.5)))
    limit, product, count = exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


def _rounded(size: int) -> int:
    """Two significant digits: people order round numbers."""
    step: int = 10 ** max(len(str(size)) - 2, 0)
    return size // step * step
