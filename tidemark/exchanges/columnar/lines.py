"""Lines that are spelled alike, read into Arrow columns at once.

Lives here: ``Lines`` (the bytes and where each line lies), where each value lies by a spelling, what proves that a line
is spelled so, and numbers out of text by Arrow's own casts. Doesn't: which value is which column (``reader``), the same
by compiled code, which ``take`` prefers (``native``).

What is taken for granted of the lines: no escape, no control character, valid UTF-8 (``Lines.clean`` tells).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tidemark.contracts.fields import DECIMAL_PRECISION, DECIMAL_SCALE
from tidemark.exchanges.columnar import native
from tidemark.exchanges.columnar.spelling import LONGEST_LITERAL, Spelling

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]

DECIMAL: Final = pa.decimal128(DECIMAL_PRECISION, DECIMAL_SCALE)
INTEGER: Final = pa.int64()
TEXT: Final = pa.string()
_ORDER: Final = (DECIMAL, INTEGER, TEXT)


_COMMA, _QUOTE, _NEWLINE, _MINUS, _DOT, _ZERO, _NINE = b',"\n-.09'
_WORD: Final = 8
#: So that a literal before or after any place lies within the data.
_LEAD: Final = b" " * (_WORD - 1) + b"\n"
_PADDING: Final = bytes(LONGEST_LITERAL + 2 * _WORD)
_BYTE, _ONE_BYTE, _ONES, _HIGH, _LOWER, _ES = (
    np.uint64(n) for n in (0xFF, 8, 0x0101010101010101, 0x8080808080808080, 0x2020202020202020, 0x6565656565656565)
)
#: What is kept of a word when only so many of its bytes count.
_KEEP: Final = np.asarray([(1 << 8 * n) - 1 for n in range(_WORD + 1)], np.uint64)
_LOSE: Final = ~_KEEP
#: The same for a view's first and other bytes by the length of its text; a longer one has its place there instead.
_FIRST: Final = _KEEP[[0, 1, 2, 3, *[4] * 10]]
_REST: Final = _KEEP[[0, 0, 0, 0, *range(_WORD + 1), 0]]
_PLACE: Final = _KEEP[[*[0] * 13, _WORD]]
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
    """Lines between ``starts`` and ``ends`` of ``data``, a newline before and behind each, and padding around."""

    data: bytes
    starts: Ints
    ends: Ints

    @classmethod
    def of(cls, lines: Sequence[bytes]) -> Lines:
        """Lines from their bytes; they may hold anything, newlines too."""
        lengths = np.fromiter(map(len, lines), np.int64, len(lines))
        ends = np.cumsum(lengths + 1) + (len(_LEAD) - 1)
        return cls(b"\n".join([_LEAD[:-1], *lines, _PADDING]), ends - lengths, ends)

    @classmethod
    def split(cls, data: bytes) -> Lines:
        """Lines from text; each newline in it ends one, and its own end does."""
        data = b"".join([_LEAD, data, b"\n", _PADDING])
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE)
        return cls(data, ends[:-1] + 1, ends[1:])

    def __len__(self) -> int:
        return len(self.starts)

    @cached_property
    def bytes(self) -> Bytes:
        """The data as numbers, without the padding behind the last line."""
        return np.frombuffer(self.data, np.uint8)[: -len(_PADDING)]

    @cached_property
    def pairs(self) -> npt.NDArray[np.void]:
        """The sixteen bytes from each byte on."""
        return np.ndarray((len(self.data) - 2 * _WORD + 1,), np.dtype("V16"), self.data, strides=(1,))

    @cached_property
    def words(self) -> Words:
        """The eight bytes from each byte on."""
        return np.ndarray((len(self.data) - _WORD + 1,), np.dtype("<u8"), self.data, strides=(1,))

    def clean(self) -> bool:
        """Whether no line holds an escape, a control character, or what isn't UTF-8."""
        if native.library() is not None:
            if native.odd_bytes(self.data) != len(self) + 1 + len(_PADDING):
                return False
        elif b"\\" in self.data or np.count_nonzero(self.bytes < ord(" ")) != len(self) + 1:
            return False
        try:
            return self.data.isascii() or bool(self.data.decode())
        except UnicodeDecodeError:
            return False


