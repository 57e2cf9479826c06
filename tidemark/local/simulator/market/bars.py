"""Bars of any interval, where an interval without trades has a bar as well.

Lives here: rolling the history up to any interval, flat bars in the silent ones. Doesn't: the history
(``candles``), bars as they grow (``swap.bars``).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from tidemark.local.simulator.market.candles import Candle, History, merged
from tidemark.local.simulator.market.instruments import Market
from tidemark.local.simulator.market.intervals import DAY, Interval


def flat(start: int, close: int) -> Candle:
    """The bar of an interval without trades."""
    return Candle(start, close, close, close, close, 0, 0, start * 1000)


def bars(
    history: History, market: Market, interval: Interval, now_ms: int, before: int | None = None
) -> Iterator[Candle]:
    """Bars that begin before Unix second ``before``, newest first, from the one that runs now; none is left out.

    The oldest that is known in part only is left out.
    """
    running = interval.begin(now_ms // 1000)
    expected = running if before is None else min(running, interval.begin(before - 1))
    for bar in _traded(history, market, interval, interval.end(expected)):
        while expected > bar.start:
            yield flat(expected, bar.close)
            expected = _before(interval, expected)
        yield bar
        expected = _before(interval, expected)


def _traded(history: History, market: Market, interval: Interval, end: int) -> Iterator[Candle]:
    base = interval.base()
    oldest = history.days_from if interval.end(0) - interval.begin(0) >= DAY else history.begin(base)
    parts = history.newest(market, base, end, oldest)
    for start, group in groupby(parts, lambda candle: interval.begin(candle.start)):
        if start >= oldest:
            yield merged(start, list(group)[::-1])


def _before(interval: Interval, begin: int) -> int:
    return interval.begin(begin - 1)
