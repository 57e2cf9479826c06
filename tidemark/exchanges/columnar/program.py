"""A shape compiled into the nodes that ``frames.c`` walks by.

Contains: the tree of fields, its C structures, which value goes to which slot. Does not contain: buffers and calls
(``native``), conversions (``reader``).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tidemark.exchanges import values as conversions
from tidemark.exchanges.columnar.shape import Column, Convert, Levels, Path, Shape

#: Kinds of nodes and their flags, numbered as in frames.c.
OBJECT, POSITIONS, LEVELS, DECIMAL, INTEGER, WORD, SKIPPED, REFUSED = range(8)
KEEP_UNKNOWN, KEEP_WHOLE, EMPTY_IS_NULL, EVENT, ONE, MANY, NEVER_NULL, BY_NAME, UNPADDED = (1 << n for n in range(9))
_MOST_FIELDS: Final = 64
_WORD_BYTES: Final = 8
_NUMBERS: Final[dict[Convert, int]] = {
    conversions.decimal: DECIMAL,
    conversions.integer: INTEGER,
    conversions.unix_time: INTEGER,
}


class CNode(ctypes.Structure):
    """``struct node`` of frames.c."""

    _fields_ = (
        ("kind", ctypes.c_int32),
        ("flags", ctypes.c_int32),
        ("first", ctypes.c_int32),
        ("count", ctypes.c_int32),
        ("slot", ctypes.c_int32),
        ("guess", ctypes.c_int32),
        ("required", ctypes.c_uint64),
        ("lengths", ctypes.c_uint64),
    )


class CChild(ctypes.Structure):
    """``struct child`` of frames.c."""

    _fields_ = (
        ("word", ctypes.c_uint64),
        ("mask", ctypes.c_uint64),
        ("name", ctypes.c_char_p),
        ("length", ctypes.c_int64),
        ("node", ctypes.c_int32),
        ("next", ctypes.c_int32),
    )


@dataclass(frozen=True, slots=True)
class Slot:
    """Where the values of a field go; several columns may be made of one field."""

    kind: int
    of_frame: bool
    columns: tuple[Column, ...]


@dataclass(slots=True, eq=False)
class _Node:
    kind: int
    flags: int = 0
    slot: int = 0
    required: bool = False
    lengths: int = 0
    #: By name, or by position.
    children: dict[str | int, _Node] = field(default_factory=dict)
    #: LEVELS: names or positions of the numbers.
    numbers: tuple[str | int, ...] = ()


class Program:
    """A compiled shape. It remembers the order of the fields seen last: one a reader, and one thread at a time."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.slots: list[Slot] = []
        #: List columns of each side of each array of levels, in the order of the C lists.
        self.sides: list[tuple[str, str]] = []
        self._names: list[bytes] = []
        nodes: list[_Node] = []
        _flatten(self._tree(), nodes)
        children = [(node, key) for node in nodes for key in _keys(node)]
        self.nodes = (CNode * len(nodes))()
        self.children = (CChild * max(1, len(children)))()
        at = 0
        for number, node in enumerate(nodes):
            keys = _keys(node)
            self._write(self.nodes[number], node, at)
            for place, key in enumerate(keys):
                target = place if node.kind == LEVELS else nodes.index(node.children[key])
                self._name(self.children[at + place], key, target, place)
            at += len(keys)

    def _tree(self) -> _Node:
        shape = self.shape
        root = _Node(OBJECT)
        event = root
        for name in shape.event:
            event.children[name] = event = _Node(OBJECT, required=True)
        event.flags |= EVENT | KEEP_UNKNOWN | (ONE if shape.alone else 0) | (MANY if shape.in_array else 0)
        if shape.lengths:
            event.kind, event.lengths = POSITIONS, sum(1 << length for length in shape.lengths)
        for column in shape.columns:
            self._add(event, column, of_frame=False)
        for column in shape.around:
            self._add(root, column, of_frame=True)
        for levels in shape.levels:
            self._add_levels(event, levels)
        for kind, paths in ((SKIPPED, shape.redundant), (REFUSED, shape.refused)):
            for path in sorted(paths, key=str):
                _parent(event, path).children.setdefault(path[-1], _Node(kind))
        return root

    def _add(self, root: _Node, column: Column, *, of_frame: bool) -> None:
        parent = _parent(root, column.path, keep_whole=not of_frame)
        known = parent.children.get(column.path[-1])
        if known is not None:
            slot = self.slots[known.slot]
            kind = WORD if WORD in (slot.kind, _kind(column)) else slot.kind
            self.slots[known.slot] = Slot(kind, of_frame, (*slot.columns, column))
            known.kind, known.required = kind, known.required or column.required
            return
        flags = EMPTY_IS_NULL if self.shape.empty_is_null else 0
        flags |= NEVER_NULL if column.never_null else 0
        parent.children[column.path[-1]] = _Node(_kind(column), flags, len(self.slots), column.required)
        self.slots.append(Slot(_kind(column), of_frame, (column,)))

    def _add_levels(self, event: _Node, levels: Levels) -> None:
        flags = BY_NAME if isinstance(levels.numbers[0], str) else 0
        flags |= UNPADDED if levels.unpadded else 0
        flags |= KEEP_WHOLE if levels.keeps_more else 0
        node = _Node(LEVELS, flags, len(self.sides), numbers=levels.numbers)
        _parent(event, levels.path).children[levels.path[-1]] = node
        self.sides += list(zip(levels.columns[::2], levels.columns[1::2], strict=True))

    def _write(self, to: CNode, node: _Node, first: int) -> None:
        keys = _keys(node)
        if len(keys) >= _MOST_FIELDS:
            raise ValueError(f"{self.shape.dataset}: {len(keys)} fields in one object; at most {_MOST_FIELDS - 1}")
        to.kind, to.flags, to.slot, to.lengths = node.kind, node.flags, node.slot, node.lengths
        to.first, to.count = first, len(keys)
        to.required = sum(1 << n for n, key in enumerate(keys) if key in node.children and node.children[key].required)
        if node.kind in (OBJECT, POSITIONS) and self.shape.empty_is_null:
            to.flags |= EMPTY_IS_NULL

    def _name(self, to: CChild, key: str | int, target: int, place: int) -> None:
        name = f'{key}"'.encode()
        self._names.append(name)
        head = name[:_WORD_BYTES]
        to.word = int.from_bytes(head, "little")
        to.mask = (1 << 8 * len(head)) - 1
        to.name, to.length, to.node, to.next = name, len(name), target, place + 1


def _kind(column: Column) -> int:
    return _NUMBERS.get(column.convert, WORD)


def _keys(node: _Node) -> Sequence[str | int]:
    if node.kind == LEVELS:
        return node.numbers
    if node.kind == POSITIONS:
        return range(len(node.children))
    return list(node.children)


def _parent(root: _Node, path: Path, *, keep_whole: bool = True) -> _Node:
    """The container of a field; one that is not there yet is made."""
    for name in path[:-1]:
        flags = KEEP_WHOLE if keep_whole else 0
        root = root.children.setdefault(name, _Node(OBJECT, flags, required=True))
    return root


def _flatten(node: _Node, into: list[_Node]) -> None:
    into.append(node)
    for child in node.children.values():
        _flatten(child, into)
