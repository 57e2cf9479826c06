"""What Binance lists: five perpetual swaps, and the intervals of its klines.

Lives here: the tables. Doesn't: prices (``market``).
"""

from __future__ import annotations

from tidemark.local.simulator.market.instruments import E8, Market, coin
from tidemark.local.simulator.market.intervals import DAY, HOUR, MINUTE, MONDAY, Interval


def _swap(symbol: str, share: float, value: float, tick: float, lot: float) -> Market:
    return Market(
        f"{symbol}USDT", coin(symbol), "USDT", share, 0.00003, value, 60, round(tick * E8), round(lot * E8)
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

INTERVALS: dict[str, Interval] = {
    **{f"{n}m": Interval(n * MINUTE) for n in (1, 3, 5, 15, 30)},
    **{f"{n}h": Interval(n * HOUR) for n in (1, 2, 4, 6, 8, 12)},
    **{f"{n}d": Interval(n * DAY) for n in (1, 3)},
    "1w": Interval(7 * DAY, shift=MONDAY),
    "1M": Interval(months=1),
}
