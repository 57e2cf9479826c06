"""Frames in, Arrow columns out, and the numbers of the frames that are left to the exchange's parser.

Lives here: ``Reader``, which learns how the frames of one stream are spelled and reads them by that. Doesn't: the
envelope columns (the sink's), the proof that a line is spelled so (``lines``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemark.contracts import CONTRACTS
from tidemark.contracts.render import arrow_schema
from tidemark.exchanges import values as conversions
from tidemark.exchanges.base import Unparsable
from tidemark.exchanges.columnar import levels, lines
from tidemark.exchanges.columnar import spelling as spellings
from tidemark.exchanges.columnar.lines import DECIMAL, INTEGER, TEXT, Ints, Lines, Mask, MisfitError
from tidemark.exchanges.columnar.shape import Column, Convert, Joined, Shape
from tidemark.exchanges.columnar.spelling import Outline, UnlearnableError

#: Spellings remembered, the last one used first.
_REMEMBERED: Final = 16
#: Examples that one batch may be learnt from.
_LESSONS: Final = 4
#: Fewer frames are not halved any more to find the one that is odd.
_SMALLEST: Final = 64
#: Words whose conversion is remembered.
_WORDS: Final = 20_000
_BETWEEN: Final = "\x1f"
_NULL: Final = "\0"
_TIME: Final = pa.timestamp("us", "UTC")
#: Unix times below these are seconds, milliseconds, microseconds (see ``values.unix_time``).
_UNITS: Final = ((10**11, 1_000_000), (10**14, 1_000), (10**17, 1))


@dataclass(frozen=True, slots=True)
class Part:
    """The columns of some frames, one row a frame; ``frames`` are their numbers, ascending."""

    frames: Ints
    columns: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """A spelling and the shape it is of; ``words`` remembers what the words of each column were converted to."""

    outline: Outline
    shape: Shape
    slots: Mapping[tuple[str | int, ...], int]
    words: dict[Column, dict[str, object]] = field(default_factory=dict)


class Reader:
    """Reads the frames of one dataset. It remembers spellings: one reader a stream is best."""

    def __init__(self, shapes: Sequence[Shape]) -> None:
        self._shapes = shapes
        self._known: list[Known] = []

    def read(self, frames: Sequence[bytes]) -> tuple[list[Part], list[int]]:
        """The columns of the frames that could be read so, and the numbers of all others, ascending.

        A part's columns are as the exchange's parser would make them, to the last digit; a column that isn't there is
        null in all of its rows. Texts may be dictionaries.
        """
        left: list[int] = []
        todo = np.arange(len(frames))
        if not self._shapes or not len(frames):
            return [], list(range(len(frames)))
        together = Lines.of(frames)
        if not together.clean():
            dirty = np.asarray([not Lines.of([frame]).clean() for frame in frames])
            left += np.flatnonzero(dirty).tolist()
            todo = todo[~dirty]
        parts: list[Part] = []
        lessons = _LESSONS
        counts: list[int] = []
        while len(todo) and (len(counts) < len(self._known) or lessons):
            if len(counts) == len(self._known):
                lessons -= 1
                example = len(todo) // 2
                if not self._learn(frames[todo[example]]):
                    left.append(int(todo[example]))
                    todo = np.delete(todo, example)
                continue
            before = len(todo)
            found, todo = _read_all(self._known[len(counts)], frames, together, todo)
            parts += found
            counts.append(before - len(todo))
        self._sort(counts)
        return parts, sorted([*left, *todo.tolist()])

    def _sort(self, counts: Sequence[int]) -> None:
        """The spelling that most frames had is tried first the next time."""
        counted = list(zip(counts, self._known, strict=False))
        counted.sort(key=lambda pair: -pair[0])
        self._known[: len(counted)] = [known for _, known in counted]

    def _learn(self, frame: bytes) -> bool:
        """Remember the spelling of a frame, as the last one, unless it is of none of the shapes."""
        for shape in self._shapes:
            try:
                outline = spellings.learn(frame, shape.arrays.keys(), unwrap=shape.in_array)
            except UnlearnableError:
                continue
            slots = {slot.path: number for number, slot in enumerate(outline.spelling.slots)}
            if slots.keys() <= shape.known and slots.keys() >= shape.required:
                known = Known(outline, shape, slots)
                if all(known.outline != one.outline for one in self._known):
                    del self._known[_REMEMBERED - 1 :]
                    self._known.append(known)
                    return True
        return False


def _read_all(known: Known, frames: Sequence[bytes], together: Lines, numbers: Ints) -> tuple[list[Part], Ints]:
    """All of these frames that are spelled so, and the numbers of the others; ``together`` are all frames as lines."""
    parts: list[Part] = []
    others: list[Ints] = []
    waiting = [numbers]
    while waiting:
        some = waiting.pop()
        try:
            if len(some) == len(frames):
                parts.append(Part(some, _read(known, frames, together)))
            else:
                picked = [frames[n] for n in some]
                parts.append(Part(some, _read(known, picked, Lines.of(picked))))
        except MisfitError as misfit:
            others.append(some[~misfit.fits])
            some = some[misfit.fits]
            if not misfit.fits.all():
                waiting += [some] if len(some) else []
            elif len(some) > _SMALLEST:
                waiting += [some[: len(some) // 2], some[len(some) // 2 :]]
            else:
                others.append(some)
    return parts, np.sort(np.concatenate([np.zeros(0, np.int64), *others]))


def _read(known: Known, frames: Sequence[bytes], together: Lines) -> dict[str, Any]:
    """The columns of frames that are all spelled so; ``together`` are they as lines.

    Raises:
        MisfitError: some are not.
    """
    columns: dict[str, Any] = {}
    if known.outline.cuts:
        heads, columns = levels.read(known.shape, known.outline.cuts, frames)
        together = Lines.of(heads)
    arrays = lines.take(together, known.outline.spelling, _types(known))
    for column in known.shape.columns:
        slot = known.slots.get(column.path)
        if slot is not None:
            array = _converted(column, arrays[slot], known, slot)
            if column.column is not None:
                columns[column.column] = array
    for joined in known.shape.joined:
        columns |= _together(joined, known, arrays, len(frames))
    for name, value in known.shape.constants.items():
        columns[name] = pa.repeat(pa.scalar(value, TEXT), len(frames))
    return columns


def _together(joined: Joined, known: Known, arrays: Mapping[int, Any], count: int) -> dict[str, Any]:
    """Columns that several fields fill: each combination of texts is converted once."""
    none = pa.nulls(count, TEXT)
    fields = [arrays[known.slots[path]].cast(TEXT) if path in known.slots else none for path in joined.paths]
    # No text holds a control character, so that these keep the texts, and null, apart.
    texts = pc.binary_join_element_wise(*fields, _BETWEEN, null_handling="replace", null_replacement=_NULL)
    encoded = texts.dictionary_encode()
    outcomes = [_together_outcome(joined, text.split(_BETWEEN)) for text in encoded.dictionary.to_pylist()]
    fits = np.asarray([outcome is not None for outcome in outcomes])
    if not fits.all():
        raise MisfitError(fits[encoded.indices.to_numpy()])
    schema = _schema(known.shape.dataset)
    return {
        name: pa.array([outcome[n] for outcome in outcomes if outcome], schema.field(name).type).take(encoded.indices)
        for n, name in enumerate(joined.columns)
    }


def _together_outcome(joined: Joined, texts: list[str]) -> tuple[object, ...] | None:
    try:
        return joined.convert(tuple(None if text == _NULL else text for text in texts))
    except Unparsable:
        return None


def _types(known: Known) -> dict[int, Any]:
    """How each value is read. One that is read over must be sound, and in quotes it is."""
    kinds: dict[Convert, Any] = {
        conversions.decimal: DECIMAL,
        conversions.integer: INTEGER,
        conversions.unix_time: INTEGER,
    }
    converted = {known.slots[c.path]: kinds.get(c.convert, TEXT) for c in known.shape.columns if c.path in known.slots}
    slots = known.outline.spelling.slots
    unread = {n: DECIMAL for n, slot in enumerate(slots) if n not in converted and not slot.quoted}
    return converted | unread


def _converted(column: Column, array: Any, known: Known, slot: int) -> Any:
    quoted = known.outline.spelling.slots[slot].quoted
    if column.required and array.null_count:
        raise MisfitError(_mask(array.is_valid()))
    if column.convert in (conversions.decimal, conversions.integer):
        return array
    if column.convert is conversions.unix_time:
        return _times(array)
    if column.convert is conversions.text and quoted:
        return array
    return _by_word(column, array, known, quoted)


def _times(array: Any) -> Any:
    """Unix times of any unit as timestamps."""
    given = np.asarray(array.fill_null(0).to_numpy(), np.int64)
    at = given.copy()
    below = 0
    for limit, factor in _UNITS:
        if factor > 1:
            at[(given >= below) & (given < limit)] *= factor
        below = limit
    fits = (given >= 0) & (given < below)
    if not fits.all():
        raise MisfitError(fits)
    null = ~_mask(array.is_valid()) if array.null_count else None
    return pa.array(at, INTEGER, mask=null).view(_TIME)


def _by_word(column: Column, array: Any, known: Known, quoted: bool) -> Any:
    """A column of few different values: each is converted once, by the parser's own function."""
    encoded = array.dictionary_encode()
    words = encoded.dictionary.to_pylist()
    converted = known.words.setdefault(column, {})
    if len(converted) > _WORDS:
        converted.clear()
    for word in words:
        if word not in converted:
            converted[word] = _outcome(column.convert, word, str(column.path[-1]), quoted)
    outcomes = [converted[word] for word in words]
    if _MISFIT in outcomes or (column.required and None in outcomes):
        fits = np.asarray([one is not _MISFIT and not (column.required and one is None) for one in outcomes])
        raise MisfitError(fits[encoded.indices.to_numpy()])
    if column.column is None:
        return None
    kind = _schema(known.shape.dataset).field(column.column).type
    values = pa.array(outcomes, kind)
    if kind == TEXT and not values.null_count:
        return pa.DictionaryArray.from_arrays(encoded.indices, values)
    return values.take(encoded.indices)


_MISFIT: Final = object()


def _outcome(convert: Callable[[object, str], object], word: str, name: str, quoted: bool) -> object:
    try:
        value = word if quoted else msgspec.json.decode(word)
        if value is None:
            return None
        if isinstance(value, float):
            return _MISFIT
        outcome = convert(value, name)
    except (Unparsable, msgspec.DecodeError):
        return _MISFIT
    return _MISFIT if outcome is None else outcome


def _mask(array: Any) -> Mask:
    return np.asarray(array.to_numpy(zero_copy_only=False), np.bool_)


@cache
def _schema(dataset: str) -> Any:
    return arrow_schema(CONTRACTS[dataset])
