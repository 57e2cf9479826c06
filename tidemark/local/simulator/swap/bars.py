"""Bars as they grow, until they are closed.

Lives here: the running bar of every market, for one interval. Doesn't: bars of the past (``market.bars``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tidemark.local.simulator.market.bars import flat
from tidemark.local.simulator.market.candles import Candle, merged, single
from tidemark.local.simulator.market.instruments import Market
from tidemark.local.simulator.market.intervals import Interval
from tidemark.local.simulator.market.tape import Trade

SETTLED_MS = 500  # so long after its end a bar is closed: all its trades are on the wire


class Bar(NamedTuple):
    """A bar as told: its interval's end (Unix s), and whether it is closed."""

    candle: Candle
    end: int
    closed: bool


class _Running:
    """The earliest bar that isn't closed, and those after it in which trades have come in already."""

    __slots__ = ("close", "end", "rows", "start", "told")

    def __init__(self, start: int, end: int, bar: Candle | None) -> None:
        self.start, self.end = start, end
        self.close = bar.close if bar else 0
        self.rows = {start: bar} if bar and bar.fills else {}
        self.told = self.rows.get(start)


class GrowingBars:
    """Bars of one interval; fed with trades in order of their ids."""

    def __init__(self, interval: Interval, latest: Iterable[tuple[Market, Candle | None]], now_ms: int) -> None:
        """``latest``: each market's running bar so far (flat when nothing has traded in it)."""
        self.interval = interval
        start = interval.begin(now_ms // 1000)
        self._running = {market.code: _Running(start, interval.end(start), bar) for market, bar in latest}

    def apply(self, code: str, trade: Trade) -> None:
        """Take a trade in; one of a bar that was closed before this interval was asked for is none of its own."""
        running, part = self._running[code], single(trade)
        start = self.interval.begin(part.start)
        if start >= running.start:
            before = running.rows.get(start)
            running.rows[start] = merged(start, (before, part)) if before else part._replace(start=start)

    def latest(self, code: str) -> Bar:
        """The running bar."""
        running = self._running[code]
        return Bar(running.rows.get(running.start) or flat(running.start, running.close), running.end, False)

    def changed(self, code: str, now_ms: int) -> list[Bar]:
        """Bars that were closed or changed since the last call, oldest first."""
        running, told = self._running[code], []
        while running.end * 1000 + SETTLED_MS <= now_ms:
            told.append(self.latest(code)._replace(closed=True))
            self._close(running)
        bar = running.rows.get(running.start)
        if bar is not running.told:
            told.append(self.latest(code))
            running.told = bar
        return told

    def _close(self, running: _Running) -> None:
        bar = running.rows.pop(running.start, None)
        running.close = bar.close if bar else running.close
        running.start, running.end = running.end, self.interval.end(running.end)
        running.told = None
