"""Numbered changes of a book.

Contains: one stream of changes of one market: what changed since the last event, and its numbers.
Does not contain: what the book is (``market.ladder``), how a change is spelled (each exchange's ``frames``).

Numbers are times: each 100 ms own 64 of them. An event names the numbers of its first and last change, and the
last number of the event before it. Whoever is shown the book in between gets a number of the event to come, so
that event builds on it; every level that was shown other than before is part of that event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from tidemark.local.simulator.market.ladder import Levels

_PER_SLOT = 64
_SLOT_MS = 100
_EVENT = 40  # the number, within its slot, with which an event ends
_WHOLE = -1  # what comes before a whole book
_SHOWN = 8  # the number that the book has within a slot without an event


class DepthUpdate(NamedTuple):
    """Changed levels (price to size, 1e-8; 0: gone) at ``ms``, their numbers, and the best levels after them."""

    ms: int
    first: int
    last: int
    previous: int
    asks: dict[int, int]
    bids: dict[int, int]
    best_ask: tuple[int, int]
    best_bid: tuple[int, int]


class DepthFeed:
    """One stream's chain of events; it begins with the book at ``start_ms``."""

    def __init__(self, start_ms: int, book_at: Callable[[int], Levels]) -> None:
        """``book_at``: the book at some Unix ms."""
        self._last = _slot(start_ms) + _EVENT
        self._last_ms = start_ms
        self._book_at = book_at
        self._known: Levels | None = None  # the book after the last event
        self._first = 0
        self._beat_ms = 0
        self._shown_asks: set[int] = set()  # prices at which it was shown other than after the last event
        self._shown_bids: set[int] = set()

    def number(self, now_ms: int) -> int:
        """The number that the book has at ``now_ms``: beyond the last event's, within the next one's."""
        return max(_slot(now_ms) + _SHOWN, self._last + 1)

    def show(self, number: int, book: Levels) -> None:
        """The book was shown with this number, so the next event begins no later."""
        before = self._before()
        self._first = min(self._first or number, number)
        self._shown_asks |= _changes(before.asks, book.asks).keys()
        self._shown_bids |= _changes(before.bids, book.bids).keys()

    def whole(self) -> DepthUpdate:
        """The book after the last event, as that event's whole outcome: the next event follows its number."""
        book = self._before()
        return DepthUpdate(book.ms, 0, self._last, _WHOLE, book.asks, book.bids, best(book.asks), best(book.bids))

    def heartbeat(self, now_ms: int, every_ms: int) -> DepthUpdate | None:
        """An event without changes that has the last one's number, when that is so long ago."""
        book = self._before()
        if now_ms - max(book.ms, self._beat_ms) < every_ms:
            return None
        self._beat_ms = now_ms
        return DepthUpdate(now_ms, self._last, self._last, self._last, {}, {}, best(book.asks), best(book.bids))

    def update(self, book: Levels) -> DepthUpdate | None:
        """The event that leads to ``book``; None when nothing has changed."""
        before, last = self._before(), _slot(book.ms) + _EVENT
        asks = _changes(before.asks, book.asks, self._shown_asks)
        bids = _changes(before.bids, book.bids, self._shown_bids)
        if last <= self._last or not (asks or bids or self._first):
            return None
        first = self._first or min(self._last + 3, last)
        told = DepthUpdate(book.ms, first, last, self._last, asks, bids, best(book.asks), best(book.bids))
        self._known, self._last, self._first = book, last, 0
        self._shown_asks, self._shown_bids = set(), set()
        return told

    def _before(self) -> Levels:
        if self._known is None:
            self._known = self._book_at(self._last_ms)
        return self._known


def _changes(before: dict[int, int], after: dict[int, int], shown: Iterable[int] = ()) -> dict[int, int]:
    """Every level that isn't what it was before, and those ``shown`` in between; 0 for one that is gone."""
    changed = {price: size for price, size in after.items() if before.get(price) != size}
    changed.update((price, 0) for price in before if price not in after)
    changed.update((price, after.get(price, 0)) for price in shown)
    return changed


def best(side: dict[int, int]) -> tuple[int, int]:
    """The best level of a side (price and size), or zeros."""
    return next(iter(side.items()), (0, 0))


def number_at(ms: int) -> int:
    """A number that falls between those of the events before and after Unix ``ms``; trades of one slot share it."""
    return _slot(ms)


def _slot(ms: int) -> int:
    return ms // _SLOT_MS * _PER_SLOT
