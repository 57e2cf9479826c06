"""Which coins and markets exist, how busy each one is, and the price steps.

Contains: the tables. A share has a hidden price as a coin has.
Does not contain: prices as they move (``prices``) and trades (``tape``).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

E8 = 10**8
E16 = 10**16


@dataclass(frozen=True, slots=True)
class Coin:
    """A coin with a hidden price: dollars, except for USDT, whose price is in won."""

    symbol: str
    english: str
    korean: str
    price: float
    daily_volatility: float
    common: float  # the share of its daily move that the whole market makes


@dataclass(frozen=True, slots=True)
class Market:
    """A pair; ``code`` is spelled quote first, as in KRW-BTC.

    ``share`` is its part of all trades, ``spread`` the relative gap between best bid and ask, ``value`` the
    median value of one trade in the quote currency, ``depth`` how many book levels a side really has. Where
    ``tick`` is given (1e-8), prices always go by it, and sizes by ``lot`` (1e-8 of the base currency). A price is that
    of ``units`` coins. A market that stands ``aside`` is listed beside the usual ones: nobody is waited for to listen
    to it. In its call ``auction`` a market has a book and no trades.
    """

    code: str
    coin: Coin
    quote: str
    share: float
    spread: float
    value: float
    depth: int
    tick: int = 0
    lot: int = 1
    units: int = 1
    aside: bool = False
    auction: bool = False

    @property
    def is_swap(self) -> bool:
        """Whether it is a perpetual swap: these come with a step of their own."""
        return self.tick > 0

    def step(self, price: float) -> int:
        """The price step that holds at ``price``; both in 1e-8 of the quote currency."""
        return self.tick or tick_size(self.quote, price)


_COINS = {
    coin.symbol: coin
    for coin in (
        Coin("USDT", "Tether", "테더", 1452.0, 0.004, 0.0),
        Coin("BTC", "Bitcoin", "비트코인", 71_400.0, 0.022, 0.9),
        Coin("ETH", "Ethereum", "이더리움", 2_120.0, 0.030, 0.85),
        Coin("XRP", "XRP", "엑스알피(리플)", 1.42, 0.034, 0.75),
        Coin("SOL", "Solana", "솔라나", 88.0, 0.038, 0.8),
        Coin("DOGE", "Dogecoin", "도지코인", 0.098, 0.042, 0.7),
        Coin("ADA", "Ada", "에이다", 0.274, 0.038, 0.75),
        Coin("AVAX", "Avalanche", "아발란체", 9.6, 0.040, 0.75),
        Coin("LINK", "Chainlink", "체인링크", 9.1, 0.038, 0.75),
        Coin("SUI", "Sui", "수이", 0.97, 0.048, 0.7),
        Coin("SHIB", "Shiba Inu", "시바이누", 0.00000602, 0.045, 0.65),
        Coin("STEEM", "Steem", "스팀", 0.061, 0.040, 0.5),
        Coin("ARDR", "Ardor", "아더", 0.052, 0.045, 0.4),
        Coin("TSLA", "Tesla", "테슬라", 412.0, 0.022, 0.3),
        Coin("SLX", "Solstice", "솔스티스", 0.84, 0.060, 0.5),
    )
}


def _market(code: str, share: float, spread: float, value: float, depth: int = 30) -> Market:
    quote, symbol = code.split("-")
    return Market(code, _COINS[symbol], quote, share, spread, value, depth)


MARKETS: dict[str, Market] = {
    market.code: market
    for market in (
        _market("KRW-BTC", 0.240, 0.00008, 90_000),
        _market("KRW-ETH", 0.142, 0.0002, 80_000),
        _market("KRW-XRP", 0.170, 0.0004, 70_000),
        _market("KRW-SOL", 0.080, 0.0004, 70_000),
        _market("KRW-DOGE", 0.090, 0.0005, 60_000),
        _market("KRW-ADA", 0.050, 0.0006, 60_000),
        _market("KRW-AVAX", 0.025, 0.0009, 60_000),
        _market("KRW-LINK", 0.025, 0.0009, 60_000),
        _market("KRW-SUI", 0.042, 0.0008, 60_000),
        _market("KRW-SHIB", 0.032, 0.0010, 50_000),
        _market("KRW-USDT", 0.062, 0.0006, 120_000),
        _market("KRW-STEEM", 0.0060, 0.003, 40_000),
        _market("KRW-ARDR", 0.0030, 0.004, 40_000, 24),
        _market("BTC-ETH", 0.0060, 0.0012, 0.0008),
        _market("BTC-XRP", 0.0030, 0.0020, 0.0006, 22),
        _market("BTC-ARDR", 0.0004, 0.02, 0.0003, 13),
        _market("USDT-BTC", 0.0120, 0.0004, 60.0),
        _market("USDT-ETH", 0.0080, 0.0006, 60.0),
        _market("USDT-XRP", 0.0060, 0.0010, 50.0),
        _market("USDT-SOL", 0.0008, 0.004, 40.0, 17),
    )
}


#: What a coin costs in won over what it costs in dollars, beside the rate between the two; it moves slowly.
PREMIUM = Coin("PREMIUM", "premium", "프리미엄", 1.012, 0.002, 0.0)


def coin(symbol: str) -> Coin:
    """The coin named ``symbol``; KeyError when there is none."""
    return _COINS[symbol]


def _steps(table: str) -> tuple[list[int], list[int]]:
    rows = [(float(low), float(tick)) for low, tick in (row.split(":") for row in table.split())]
    return [round(low * E8) for low, _ in rows], [round(tick * E8) for _, tick in rows]


# From this price on: this step. Each divides all larger ones, so the larger holds on both sides of a border.
_TICKS = {
    "KRW": _steps(
        "0:1e-6 0.001:1e-5 0.01:1e-4 0.1:0.001 1:0.01 10:0.1 100:1 5000:5 10000:10 50000:50"
        " 100000:100 500000:500 1000000:1000"
    ),
    "BTC": _steps("0:1e-8"),
    "USDT": _steps("0:1e-8 0.0001:1e-7 0.001:1e-6 0.01:1e-5 0.1:1e-4 1:0.001 10:0.01"),
}


def tick_size(quote: str, price: float) -> int:
    """The price step that holds at ``price``; both in 1e-8 of the quote currency."""
    lows, ticks = _TICKS[quote]
    return ticks[bisect_right(lows, price) - 1]
