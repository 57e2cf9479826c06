"""A market's book built from numbered changes: exact, pure, and it knows when a change is missing.

Lives here: the levels (:class:`Book`) and the two ways in which exchanges number changes (:class:`SpannedBook`: spans
of numbers, and a snapshot that has to be asked for; :class:`LinkedBook`: links to the change before, and snapshots
that come by themselves). Doesn't: messages (``<exchange>/frames`` makes the rows of the dataset ``depth`` that are
taken here), asking for snapshots (``streaming.producer``), records (``book_records``).

Levels deeper than the snapshot reached are not known in full, and are left out.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from enum import StrEnum
from typing import Any, Final, Protocol

from tidemark.exchanges.base import DepthNumbers, Row
from tidemark.exchanges.renumbering import Behind, Numbers

Level = tuple[Decimal, Decimal]

#: Any sum of sizes is exact in it.
_WIDE: Final = Context(prec=100, rounding=ROUND_HALF_UP)
_PRICE_STEP: Final = Decimal(1).scaleb(-12)
_RATIO_STEP: Final = Decimal(1).scaleb(-6)
#: So many changes that are not older than a snapshot, and not beyond it by number, were not counted with it.
_NOT_OLDER: Final = 3


class Outcome(StrEnum):
    """What became of a row."""

    APPLIED = "applied"
    #: It says nothing that isn't in the book already.
    STALE = "stale"
    #: There is no book to apply it to yet: a snapshot is needed.
    WAITING = "waiting"
    #: Changes before it are missing, so the book is gone: a snapshot is needed.
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome; where changes are missing, the first and last of their numbers (None: they can't be told)."""

    outcome: Outcome
    missing: tuple[int, int] | None = None
    reason: str = ""
    #: Nothing is missing between two numbers: the exchange has begun to count again.
    restarted: bool = False


_APPLIED: Final = Verdict(Outcome.APPLIED)
_STALE: Final = Verdict(Outcome.STALE)
_WAITING: Final = Verdict(Outcome.WAITING)


class Side:
    """The levels of one side: prices in order, lowest first, and the size at each."""

    __slots__ = ("_asks", "edge", "prices", "sizes")

    def __init__(self, *, asks: bool) -> None:
        self._asks = asks
        self.prices: list[Decimal] = []
        self.sizes: dict[Decimal, Decimal] = {}
        #: The deepest price that is known; None: all are.
        self.edge: Decimal | None = None

    def __len__(self) -> int:
        return len(self.prices)

    def replace(self, prices: Sequence[Decimal], sizes: Sequence[Decimal], most: int | None) -> None:
        """Begin anew; a side of ``most`` levels was cut off there."""
        self.sizes = {price: size for price, size in zip(prices, sizes, strict=True) if size}
        self.prices = sorted(self.sizes)
        cut = most is not None and len(prices) >= most and bool(self.prices)
        self.edge = (self.prices[-1] if self._asks else self.prices[0]) if cut else None

    def change(self, prices: Sequence[Decimal], sizes: Sequence[Decimal]) -> None:
        """Put sizes at prices; 0 removes a level, and removing one that isn't there is in order."""
        held, ordered, edge, asks = self.sizes, self.prices, self.edge, self._asks
        for price, size in zip(prices, sizes, strict=True):
            if size:
                if price not in held:
                    if edge is not None and (price > edge if asks else price < edge):
                        continue
                    insort(ordered, price)
                held[price] = size
            elif held.pop(price, None) is not None:
                del ordered[bisect_left(ordered, price)]

    def top(self, count: int) -> list[Level]:
        """The best levels, best first."""
        best = self.prices[:count] if self._asks else self.prices[: -count - 1 : -1]
        return [(price, self.sizes[price]) for price in best]

    @property
    def best(self) -> Level | None:
        """The best level; None: the side is empty."""
        if not self.prices:
            return None
        price = self.prices[0 if self._asks else -1]
        return price, self.sizes[price]


