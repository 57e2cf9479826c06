"""Frames in, Arrow columns out, and the numbers of the frames that are left to the exchange's record parser.

Contains: ``Reader``, conversions of whole columns. Does not contain: the envelope columns (the sink's), the grammar
(``frames.c``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tidemark.contracts import CONTRACTS
from tidemark.contracts.fields import DECIMAL_PRECISION, DECIMAL_SCALE
from tidemark.contracts.render import arrow_schema
from tidemark.exchanges import messages
from tidemark.exchanges import values as conversions
from tidemark.exchanges.base import Unparsable
from tidemark.exchanges.columnar import native
from tidemark.exchanges.columnar.native import Ints, Mask, Scanned, Scanner, Values
from tidemark.exchanges.columnar.program import DECIMAL, INTEGER, Program
from tidemark.exchanges.columnar.shape import INTERNAL, Column, Rows, Shape

#: Words whose conversion is remembered.
_WORDS: Final = 20_000
_DECIMALS: Final = pa.decimal128(DECIMAL_PRECISION, DECIMAL_SCALE)
_TEXT: Final = pa.string()
_TIME: Final = pa.timestamp("us", "UTC")
_TYPES: Final = {DECIMAL: (_DECIMALS, 16), INTEGER: (pa.int64(), 8)}
#: Unix times below these are seconds, milliseconds, microseconds (see ``values.unix_time``).
_UNITS: Final = ((10**11, 1_000_000), (10**14, 1_000), (10**17, 1))
_MISFIT: Final = object()


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of some frames by the column.

    Of each row: ``frames`` the number of its frame (ascending), ``items`` which of its frame's rows it is.
    """

    frames: Ints
    items: npt.NDArray[np.int32]
    columns: Mapping[str, Any]


class Reader:
    """Reads the frames of one dataset. It remembers the order of fields: one reader a stream is best."""

    def __init__(self, shapes: Sequence[Shape]) -> None:
        self._shapes = [_Compiled(shape) for shape in shapes] if native.library() is not None else []

    def read(self, frames: Sequence[bytes]) -> tuple[list[Part], list[int]]:
        """The rows of the frames that could be read so, and the numbers of all other frames, ascending.

        A part's columns are as the exchange's record parser would make them, to the last digit; a column that isn't
        there is null in all of its rows. Texts may be dictionaries.
        """
        if not self._shapes or not len(frames):
            return [], list(range(len(frames)))
        data = b"\n".join([*frames, native.PADDING])
        lengths = np.fromiter(map(len, frames), np.int64, len(frames))
        ends = np.cumsum(lengths + 1) - 1
        starts = ends - lengths
        todo = np.arange(len(frames)) if _is_text(data) else _texts(frames)
        left = np.setdiff1d(np.arange(len(frames)), todo) if len(todo) < len(frames) else todo[:0]
        parts: list[Part] = []
        counts = []
        for compiled in self._shapes:
            before = len(todo)
            if before:
                part, todo = compiled.read(data, starts, ends, todo)
                parts += [part] if len(part.frames) else []
            counts.append(len(todo) - before)
        order = sorted(range(len(counts)), key=counts.__getitem__)  # the shape that most frames have comes first
        self._shapes = [self._shapes[number] for number in order]
        return parts, np.sort(np.concatenate([left, todo])).tolist()


