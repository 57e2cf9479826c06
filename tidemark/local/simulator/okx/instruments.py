"""What OKX lists: five perpetual swaps, and the intervals of its candles.

Lives here: the tables. Doesn't: prices (``market``).
"""

from __future__ import annotations

from tidemark.local.simulator.market.instruments import E8, Market, coin
from tidemark.local.simulator.market.intervals import DAY, HOUR, MINUTE, MONDAY, Interval

_EAST = -8 * HOUR  # a day begins at 00:00 UTC+8, which is 16:00 UTC the day before


def _swap(symbol: str, share: float, value: float, tick: float, contract: float) -> Market:
    """``contract``: its size in coins; orders go by hundredths of it."""
    lot = round(contract * E8) // 100
    return Market(f"{symbol}-USDT-SWAP", coin(symbol), "USDT", share, 0.00004, value, 60, round(tick * E8), lot)


SWAPS: dict[str, Market] = {
    market.code: market
    for market in (
        _swap("BTC", 0.34, 900.0, 0.1, 0.01),
        _swap("ETH", 0.26, 600.0, 0.01, 0.1),
        _swap("XRP", 0.13, 400.0, 0.0001, 100),
        _swap("SOL", 0.15, 400.0, 0.01, 1),
        _swap("DOGE", 0.12, 300.0, 0.00001, 1000),
    )
}


def contract(market: Market) -> int:
    """The size of one contract, in 1e-8 coins."""
    return market.lot * 100


INTERVALS: dict[str, Interval] = {
    "1s": Interval(1),
    **{f"{n}m": Interval(n * MINUTE) for n in (1, 3, 5, 15, 30)},
    **{f"{n}H": Interval(n * HOUR) for n in (1, 2, 4)},
    **{f"{n}H": Interval(n * HOUR, shift=_EAST) for n in (6, 12)},
    **{f"{n}D": Interval(n * DAY, shift=_EAST) for n in (1, 2, 3, 5)},
    "1W": Interval(7 * DAY, shift=MONDAY + _EAST),
    **{f"{n}M": Interval(months=n, shift=_EAST) for n in (1, 3)},
    **{f"{n}Hutc": Interval(n * HOUR) for n in (6, 12)},
    **{f"{n}Dutc": Interval(n * DAY) for n in (1, 2, 3, 5)},
    "1Wutc": Interval(7 * DAY, shift=MONDAY),
    **{f"{n}Mutc": Interval(months=n) for n in (1, 3)},
}
