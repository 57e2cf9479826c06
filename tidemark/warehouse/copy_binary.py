"""Arrow record batches as PostgreSQL's binary COPY stream, a column at a time.

Lives here: the encoding, exact for every decimal. Doesn't: connections, transactions, tables (``load``).

No Python object is made for a value: each column becomes an Arrow binary array of ready fields (length, then
payload), and one Arrow kernel joins the fields of each row. Measured on trades (28 columns, 2 cores): twice the pace
of COPY in text or CSV made by Arrow, six times psycopg's row-wise binary COPY. ADBC is as fast, but knows
neither jsonb nor arrays of numeric, and cannot share psycopg's transaction with the ledger row.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tidemark.contracts import Field, Kind
from tidemark.contracts.fields import DECIMAL_PRECISION, DECIMAL_SCALE

#: Starts the stream: signature, flags, length of the header's extension.
HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
#: Ends the stream: a row with -1 fields.
TRAILER: Final = b"\xff\xff"

_DECIMAL: Final = pa.decimal128(DECIMAL_PRECISION, DECIMAL_SCALE)
_NULL: Final = b"\xff\xff\xff\xff"
_EPOCH_US: Final = 946_684_800_000_000  # PostgreSQL counts from 2000-01-01, Arrow from 1970-01-01
_NUMERIC_OID: Final = 1700
_GROUPS: Final = 10  # 20 digits before the point and 20 behind it, four to a group
_NEGATIVE: Final = 0x4000
_WEIGHT: Final = 4  # of the first group: the fifth before the point
#: A field of numeric as 16-bit words: its length (two words), groups, weight, sign, decimals shown, the groups.
_WORDS: Final = 6 + _GROUPS

Array = npt.NDArray[Any]
#: How many zeros a group of four digits ends with.
_ZEROS: Final = np.array([4, *(len(str(n)) - len(str(n).rstrip("0")) for n in range(1, 10_000))], np.uint8)


class EncodingError(Exception):
    """A column holds what the warehouse cannot; the message names it."""


def encode(batch: pa.RecordBatch, fields: tuple[Field, ...], load_id: int) -> bytes | memoryview:
    """The rows of ``batch`` (columns by name) as binary COPY tuples: ``load_id``, then ``fields`` in order.

    Send :data:`HEADER` before the first batch and :data:`TRAILER` after the last.

    Raises:
        EncodingError: a column has another type than its field says.
    """
    if batch.num_rows == 0:
        return b""
    start = _be(len(fields) + 1, 2) + _be(8, 4) + _be(load_id, 8)
    parts: list[Any] = [pa.scalar(start, pa.binary())]
    for field in fields:
        parts += _field(field, _column(batch, field))
    rows = pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.binary()))
    offsets = np.frombuffer(rows.buffers()[1], np.int32)[rows.offset : rows.offset + len(rows) + 1]
    return memoryview(rows.buffers()[2])[offsets[0] : offsets[-1]]


def _column(batch: pa.RecordBatch, field: Field) -> pa.Array:
    """The field's column; all null where an older writer didn't know it."""
    place = batch.schema.get_field_index(field.name)
    return pa.nulls(batch.num_rows) if place < 0 else batch.column(place)


def _field(field: Field, column: pa.Array) -> list[pa.Array]:
    """The arrays which, joined row by row, are the field with its length."""
    try:
        match field.kind:
            case Kind.TEXT:
                return _sized(column.cast(pa.binary()))
            case Kind.JSON:
                return _sized(column.cast(pa.binary()), b"\x01")
            case Kind.INTEGER:
                return [_integers(column.cast(pa.int64()))]
            case Kind.TIMESTAMP:
                return [_integers(column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()), _EPOCH_US)]
            case Kind.BOOLEAN:
                return [_booleans(column.cast(pa.bool_()))]
            case Kind.DECIMAL:
                return [_fixed(_numerics(column.cast(_DECIMAL)), column)]
            case Kind.DECIMALS:
                return _sized(_arrays(column))
            case Kind.BYTES:
                return _sized(column.cast(pa.binary()))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise EncodingError(f"column {field.name} should hold {field.kind} but is {column.type}: {error}") from error


def _sized(payload: pa.Array, prefix: bytes = b"") -> list[pa.Array]:
    """Length (with ``prefix``) and payload of fields of any length; a null has length -1 and nothing else."""
    lengths = pc.fill_null(pc.binary_length(payload), 0).to_numpy(zero_copy_only=False) + len(prefix)
    heads = np.zeros((len(payload), 4 + len(prefix)), np.uint8)
    heads[:, :4] = lengths.astype(">i4").reshape(-1, 1).view(np.uint8)
    heads[:, 4:] = np.frombuffer(prefix, np.uint8)
    valid = pc.is_valid(payload)
    head = pc.if_else(valid, _binary(heads), pa.scalar(_NULL, pa.binary()))
    return [head, pc.fill_null(payload, b"")]


def _integers(column: pa.Array, minus: int = 0) -> pa.Array:
    values = pc.fill_null(column, 0).to_numpy(zero_copy_only=False)
    fields = np.zeros(len(values), np.dtype([("length", ">i4"), ("value", ">i8")]))
    fields["length"], fields["value"] = 8, values - minus
    return _fixed(fields, column)


def _booleans(column: pa.Array) -> pa.Array:
    fields = np.zeros(len(column), np.dtype([("length", ">i4"), ("value", "u1")]))
    fields["length"], fields["value"] = 1, pc.fill_null(column, False).to_numpy(zero_copy_only=False)
    return _fixed(fields, column)


def _fixed(fields: Array, column: pa.Array) -> pa.Array:
    """Fields that are all equally long, with the nulls of ``column`` put in."""
    width = fields.dtype.itemsize * math.prod(fields.shape[1:])
    encoded = _binary(fields.view(np.uint8).reshape(len(fields), width))
    if not column.null_count:
        return encoded
    return pc.if_else(pc.is_valid(column), encoded, pa.scalar(_NULL, pa.binary()))


def _binary(rows: Array) -> pa.Array:
    """A matrix of bytes as an Arrow array, a row each, without a copy."""
    count, width = rows.shape
    offsets = np.arange(0, (count + 1) * width, width, dtype=np.int32)
    data = np.ascontiguousarray(rows)
    return pa.Array.from_buffers(pa.binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def _numerics(column: pa.Array) -> Array:
    """PostgreSQL's numeric for each value: groups of four digits, and no more decimals shown than the value has.

    The server strips leading and trailing zero groups itself, so all values can be sent equally long.
    """
    low, high, negative = _magnitudes(column)
    head, tail, fraction = (_split if not len(high) or high.max() < _FITS else _split_any)(low, high)
    words = np.empty((_WORDS, len(column)), np.uint16)  # a row each word: whole columns are written at once
    words[0], words[1], words[2], words[3] = 0, 2 * (_WORDS - 2), _GROUPS, _WEIGHT
    words[4] = negative * np.uint16(_NEGATIVE)
    groups = words[6:]
    first, head = _cut(head, 10**8)
    decimals, last = _cut(fraction, 100)
    _group(first, groups[0:1])
    _group(head, groups[1:3])
    _group(tail, groups[3:5])
    for place, half in zip((5, 7), _cut(decimals, 10**8), strict=True):
        _group(half, groups[place : place + 2])
    groups[9] = last * np.uint64(100)
    words[5] = _decimals(groups)
    return words.T.astype(">u2", order="C")


def _magnitudes(column: pa.Array) -> tuple[Array, Array, Array]:
    """Absolute unscaled values as two 64-bit words, low and high, and which of them are negative."""
    words: Array = np.zeros((0, 2), np.uint64)
    if len(column):
        words = np.frombuffer(column.buffers()[1], "<u8", 2 * len(column), 16 * column.offset).reshape(-1, 2)
    if column.null_count:  # what lies under a null is undefined
        words = words * column.is_valid().to_numpy(zero_copy_only=False).astype(np.uint64)[:, None]
    low, high = words[:, 0], words[:, 1]
    negative = high >> np.uint64(63) == 1
    if not negative.any():
        return low, high, negative
    carry = (negative & (low == 0)).astype(np.uint64)
    return np.where(negative, ~low + np.uint64(1), low), np.where(negative, ~high + carry, high), negative


#: High words below this belong to values below 3e14, whose quotient by 10^18 a float gives but for one.
_FITS: Final = 2**44
_ONE: Final = 10**DECIMAL_SCALE


def _split(low: Array, high: Array) -> tuple[Array, Array, Array]:
    """Of each value: the digits before the point but the last eight, these eight, the eighteen behind it."""
    whole = ((high.astype(np.float64) * 2.0**64 + low.astype(np.float64)) / _ONE).astype(np.uint64)
    fraction = (low - whole * np.uint64(_ONE)).view(np.int64)  # small, so it is right without the high words
    off = (fraction >= _ONE).astype(np.int64) - (fraction < 0)
    fraction -= off * _ONE
    whole += off.view(np.uint64)
    return *_cut(whole, 10**8), fraction.view(np.uint64)


def _split_any(low: Array, high: Array) -> tuple[Array, Array, Array]:
    """The same for values of any size, by long division."""
    mask, shift = np.uint64(0xFFFF_FFFF), np.uint64(32)
    limbs = [low & mask, low >> shift, high & mask, high >> shift]
    last, limbs = _divide(limbs, 10**9)
    first, limbs = _divide(limbs, 10**9)
    tail, limbs = _divide(limbs, 10**8)
    return limbs[0] | limbs[1] << shift, tail, first * np.uint64(10**9) + last  # at most 12 digits are left


def _divide(limbs: list[Array], divisor: int) -> tuple[Array, list[Array]]:
    """Remainder and quotient of long division by a divisor below 2^32."""
    shift = np.uint64(32)
    rest = np.zeros_like(limbs[0])
    quotient: list[Array] = []
    for limb in reversed(limbs):
        whole, rest = _cut(rest << shift | limb, divisor)
        quotient.insert(0, whole)
    return rest, quotient


def _cut(values: Array, divisor: int) -> tuple[Array, Array]:
    """Quotient and remainder, twice as fast as numpy's own remainder."""
    whole = values // np.uint64(divisor)
    return whole, values - whole * np.uint64(divisor)


