"""Markets with prices that move, and numbers as integers of 1e-8 so that no float rounds one.

Contains: the coins, ``Market``, ``walk`` and the plain spelling. Does not contain: how an exchange names a market or
spells a frame (``upbit``, ``okx``, ``binance``).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

E8: Final = 10**8
#: When the first frame was sent, Unix milliseconds.
START_MS: Final = 1_795_910_400_000
#: Dollars a coin, from the largest price to one of eight decimals: sizes are long where prices are short.
_DOLLARS: Final = {
    "BTC": 91467.1, "ETH": 3104.55, "BNB": 872.4, "BCH": 541.2, "AAVE": 187.31, "SOL": 138.72, "LTC": 84.31,
    "AVAX": 14.62, "LINK": 13.27, "ETC": 13.9, "UNI": 6.11, "APT": 2.41, "DOT": 2.29, "ATOM": 2.51, "NEAR": 1.88,
    "FIL": 1.61, "SUI": 1.52, "XRP": 2.2041, "ICP": 3.92, "ORDI": 4.08, "CRV": 0.4127, "ADA": 0.4312, "OP": 0.3144,
    "WLD": 0.6231, "ALGO": 0.1402, "DOGE": 0.15012, "TRX": 0.27915, "ARB": 0.21066, "XLM": 0.25131, "HBAR": 0.14422,
    "MANA": 0.15831, "GALA": 0.0072143, "CHZ": 0.030412, "CFX": 0.074213, "FLOW": 0.2117, "GRT": 0.041302,
    "TURBO": 0.0018213, "MEME": 0.0011841, "BONK": 0.0000097123, "SHIB": 0.0000085214, "PEPE": 0.0000045617,
    "SATS": 0.0000000161,
}  # fmt: skip
COINS: Final = tuple(_DOLLARS)


@dataclass
class Market:
    """A market at one moment; price, step and size are integers of 1e-8, ``size`` a usual trade."""

    code: str
    base: str
    price: int
    step: int
    size: int


def markets(codes: Sequence[tuple[str, str]], rate: float, digits: int = 5) -> list[Market]:
    """Markets of (code, coin) whose prices are ``rate`` times the coin's dollars, with ``digits`` digits."""
    found = []
    for code, base in codes:
        price = max(int(_DOLLARS[base] * rate * E8), 1_000)
        step = 10 ** max(len(str(price)) - digits, 0)
        found.append(Market(code, base, price // step * step, step, int(400 / _DOLLARS[base] * E8)))
    return found


def walk(dice: random.Random, market: Market) -> int:
    """Move the price by some steps; the new price."""
    market.price = max(market.price + dice.randint(-3, 3) * market.step, market.step)
    return market.price


def size(dice: random.Random, market: Market, decimals: int = 8) -> int:
    """A size: mostly small, at times a hundred times the usual; never zero."""
    step = 10 ** (8 - decimals)
    return max(int(market.size * dice.expovariate(1.0) ** 2) // step * step, step)


def plain(value: int) -> str:
    """Without needless zeros: ``0.0009``, ``12``."""
    whole, part = divmod(abs(value), E8)
    sign = "-" if value < 0 else ""
    return f"{sign}{whole}.{part:08d}".rstrip("0") if part else f"{sign}{whole}"


def fixed(value: int, decimals: int = 8) -> str:
    """With so many decimals: ``0.00090000``; more digits than that are cut."""
    whole, part = divmod(abs(value), E8)
    sign = "-" if value < 0 else ""
    return f"{sign}{whole}.{f'{part:08d}'[:decimals]}" if decimals else f"{sign}{whole}"
