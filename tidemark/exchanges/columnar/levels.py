"""The levels of books, which are as many as the market has: cut out of their frames, read as lines of their own.

Lives here: arrays of levels into list columns. Doesn't: the rest of the frame (``reader``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa

from tidemark.exchanges.columnar import lines
from tidemark.exchanges.columnar import spelling as spellings
from tidemark.exchanges.columnar.lines import DECIMAL, Ints, Lines, Mask, MisfitError
from tidemark.exchanges.columnar.shape import Levels, Shape
from tidemark.exchanges.columnar.spelling import Cut, Spelling, UnlearnableError

_LIST: Final = pa.list_(DECIMAL)
#: Between two levels, and the same with a newline instead of the comma, which makes lines of them.
_SEPARATORS: Final = {b"{": (b"},{", b"}\n{"), b"[": (b"],[", b"]\n[")}


def read(shape: Shape, cuts: Sequence[Cut], frames: Sequence[bytes]) -> tuple[list[bytes], dict[str, Any]]:
    """The frames with their arrays emptied, and the list columns.

    Raises:
        MisfitError: some frames hold other levels, or none where they should.
    """
    markers = [cut.marker for cut in cuts]
    if len(markers) == 1:
        pieces = [_emptied_once(frame, markers[0]) for frame in frames]
    else:
        pieces = [_emptied(frame, markers) for frame in frames]
    fits = np.asarray([len(piece) > 0 for piece in pieces])
    if not fits.all():
        raise MisfitError(fits)
    heads, *contents = zip(*pieces, strict=True)
    columns: dict[str, Any] = {}
    for cut, content in zip(cuts, contents, strict=True):
        columns |= _columns(shape.arrays[cut.path], content)
    return list(heads), columns


def _emptied_once(frame: bytes, marker: bytes) -> tuple[bytes, ...]:
    """The frame without the content of its array, and that content; nothing where there is no such array."""
    at = frame.find(marker) + len(marker)
    end = spellings.end_of_array(frame, at)
    return (frame[:at] + frame[end:], frame[at:end]) if at >= len(marker) and end >= 0 else ()


def _emptied(frame: bytes, markers: Sequence[bytes]) -> tuple[bytes, ...]:
    """The same for several arrays, in the order of the frame."""
    head, contents, begin = b"", [], 0
    for marker in markers:
        at = frame.find(marker, begin) + len(marker)
        end = spellings.end_of_array(frame, at)
        if at < begin + len(marker) or end < 0:
            return ()
        head += frame[begin:at]
        contents.append(frame[at:end])
        begin = end
    return (head + frame[begin:], *contents)


def _columns(levels: Levels, contents: Sequence[bytes]) -> dict[str, Any]:
    """The list columns of one array of each frame."""
    filled = [content for content in contents if content]
    if not filled:
        empty = pa.ListArray.from_arrays(pa.array(np.zeros(len(contents) + 1, np.int32)), pa.array([], DECIMAL))
        return dict.fromkeys((name for name in levels.columns.values() if name), empty)
    separator, broken = _SEPARATORS.get(filled[0][:1], (b"", b""))
    if not separator:
        raise MisfitError(np.asarray([not content for content in contents]))
    each = Lines.split(b"\n".join(filled).replace(separator, broken))
    bounds = _bounds(contents, each)
    try:
        numbers = _numbers(levels, each)
    except MisfitError as misfit:
        raise MisfitError(_whole(misfit.fits, bounds)) from None
    columns = {name: numbers[place] for place, name in levels.columns.items() if name is not None}
    lists: dict[str, Any] = {}
    sides: Sequence[tuple[str, ...]] = levels.unpadded or [(name,) for name in columns]
    for side in sides:
        lists |= _lists({name: columns[name] for name in side}, bounds, padded=bool(levels.unpadded))
    return lists


def _bounds(contents: Sequence[bytes], each: Lines) -> Ints:
    """The number of the first level of each frame, and one more at the end."""
    lengths = np.fromiter(map(len, contents), np.int64, len(contents))
    starts = np.cumsum(lengths + (lengths > 0)) - lengths - (lengths > 0)
    return np.append(np.searchsorted(each.starts - each.starts[0], starts), len(each))


def _numbers(levels: Levels, each: Lines) -> dict[str | int, Any]:
    """The numbers of all levels, by their field or place."""
    spelling = _spelling(each.data[each.starts[0] : each.ends[0]])
    if spelling is None or {slot.path for slot in spelling.slots} != {(place,) for place in levels.columns}:
        raise MisfitError(np.zeros(len(each), np.bool_))
    slots = {slot.path[-1]: number for number, slot in enumerate(spelling.slots)}
    arrays = lines.take(each, spelling, dict.fromkeys(slots.values(), DECIMAL))
    if not levels.nullable and any(array.null_count for array in arrays.values()):
        raise MisfitError(np.logical_and.reduce([array.is_valid().to_numpy(False) for array in arrays.values()]))
    return {place: arrays[slot] for place, slot in slots.items()}


@lru_cache(maxsize=64)
def _spelling(level: bytes) -> Spelling | None:
    try:
        return spellings.learn(level).spelling
    except UnlearnableError:
        return None


def _whole(fits: Mask, bounds: Ints) -> Mask:
    """Which frames have only levels that fit."""
    passed = np.concatenate([np.zeros(1, np.int64), np.cumsum(fits)])
    return np.asarray(passed[bounds[1:]] - passed[bounds[:-1]] == np.diff(bounds))


def _lists(columns: Mapping[str, Any], bounds: Ints, *, padded: bool) -> dict[str, Any]:
    """The lists of one side."""
    if padded:
        kept = np.zeros(len(next(iter(columns.values()))), np.bool_)
        for array in columns.values():
            kept |= _nonzero(array)
        if not kept.all():
            bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])[bounds]
            columns = {name: array.filter(pa.array(kept)) for name, array in columns.items()}
    offsets = pa.array(bounds.astype(np.int32))
    return {name: pa.ListArray.from_arrays(offsets, array) for name, array in columns.items()}


def _nonzero(array: Any) -> Mask:
    """Which decimals are neither zero nor null."""
    data = np.frombuffer(array.buffers()[1], np.int64, 2 * len(array), array.offset * 16).reshape(-1, 2)
    nonzero = (data != 0).any(axis=1)
    if array.null_count:
        nonzero &= np.asarray(array.is_valid().to_numpy(zero_copy_only=False), np.bool_)
    return np.asarray(nonzero)