class Book:
    """A book at the moment ``changed_at`` (the exchange's clock, UTC), after the change ``update_id``."""

    def __init__(self) -> None:
        self.asks = Side(asks=True)
        self.bids = Side(asks=False)
        self.update_id: int | None = None
        self.changed_at: datetime | None = None

    def replace(self, row: Row, most: int | None = None) -> None:
        """Begin anew with a snapshot, which an exchange cuts off at ``most`` levels a side (None: it doesn't)."""
        self.asks.replace(*_levels(row, "ask"), most)
        self.bids.replace(*_levels(row, "bid"), most)
        self._mark(row)

    def change(self, row: Row) -> None:
        """Apply a change. Whether it is the next one isn't asked here."""
        self.asks.change(*_levels(row, "ask"))
        self.bids.change(*_levels(row, "bid"))
        self._mark(row)

    def is_thin(self, count: int) -> bool:
        """Whether the market has moved so far that fewer than ``count`` levels of a side are known."""
        return any(side.edge is not None and len(side) < count for side in (self.asks, self.bids))

    @property
    def is_crossed(self) -> bool:
        """Whether someone bids what another asks: a book in order never shows that."""
        ask, bid = self.asks.best, self.bids.best
        return ask is not None and bid is not None and bid[0] >= ask[0]

    @property
    def spread(self) -> Decimal | None:
        """Lowest ask less highest bid."""
        ask, bid = self.asks.best, self.bids.best
        return None if ask is None or bid is None else _WIDE.subtract(ask[0], bid[0])

    @property
    def weighted_mid(self) -> Decimal | None:
        """Middle weighted by the size on the other side, rounded to 12 decimals: nearer the side that is thin."""
        ask, bid = self.asks.best, self.bids.best
        if ask is None or bid is None:
            return None
        weighted = _WIDE.add(_WIDE.multiply(bid[0], ask[1]), _WIDE.multiply(ask[0], bid[1]))
        return _WIDE.quantize(_WIDE.divide(weighted, _WIDE.add(ask[1], bid[1])), _PRICE_STEP)

    def total_sizes(self, count: int) -> tuple[Decimal, Decimal]:
        """Sum of the sizes of the best ``count`` asks, and of the bids."""
        return total(self.asks.top(count)), total(self.bids.top(count))

    def imbalance(self, count: int) -> Decimal | None:
        """(bids less asks) over their sum within the best ``count`` levels, rounded to 6 decimals; None: no levels."""
        asks, bids = self.total_sizes(count)
        whole = _WIDE.add(asks, bids)
        return _WIDE.quantize(_WIDE.divide(_WIDE.subtract(bids, asks), whole), _RATIO_STEP) if whole else None

    def _mark(self, row: Row) -> None:
        self.update_id = _number(row, "last_update_id")
        self.changed_at = _moment(row)


def total(levels: Sequence[Level]) -> Decimal:
    """The exact sum of the levels' sizes."""
    found = Decimal(0)
    for _, size in levels:
        found = _WIDE.add(found, size)
    return found


def impossible_level(row: Row) -> str:
    """The level of a change or snapshot that can't be, in words; empty: all can (the contract's rule of ``depth``)."""
    for side in ("ask", "bid"):
        prices, sizes = _levels(row, side)
        if row[f"{side}_sizes"] is None:
            continue  # not given, or in a unit that isn't known: no level is said to be so
        if len(prices) != len(sizes):
            return f"a side of {len(prices)} {side} prices and {len(sizes)} sizes"
        if prices and (min(prices) <= 0 or min(sizes) < 0):
            price, size = next((p, s) for p, s in zip(prices, sizes, strict=True) if p <= 0 or s < 0)
            return f"a level that can't be: {side} of {size.normalize():f} at {price.normalize():f}"
    return ""


class Numbered(Protocol):
    """A book that knows which change comes next."""

    @property
    def book(self) -> Book:
        """The levels; to be read only while the book ``is_live``."""

    @property
    def is_live(self) -> bool:
        """Whether the book is the market's as of its latest change."""

    @property
    def needs_snapshot(self) -> bool:
        """Whether a snapshot has to be asked for."""

    def take(self, row: Row) -> Verdict:
        """Take the next row of the dataset ``depth`` of this market, and say what became of it."""

    def drop(self) -> None:
        """Give the book up."""

    def expect_repeats(self) -> None:
        """What comes next is of another connection, which may repeat what was taken."""


