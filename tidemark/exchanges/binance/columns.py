"""How Binance's frames are read by the column: the same fields and conversions as one by one.

Contains: ``SHAPES``: each dataset's events bare, and wrapped as ``{"stream": …, "data": …}``. Does not contain: which
field is which column (``fields``), reading (``columnar``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from tidemark.exchanges.base import Unparsable
from tidemark.exchanges.binance import fields, frames, symbols
from tidemark.exchanges.columnar.shape import Column, Levels, Path, Rows, Shape
from tidemark.exchanges.layout import Layout
from tidemark.exchanges.values import shown, text

_WRAPPED: Final[Path] = ("data",)
_BAR: Final[Path] = ("k",)
#: A bare event must not look like a wrapper.
_WRAPPERS: Final[frozenset[Path]] = frozenset((("stream",), ("data",)))


def _market(value: object, _: str) -> str:
    return symbols.market(value)


def _kind_of(dataset: str) -> Column:
    """The event's type must be the dataset's."""

    def checked(value: object, _: str) -> bool:
        if frames.TYPES.get(text(value, "e")) != dataset:
            raise Unparsable("wrong_topic", f"a frame of type {shown(value)} among those of {dataset}")
        return True

    return Column(("e",), None, checked, required=True)


def _stream(value: object, _: str) -> bool:
    """The stream's name must be one of changes, where it is of a book."""
    if not frames.CHANGES.fullmatch(text(value, "stream")):
        raise Unparsable("wrong_topic", f"a frame of the stream {shown(value)} among changes of books")
    return True


def _any(value: object, _: str) -> bool:
    return True


def _without_ids(rows: Rows) -> None:
    """A bar without trades has -1 for ids."""
    for name in ("first_trade_id", "last_trade_id"):
        if name in rows.columns:
            ids = rows.columns[name]
            rows.columns[name] = pc.if_else(pc.equal(ids, -1), pa.scalar(None, ids.type), ids)


def _columns(layout: Layout, inner: Path = ()) -> tuple[Column, ...]:
    return tuple(Column((*inner, name), column, convert) for column, name, convert in layout.fields)


def _shapes(
    columns: tuple[Column, ...],
    redundant: frozenset[Path],
    dataset: str,
    derive: tuple[Callable[[Rows], None], ...] = (),
) -> tuple[Shape, ...]:
    """The shapes bare and wrapped."""
    is_depth = dataset == "depth"
    known = (
        _kind_of(dataset),
        Column(("s",), "market", _market, required=True),
        Column(("s",), "code", text, required=True),
        *columns,
    )
    stream = Column(("stream",), None, _stream if is_depth else _any, required=True)
    return tuple(
        Shape(
            dataset,
            columns=known,
            event=event,
            in_array=True,
            around=around,
            redundant=redundant,
            refused=refused,
            levels=tuple(_side(name, side) for name, side in (("a", "ask"), ("b", "bid"))) if is_depth else (),
            constants={"exchange": symbols.NAME, **({"kind": "update"} if is_depth else {})},
            derive=derive,
        )
        for event, around, refused in (((), (), _WRAPPERS), (_WRAPPED, (stream,), frozenset[Path]()))
    )


def _side(name: str, side: str) -> Levels:
    return Levels((name,), (0, 1), (f"{side}_prices", f"{side}_sizes"), keeps_more=True)


def _redundant(layout: Layout, *read: str) -> frozenset[Path]:
    return frozenset((name,) for name in layout.redundant - {"e", "s", *read})


SHAPES: Final = {
    "trade": _shapes(_columns(fields.TRADE), _redundant(fields.TRADE), "trade"),
    "depth": _shapes(_columns(fields.DEPTH), _redundant(fields.DEPTH, "a", "b"), "depth"),
    "ticker": _shapes(_columns(fields.TICKER), _redundant(fields.TICKER), "ticker"),
    "candle": _shapes(
        (*_columns(fields.CANDLE, _BAR), *_columns(fields.CANDLE_FRAME)),
        _redundant(fields.CANDLE_FRAME, "k") | {(*_BAR, name) for name in fields.CANDLE.redundant},
        "candle",
        (_without_ids,),
    ),
}
