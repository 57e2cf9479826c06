"""What exchanges send today, made up from a seed: frames of every exchange and dataset.

Contains: ``FEEDS``, what is measured by name. The frames are in ``upbit``, ``okx`` and ``binance``, the prices behind
them in ``markets``. Does not contain: frames of a recording, sending (``broker``). Only Python's own library is used,
because the yardsticks run in another environment.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from tests.bench.feeds import binance, okx, upbit

_Frames = Callable[..., Iterator[tuple[str, bytes]]]


@dataclass(frozen=True)
class Feed:
    """Frames of one exchange and dataset. ``weight`` is how much larger than a trade a frame is, roughly."""

    name: str
    exchange: str
    dataset: str
    make: _Frames
    weight: int = 1

    def frames(self, count: int, *, more: bool = False, seed: int = 1) -> Iterator[tuple[str, bytes]]:
        """Code and frame of ``count`` frames; with ``more`` each has a text or number and an object that are new."""
        return self.make(random.Random(seed), count, more=more)


def _upbit(dataset: str, make: _Frames, weight: int = 1) -> Iterator[Feed]:
    for name, short in (("DEFAULT", False), ("SIMPLE", True)):
        yield Feed(f"upbit {dataset}, {name}", "upbit", dataset, partial(make, short=short), weight)


def _all() -> Iterator[Feed]:
    yield from _upbit("trade", upbit.trades)
    yield from _upbit("ticker", upbit.tickers, 2)
    yield from _upbit("orderbook", upbit.books, 6)
    yield from _upbit("candle", upbit.candles)
    yield Feed("okx trade", "okx", "trade", partial(okx.trades, several=False))
    yield Feed("okx trade, several a frame", "okx", "trade", partial(okx.trades, several=True))
    yield Feed("okx ticker", "okx", "ticker", okx.tickers)
    yield Feed("okx candle", "okx", "candle", okx.candles)
    yield Feed("okx depth", "okx", "depth", okx.changes, 2)
    for name, wrapped in (("binance trade", True), ("binance trade, bare", False)):
        yield Feed(name, "binance", "trade", partial(binance.trades, wrapped=wrapped))
    yield Feed("binance ticker", "binance", "ticker", partial(binance.tickers, wrapped=True))
    yield Feed("binance candle", "binance", "candle", partial(binance.candles, wrapped=True))
    yield Feed("binance depth", "binance", "depth", partial(binance.changes, wrapped=True), 2)


#: By name, in the order of the table.
FEEDS: Final[dict[str, Feed]] = {feed.name: feed for feed in _all()}
