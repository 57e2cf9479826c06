"""Candles of the hidden market, as an exchange's REST answers them.

Lives here: rolling trades up, and the older history, for which there are no trades. Doesn't: the candles of
the oracle, which come from what was sent (``ledger``).

Three ages, each beginning at 00:00 UTC: days with trades (candles are computed from them), before that days
with drawn minutes, before that days with drawn hours. A longer candle is always the roll-up of shorter ones.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from random import Random
from typing import NamedTuple

from tidemark.local.simulator.market.instruments import E8, Market
from tidemark.local.simulator.market.plan import Plan
from tidemark.local.simulator.market.prices import HiddenPrices
from tidemark.local.simulator.market.tape import HOUR_MS, LATEST_DELIVERY_MS, Trade, Trades

HOUR = 3600
DAY = 86_400
WEEK = 7 * DAY
_MONDAY = 4 * DAY  # 1970-01-05
_CACHED_HOURS = 1500


class Candle(NamedTuple):
    """A candle: start in Unix s, prices and volume in 1e-8, value in 1e-16, time of the last trade in ms.

    Then the number of fills, what takers bought (volume and value), and the first and last fill's ids, which
    are 0 where they aren't known.
    """

    start: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    value: int
    last_ms: int
    fills: int = 0
    bought: int = 0
    bought_value: int = 0
    first: int = 0
    last: int = 0


def bucket(seconds: int, unit: int) -> int:
    """Start of the interval of ``unit`` seconds in which Unix ``seconds`` lies; weeks begin on Monday."""
    shift = _MONDAY if unit == WEEK else 0
    return seconds - (seconds - shift) % unit


def from_trades(trades: Iterable[Trade], unit: int) -> list[Candle]:
    """Candles of ``unit`` seconds from trades in order of their ids."""
    return roll_up(map(single, trades), unit)


def single(trade: Trade) -> Candle:
    """The candle of one trade; it starts with the second of the trade."""
    price, size, value = trade.price, trade.size, trade.price * trade.size
    bought, bought_value = (0, 0) if trade.is_ask else (size, value)
    fills = trade.id - trade.first + 1
    return Candle(
        trade.ms // 1000, price, price, price, price, size, value, trade.ms, fills, bought, bought_value, trade.first,
        trade.id,
    )  # fmt: skip


def roll_up(candles: Iterable[Candle], unit: int) -> list[Candle]:
    """Candles of ``unit`` seconds from shorter ones, oldest first."""
    return [merged(start, list(parts)) for start, parts in groupby(candles, lambda candle: bucket(candle.start, unit))]


def merged(start: int, parts: Sequence[Candle]) -> Candle:
    """One candle from its parts, oldest first; there is at least one."""
    last = parts[-1]
    return Candle(
        start,
        parts[0].open,
        max(part.high for part in parts),
        min(part.low for part in parts),
        last.close,
        sum(part.volume for part in parts),
        sum(part.value for part in parts),
        last.last_ms,
        sum(part.fills for part in parts),
        sum(part.bought for part in parts),
        sum(part.bought_value for part in parts),
        parts[0].first,
        last.last,
    )


class History:
    """What the exchange knows about the past at the simulated now."""

    def __init__(
        self,
        prices: HiddenPrices,
        tape: Trades,
        plan: Plan,
        now_ms: Callable[[], int],
        *,
        end_ms: int | None,
        trades_from: int,
        minutes_from: int,
        days_from: int,
    ) -> None:
        """Nothing happens from ``end_ms`` on (None: it goes on for ever).

        The others: from when on trades, minutes and days are served (Unix seconds, at 00:00 UTC).
        """
        self._prices = prices
        self._tape = tape
        self._plan = plan
        self._now_ms = now_ms
        self._end_ms = end_ms
        self.trades_from = trades_from
        self.minutes_from = minutes_from
        self.days_from = days_from
        self._minutes: OrderedDict[tuple[str, int], list[Candle]] = OrderedDict()
        self._rolled: dict[tuple[str, int, int], list[Candle]] = {}

    def trades(self, market: Market, from_ms: int, to_ms: int) -> list[Trade]:
        """Published trades executed in [from, to), by id."""
        now = self._now_ms()
        low = max(from_ms, self.trades_from * 1000)
        high = min(to_ms, now, self._end_ms or now)
        return [t for t in self._tape.between(market, low, high) if t.wire_ms < now] if low < high else []

    def newest(self, market: Market, unit: int, before: int, since: int | None = None) -> Iterator[Candle]:
        """Candles of ``unit`` seconds that begin before Unix second ``before``, newest first.

        Back to ``since`` (Unix s), by default as far as candles of this length are served.
        """
        now = self._now_ms() // 1000
        begin = self.begin(unit) if since is None else since
        block = max(unit, HOUR)
        at = bucket(min(before - 1, now), block)
        while at + block > begin:
            rows = self._block(market, at, unit)
            yield from (row for row in reversed(rows) if begin <= row.start < before)
            at -= block

    def close_before(self, market: Market, day: int) -> int:
        """The last price before 00:00 UTC of epoch ``day``, in 1e-8."""
        for hour in range(day * 24 - 1, self.trades_from // HOUR - 1, -1):
            trades = self._tape.hour(market, hour)
            if trades:
                return trades[-1].price
        return _on_grid(market, self._prices.day_mid(market, day))

    def begin(self, unit: int) -> int:
        """From when on (Unix s) candles of ``unit`` seconds are known."""
        if unit < 60:
            return self.trades_from
        return self.minutes_from if unit < DAY else self.days_from

    def _block(self, market: Market, at: int, unit: int) -> list[Candle]:
        """Candles of ``unit`` seconds in the block (an hour or one unit) that begins at second ``at``."""
        if unit < 60:
            return from_trades(self.trades(market, at * 1000, (at + HOUR) * 1000), unit)
        if unit < HOUR:
            return roll_up(self._hour_minutes(market, at // HOUR), unit)
        complete = self._complete((at + unit) // HOUR - 1)
        key = (market.code, at, unit)
        if complete and key in self._rolled:
            return self._rolled[key]
        shorter = HOUR if unit == DAY else DAY if unit == WEEK else 60
        if shorter == 60:
            hours = range(at // HOUR, (at + unit) // HOUR)
            rows = [row for hour in hours for row in self._hour_minutes(market, hour)]
        else:
            starts = range(at, min(at + unit, self._now_ms() // 1000 + 1), shorter)
            rows = [row for start in starts for row in self._block(market, start, shorter)]
        rolled = roll_up(rows, unit)
        if complete:
            self._rolled[key] = rolled
        return rolled

    def _complete(self, hour: int) -> bool:
        return (hour + 1) * HOUR_MS + LATEST_DELIVERY_MS <= self._now_ms()

    def _hour_minutes(self, market: Market, hour: int) -> list[Candle]:
        """The minutes of an hour; in the oldest age a single row, at the hour's first minute."""
        key = (market.code, hour)
        rows = self._minutes.get(key)
        if rows is not None:
            self._minutes.move_to_end(key)
            return rows
        if hour * HOUR >= self.trades_from:
            rows = from_trades(self.trades(market, hour * HOUR_MS, (hour + 1) * HOUR_MS), 60)
        elif hour * HOUR >= self.minutes_from:
            rows = self._draw_minutes(market, hour)
        elif hour * HOUR >= self.days_from:
            rows = self._draw_hour(market, hour)
        else:
            rows = []
        if self._complete(hour):
            self._minutes[key] = rows
            if len(self._minutes) > _CACHED_HOURS:
                self._minutes.popitem(last=False)
        return rows

    def _draw_minutes(self, market: Market, hour: int) -> list[Candle]:
        rng = Random(f"minutes/{market.code}/{hour}/{self._prices.mid_at(market, hour * HOUR_MS)}")
        mids, plan = self._prices.mids(market, hour), self._plan.at(hour * HOUR_MS)
        usual = self._tape.intensity(market, hour)
        rows = []
        for i in range(60):
            minute = hour * 60 + i
            trades = usual * rng.lognormvariate(-0.08, 0.4) * plan.surge(market, minute)
            if not plan.halted(market, minute) and rng.random() > 2.718 ** -min(trades, 50.0):
                rows.append(_draw(market, rng, minute * 60, 60, mids[i], mids[i + 1], max(trades, 1.0)))
        return rows

    def _draw_hour(self, market: Market, hour: int) -> list[Candle]:
        mids = self._prices.hour_mids(market, hour // 24)
        first, last = mids[hour % 24], mids[hour % 24 + 1]
        rng = Random(f"hours/{market.code}/{hour}/{first}")
        trades = 60 * self._tape.intensity(market, hour) * rng.lognormvariate(-0.08, 0.4)
        if rng.random() < 2.718 ** -min(trades, 50.0):
            return []
        return [_draw(market, rng, hour * HOUR, HOUR, first, last, max(trades, 1.0))]


def _draw(market: Market, rng: Random, start: int, unit: int, first: float, last: float, trades: float) -> Candle:
    """A candle without trades behind it: on the price grid, its value between low and high times volume."""
    reach = market.coin.daily_volatility * (unit / DAY) ** 0.5 * min(trades, 20.0) / 20
    begin, end = (_on_grid(market, mid * (1 + rng.gauss(0, 0.3) * market.spread)) for mid in (first, last))
    high = _on_grid(market, max(begin, end) * (1 + abs(rng.gauss(0, reach * 0.4))))
    low = _on_grid(market, min(begin, end) * (1 - abs(rng.gauss(0, reach * 0.4))))
    high, low = max(begin, end, high), min(begin, end, low)
    lots = max(int(market.value * 2.5 * trades * rng.lognormvariate(-0.1, 0.45) * E8 * E8 / first / market.lot), 1)
    volume, mean = lots * market.lot, rng.uniform(0.3, 0.7)
    grain = market.tick * market.lot or 1
    value = _down(volume * low + int(volume * (high - low) * mean), grain)
    last_ms = (start + unit) * 1000 - rng.randrange(1, 900)
    bought = int(lots * rng.uniform(0.35, 0.65)) * market.lot
    bought_value = _down(value * bought // volume, grain)
    return Candle(start, begin, high, low, end, volume, value, last_ms, int(trades), bought, bought_value)


def _down(value: int, grain: int) -> int:
    return value - value % grain


def _on_grid(market: Market, price: float) -> int:
    tick = market.step(price)
    return max(round(price / tick), 1) * tick
