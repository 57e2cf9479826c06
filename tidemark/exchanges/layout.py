"""How a message's fields become columns: one table for each spelling of a dataset's message.

Lives here: the table's form, and filling a row from it. Doesn't: any table (``<exchange>/fields``), conversions that
every exchange needs (``values``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tidemark.contracts import CONTRACTS
from tidemark.exchanges.base import Row, Unparsable

Convert = Callable[[object, str], object]


@dataclass(frozen=True, slots=True)
class Layout:
    """One way to spell a dataset's message: (column, field, conversion) each, and what says nothing more.

    ``redundant`` fields repeat another field in another form (a KST label beside the UTC one): they are read
    over, not kept as unknown.
    """

    dataset: str
    fields: tuple[tuple[str, str, Convert], ...]
    redundant: frozenset[str]
    #: All fields that are not unknown.
    known: frozenset[str] = field(init=False)
    #: Fields whose column only describes (``Field.is_descriptive``): an unexpected type costs the value, not the row.
    descriptive: frozenset[str] = field(init=False)
    #: A row of the dataset with every column null.
    empty: Row = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "known", self.redundant | {name for _, name, _ in self.fields})
        described = {one.name for one in CONTRACTS[self.dataset].fields if one.is_descriptive}
        object.__setattr__(
            self, "descriptive", frozenset(name for column, name, _ in self.fields if column in described)
        )
        object.__setattr__(self, "empty", dict.fromkeys(CONTRACTS[self.dataset].names()))


def fill(layout: Layout, message: dict[str, Any]) -> tuple[Row, list[str]]:
    """A row with the columns that the message's fields give, and the fields that no column holds.

    A missing field or null leaves the column null. A value that has no translation (a new word for a side), and a
    value of an unexpected type in a field that only describes, stay with the unknown fields: nothing is dropped, and
    no row is lost for it.

    Raises:
        Unparsable: a value of the wrong type, or out of range, where it is part of the row's identity, or a price, a
        size or a time.
    """
    row = layout.empty.copy()
    left: list[str] = []
    for column, name, convert in layout.fields:
        value = message.get(name)
        if value is not None:
            try:
                row[column] = converted = convert(value, name)
            except Unparsable:
                if name not in layout.descriptive:
                    raise
                converted = None
            if converted is None:
                left.append(name)
    if not message.keys() <= layout.known:
        left += [name for name in message if name not in layout.known]
    return row, left
