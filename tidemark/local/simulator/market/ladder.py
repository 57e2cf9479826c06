"""The order book of a swap, level by level.

Lives here: which levels stand at any time, and their sizes, by seed. Doesn't: changes between two times and
their numbers (``binance.depth``), the spot markets' books (``book``).

Orders stand on rungs, prices that never change. What stands on one stays for seconds to minutes, each rung in its
own rhythm, so that a book a moment later is the same but for a few levels.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple
from zlib import crc32

from tidemark.local.simulator.market.instruments import E8, Market
from tidemark.local.simulator.market.prices import HiddenPrices

LEVELS = 60
_RUNG = 0.00008  # the distance of two rungs, relative to the coin's usual price
_MASK = 0xFFFFFFFF


class Levels(NamedTuple):
    """A book at ``ms``: price to size, both in 1e-8, best price first."""

    ms: int
    asks: dict[int, int]
    bids: dict[int, int]


class Ladder:
    """Books of swaps; asking changes nothing."""

    def __init__(self, seed: int, prices: HiddenPrices) -> None:
        self._seed = seed
        self._prices = prices

    def at(self, market: Market, ms: int) -> Levels:
        """The book at Unix ``ms``."""
        mid = self._prices.mid_at(market, ms)
        half = max(market.tick * 0.5, mid * market.spread * 0.5)
        step = _rung(market)
        asks = self._side(market, ms, int((mid + half) // step), 1, mid + half)
        bids = self._side(market, ms, int((mid - half) // step), -1, mid - half)
        return Levels(ms, dict(asks), dict(bids))

    def _side(self, market: Market, ms: int, rung: int, direction: int, edge: float) -> Iterator[tuple[int, int]]:
        """Levels from ``edge`` on, away from the middle."""
        salt = crc32(f"{self._seed}/{market.code}".encode())
        usual = market.value * E8 / edge * E8 / market.lot * 4
        step = _rung(market)
        for _ in range(LEVELS):
            price, period, phase = _place(market.tick, step, rung, salt)
            drawn = _mixed(rung ^ salt, (ms + phase) // period)
            if drawn & 7 and (price - edge) * direction >= 0 and price > 0:  # one in eight rungs is empty
                share = (drawn >> 8 & 0xFFFF) / 65_536
                yield price, (int(usual * (0.05 + 3 * share * share)) + 1) * market.lot
            rung += direction


def _rung(market: Market) -> int:
    return market.tick * max(1, round(market.coin.price * market.units * E8 * _RUNG / market.tick))


@lru_cache(maxsize=65_536)
def _place(tick: int, step: int, rung: int, salt: int) -> tuple[int, int, int]:
    """A rung's price, how long its orders stand (ms), and where in that rhythm it begins."""
    drawn = _mixed(rung ^ salt, 0)
    return rung * step + drawn % (step // tick) * tick, 2_000 + (drawn >> 8) % 90_000, (drawn >> 4) % 60_000


def _mixed(a: int, b: int) -> int:
    """32 bits that look random."""
    x = (a * 0x9E3779B1 + b * 0x85EBCA77) & _MASK
    x = (x ^ x >> 15) * 0x2C1B3C6D & _MASK
    x = (x ^ x >> 12) * 0x297A2D39 & _MASK
    return x ^ x >> 15
