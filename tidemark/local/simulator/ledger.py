"""The oracle: which trades and books were sent, and what follows from them.

Contains: the log of what subscribers were sent, its sums and candles, exact. Does not contain: anything of the
hidden market; all answers here are computed from the log alone. Its memory is bounded: trades are kept for
:data:`KEPT_MS`, changes of books by number.

A trade is *sent* once, however often it goes over the wire: when the frame that carries it was handed to the
operating system on at least one connection that stayed open. A snapshot counts like any other frame. A trade
that happened while nobody subscribed to it, or that was kept back on purpose, is *missed*.
"""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from decimal import Context, Decimal, Inexact
from typing import Any, NamedTuple

E8 = 10**8
E8_DIGITS = 8
E16 = 10**16
#: Milliseconds of market time that a trade is kept: yesterday's report is asked for until the end of today.
KEPT_MS = 50 * 3_600_000
#: Changes of one market's book that are kept; an hour has up to 36,000.
_KEPT_BOOKS = 20_000
#: Trades are forgotten this many at once, or more.
_FORGET_FROM = 10_000
_MOST_DIGITS = 20  # before the decimal point
_EXACT = Context(prec=_MOST_DIGITS + E8_DIGITS + 1, traps=[Inexact])


class Sent(NamedTuple):
    """A sent trade; price and size in 1e-8, execution time in Unix ms.

    Where a trade stands for several fills it is known by the last one's id: ``first`` to ``id``.
    """

    code: str
    id: int
    ms: int
    price: int
    size: int
    is_ask: bool
    first: int
    number: int = 0


class SentBook(NamedTuple):
    """A sent change of a book: its number, and the best levels after it (price and size in 1e-8, or zeros)."""

    number: int
    ms: int
    best_bid: tuple[int, int]
    best_ask: tuple[int, int]


