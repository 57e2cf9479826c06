"""Lines that are spelled alike, read into Arrow columns at once.

Lives here: ``Lines`` (the bytes and where each line lies), where each value lies by a spelling, what proves a line to be
that spelling, and numbers out of text by Arrow's own casts. Doesn't: which value is which column (``reader``).

What is taken for granted of the lines: no escape, no control character, valid UTF-8 (``Lines.clean`` tells).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tidemark.contracts.fields import DECIMAL_PRECISION, DECIMAL_SCALE
from tidemark.exchanges.columnar.layout import LONGEST_LITERAL, Spelling

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

DECIMAL: Final = pa.decimal128(DECIMAL_PRECISION, DECIMAL_SCALE)
INTEGER: Final = pa.int64()
TEXT: Final = pa.string()
_ORDER: Final = (DECIMAL, INTEGER, TEXT)


_COMMA, _QUOTE, _NEWLINE, _MINUS, _DOT, _ZERO, _NINE = b',"\n-.09'
_WORD: Final = 8
_PADDING: Final = bytes(LONGEST_LITERAL + 2 * _WORD)
_BYTE, _ONE_BYTE, _ONES, _HIGH, _LOWER, _ES = (
    np.uint64(n) for n in (0xFF, 8, 0x0101010101010101, 0x8080808080808080, 0x2020202020202020, 0x6565656565656565)
)
#: What is kept of a word when only so many of its bytes count.
_KEEP: Final = np.asarray([(1 << 8 * n) - 1 for n in range(_WORD + 1)], np.uint64)
_LOSE: Final = ~_KEEP
_NULL: Final = b"null"
_NULL_WORD: Final = np.uint64(int.from_bytes(_NULL, "little"))
_NULL_MASK: Final = _KEEP[len(_NULL)]
#: Texts up to this length stand in Arrow's views themselves.
_INLINE: Final = 12
#: Digits before the point that the lake's decimals hold; a longer number must have its point by then.
_WHOLE_DIGITS: Final = DECIMAL_PRECISION - DECIMAL_SCALE
_LONGEST_NUMBER: Final = 48
_LARGEST_EXPONENT: Final = 18
_LONGEST_EXPONENTIAL: Final = 26


class MisfitError(Exception):
    """Some lines are not what was expected; ``fits`` says which are (all of them: it isn't known which are not)."""

    def __init__(self, fits: Mask) -> None:
        super().__init__(f"{int((~fits).sum())} lines do not fit")
        self.fits = fits


@dataclass(frozen=True)
class Lines:
    """Lines between ``starts`` and ``ends`` of ``data``, a newline behind each; ``data`` ends with a word of padding."""

    data: bytes
    starts: Ints
    ends: Ints

    @classmethod
    def of(cls, lines: Sequence[bytes]) -> Lines:
        """Lines from their bytes; they may hold anything, newlines too."""
        lengths = np.fromiter(map(len, lines), np.int64, len(lines))
        ends = np.cumsum(lengths + 1) - 1
        return cls(b"\n".join([*lines, _PADDING]), ends - lengths, ends)

    @classmethod
    def split(cls, data: bytes) -> Lines:
        """Lines from text; each newline in it ends one, and its own end does."""
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE)
        ends = np.append(ends, len(data))
        return cls(data + b"\n" + _PADDING, np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1]), ends)

    def __len__(self) -> int:
        return len(self.starts)

    @cached_property
    def bytes(self) -> Bytes:
        """The data as numbers, without the padding."""
        return np.frombuffer(self.data, np.uint8)[: -len(_PADDING)]

    @cached_property
    def words(self) -> npt.NDArray[np.uint64]:
        """The eight bytes from each byte on."""
        return np.ndarray((len(self.data) - _WORD + 1,), np.dtype("<u8"), self.data, strides=(1,))

    def clean(self) -> bool:
        """Whether no line holds an escape, a control character, or what isn't UTF-8."""
        if b"\\" in self.data or np.count_nonzero(self.bytes < ord(" ")) != len(self):
            return False
        try:
            return self.data.isascii() or bool(self.data.decode())
        except UnicodeDecodeError:
            return False


@dataclass(frozen=True, slots=True)
class Values:
    """Where the values of lines lie: one row a line, one column a slot."""

    lines: Lines
    spelling: Spelling
    starts: Ints
    ends: Ints