class SpannedBook:
    """Changes cover the numbers ``first_update_id`` to ``last_update_id``; each names the last of the one before.

    Changes are held back until the snapshot comes that was asked for (at most ``patience`` of them; the oldest go
    first). The first that is applied must cover the snapshot's number or follow it directly; all before it are in the
    snapshot. From then on each must follow the one before.

    A change that begins before the latest one's end and reaches beyond it is applied: it carries the sizes as they are
    after it for every level that changed within its span, so nothing is lost by what it repeats. (Two connections that
    overlap may cut the same changes into other spans.)

    Changes that follow one another behind the latest number are repeats, or the numbers were restarted (see
    ``renumbering``): then the book is given up, and those changes are the first that are held for a new snapshot. A
    snapshot whose number the changes don't reach, though they are not older, is of the numbers before, and is given up.
    """

    def __init__(self, most: int | None = None, patience: int = 1_000) -> None:
        self.book = Book()
        self._most = most
        self._held: deque[Row] = deque(maxlen=patience)
        self._heard: int | None = None
        self._behind = Behind()
        self._snapshot: int | None = None
        self._snapshot_at: datetime | None = None
        #: Changes that the snapshot holds by its number.
        self._within: deque[Row] = deque(maxlen=patience)
        self._not_older = 0
        self._linked = False

    @property
    def is_live(self) -> bool:
        """Whether the book is the market's as of its latest change."""
        return self._linked

    @property
    def needs_snapshot(self) -> bool:
        """Whether changes wait for a snapshot."""
        return self._snapshot is None

    def take(self, row: Row) -> Verdict:
        """Take a change as it comes over the stream, or a snapshot.

        A snapshot is ``stale`` when changes between it and the first one held are missing: ask for another.
        """
        if row["kind"] == "snapshot":
            return self._begin(row)
        first, last, before = (_number(row, f"{name}_update_id") for name in ("first", "last", "prev"))
        if first is None or last is None or before is None:
            self.drop()
            return Verdict(Outcome.BROKEN, None, "a change without its numbers")
        heard, numbers = self._heard, Numbers(last, before, _moment(row))
        if heard is not None and last <= heard:
            return self._restart(self._behind.rows, last, before) if self._behind.judge(row, numbers) else _STALE
        if heard is not None and self._behind.leads_to(before):
            return self._restart([*self._behind.rows, row], last, before)
        self._heard = last
        self._behind.heard(numbers)
        if heard is not None and before > heard:
            self.drop()
            self._held.append(row)
            return Verdict(Outcome.BROKEN, (heard + 1, before), _not_next(last, before, heard))
        if self._snapshot is None:
            self._held.append(row)
            return _WAITING
        return self._follow(row, first, last, before)

    def drop(self) -> None:
        """Give the book up: changes from now on are held for a new snapshot."""
        self._held.clear()
        self._within.clear()
        self._not_older = 0
        self._snapshot = None
        self._linked = False

    def expect_repeats(self) -> None:
        """What comes next is of another connection, which may repeat what was taken."""
        self._behind.expect_repeats()

    def _restart(self, rows: Sequence[Row], last: int, before: int) -> Verdict:
        """Give the book up for numbers that begin again with ``rows``."""
        reason = f"the numbers were restarted: {_not_next(last, before, self._heard)}"
        self.drop()
        self._behind.restarted()
        for row in rows:
            self._behind.heard(Numbers(_int(row, "last_update_id"), _int(row, "prev_update_id"), _moment(row)))
        self._held.extend(rows)
        self._heard = last
        return Verdict(Outcome.BROKEN, None, reason, restarted=True)

    def _begin(self, row: Row) -> Verdict:
        number = _number(row, "last_update_id")
        if number is None:
            return Verdict(Outcome.STALE, None, "a snapshot without its number")
        if self._snapshot is not None:
            return Verdict(Outcome.STALE, None, "there is a book already")
        at = _moment(row)
        latest = _moment(self._held[-1]) if self._held else None
        if self._heard is not None and number > self._heard and at is not None and latest is not None and at < latest:
            return Verdict(Outcome.STALE, None, f"snapshot {number} is of numbers before a restart: it is older")
        held = [one for one in self._held if _int(one, "last_update_id") >= number]
        if held and not _continues(number, held[0]):
            first = _int(held[0], "first_update_id")
            return Verdict(Outcome.STALE, None, f"snapshot {number} is older than change {first}, the first one held")
        self._held.clear()
        self._snapshot, self._snapshot_at = number, at
        self.book.replace(row, self._most)
        for one in held:
            self.book.change(one)
        self._linked = bool(held)
        return _APPLIED

    def _follow(self, row: Row, first: int, last: int, before: int) -> Verdict:
        if not self._linked and self._snapshot is not None:
            if last < self._snapshot:
                return self._is_within(row)
            if not first <= self._snapshot <= last and before != self._snapshot:
                self.drop()
                self._held.append(row)
                return _WAITING
            self._linked = True
        self._within.clear()
        self.book.change(row)
        return _APPLIED

    def _is_within(self, row: Row) -> Verdict:
        """A change that the snapshot holds by its number: stale, unless its time says that the snapshot can't."""
        self._within.append(row)
        at = _moment(row)
        self._not_older += at is None or self._snapshot_at is None or at >= self._snapshot_at
        if self._not_older < _NOT_OLDER and len(self._within) < (self._within.maxlen or 0):
            return _STALE
        rows = list(self._within)
        self.drop()
        self._held.extend(rows)
        return _WAITING


