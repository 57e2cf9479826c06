"""The running state of one market: what a ticker says.

Lives here: sums since 00:00 UTC, the last 24 hours, the 52-week extremes. Doesn't: how a ticker is spelled.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from tidemark.local.simulator.market.tape import Trade

DAY_MS = 86_400_000


class Extreme(NamedTuple):
    """A 52-week extreme: price in 1e-8 and the UTC epoch day."""

    price: int
    day: int


class Ticker(NamedTuple):
    """The state of a market at ``ms``: prices and volumes in 1e-8, quote values in 1e-16.

    ``leaves``: the UTC epoch day on which the market will be delisted, where that has been announced.
    """

    ms: int
    last: Trade
    open: int
    high: int
    low: int
    prev_close: int
    volume: int
    value: int
    ask_volume: int
    bid_volume: int
    volume_24h: int
    value_24h: int
    highest: Extreme
    lowest: Extreme
    leaves: int | None = None


class Board:
    """The state of one market; fed with trades as they are published.

    The 24 hours reach back from now to the same minute of the day before, and include that minute.
    """

    def __init__(self, day: int, prev_close: int, highest: Extreme, lowest: Extreme) -> None:
        """A market at 00:00 UTC of epoch ``day`` (prices in 1e-8)."""
        self._day = day
        self.prev_close = prev_close
        self.last: Trade | None = None
        self._first_id = 0
        self._open = self._high = self._low = prev_close
        self._volume = self._value = self._ask_volume = 0
        self._highest, self._lowest = highest, lowest
        self._minutes: deque[list[int]] = deque()  # minute, volume, value
        self._volume_24h = self._value_24h = 0

    def apply(self, trade: Trade) -> None:
        """Take a published trade in; one that comes late counts where it was executed."""
        day = trade.ms // DAY_MS
        if day > self._day:
            self.roll(trade.ms)
        if self.last is None or trade.id > self.last.id:
            self.last = trade
        self._take_24h(trade)
        if day == self._day:
            self._take_day(trade)
        elif self.last is trade:  # of the day before, and later than all known of it
            self.prev_close = trade.price
        if trade.price > self._highest.price:
            self._highest = Extreme(trade.price, day)
        if trade.price < self._lowest.price:
            self._lowest = Extreme(trade.price, day)

    def roll(self, now_ms: int) -> None:
        """Begin a new UTC day when ``now_ms`` lies in one; until it trades all prices are the old close."""
        if now_ms // DAY_MS > self._day:
            self._day = now_ms // DAY_MS
            self.prev_close = self.last.price if self.last else self.prev_close
            self._open = self._high = self._low = self.prev_close
            self._volume = self._value = self._ask_volume = self._first_id = 0

    def ticker(self, now_ms: int) -> Ticker | None:
        """The state at ``now_ms``; None before the first trade."""
        if self.last is None:
            return None
        self.roll(now_ms)
        self._forget(now_ms)
        return Ticker(
            now_ms,
            self.last,
            self._open,
            self._high,
            self._low,
            self.prev_close,
            self._volume,
            self._value,
            self._ask_volume,
            self._volume - self._ask_volume,
            self._volume_24h,
            self._value_24h,
            self._highest,
            self._lowest,
        )

    def _take_day(self, trade: Trade) -> None:
        if not self._first_id:
            self._first_id, self._open, self._high, self._low = (
                trade.id,
                trade.price,
                trade.price,
                trade.price,
            )
        elif trade.id < self._first_id:
            self._first_id, self._open = trade.id, trade.price
        self._high, self._low = max(self._high, trade.price), min(self._low, trade.price)
        self._volume += trade.size
        self._value += trade.price * trade.size
        if trade.is_ask:
            self._ask_volume += trade.size

    def _take_24h(self, trade: Trade) -> None:
        minute = trade.ms // 60_000
        if not self._minutes or self._minutes[-1][0] < minute:
            self._minutes.append([minute, 0, 0])
        self._minutes[-1][1] += trade.size
        self._minutes[-1][2] += trade.price * trade.size
        self._volume_24h += trade.size
        self._value_24h += trade.price * trade.size

    def _forget(self, now_ms: int) -> None:
        oldest = (now_ms - DAY_MS) // 60_000
        while self._minutes and self._minutes[0][0] < oldest:
            _, volume, value = self._minutes.popleft()
            self._volume_24h -= volume
            self._value_24h -= value