def find(lines: Lines, spelling: Spelling) -> Values:
    """Where the values of lines lie, if all are spelled so.

    Raises:
        MisfitError: some are not.
    """
    commas = _commas(lines, spelling)
    slots = len(spelling.slots)
    starts, ends = np.empty((slots, len(lines)), np.int64), np.empty((slots, len(lines)), np.int64)
    first, *between, last = spelling.literals
    fits = _agree(lines, lines.starts, first)
    starts[0] = lines.starts + len(first)
    passed = first.count(b",")
    for number, literal in enumerate(between):
        ends[number] = commas[:, passed] - literal.index(b",")
        starts[number + 1] = ends[number] + len(literal)
        fits &= _agree(lines, ends[number], literal)
        passed += literal.count(b",")
    ends[-1] = lines.ends - len(last)
    fits &= _agree(lines, np.maximum(ends[-1], 0), last)
    fits &= (starts <= ends).all(axis=0)
    if not fits.all():
        raise MisfitError(fits)
    # All quotation marks are in the literals, so that none is inside of a value.
    if np.count_nonzero(lines.bytes == _QUOTE) != len(lines) * spelling.quotes:
        marks = np.add.reduceat(lines.bytes == _QUOTE, lines.starts, dtype=np.int64)
        raise MisfitError(marks == spelling.quotes)
    return Values(lines, spelling, starts, ends)


def _commas(lines: Lines, spelling: Spelling) -> Ints:
    """The places of the commas, one row a line."""
    places = np.flatnonzero(lines.bytes == _COMMA)
    if len(places) == len(lines) * spelling.commas:
        table = places.reshape(len(lines), spelling.commas)
        if not spelling.commas or bool(((table[:, 0] >= lines.starts) & (table[:, -1] < lines.ends)).all()):
            return table
    counts = np.searchsorted(places, lines.ends) - np.searchsorted(places, lines.starts)
    raise MisfitError(counts == spelling.commas)


def _agree(lines: Lines, places: Ints, literal: bytes) -> Mask:
    """Which lines hold ``literal`` at their place."""
    agree = np.ones(len(places), np.bool_)
    for at in range(0, len(literal), _WORD):
        if 0 < len(literal) - _WORD < at:
            at = len(literal) - _WORD
        part = literal[at : at + _WORD]
        found = lines.words[at:][places]
        if len(part) < _WORD:
            found &= _KEEP[len(part)]
        agree &= found == np.uint64(int.from_bytes(part, "little"))
    return agree


def read(values: Values, types: Mapping[int, Any]) -> dict[int, Any]:
    """The values of some slots as Arrow arrays of these types (DECIMAL, INTEGER or TEXT); null where a number is null.

    Raises:
        MisfitError: a number is not as JSON spells it, or does not fit its type.
    """
    order = sorted(types, key=lambda slot: _ORDER.index(types[slot]))
    numbers = sum(kind != TEXT for kind in types.values())
    texts = _Texts(values.lines, values.starts[order], values.ends[order])
    null = np.zeros(texts.lengths.shape, np.bool_)
    bare = [n for n in range(numbers) if not values.spelling.slots[order[n]].quoted]
    null[bare] = (texts.words[bare] & _NULL_MASK == _NULL_WORD) & (texts.lengths[bare] == len(_NULL))
    if numbers:
        whole = sum(kind == INTEGER for kind in types.values())
        fits = _are_numbers(texts.first(numbers), len(values.lines) * whole).reshape(numbers, -1) | null[:numbers]
        if not fits.all():
            raise MisfitError(fits.all(axis=0))
    views = texts.views()
    try:
        return {slot: _array(texts, views[n], null[n]).cast(types[slot]) for n, slot in enumerate(order)}
    except pa.ArrowInvalid:
        raise MisfitError(np.ones(len(values.lines), np.bool_)) from None


class _Texts:
    """Texts within the data of lines, in an array of any shape. ``words`` are their first eight bytes."""

    def __init__(self, lines: Lines, starts: Ints, ends: Ints) -> None:
        self.lines = lines
        self.starts = starts
        self.ends = ends
        self.lengths = ends - starts
        self.words = lines.words[starts]

    def first(self, rows: int) -> _Texts:
        """The first rows, flat."""
        some = object.__new__(_Texts)
        some.lines = self.lines
        for name in ("starts", "ends", "lengths", "words"):
            setattr(some, name, getattr(self, name)[:rows].ravel())
        return some

    def views(self) -> npt.NDArray[np.uint64]:
        """Arrow's string views of them: length and first four bytes, then the other eight, or where to find them."""
        views = np.empty((*self.lengths.shape, 2), np.uint64)
        lengths = self.lengths.astype(np.uint64)
        short = self.lengths <= _INLINE
        first = self.words & _KEEP[np.minimum(self.lengths, 4)]
        views[..., 0] = lengths | (first << np.uint64(32))
        rest = self.lines.words[self.starts + 4] & _KEEP[np.clip(self.lengths - 4, 0, _WORD)]
        views[..., 1] = np.where(short, rest, self.starts.astype(np.uint64) << np.uint64(32))
        return views


