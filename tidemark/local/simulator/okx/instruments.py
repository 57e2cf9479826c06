"""What OKX trades: five perpetual swaps, what else it may show beside them, and the intervals of its candles.

Contains: the tables.
Does not contain: prices (``market``), the rows of its list (``listing``).
"""

from __future__ import annotations

from collections.abc import Set

from tidemark.local.simulator.market.instruments import E8, Market, coin
from tidemark.local.simulator.market.intervals import DAY, HOUR, MINUTE, MONDAY, Interval
from tidemark.local.simulator.oddities import Oddity

_EAST = -8 * HOUR  # a day begins at 00:00 UTC+8, which is 16:00 UTC the day before


def _swap(symbol: str, share: float, value: float, tick: float, contract: float) -> Market:
    return _contract(f"{symbol}-USDT-SWAP", symbol, share, value, tick, contract)


def _contract(code: str, symbol: str, share: float, value: float, tick: float, contract: float, **more: bool) -> Market:
    """``contract``: its size in coins; orders go by hundredths of it."""
    lot, quote = round(contract * E8) // 100, code.split("-")[1].partition("_")[0]
    return Market(code, coin(symbol), quote, share, 0.00004, value, 60, round(tick * E8), lot, **more)


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


_ASIDE: dict[Oddity, tuple[Market, ...]] = {
    Oddity.OKX_MORE_CONTRACTS: (
        _contract("ETH-USD_UM_XPERP-310404", "ETH", 0.02, 600.0, 0.01, 0.1, aside=True),
        _contract("BTC-USD_UM-311226", "BTC", 0.02, 900.0, 0.1, 0.01, aside=True),
        _contract("TSLA-USDT-SWAP", "TSLA", 0.01, 300.0, 0.01, 1, aside=True),
    ),
    Oddity.OKX_CALL_AUCTION: (_contract("SLX-USDT-SWAP", "SLX", 0.01, 300.0, 0.0001, 10, aside=True, auction=True),),
}
_EVERY = {**SWAPS, **{market.code: market for markets in _ASIDE.values() for market in markets}}


def markets(shown: Set[Oddity]) -> dict[str, Market]:
    """What trades or is about to, by its code: the usual swaps, and those that an oddity adds."""
    added = (market for oddity, found in _ASIDE.items() if oddity in shown for market in found)
    return {**SWAPS, **{market.code: market for market in added}}


def named(code: str) -> Market:
    """The market of this code, whether it is shown or not; KeyError when there is none."""
    return _EVERY[code]


def kind_of(code: str) -> str:
    """OKX's type of a contract: X-Perps are futures, by their name and in the list."""
    return "SWAP" if code.endswith("-SWAP") else "FUTURES"


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