def take(lines: Lines, spelling: Spelling, types: Mapping[int, Any]) -> dict[int, Any]:
    """The values of some slots as Arrow arrays of these types (DECIMAL, INTEGER or TEXT); null where a number is null.

    Texts may be dictionaries.

    Raises:
        MisfitError: some lines are not spelled so, or hold a number that is not as JSON spells it or does not fit.
    """
    if native.library() is None:
        return read(find(lines, spelling), types)
    fits, arrays = native.read(lines.data, lines.starts, lines.ends, spelling, types)
    if not fits.all():
        raise MisfitError(fits)
    return arrays


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
    plan = _plan(spelling)
    literals = np.empty((len(plan.lengths), len(lines)), np.int64)
    literals[0] = lines.starts
    literals[1:-1] = commas.T[plan.commas] - plan.before_comma
    literals[-1] = lines.ends - plan.lengths[-1]
    starts, ends = literals[:-1] + plan.lengths[:-1], literals[1:]
    sound = starts <= ends
    fits = np.ones(len(lines), np.bool_) if sound.all() else np.asarray(sound.all(axis=0))
    for number, at, mask, word in plan.words:
        found = lines.words[at:][literals[number]]
        if mask is not None:
            found &= mask
        fits &= found == word
    if not fits.all():
        raise MisfitError(np.asarray(fits))
    # All quotation marks are in the literals, so that none is inside of a value.
    if np.count_nonzero(lines.bytes == _QUOTE) != len(lines) * spelling.quotes:
        marks = np.add.reduceat(lines.bytes == _QUOTE, lines.starts, dtype=np.int64)
        raise MisfitError(marks == spelling.quotes)
    return Values(lines, spelling, starts, ends)


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a spelling's literals are found by the commas, and the words to compare: of which literal, where, what."""

    lengths: Ints
    commas: Ints
    before_comma: Ints
    words: tuple[tuple[int, int, np.uint64 | None, np.uint64], ...]


@lru_cache(maxsize=256)
def _plan(spelling: Spelling) -> _Plan:
    counts = np.cumsum([literal.count(b",") for literal in spelling.literals])
    parts = [
        (number, at, literal[at : at + _WORD])
        for number, literal in enumerate(spelling.literals)
        for at in sorted({*range(0, len(literal) - _WORD + 1, _WORD), max(len(literal) - _WORD, 0)})
    ]
    return _Plan(
        lengths=np.asarray([[len(literal)] for literal in spelling.literals], np.int64),
        commas=counts[:-2],
        before_comma=np.asarray([[one.index(b",")] for one in spelling.literals[1:-1]], np.int64).reshape(-1, 1),
        words=tuple(
            (number, at, _KEEP[len(part)] if len(part) < _WORD else None, np.uint64(int.from_bytes(part, "little")))
            for number, at, part in parts
        ),
    )


def _commas(lines: Lines, spelling: Spelling) -> Ints:
    """The places of the commas, one row a line."""
    places = np.flatnonzero(lines.bytes == _COMMA)
    if len(places) == len(lines) * spelling.commas:
        table = places.reshape(len(lines), spelling.commas)
        if not spelling.commas or bool(((table[:, 0] >= lines.starts) & (table[:, -1] < lines.ends)).all()):
            return table
    counts = np.searchsorted(places, lines.ends) - np.searchsorted(places, lines.starts)
    raise MisfitError(counts == spelling.commas)


