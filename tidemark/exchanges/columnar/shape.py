"""What an exchange declares so that its frames can be read by the column.

Lives here: the declarations. Doesn't: reading (``reader``), the fields of any exchange (``<exchange>/columns``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

#: Names of fields and places in arrays, from the outside in: ``("data", 0, "px")``.
Path = tuple[str | int, ...]
#: A decoded value and its field's name to what the column holds; raises ``Unparsable`` where it doesn't fit.
Convert = Callable[[object, str], object]


@dataclass(frozen=True, slots=True)
class Column:
    """A field of the frame and the column it fills; without a column it is only held to its conversion.

    ``convert`` is the very function that the exchange's parser uses. Null leaves the column null, unless the field is
    ``required``: then the parser decides. So it does where ``convert`` raises, or gives None.
    """

    path: Path
    column: str | None
    convert: Convert
    required: bool = False


@dataclass(frozen=True, slots=True)
class Joined:
    """Fields that together fill columns; ``convert`` takes their texts, None for one that isn't there or is null.

    It gives a value for each column, or raises ``Unparsable``: then the parser decides.
    """

    paths: tuple[Path, ...]
    columns: tuple[str, ...]
    convert: Callable[[tuple[str | None, ...]], tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Levels:
    """An array of book levels, each an object or an array of numbers, and the list columns they fill.

    ``columns`` names for each field or place of a level its column, None where it is read over. ``unpadded`` leaves
    out, for each side (a pair of columns), the levels where both numbers are zero.
    """

    path: Path
    columns: Mapping[str | int, str | None]
    unpadded: tuple[tuple[str, str], ...] = ()
    #: Whether a number may be null; if not, the parser decides.
    nullable: bool = False


@dataclass(frozen=True)
class Shape:
    """One way to spell the frames of a dataset. A frame with any other field than these is not of this shape."""

    dataset: str
    columns: tuple[Column, ...]
    #: Fields that repeat another one and are read over.
    redundant: frozenset[Path] = frozenset()
    constants: Mapping[str, str] = field(default_factory=dict)
    levels: tuple[Levels, ...] = ()
    #: Of fields that ``columns`` reads.
    joined: tuple[Joined, ...] = ()
    #: Whether an array of one frame is that frame.
    in_array: bool = False

    @cached_property
    def known(self) -> frozenset[Path]:
        """The places of all values that a frame may hold."""
        return self.redundant | {column.path for column in self.columns}

    @cached_property
    def required(self) -> frozenset[Path]:
        """The places of the values that a frame must hold."""
        return frozenset(column.path for column in self.columns if column.required)

    @cached_property
    def arrays(self) -> Mapping[Path, Levels]:
        """The arrays of levels by their place."""
        return {levels.path: levels for levels in self.levels}
