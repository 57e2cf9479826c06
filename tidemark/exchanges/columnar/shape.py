"""What an exchange declares so that its frames can be read by the column.

Contains: the declarations, and the rows that an exchange's own derivations work on. Does not contain: reading
(``reader``), the fields of any exchange (``<exchange>/columns``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

#: Names of fields and positions in arrays, from the outside in: ``("k", "t")``, ``(4,)``.
Path = tuple[str | int, ...]
Mask = npt.NDArray[np.bool_]
#: A decoded value and its field's name to what the column holds; raises ``Unparsable`` where it does not fit.
Convert = Callable[[object, str], object]
#: A column that is not of the contract: derivations read it, and it is dropped then.
INTERNAL: Final = "_"


@dataclass(frozen=True, slots=True)
class Column:
    """A field and the column it fills; without a column it is only held to its conversion.

    ``convert`` is the very function that the exchange's record parser uses. Null or a missing field leaves the column
    null, unless the field is ``required``: then the record parser decides. So it does where ``convert`` raises or
    returns None, and at a null if it is ``never_null`` (a missing field is in order there). A column whose name begins
    with ``_`` is for derivations only.
    """

    path: Path
    column: str | None
    convert: Convert
    required: bool = False
    never_null: bool = False


@dataclass(frozen=True, slots=True)
class Levels:
    """An array of order-book levels, each an object or an array of numbers, and the list columns they fill.

    ``numbers`` are the fields or positions of a level: price and size of each side in turn; ``columns`` are the list
    columns in the same order. ``unpadded`` leaves out the levels of a side whose price and size are both zero.
    ``keeps_more``: where a level holds more, the array goes into ``extra`` as a whole, else that is read over.
    """

    path: Path
    numbers: tuple[str | int, ...]
    columns: tuple[str, ...]
    unpadded: bool = False
    keeps_more: bool = False


class Rows:
    """Some rows as columns while they are read; derivations change ``columns`` and refuse rows.

    A text column may be a dictionary array. ``refused`` are the rows that the record parser decides about.
    """

    def __init__(self, columns: dict[str, Any], count: int) -> None:
        self.columns = columns
        self.count = count
        self.refused: Mask | None = None

    def refuse(self, which: Mask) -> None:
        """Leave these rows' frames to the record parser."""
        if which.any():
            self.refused = which if self.refused is None else self.refused | which

    def filter(self, kept: Mask) -> Rows:
        """These rows only, none of them refused."""
        which = pa.array(kept)
        return Rows({name: array.filter(which) for name, array in self.columns.items()}, int(kept.sum()))

    def words(self, name: str) -> tuple[npt.NDArray[np.int32], list[str]]:
        """A text column without nulls as the number of each row's word, and the words."""
        array = self.columns[name]
        array = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
        return np.asarray(array.indices.to_numpy()), array.dictionary.to_pylist()


Derive = Callable[[Rows], None]


@dataclass(frozen=True)
class Shape:
    """How the frames of a dataset are laid out: where their events are, and which of their fields is which column.

    An event is a row. Its fields that are neither in ``columns``, ``levels`` nor ``redundant`` go into ``extra`` as
    they are spelled; fields around the events that nothing here names are read over, as the record parser does.
    """

    dataset: str
    columns: tuple[Column, ...]
    #: Where the events are: the frame itself, or a field of it.
    event: Path = ()
    #: Whether the event stands there by itself, and whether it may stand in an array of events.
    alone: bool = True
    in_array: bool = False
    #: Columns of fields around the events, by their path in the frame.
    around: tuple[Column, ...] = ()
    #: Fields that repeat another one and are read over.
    redundant: frozenset[Path] = frozenset()
    #: Fields of an event that make its frame one for the record parser.
    refused: frozenset[Path] = frozenset()
    levels: tuple[Levels, ...] = ()
    constants: Mapping[str, str] = field(default_factory=dict)
    derive: Sequence[Derive] = ()
    #: Whether an empty text is no value.
    empty_is_null: bool = False
    #: For events that are arrays: how many values they may have.
    lengths: Sequence[int] = ()