def _array(texts: _Texts, views: npt.NDArray[np.uint64], null: Mask) -> Any:
    """Views as an Arrow array."""
    nulls = int(np.count_nonzero(null))
    validity = pa.py_buffer(np.packbits(~null, bitorder="little")) if nulls else None
    buffers = [validity, pa.py_buffer(views), pa.py_buffer(texts.lines.data)]
    return pa.Array.from_buffers(pa.string_view(), len(null), buffers, nulls)


def _are_numbers(texts: _Texts, whole: int) -> Mask:
    """Which texts are numbers as JSON spells them, such that Arrow reads them to the last digit.

    The last ``whole`` of them are read as integers. Arrow alone would take ``+1``, ``007``, ``.5``, ``1.`` or ``0x1F``
    too, and a number far too large would overflow.
    """
    data, words, lengths = texts.lines.bytes, texts.words, texts.lengths
    minus = words & _BYTE == _MINUS
    if minus.any():
        words = np.where(minus, words >> _ONE_BYTE, words)
        lengths = lengths - minus
    first = words.astype(np.uint8)
    fits = _is_digit(first) & _is_digit(data[texts.ends - 1]) & (lengths > 0)
    # What follows a leading zero is a point, an exponent (neither in an integer), or no part of the number.
    leading = (first == _ZERO) & (lengths > 1)
    if leading.any():
        fits &= ~(leading & _is_digit((words >> _ONE_BYTE).astype(np.uint8)))
        fits[-whole or len(fits) :] &= ~leading[-whole or len(fits) :]
    long = np.flatnonzero(lengths > _WHOLE_DIGITS)
    if len(long):
        fits[long] &= _point_in_time(data, texts.starts[long], texts.lengths[long])
    exponent = np.flatnonzero(_have_exponent(texts))
    if len(exponent):
        fits[exponent] &= _usual_exponent(data, texts.starts[exponent], texts.ends[exponent])
    return np.asarray(fits)


def _is_digit(byte: Any) -> Mask:
    return np.asarray((byte >= _ZERO) & (byte <= _NINE))


def _point_in_time(data: Bytes, starts: Ints, lengths: Ints) -> Mask:
    """Which of these long numbers have no more digits before the point than the lake holds."""
    window = starts[:, None] + np.arange(_WHOLE_DIGITS + 1)
    points = data[np.minimum(window, len(data) - 1)] == _DOT
    return np.asarray(points.any(axis=1) & (lengths <= _LONGEST_NUMBER))


def _have_exponent(texts: _Texts) -> Mask:
    """Which texts hold an ``e`` or ``E``."""
    found = _has_e(texts.words, texts.lengths)
    for begin in range(_WORD, _LONGEST_NUMBER, _WORD):
        longer = np.flatnonzero(texts.lengths > begin)
        if not len(longer):
            break
        found[longer] |= _has_e(texts.lines.words[texts.starts[longer] + begin], texts.lengths[longer] - begin)
    return found


def _has_e(words: npt.NDArray[np.uint64], lengths: Ints) -> Mask:
    """Whether one of the first ``lengths`` bytes of a word is ``e`` or ``E``: then a byte of ``zero`` is zero."""
    zero = words | _LOWER
    zero ^= _ES
    zero |= _LOSE[np.minimum(lengths, _WORD)]
    return np.asarray((zero - _ONES) & ~zero & _HIGH != 0)


def _usual_exponent(data: Bytes, starts: Ints, ends: Ints) -> Mask:
    """Which of these have an exponent such as in ``7.9276E-4``, ``0E-8`` or ``1.16539E8``: of one or two digits, behind
    a mantissa that it leaves within bounds."""
    marks = np.zeros_like(ends)
    for distance in (4, 3, 2):
        place = np.maximum(ends - distance, starts)
        marks = np.where(data[place] | 0x20 == ord("e"), place, marks)
    sign = data[marks + 1]
    negative = sign == _MINUS
    digits = ends - marks - 1 - (negative | (sign == ord("+")))
    units, tens = data[ends - 1] - np.uint8(_ZERO), data[ends - 2] - np.uint8(_ZERO)
    power = np.where(digits == 2, 10 * tens.astype(np.int64), 0) + units
    usual = (marks > starts) & (units < 10) & ((digits == 1) | ((digits == 2) & (tens < 10)))
    usual &= _is_digit(data[marks - 1]) & (ends - starts <= _LONGEST_EXPONENTIAL)
    whole = np.where(data[starts + 1] == _DOT, 1, marks - starts)
    return np.asarray(usual & np.where(negative, power <= _LARGEST_EXPONENT, whole + power <= _WHOLE_DIGITS))