class SentLog:
    """Every trade that was sent, in the order of sending, and to which connections."""

    def __init__(self) -> None:
        self._trades: list[Sent] = []
        self._forgotten = 0  # before the first of the list
        self._look_at = _FORGET_FROM
        self._places: dict[tuple[str, int], int] = {}
        self._by_connection: dict[str, array[int]] = {}
        self._before: Counter[str] = Counter()  # frames of each connection whose trades are forgotten
        self._books: dict[str, deque[SentBook]] = {}
        self.missed: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._forgotten + len(self._trades)

    def record(self, connection: str, trades: Iterable[Sent]) -> None:
        """These trades were sent to ``connection``."""
        places = self._by_connection.setdefault(connection, array("Q"))
        for trade in trades:
            key = (trade.code, trade.id)
            place = self._places.get(key)
            if place is None:
                place = self._places[key] = len(self)
                self._trades.append(trade)
            places.append(place)
        if len(self._trades) >= self._look_at:
            self._forget()

    def _forget(self) -> None:
        """Drop the trades from the front of the list that are too old."""
        oldest = self._trades[-1].ms - KEPT_MS
        count = next((n for n, trade in enumerate(self._trades) if trade.ms >= oldest), 0)
        for trade in self._trades[:count]:
            del self._places[trade.code, trade.id]
        del self._trades[:count]
        self._forgotten += count
        self._look_at = len(self._trades) + _FORGET_FROM
        for name, places in list(self._by_connection.items()):
            kept = array("Q", (place for place in places if place >= self._forgotten))
            self._before[name] += len(places) - len(kept)
            self._by_connection[name] = kept

    def record_book(self, code: str, book: SentBook) -> None:
        """A change of the market's book was sent; the oldest of very many are forgotten."""
        self._books.setdefault(code, deque(maxlen=_KEPT_BOOKS)).append(book)

    def books(self, code: str, number: int | None = None) -> list[SentBook]:
        """The sent changes of the market's book, oldest first, or those with this number."""
        return [book for book in self._books.get(code, ()) if number is None or book.number == number]

    def sent_to(self, connection: str) -> int:
        """How many trade frames the connection was sent."""
        return self._before[connection] + len(self._by_connection.get(connection, ()))

    def trades(self, code: str | None = None, connection: str | None = None) -> Iterator[Sent]:
        """Sent trades, in the order of (first) sending, of one market or one connection when given."""
        found: Iterable[Sent] = self._trades
        if connection is not None:
            found = (self._trades[place - self._forgotten] for place in self._by_connection.get(connection, ()))
        return (trade for trade in found if code is None or trade.code == code)

    def summary(self) -> dict[str, dict[str, object]]:
        """Per market: number of trades, base volume, quote value (exact text), number of missed ones."""
        sums: dict[str, list[int]] = {code: [0, 0, 0] for code in self.missed}
        for trade in self._trades:
            row = sums.setdefault(trade.code, [0, 0, 0])
            row[0] += 1
            row[1] += trade.size
            row[2] += trade.price * trade.size
        return {
            code: {"trades": n, "volume": text(v, E8), "value": text(q, E16), "missed": self.missed[code]}
            for code, (n, v, q) in sorted(sums.items())
        }

    def candles(self, code: str, unit_s: int, from_ms: int, to_ms: int) -> list[dict[str, object]]:
        """Candles of ``unit_s`` seconds of the trades executed in [from, to), oldest first.

        Exact decimal text. Open and close are the first and last trade by (execution time, id); ``start`` is
        Unix ms.
        """
        buckets: dict[int, list[Sent]] = {}
        for trade in self._trades:
            if trade.code == code and from_ms <= trade.ms < to_ms:
                buckets.setdefault(trade.ms // (unit_s * 1000), []).append(trade)
        return [_candle(number * unit_s * 1000, buckets[number]) for number in sorted(buckets)]


def scaled(value: Any) -> int:
    """A number or its text as an integer of 1e-8; an error of ValueError or ArithmeticError when that is not exact.

    Nor may it have more than 20 digits before the decimal point.
    """
    number = Decimal(value)
    if not number.is_finite() or not -E8_DIGITS <= number.adjusted() < _MOST_DIGITS:
        raise ValueError(f"{str(value)[:60]} is too large, or has more than 8 decimals")
    exact = _EXACT.multiply(number, Decimal(E8))
    if exact != int(exact):
        raise ValueError(f"{str(value)[:60]} has more than 8 decimals")
    return int(exact)


def whole(value: Any) -> int:
    """An id or a time, given as text or number, as an integer; ValueError when it is none of 64 bits."""
    if isinstance(value, Decimal) and not (value.is_finite() and value.adjusted() < _MOST_DIGITS and value % 1 == 0):
        raise ValueError(f"{str(value)[:60]} is no integer")
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{str(value)[:60]} has more than 64 bits")
    return number


def text(value: int, scale: int) -> str:
    """An integer of 1/scale as plain decimal text without needless zeros."""
    whole, part = divmod(abs(value), scale)
    digits = f"{part:0{len(str(scale)) - 1}d}".rstrip("0")
    return f"{'-' if value < 0 else ''}{whole}{'.' + digits if digits else ''}"


def _candle(start_ms: int, trades: list[Sent]) -> dict[str, object]:
    ordered = sorted(trades, key=lambda t: (t.ms, t.id))
    volume, bought = sum(t.size for t in ordered), sum(t.size for t in ordered if not t.is_ask)
    return {
        "start": start_ms,
        "open": text(ordered[0].price, E8),
        "high": text(max(t.price for t in ordered), E8),
        "low": text(min(t.price for t in ordered), E8),
        "close": text(ordered[-1].price, E8),
        "volume": text(volume, E8),
        "value": text(sum(t.price * t.size for t in ordered), E16),
        "trades": len(ordered),
        "buy_volume": text(bought, E8),
        "sell_volume": text(volume - bought, E8),
        "fills": sum(t.id - t.first + 1 for t in ordered),
    }