def read(values: Values, types: Mapping[int, Any]) -> dict[int, Any]:
    """The values of some slots as Arrow arrays of these types (DECIMAL, INTEGER or TEXT); null where a number is null.

    Raises:
        MisfitError: a number is not as JSON spells it, or does not fit its type.
    """
    order = sorted(types, key=lambda slot: _ORDER.index(types[slot]))
    kinds = [types[slot] for slot in order]
    numbers, lines = len(kinds) - kinds.count(TEXT), len(values.lines)
    texts = _Texts(values.lines, values.starts[order].ravel(), values.ends[order].ravel())
    null = np.zeros(len(order) * lines, np.bool_)
    if numbers:
        flat = texts.first(numbers * lines)
        bare = np.repeat([not values.spelling.slots[slot].quoted for slot in order[:numbers]], lines)
        null[: len(bare)] = bare & (flat.words & _NULL_MASK == _NULL_WORD) & (flat.lengths == len(_NULL))
        fits = _are_numbers(flat, kinds.count(INTEGER) * lines) | null[: len(bare)]
        if not fits.all():
            raise MisfitError(np.asarray(fits.reshape(numbers, lines).all(axis=0)))
    array = _array(texts, null)
    arrays: dict[int, Any] = {}
    try:
        for kind in _ORDER:
            first, count = len(arrays), kinds.count(kind)
            cast = array[first * lines : (first + count) * lines].cast(kind)
            arrays |= {slot: cast[n * lines : (n + 1) * lines] for n, slot in enumerate(order[first : first + count])}
    except pa.ArrowInvalid:
        raise MisfitError(np.ones(lines, np.bool_)) from None
    return arrays


class _Texts:
    """Texts within the data of lines. ``words`` are their first eight bytes, ``more`` the next eight."""

    def __init__(self, lines: Lines, starts: Ints, ends: Ints) -> None:
        self.lines = lines
        self.starts = starts
        self.ends = ends
        self.lengths = ends - starts
        pairs = lines.pairs[starts].view(np.uint64).reshape(-1, 2)
        self.words, self.more = pairs[:, 0], pairs[:, 1]

    def first(self, count: int) -> _Texts:
        """The first of them."""
        some = object.__new__(_Texts)
        some.lines = self.lines
        for name in ("starts", "ends", "lengths", "words", "more"):
            setattr(some, name, getattr(self, name)[:count])
        return some


def _array(texts: _Texts, null: Mask) -> Any:
    """Texts as an Arrow array of views: length and first four bytes, then the others, or where to find all."""
    views = np.empty((len(null), 2), np.uint64)
    kept = np.minimum(texts.lengths, _INLINE + 1)
    first = texts.words & _FIRST[kept]
    first <<= np.uint64(32)
    first |= texts.lengths.view(np.uint64)
    views[:, 0] = first
    rest = texts.words >> np.uint64(32)
    rest |= texts.more << np.uint64(32)
    rest &= _REST[kept]
    rest |= (texts.starts << 32).view(np.uint64) & _PLACE[kept]
    views[:, 1] = rest
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
    exponents = _have_exponent(texts)
    if whole:
        fits[-whole:] &= ~exponents[-whole:]
    exponent = np.flatnonzero(exponents)
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
    found |= _has_e(texts.more, np.maximum(texts.lengths - _WORD, 0))
    long = np.flatnonzero(texts.lengths > 2 * _WORD)
    for begin in range(2 * _WORD, _LONGEST_NUMBER, _WORD) if len(long) else ():
        words = texts.lines.words[np.minimum(texts.starts[long] + begin, texts.ends[long])]
        found[long] |= _has_e(words, np.maximum(texts.lengths[long] - begin, 0))
    return found


def _has_e(words: Words, lengths: Ints) -> Mask:
    """Whether one of the first ``lengths`` bytes of a word is ``e`` or ``E``: then a byte of ``zero`` is zero."""
    zero = words | _LOWER
    zero ^= _ES
    zero |= _LOSE[np.minimum(lengths, _WORD)]
    return np.asarray((zero - _ONES) & ~zero & _HIGH != 0)


def _usual_exponent(data: Bytes, starts: Ints, ends: Ints) -> Mask:
    """Which of these have an exponent such as in ``7.9276E-4``, ``0E-8`` or ``1.16539E8``.

    That is one of one or two digits, behind a mantissa that it leaves within bounds.
    """
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
