"""The hidden price of every coin at every time.

Lives here: a random walk by seed that can be asked for any moment. Doesn't: trades at those prices
(``tape``).

A day begins at a level that wanders around the coin's usual price (mean-reverting, so that no year makes it
absurd); hours are a random bridge between two days, minutes a bridge between two hours. What a coin costs in won is its
hidden price in dollars, times the rate of won and dollar, times a premium that all coins share.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log, sqrt
from random import Random

from tidemark.local.simulator.market.instruments import PREMIUM, Coin, Market, coin
from tidemark.local.simulator.market.plan import Plan

_MEMORY_DAYS = 150
_PULL = 0.98  # what is left of a deviation after one day
_BLOCK = 64  # days whose noise is drawn together
_MAX_CACHED = 6_000


class HiddenPrices:
    """Log prices by seed; asking changes nothing but caches."""

    def __init__(self, seed: int, plan: Plan) -> None:
        self._seed = seed
        self._plan = plan
        self._noise: dict[tuple[str, int], list[float]] = {}
        self._days: dict[tuple[str, int], float] = {}
        self._hours: dict[tuple[str, int], list[float]] = {}
        self._minutes: dict[tuple[str, int], list[float]] = {}

    def mids(self, market: Market, hour: int) -> list[float]:
        """The 61 prices at the minute borders of epoch ``hour``, in 1e-8 of the quote currency."""
        return [exp(value) * 1e8 for value in _told_in(market, lambda of: self._minute_logs(of, hour))]

    def hour_mids(self, market: Market, day: int) -> list[float]:
        """The 25 prices at the hour borders of UTC epoch ``day``, without planted spikes, in 1e-8."""
        return [exp(value) * 1e8 for value in _told_in(market, lambda of: self._hour_logs(of, day))]

    def mid_at(self, market: Market, ms: int) -> float:
        """The price at Unix ``ms``, in 1e-8 of the quote currency."""
        hour, rest = divmod(ms, 3_600_000)
        minute, rest = divmod(rest, 60_000)
        mids = self.mids(market, hour)
        return mids[minute] + (mids[minute + 1] - mids[minute]) * rest / 60_000

    def day_mid(self, market: Market, day: int) -> float:
        """The price at 00:00 UTC of epoch ``day``, in 1e-8 of the quote currency."""
        [level] = _told_in(market, lambda of: [self._day_log(of, day)])
        return exp(level) * 1e8

    def premium_at(self, ms: int) -> float:
        """What coins cost more in won than in dollars at the rate of Unix ``ms``: 0.01 is one per cent."""
        hour, rest = divmod(ms, 3_600_000)
        minute, rest = divmod(rest, 60_000)
        logs = self._minute_logs(PREMIUM, hour)
        return exp(logs[minute] + (logs[minute + 1] - logs[minute]) * rest / 60_000) - 1

    def _day_noise(self, name: str, day: int) -> float:
        block, place = divmod(day, _BLOCK)
        if (name, block) not in self._noise:
            rng = Random(f"{self._seed}/days/{name}/{block}")
            self._noise[name, block] = [rng.gauss(0, 1) for _ in range(_BLOCK)]
        return self._noise[name, block][place]

    def _day_log(self, of: Coin, day: int) -> float:
        key = (of.symbol, day)
        if key not in self._days:
            own = sqrt(1 - of.common**2)
            wander, weight = 0.0, 1.0
            for back in range(_MEMORY_DAYS):
                shock = of.common * self._day_noise("*", day - back) + own * self._day_noise(of.symbol, day - back)
                wander += weight * shock
                weight *= _PULL
            self._days[key] = log(of.price) + of.daily_volatility * wander
        return self._days[key]

    def _hour_logs(self, of: Coin, day: int) -> list[float]:
        key = (of.symbol, day)
        if key not in self._hours:
            shared, rng = (
                Random(f"{self._seed}/hours/*/{day}"),
                Random(f"{self._seed}/hours/{of.symbol}/{day}"),
            )
            own = sqrt(1 - of.common**2)
            scale = of.daily_volatility / sqrt(24)
            steps = [scale * (of.common * shared.gauss(0, 1) + own * rng.gauss(0, 1)) for _ in range(24)]
            _keep_small(self._hours)
            self._hours[key] = _bridge(self._day_log(of, day), self._day_log(of, day + 1), steps)
        return self._hours[key]

    def _minute_logs(self, of: Coin, hour: int) -> list[float]:
        key = (of.symbol, hour)
        if key not in self._minutes:
            day, place = divmod(hour, 24)
            levels = self._hour_logs(of, day)
            rng = Random(f"{self._seed}/minutes/{of.symbol}/{hour}")
            scale = of.daily_volatility / sqrt(1440) * rng.lognormvariate(-0.06, 0.35)
            path = _bridge(levels[place], levels[place + 1], [scale * rng.gauss(0, 1) for _ in range(60)])
            plan = self._plan.at(hour * 3_600_000)
            if of.symbol in plan.spikes:
                path = [value + plan.bump(of.symbol, hour * 60 + i) for i, value in enumerate(path)]
            _keep_small(self._minutes)
            self._minutes[key] = path
        return self._minutes[key]


def _told_in(market: Market, logs: Callable[[Coin], list[float]]) -> list[float]:
    """The log prices of the market's coin, in its quote currency."""
    own = logs(market.coin)
    if market.units != 1:
        return [value + log(market.units) for value in own]
    if market.quote == "KRW" and market.coin.symbol != "USDT":
        return [sum(parts) for parts in zip(own, logs(coin("USDT")), logs(PREMIUM), strict=True)]
    if market.quote == "BTC":
        return [a - b for a, b in zip(own, logs(coin("BTC")), strict=True)]
    return own


def _bridge(start: float, end: float, steps: list[float]) -> list[float]:
    """A path from start to end with these random steps, what they miss of the end spread evenly."""
    correction = (end - start - sum(steps)) / len(steps)
    path = [start]
    for step in steps:
        path.append(path[-1] + step + correction)
    path[-1] = end
    return path


def _keep_small(cache: dict[tuple[str, int], list[float]]) -> None:
    if len(cache) > _MAX_CACHED:
        cache.clear()
