"""The trades of perpetual swaps, numbered without a hole.

Lives here: one list per (seed, market, UTC day), drawn once and kept for a while. Doesn't: the spot markets'
trades, whose ids are their times (``tape``).

A swap's trades stand for one or more fills. Fills and trades are both numbered on and on, so how many a day has
is drawn first, in a way that needs no other day; its minutes share them by how busy each is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Mapping
from itertools import accumulate
from random import Random

from tidemark.local.simulator.market.instruments import E8, E16, Market
from tidemark.local.simulator.market.plan import Plan
from tidemark.local.simulator.market.prices import HiddenPrices
from tidemark.local.simulator.market.tape import HOUR_MS, SEASON, Trade, burst

DAY_MS = 86_400_000
LATEST_MS = 400  # every trade is on the wire this long after its execution
_CACHED_DAYS = 60
_MORE_FILLS = 35  # per cent of trades: fills beyond one a trade
_UNEVEN = 0.2  # of a usual day's trades; less than half, so that each day has some
_GOES_ON = 0.15
_SIZE_STEPS = 4096


class FillTape:
    """Trades by market and hour, in order of their ids, their times and their publication."""

    def __init__(
        self, seed: int, prices: HiddenPrices, plan: Plan, markets: Mapping[str, Market], trades_per_day: int
    ) -> None:
        self._seed = seed
        self._prices = prices
        self._plan = plan
        total = sum(market.share for market in markets.values() if not market.aside)  # those aside trade on top
        self._per_day = {m.code: max(trades_per_day * m.share / total, 1.0) for m in markets.values()}
        self._per_day |= {m.code: 0.0 for m in markets.values() if m.auction}
        self._days: OrderedDict[tuple[str, int], list[Trade]] = OrderedDict()
        rng = Random(f"{seed}/sizes")
        self._sizes = [rng.lognormvariate(0, 1.35) for _ in range(_SIZE_STEPS)]

    def hour(self, market: Market, hour: int) -> list[Trade]:
        """The trades executed in epoch ``hour``, by id."""
        return self.between(market, hour * HOUR_MS, (hour + 1) * HOUR_MS)

    def between(self, market: Market, from_ms: int, to_ms: int) -> list[Trade]:
        """The trades executed in [from, to), by id."""
        found: list[Trade] = []
        for day in range(from_ms // DAY_MS, (to_ms - 1) // DAY_MS + 1):
            trades = self.day(market, day)
            begin, end = (bisect_left(trades, at, key=_ms) for at in (from_ms, to_ms))
            found += trades[begin:end]
        return found

    def day(self, market: Market, day: int) -> list[Trade]:
        """The trades of UTC epoch ``day``, by id. Don't change the list."""
        key = (market.code, day)
        trades = self._days.get(key)
        if trades is None:
            trades = self._days[key] = self._draw(market, day)
            if len(self._days) > _CACHED_DAYS:
                self._days.popitem(last=False)
        else:
            self._days.move_to_end(key)
        return trades

    def intensity(self, market: Market, hour: int) -> float:
        """Trades per minute to be expected in epoch ``hour``, before bursts."""
        return self._per_day[market.code] / 1440 * SEASON[(hour + 9) % 24]

    def number(self, market: Market, day: int) -> int:
        """The number of the last trade before 00:00 UTC of epoch ``day``."""
        usual = self._per_day[market.code]
        luck = Random(f"{self._seed}/count/{market.code}/{day}").random()
        return int(usual * (day + _UNEVEN * luck))

    def fill(self, market: Market, day: int) -> int:
        """The id of the last fill before 00:00 UTC of epoch ``day``."""
        number = self.number(market, day)
        return number + number * _MORE_FILLS // 100

    def _draw(self, market: Market, day: int) -> list[Trade]:
        number, last = self.number(market, day), self.fill(market, day)
        count = self.number(market, day + 1) - number
        if not count:
            return []
        rng = Random(f"{self._seed}/fills/{market.code}/{day}")
        fills = [1] * count
        for _ in range(self.fill(market, day + 1) - last - count):
            fills[int(rng.random() * count)] += 1
        trades: list[Trade] = []
        before: Trade | None = None
        for ms, first, end in self._times(market, day, rng, count):
            number += 1
            before = self._trade(market, rng, ms, (first, end), last + 1, last + fills[len(trades)], number, before)
            trades.append(before)
            last = before.id
        return trades

    def _trade(
        self, market: Market, rng: Random, ms: int, minute: tuple[float, float], first: int, last: int, number: int,
        before: Trade | None,
    ) -> Trade:  # fmt: skip
        """One trade; ``minute``: the prices at its minute's borders."""
        random, (opens, closes) = rng.random, minute
        half = max(market.tick * 0.5, opens * market.spread * 0.5)
        if before is not None and random() < _GOES_ON:  # the same taker's order goes on through the book
            ms, is_ask = before.ms, before.is_ask
            price = max(before.price + (-market.tick if is_ask else market.tick), market.tick)
        else:
            buying = 0.5 + max(-0.2, min(0.2, (closes / opens - 1) * 150))
            is_ask = random() > buying
            at = opens + (closes - opens) * (ms % 60_000) / 60_000 + (random() - 0.5) * half
            price = max(int((at - half if is_ask else at + half) / market.tick + 0.5), 1) * market.tick
        usual = market.value * E8 / opens * E8 * self._plan_surge(market, ms)
        lots = int(usual * self._sizes[int(random() * _SIZE_STEPS)] / market.lot)
        if before is None or before.ms // 60_000 != ms // 60_000:
            lots = max(lots, self._block(market, ms, price))
        wire_ms = max(ms + 5 + int(random() * 90), before.wire_ms if before else 0)
        if random() < 0.01:
            wire_ms = max(wire_ms, ms + 100 + int(random() * (LATEST_MS - 150)))
        wire_ms = min(wire_ms, (ms // DAY_MS + 1) * DAY_MS - 1)  # so that days don't overlap on the wire
        return Trade(last, ms, price, max(lots, last - first + 1) * market.lot, is_ask, wire_ms, first, number)

    def _block(self, market: Market, ms: int, price: int) -> int:
        """How many lots a block trade in this minute has; mostly there is none."""
        return int(self._plan.at(ms).block(market, ms // 60_000) * E16 / price / market.lot)

    def _plan_surge(self, market: Market, ms: int) -> float:
        return max(self._plan.at(ms).surge(market, ms // 60_000) / 3, 1.0)

    def _times(self, market: Market, day: int, rng: Random, count: int) -> list[tuple[int, float, float]]:
        """So many execution times in order, each with the prices at its minute's borders."""
        prices, weights = self._minutes(market, day, rng)
        borders = [*accumulate(weights, initial=0.0)]
        found, minute, begin = [], 0, day * DAY_MS
        for point in sorted(rng.random() * borders[-1] for _ in range(count)):
            while minute < 1439 and borders[minute + 1] <= point:
                minute += 1
            offset = min(int((point - borders[minute]) / weights[minute] * 60_000), 59_999)
            found.append((begin + minute * 60_000 + offset, *prices[minute]))
        return found

    def _minutes(self, market: Market, day: int, rng: Random) -> tuple[list[tuple[float, float]], list[float]]:
        """Of each minute of the day: the prices at its borders, and how busy it is."""
        prices, weights = [], []
        calm = market.coin.daily_volatility / 38
        for hour in range(day * 24, day * 24 + 24):
            mids, plan = self._prices.mids(market, hour), self._plan.at(hour * HOUR_MS)
            usual = SEASON[(hour + 9) % 24] * rng.lognormvariate(-0.045, 0.3)
            for i in range(60):
                restless = min(abs(mids[i + 1] / mids[i] - 1) / calm, 4.0)
                surge = min(plan.surge(market, hour * 60 + i), 5.0)
                prices.append((mids[i], mids[i + 1]))
                weights.append(usual * burst(rng) * (0.6 + 0.31 * restless) * surge)
        return prices, weights


def _ms(trade: Trade) -> int:
    return trade.ms