class _Compiled:
    """One shape, and what is remembered of its words."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._program = Program(shape)
        self._scanner = Scanner(self._program)
        self._outcomes: dict[Column, dict[bytes, object]] = {}

    def read(self, data: bytes, starts: Ints, ends: Ints, numbers: Ints) -> tuple[Part, Ints]:
        """The rows of those of the frames ``numbers`` that are of this shape, and the numbers of the others."""
        scanned = self._scanner.read(data, starts[numbers], ends[numbers])
        frames, items = scanned.frames[: scanned.rows], scanned.items[: scanned.rows]
        rows = Rows({}, scanned.rows)
        if rows.count:
            self._fill(rows, scanned, frames)
        # Derivations see sound rows only, and may refuse some of those in turn.
        for step in (None, *self._shape.derive):
            if step is not None and rows.count:
                step(rows)
            if rows.refused is not None:
                scanned.fits[frames[rows.refused]] = False
                kept = scanned.fits[frames]
                frames, items, rows = frames[kept], items[kept], rows.filter(kept)
        columns = {name: array for name, array in rows.columns.items() if not name.startswith(INTERNAL)}
        for name, value in self._shape.constants.items():
            columns[name] = pa.repeat(pa.scalar(value, _TEXT), rows.count)
        return Part(numbers[frames], items, columns), numbers[~scanned.fits]

    def _fill(self, rows: Rows, scanned: Scanned, frames: npt.NDArray[np.int32]) -> None:
        for values in scanned.values:
            self._columns(rows, values, frames)
        for side, names in zip(scanned.sides, self._program.sides, strict=True):
            levels = int(side.offsets[rows.count])
            valid = side.valid[: rows.count]
            mask = None if valid.all() else pa.array(~valid)
            offsets = pa.array(side.offsets[: rows.count + 1])
            for name, numbers in zip(names, (side.prices, side.sizes), strict=True):
                array = pa.Array.from_buffers(_DECIMALS, levels, [None, pa.py_buffer(numbers)])
                rows.columns[name] = pa.ListArray.from_arrays(offsets, array, mask=mask)
        valid = scanned.extra_valid[: rows.count]
        if valid.any():
            pieces = [_validity(valid), pa.py_buffer(scanned.extra_offsets), pa.py_buffer(scanned.extra)]
            rows.columns["extra"] = pa.Array.from_buffers(_TEXT, rows.count, pieces)

    def _columns(self, rows: Rows, values: Values, frames: npt.NDArray[np.int32]) -> None:
        """The columns of one slot."""
        at = frames if values.slot.of_frame else slice(0, rows.count)
        valid = values.valid[at]
        if not valid.any():
            return
        if values.slot.kind not in _TYPES:
            indices = values.values.view(np.int32)[at]
            for column in values.slot.columns:
                self._by_word(rows, column, values.words, indices, valid)
            return
        kind, width = _TYPES[values.slot.kind]
        numbers = values.values.reshape(-1, width)[at] if values.slot.of_frame else values.values
        whole = bool(valid.all())
        array = pa.Array.from_buffers(kind, rows.count, [None if whole else _validity(valid), pa.py_buffer(numbers)])
        for column in values.slot.columns:
            if column.column is not None:
                timed = column.convert is conversions.unix_time
                rows.columns[column.column] = _times(rows, array, valid) if timed else array
            elif column.convert is conversions.unix_time:
                _times(rows, array, valid)

    def _by_word(
        self, rows: Rows, column: Column, words: list[bytes], indices: npt.NDArray[np.int32], valid: Mask
    ) -> None:
        """A column of few different values: each is converted once, by the record parser's own function."""
        converted = self._outcomes.setdefault(column, {})
        if len(converted) > _WORDS:
            converted.clear()
        for word in words:
            if word not in converted:
                converted[word] = _outcome(column.convert, word, str(column.path[-1]))
        outcomes = [converted[word] for word in words]
        whole = bool(valid.all())
        if _MISFIT in outcomes:
            misfit = np.asarray([outcome is _MISFIT for outcome in outcomes])
            rows.refuse(misfit[indices] & valid)
            outcomes = [None if outcome is _MISFIT else outcome for outcome in outcomes]
        if column.column is None:
            return
        name = column.column
        kind = _TEXT if name.startswith(INTERNAL) else _schema(self._shape.dataset).field(name).type
        dictionary = pa.array(outcomes, kind)
        encoded = pa.array(indices, mask=None if whole else ~valid)
        if kind == _TEXT and not dictionary.null_count:  # the lake's files have no null in a dictionary
            rows.columns[name] = pa.DictionaryArray.from_arrays(encoded, dictionary)
        else:
            rows.columns[name] = dictionary.take(encoded)


def _outcome(convert: Callable[[object, str], object], word: bytes, name: str) -> object:
    try:
        value = word[1:-1].decode() if word.startswith(b'"') else messages.decode(word)
        outcome = convert(value, name)
    except Unparsable:
        return _MISFIT
    return _MISFIT if outcome is None else outcome


def _times(rows: Rows, array: Any, valid: Mask) -> Any:
    """Unix times of any unit as timestamps."""
    given = np.frombuffer(array.buffers()[1], np.int64, len(array))
    at = given.copy()
    below = 0
    for limit, factor in _UNITS:
        if factor > 1:
            at[(given >= below) & (given < limit)] *= factor
        below = limit
    rows.refuse(((given < 0) | (given >= below)) & valid)
    return pa.Array.from_buffers(_TIME, len(array), [array.buffers()[0], pa.py_buffer(at)])


def _validity(valid: Mask) -> Any:
    return pa.py_buffer(np.packbits(valid, bitorder="little"))


def _is_text(data: bytes) -> bool:
    try:
        return data.isascii() or bool(data.decode())
    except UnicodeDecodeError:
        return False


def _texts(frames: Sequence[bytes]) -> Ints:
    """The numbers of the frames that are UTF-8."""
    return np.flatnonzero([_is_text(frame) or not frame for frame in frames])


@cache
def _schema(dataset: str) -> Any:
    return arrow_schema(CONTRACTS[dataset])