class LinkedBook:
    """Each change names the number before it (``prev_update_id``); a snapshot comes first on every connection.

    A change that names the book's number and has none of its own beyond it is a sign of life; one with a lower number
    of its own has reset the numbers, and nothing is missing. Changes that follow one another below the book's number
    are repeats, or the numbers were restarted without such a link (see ``renumbering``): then the book is given up.
    """

    def __init__(self) -> None:
        self.book = Book()
        self._behind = Behind()
        self._live = False

    @property
    def is_live(self) -> bool:
        """Whether the book is the market's as of its latest change."""
        return self._live

    @property
    def needs_snapshot(self) -> bool:
        """Never: it comes over the stream."""
        return False

    def drop(self) -> None:
        """Give the book up until the next snapshot."""
        self._live = False

    def expect_repeats(self) -> None:
        """What comes next is of another connection, which may repeat what was taken."""
        self._behind.expect_repeats()

    def take(self, row: Row) -> Verdict:
        """Take a change or a snapshot as it comes over the stream."""
        last, before = _number(row, "last_update_id"), _number(row, "prev_update_id")
        if row["kind"] == "snapshot":
            self.book.replace(row)
            self._live = last is not None
            self._behind.restarted()
            if last is not None:
                self._behind.heard(Numbers(last, last, _moment(row)))
            return _APPLIED
        at = self.book.update_id
        if not self._live or at is None:
            return _WAITING
        if last is None or before is None:
            self.drop()
            return Verdict(Outcome.BROKEN, None, "a change without its numbers")
        return self._follow(row, at, Numbers(last, before, _moment(row)))

    def _follow(self, row: Row, at: int, numbers: Numbers) -> Verdict:
        last, before = numbers.last, numbers.before
        if before == at and not self._behind.leads_to(before):
            if last < at:
                self._behind.restarted()
            self._behind.heard(numbers)
            self.book.change(row)
            return _APPLIED
        if before < at and last <= at and not self._behind.judge(row, numbers):
            return _STALE
        self.drop()
        if before <= at and (last <= at or self._behind.leads_to(before)):
            reason = f"the numbers were restarted: {_not_next(last, before, at)}"
            return Verdict(Outcome.BROKEN, None, reason, restarted=True)
        missing = (at + 1, before) if before > at else None
        return Verdict(Outcome.BROKEN, missing, _not_next(last, before, at))


def numbered(numbers: DepthNumbers, most: int | None) -> Numbered:
    """An empty book for changes numbered so; ``most``: see :class:`SpannedBook`.

    Raises:
        ValueError: books come whole.
    """
    if numbers is DepthNumbers.NONE:
        raise ValueError("there are no changes to build a book from")
    return SpannedBook(most) if numbers is DepthNumbers.SPANS else LinkedBook()


def _continues(number: int, row: Row) -> bool:
    """Whether a change is the first one to apply to snapshot ``number``."""
    first, last = _int(row, "first_update_id"), _int(row, "last_update_id")
    return first <= number <= last or row["prev_update_id"] == number


def _not_next(last: int, before: int, heard: int | None) -> str:
    return f"change {last} follows {before}, and {heard} came last"


def _moment(row: Row) -> datetime | None:
    """When a row's change happened, by the exchange's clock."""
    at = row["changed_at"] or row["event_at"]
    return at if isinstance(at, datetime) else None


def _levels(row: Row, side: str) -> tuple[Any, Any]:
    return row[f"{side}_prices"] or (), row[f"{side}_sizes"] or ()


def _number(row: Row, name: str) -> int | None:
    value = row[name]
    return value if isinstance(value, int) else None


def _int(row: Row, name: str) -> int:
    value = _number(row, name)
    if value is None:
        raise ValueError(f"a change was held without its {name}")
    return value
