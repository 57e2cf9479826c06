"""The last 24 hours of a swap.

Contains: sums and extremes over a moving window, the prices at the day's two beginnings, the state before any trade.
Does not contain: the spot markets' tickers (``market.board``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from tidemark.local.simulator.market.tape import Trade

DAY_MS = 86_400_000
_SHIFT_MS = 8 * 3_600_000  # a day begins at 00:00 UTC, and in the exchange's own zone eight hours earlier


class Day(NamedTuple):
    """The state at ``ms``: the last trade, 24 hours' prices and volume (1e-8), value (1e-16), the two day opens.

    ``first``: the id of the first fill of the 24 hours; the best levels are price and size, 1e-8 each.
    """

    ms: int
    last: Trade
    open: int
    high: int
    low: int
    volume: int
    value: int
    open_utc0: int
    open_utc8: int
    first: int
    best_ask: tuple[int, int] = (0, 0)
    best_bid: tuple[int, int] = (0, 0)


class Auction(NamedTuple):
    """The state at ``ms`` of a market without a trade yet: the best levels, price and size in 1e-8 each."""

    ms: int
    best_ask: tuple[int, int]
    best_bid: tuple[int, int]


class Day24h:
    """The state of one market; fed with trades in order. The window moves by whole minutes."""

    def __init__(self, before: Iterable[Trade]) -> None:
        """``before``: the trades of the 24 hours and more before it starts."""
        self._minutes: deque[list[int]] = deque()  # minute, open, high, low, volume, value, first fill
        self._highs: deque[list[int]] = deque()  # minutes that may be the highest, and below the lowest
        self._lows: deque[list[int]] = deque()
        self._volume = self._value = 0
        self._opens = {0: (-1, 0), _SHIFT_MS: (-1, 0)}
        self.last: Trade | None = None
        for trade in before:
            self.apply(trade)

    def apply(self, trade: Trade) -> None:
        """Take a trade in."""
        price, minute = trade.price, trade.ms // 60_000
        if not self._minutes or self._minutes[-1][0] < minute:
            self._minutes.append([minute, price, price, price, 0, 0, trade.first])
        row = self._minutes[-1]
        row[2], row[3] = max(row[2], price), min(row[3], price)
        row[4] += trade.size
        row[5] += price * trade.size
        self._volume += trade.size
        self._value += price * trade.size
        self._rank(row)
        for shift, (day, _) in self._opens.items():
            if (trade.ms + shift) // DAY_MS > day:
                self._opens[shift] = ((trade.ms + shift) // DAY_MS, price)
        self.last = trade

    def at(self, now_ms: int) -> Day | None:
        """The state at ``now_ms``; None before the first trade."""
        if self.last is None:
            return None
        self._forget((now_ms - DAY_MS) // 60_000)
        close = self.last.price
        begin = self._minutes[0] if self._minutes else [0, close, 0, 0, 0, 0, self.last.id + 1]
        high, low = (self._highs[0][2], self._lows[0][3]) if self._minutes else (close, close)
        opens = [price if (now_ms + shift) // DAY_MS == day else close for shift, (day, price) in self._opens.items()]
        return Day(now_ms, self.last, begin[1], high, low, self._volume, self._value, opens[0], opens[1], begin[6])

    def _rank(self, row: list[int]) -> None:
        while self._highs and (self._highs[-1] is row or self._highs[-1][2] <= row[2]):
            self._highs.pop()
        while self._lows and (self._lows[-1] is row or self._lows[-1][3] >= row[3]):
            self._lows.pop()
        self._highs.append(row)
        self._lows.append(row)

    def _forget(self, oldest: int) -> None:
        while self._minutes and self._minutes[0][0] < oldest:
            row = self._minutes.popleft()
            self._volume -= row[4]
            self._value -= row[5]
            for rows in (self._highs, self._lows):
                if rows[0] is row:
                    rows.popleft()
