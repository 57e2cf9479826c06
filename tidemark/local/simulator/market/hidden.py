"""The whole hidden market of one seed.

Lives here: putting its parts together for one simulated period. Doesn't: any of the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from tidemark.local.simulator.market.board import Board, Extreme
from tidemark.local.simulator.market.book import Book, make_book
from tidemark.local.simulator.market.candles import DAY, History
from tidemark.local.simulator.market.fills import FillTape
from tidemark.local.simulator.market.instruments import Market
from tidemark.local.simulator.market.ladder import Ladder
from tidemark.local.simulator.market.plan import Plan
from tidemark.local.simulator.market.prices import HiddenPrices
from tidemark.local.simulator.market.tape import Tape, Trades

DAY_MS = 86_400_000
TICK_DAYS = 7  # days before the simulated period that have trades, as far back as the exchange serves them


class HiddenMarket:
    """Prices, trades, history and books by seed, for a period that begins at ``start_ms`` (Unix ms)."""

    def __init__(
        self,
        seed: int,
        start_ms: int,
        now_ms: Callable[[], int],
        *,
        end_ms: int | None = None,
        trades_per_day: int,
        minute_days: int,
        day_days: int,
    ) -> None:
        """Nothing happens from ``end_ms`` on.

        ``minute_days`` and ``day_days``: how far the history of minutes and days reaches back from the start.
        """
        self.seed = seed
        self.start_ms = start_ms
        self.plan, self.prices, self.tape = drawn(seed, trades_per_day)
        self.history = _history(self.prices, self.tape, self.plan, now_ms, start_ms, end_ms, minute_days, day_days)

    def board(self, market: Market) -> Board:
        """The state of the market at the start: the 24 hours before it taken in."""
        first = (self.start_ms - DAY_MS) // DAY_MS
        board = Board(first, self.history.close_before(market, first), *self._extremes(market, first))
        for trade in self.tape.between(market, first * DAY_MS, self.start_ms):
            board.apply(trade)
        board.roll(self.start_ms)
        return board

    def book(self, market: Market, ms: int) -> Book:
        """The book at Unix ``ms``; it stands still in a halt."""
        halt = self.plan.at(ms).halt
        if market.code == halt.market and halt.at_ms <= ms < halt.until_ms:
            ms = halt.at_ms
        return make_book(market, self.prices.mid_at(market, ms), ms, self.seed)

    def _extremes(self, market: Market, day: int) -> tuple[Extreme, Extreme]:
        """The year's extremes from every third day's level, with room for what happens within a day."""
        levels = [(self.prices.day_mid(market, d), d) for d in range(day - 364, day, 3)]
        room = 1 + 2 * market.coin.daily_volatility
        (high, high_day), (low, low_day) = max(levels), min(levels)
        return _extreme(market, high * room, high_day), _extreme(market, low / room, low_day)


class SwapMarket:
    """An exchange of perpetual swaps over the same hidden prices as a :class:`HiddenMarket` of the same seed."""

    def __init__(
        self,
        seed: int,
        markets: Mapping[str, Market],
        start_ms: int,
        now_ms: Callable[[], int],
        *,
        end_ms: int | None = None,
        trades_per_day: int,
        spot_trades_per_day: int,
        minute_days: int,
        day_days: int,
    ) -> None:
        """As a :class:`HiddenMarket`; ``trades_per_day`` are those of all ``markets`` that do not stand aside."""
        self.markets = markets
        self.plan, self.prices, _ = drawn(seed, spot_trades_per_day)
        self.tape = FillTape(seed, self.prices, self.plan, markets, trades_per_day)
        self.ladder = Ladder(seed, self.prices)
        self.history = _history(self.prices, self.tape, self.plan, now_ms, start_ms, end_ms, minute_days, day_days)


@lru_cache(maxsize=2)
def drawn(seed: int, trades_per_day: int) -> tuple[Plan, HiddenPrices, Tape]:
    """What is drawn by seed alone; a second simulator of the same seed in this process finds it drawn."""
    plan = Plan(seed)
    prices = HiddenPrices(seed, plan)
    return plan, prices, Tape(seed, prices, plan, trades_per_day)


def _history(
    prices: HiddenPrices, tape: Trades, plan: Plan, now_ms: Callable[[], int], start_ms: int, end_ms: int | None,
    minute_days: int, day_days: int,
) -> History:  # fmt: skip
    first = start_ms // DAY_MS
    return History(
        prices,
        tape,
        plan,
        now_ms,
        end_ms=end_ms,
        trades_from=(first - min(TICK_DAYS, minute_days)) * DAY,
        minutes_from=(first - minute_days) * DAY,
        days_from=(first - max(day_days, minute_days)) * DAY,
    )


def _extreme(market: Market, price: float, day: int) -> Extreme:
    tick = market.step(price)
    return Extreme(max(round(price / tick), 1) * tick, day)
