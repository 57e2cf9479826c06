"""How Binance's frames are read by the column: the same fields and conversions as one by one.

Lives here: ``SHAPES``: each dataset's events bare, and wrapped as ``{"stream": …, "data": …}``. Doesn't: which field is
which column (``fields``), reading (``columnar``). Tickers carry fields that no column holds, and go one by one.
"""

from __future__ import annotations

from typing import Final

from tidemark.exchanges.base import Unparsable
from tidemark.exchanges.binance import fields, frames, symbols
from tidemark.exchanges.columnar.shape import Column, Levels, Path, Shape
from tidemark.exchanges.layout import Layout
from tidemark.exchanges.values import shown, text

_WRAPPED: Final[Path] = ("data",)


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


def _shapes(layout: Layout, inner: Path = (), more: tuple[Column, ...] = ()) -> tuple[Shape, ...]:
    """The shapes bare and wrapped; ``inner`` is where the layout's fields are, ``more`` are columns around them."""
    columns = (
        _kind_of(layout.dataset),
        Column(("s",), "market", _market, required=True),
        Column(("s",), "code", text, required=True),
        *(Column((*inner, name), column, convert) for column, name, convert in layout.fields),
        *more,
    )
    redundant = frozenset((*inner, name) for name in layout.redundant if inner or name not in ("e", "s", "a", "b"))
    stream = Column(("stream",), None, _stream if layout.dataset == "depth" else _any, required=True)
    return tuple(
        Shape(
            layout.dataset,
            columns=tuple(Column((*at, *c.path), c.column, c.convert, c.required) for c in columns) + around,
            redundant=frozenset((*at, *path) for path in redundant),
            constants={"exchange": symbols.NAME, **({"kind": "update"} if layout.dataset == "depth" else {})},
            levels=tuple(Levels((*at, name), _sides(side)) for name, side in (("b", "bid"), ("a", "ask")))
            if layout.dataset == "depth"
            else (),
        )
        for at, around in (((), ()), (_WRAPPED, (stream,)))
    )


def _sides(side: str) -> dict[str | int, str | None]:
    return {0: f"{side}_prices", 1: f"{side}_sizes"}


SHAPES: Final = {
    "trade": _shapes(fields.TRADE),
    "depth": _shapes(fields.DEPTH),
}
