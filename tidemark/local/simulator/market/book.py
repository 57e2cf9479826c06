"""The order book around the hidden price.

Lives here: a full book for any market and time, by seed. Doesn't: how it is spelled.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple
from zlib import crc32

from tidemark.local.simulator.market.instruments import E8, Market, tick_size

LEVELS = 30


class Book(NamedTuple):
    """A book at ``ms``: (price, size) in 1e-8, best first; a thin side is filled up with zeros."""

    ms: int
    asks: list[tuple[int, int]]
    bids: list[tuple[int, int]]


def make_book(market: Market, mid: float, ms: int, seed: int) -> Book:
    """The 30-level book around ``mid`` (1e-8 of the quote currency) at Unix ``ms``."""
    rng = Random((seed << 64) ^ (crc32(market.code.encode()) << 48) ^ ms)
    tick = tick_size(market.quote, mid)
    half = max(tick * 0.5, mid * market.spread * 0.5)
    best_bid = max(int((mid - half) / tick + 0.5), 1) * tick
    best_ask = max(int((mid + half) / tick + 0.5) * tick, best_bid + tick)
    usual = market.value * E8 * E8 / mid
    sparse = 1 if market.share > 0.02 else 3
    return Book(
        ms,
        _side(rng, best_ask, tick, market.depth, usual, sparse),
        _side(rng, best_bid, -tick, market.depth, usual, sparse),
    )


def group(book: Book, step: int) -> Book:
    """The book with its prices grouped by ``step`` (1e-8): asks rounded up, bids down, sizes added."""
    asks = _grouped(book.asks, lambda price: -(-price // step) * step)
    bids = _grouped(book.bids, lambda price: price // step * step)
    return Book(book.ms, asks, bids)


def _side(rng: Random, best: int, step: int, depth: int, usual: float, sparse: int) -> list[tuple[int, int]]:
    levels: list[tuple[int, int]] = []
    price = best
    random = rng.random
    for i in range(depth):
        if price <= 0:
            break
        levels.append((price, int(usual * (0.05 + random() * random() * (3 + 0.4 * i))) + 1))
        price += step * (1 + int(random() * sparse))
    return levels + [(0, 0)] * (LEVELS - len(levels))


def _grouped(levels: list[tuple[int, int]], rounded: Callable[[int], int]) -> list[tuple[int, int]]:
    sums: dict[int, int] = {}
    for price, size in levels:
        if price:
            sums[rounded(price)] = sums.get(rounded(price), 0) + size
    found = list(sums.items())
    return found + [(0, 0)] * (LEVELS - len(found))
