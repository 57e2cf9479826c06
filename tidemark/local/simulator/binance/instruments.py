"""What Binance trades: five perpetual swaps, what else it may show beside them, and the intervals of its klines.

Contains: the tables.
Does not contain: prices (``market``), the rows of its list (``listing``).
"""

from __future__ import annotations

from collections.abc import Set

from tidemark.local.simulator.market.instruments import E8, Market, coin
from tidemark.local.simulator.market.intervals import DAY, HOUR, MINUTE, MONDAY, Interval
from tidemark.local.simulator.oddities import Oddity


def _swap(
    symbol: str, share: float, value: float, tick: float, lot: float, *, code: str = "", units: int = 1,
    aside: bool = False,
) -> Market:  # fmt: skip
    return Market(
        code or f"{symbol}USDT", coin(symbol), "USDT", share, 0.00003, value, 60, round(tick * E8), round(lot * E8),
        units, aside,
    )  # fmt: skip


SWAPS: dict[str, Market] = {
    market.code: market
    for market in (
        _swap("BTC", 0.34, 1_100.0, 0.1, 0.001),
        _swap("ETH", 0.26, 700.0, 0.01, 0.001),
        _swap("XRP", 0.13, 400.0, 0.0001, 0.1),
        _swap("SOL", 0.15, 450.0, 0.01, 0.01),
        _swap("DOGE", 0.12, 300.0, 0.00001, 1),
    )
}

_ASIDE: dict[Oddity, tuple[Market, ...]] = {
    Oddity.BINANCE_MORE_CONTRACTS: (
        _swap("TSLA", 0.01, 400.0, 0.01, 0.01, aside=True),
        _swap("SHIB", 0.02, 300.0, 0.000001, 1, code="1000SHIBUSDT", units=1000, aside=True),
        _swap("BTC", 0.02, 900.0, 0.1, 0.001, code="BTCUSDT_311226", aside=True),
    ),
}
_EVERY = {**SWAPS, **{market.code: market for markets in _ASIDE.values() for market in markets}}


def markets(shown: Set[Oddity]) -> dict[str, Market]:
    """What trades, by its code: the usual swaps, and those that an oddity adds."""
    added = (market for oddity, found in _ASIDE.items() if oddity in shown for market in found)
    return {**SWAPS, **{market.code: market for market in added}}


def named(code: str) -> Market:
    """The market of this code, whether it is shown or not; KeyError when there is none."""
    return _EVERY[code]


def pair(market: Market) -> str:
    """What a contract is on, without its expiry."""
    return market.code.partition("_")[0]


INTERVALS: dict[str, Interval] = {
    **{f"{n}m": Interval(n * MINUTE) for n in (1, 3, 5, 15, 30)},
    **{f"{n}h": Interval(n * HOUR) for n in (1, 2, 4, 6, 8, 12)},
    **{f"{n}d": Interval(n * DAY) for n in (1, 3)},
    "1w": Interval(7 * DAY, shift=MONDAY),
    "1M": Interval(months=1),
}
