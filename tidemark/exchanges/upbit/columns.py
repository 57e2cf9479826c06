"""How Upbit's frames are read by the column: the same fields and conversions as one by one.

Contains: ``SHAPES``, a shape a dataset and format. Does not contain: which field is which column (``fields``), reading
(``columnar``).
"""

from __future__ import annotations

from typing import Final

from tidemark.exchanges.base import Unparsable
from tidemark.exchanges.columnar.shape import Column, Levels, Path, Shape
from tidemark.exchanges.layout import Layout
from tidemark.exchanges.upbit import fields, frames, symbols
from tidemark.exchanges.values import shown, text

_LISTS: Final = ("ask_prices", "ask_sizes", "bid_prices", "bid_sizes")


def _market(value: object, _: str) -> str:
    return symbols.market(value)


def _type_of(dataset: str, value: object) -> str | None:
    known = frames.TYPES.get(text(value, "type"))
    if known is None or known[0] != dataset:
        raise Unparsable("wrong_topic", f"a frame of type {shown(value)} among those of {dataset}")
    return known[1]


def _interval(value: object, _: str) -> str | None:
    return _type_of("candle", value)


def _shape(layout: Layout, kind: str, code: str, units: str, unit: tuple[str, ...], refused: frozenset[Path]) -> Shape:
    dataset = layout.dataset

    def is_of_dataset(value: object, _: str) -> bool:
        return _type_of(dataset, value) is None

    return Shape(
        dataset,
        columns=(
            Column((kind,), "interval", _interval, required=True)
            if dataset == "candle"
            else Column((kind,), None, is_of_dataset, required=True),
            Column((code,), "market", _market, required=True),
            Column((code,), "code", text, required=True),
            *(Column((field,), column, convert) for column, field, convert in layout.fields),
        ),
        in_array=True,
        redundant=frozenset((field,) for field in layout.redundant - {kind, code, units}),
        refused=refused,
        levels=(Levels((units,), unit, _LISTS, unpadded=True, keeps_more=True),) if dataset == "orderbook" else (),
        constants={"exchange": symbols.NAME},
    )


#: A frame that names its type in full is read by the full names.
_SHORT_REFUSES: Final[frozenset[Path]] = frozenset((("type",),))

SHAPES: Final = {
    dataset: (
        _shape(fields.LONG[dataset], "type", "code", "orderbook_units", frames.LONG_UNIT, frozenset()),
        _shape(fields.SHORT[dataset], "ty", "cd", "obu", frames.SHORT_UNIT, _SHORT_REFUSES),
    )
    for dataset in fields.LONG
}