def _group(values: Array, into: Array) -> None:
    """Write ``values`` below 10^8 into the rows of ``into`` as groups of four digits, most significant first."""
    small = values.astype(np.uint32)
    for row in reversed(into):
        left = small // np.uint32(10_000)
        row[:] = small - left * np.uint32(10_000)
        small = left


def _decimals(groups: Array) -> Array:
    """How many of the 18 decimals, the last five of these groups, are left without the zeros at their end."""
    zeros = _ZEROS.take(groups[5])
    for group in groups[6:9]:
        zeros = np.where(group == 0, zeros + np.uint8(4), _ZEROS.take(group))
    last = groups[9]  # two digits and two zeros
    shown: Array = DECIMAL_SCALE - np.where(last == 0, zeros + np.uint8(2), _ZEROS.take(last) - np.uint8(2))
    return shown


def _arrays(column: pa.Array) -> pa.Array:
    """numeric[] without the field's length: header with the number of elements, then the elements."""
    column = column.cast(pa.list_(_DECIMAL))
    offsets = column.offsets.to_numpy()
    elements = column.values
    fields = _fixed(_numerics(elements), elements)
    stops = np.frombuffer(fields.buffers()[1], np.int32)[fields.offset : fields.offset + len(fields) + 1]
    body = pa.Array.from_buffers(
        pa.binary(), len(column), [None, pa.py_buffer(stops[offsets].astype(np.int32)), fields.buffers()[2]]
    )
    counts = np.diff(offsets)
    head = np.zeros((len(column), 5), ">i4")
    head[:, 0], head[:, 1], head[:, 2], head[:, 3], head[:, 4] = 1, elements.null_count > 0, _NUMERIC_OID, counts, 1
    joined = pc.binary_join_element_wise(_array_heads(head, counts), body, pa.scalar(b"", pa.binary()))
    if not column.null_count:
        return joined
    return pc.if_else(column.is_valid(), joined, pa.scalar(None, pa.binary()))


def _array_heads(head: Array, counts: Array) -> pa.Array:
    """Headers of arrays; an empty array has no dimension, so its header is shorter."""
    full = _binary(head.view(np.uint8).reshape(len(head), 20))
    empty = pa.scalar(_be(0, 4) + _be(0, 4) + _be(_NUMERIC_OID, 4), pa.binary())
    return pc.if_else(pa.array(counts > 0), full, empty)


def _be(value: int, width: int) -> bytes:
    return value.to_bytes(width, "big", signed=True)
