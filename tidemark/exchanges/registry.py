"""Which exchanges there are, and the one way to read a record of a raw topic.

Lives here: name to exchange. Doesn't: anything an exchange knows about itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

from tidemark.exchanges import book_records, connection
from tidemark.exchanges.base import Exchange, Ignored, Parsed, Unparsable
from tidemark.exchanges.binance import BINANCE
from tidemark.exchanges.binance import kept as binance_kept
from tidemark.exchanges.okx import OKX
from tidemark.exchanges.okx import kept as okx_kept
from tidemark.exchanges.upbit import UPBIT
from tidemark.exchanges.upbit import kept as upbit_kept

if TYPE_CHECKING:
    from tidemark.exchanges.columnar.shape import Shape

_ALL: Final[tuple[Exchange, ...]] = (UPBIT, OKX, BINANCE)
EXCHANGES: Final[dict[str, Exchange]] = {exchange.name: exchange for exchange in _ALL}
#: Fields that have no column on purpose.
_KEPT: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    UPBIT.name: upbit_kept.KEPT,
    OKX.name: okx_kept.KEPT,
    BINANCE.name: binance_kept.KEPT,
}


def get(name: str) -> Exchange:
    """The exchange of that name.

    Raises:
        KeyError: there is none; the message lists those there are.
    """
    if name not in EXCHANGES:
        raise KeyError(f"no exchange {name!r}; there are: {', '.join(sorted(EXCHANGES))}")
    return EXCHANGES[name]


def shapes(exchange: str, dataset: str) -> Sequence[Shape]:
    """The shapes of frames that can be read by the column; none: each is parsed by itself."""
    return _shapes().get(exchange, {}).get(dataset, ())


def kept(exchange: str, dataset: str) -> frozenset[str]:
    """The fields of a dataset's events that are known and stay in ``extra``."""
    return _KEPT.get(exchange, {}).get(dataset, frozenset())


def read(exchange: str, dataset: str, kind: str | None, value: bytes) -> Parsed | Ignored:
    """The rows of one record of a raw topic; ``kind`` is its header of that name, None without one.

    Raises:
        Unparsable: it belongs to the dead letters.
        KeyError: no such exchange.
    """
    if kind is None:
        return get(exchange).parse(dataset, value)
    if kind == connection.OVERSIZED:
        raise Unparsable("truncated", "the frame was too large for a record: only its beginning is here")
    if kind in (connection.OPEN, connection.ALIVE, connection.CLOSE, connection.BREAK):
        return connection.parse(value)
    if kind in book_records.KINDS:
        return book_records.parse(get(exchange), dataset, kind, value)
    known = ", ".join((*connection.KINDS, *book_records.KINDS))
    raise Unparsable("unknown_kind", f"a record of kind {kind!r}; known are {known}")


@cache
def _shapes() -> Mapping[str, Mapping[str, Sequence[Shape]]]:
    """The shapes of all exchanges. They bring Arrow and NumPy, which a DAG file must not import while it is parsed."""
    from tidemark.exchanges.binance import columns as binance_columns
    from tidemark.exchanges.okx import columns as okx_columns
    from tidemark.exchanges.upbit import columns as upbit_columns

    return {
        UPBIT.name: upbit_columns.SHAPES,
        OKX.name: okx_columns.SHAPES,
        BINANCE.name: binance_columns.SHAPES,
    }
