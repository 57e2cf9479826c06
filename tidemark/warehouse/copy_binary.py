"""Arrow record batches as PostgreSQL's binary COPY stream, a column at a time.

Lives here: the encoding, exact for every decimal. Doesn't: connections, transactions, tables (``load``).

No Python object is made for a value: each column becomes an Arrow binary array of ready fields (length, then
payload), and one Arrow kernel joins the fields of each row. Measured on trades (28 columns, 2 cores): twice the pace
of COPY in text or CSV made by Arrow, six times psycopg's row-wise binary COPY. ADBC is as fast, but knows
neither jsonb nor arrays of numeric, and cannot share psycopg's transaction with the ledger row.
"""

from __future__ import annotations

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

Array = npt.NDArray[Any]
_FIXED_NUMERIC = np.dtype(
    [
        ("length", ">i4"),
        ("ndigits", ">i2"),
        ("weight", ">i2"),
        ("sign", ">u2"),
        ("dscale", ">i2"),
        ("digits", ">i2", (_GROUPS,)),
    ]
)


class EncodingError(Exception):
    """A column holds what the warehouse cannot; the message names it."""


def encode(batch: pa.RecordBatch, fields: tuple[Field, ...], load_id: int) -> bytes:
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
    return bytes(memoryview(rows.buffers()[2])[offsets[0] : offsets[-1]])


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
    encoded = _binary(fields.view(np.uint8).reshape(len(fields), fields.dtype.itemsize))
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
    limbs, negative = _magnitudes(column)
    low, limbs = _divide(limbs, 10**9)
    high, limbs = _divide(limbs, 10**9)
    fraction = high * np.uint64(10**9) + low
    tail, limbs = _divide(limbs, 10**8)
    whole = limbs[0] | limbs[1] << np.uint64(32)  # at most 12 digits are left
    fields = np.zeros(len(column), _FIXED_NUMERIC)
    fields["length"], fields["ndigits"], fields["weight"] = _FIXED_NUMERIC.itemsize - 4, _GROUPS, 4
    fields["sign"] = np.where(negative, _NEGATIVE, 0)
    fields["dscale"] = DECIMAL_SCALE - _trailing_zeros(fraction)
    digits = fields["digits"]
    _split(whole, digits[:, 0:3])
    _split(tail, digits[:, 3:5])
    _split(fraction // np.uint64(100), digits[:, 5:9])
    digits[:, 9] = fraction % np.uint64(100) * np.uint64(100)
    return fields


def _magnitudes(column: pa.Array) -> tuple[list[Array], Array]:
    """Absolute unscaled values as four 32-bit limbs (least first), and which of them are negative."""
    words: Array = np.zeros((0, 2), np.uint64)
    if len(column):
        words = np.frombuffer(column.buffers()[1], "<u8", 2 * len(column), 16 * column.offset).reshape(-1, 2)
    if column.null_count:  # what lies under a null is undefined
        words = words * column.is_valid().to_numpy(zero_copy_only=False).astype(np.uint64)[:, None]
    low, high = words[:, 0], words[:, 1]
    negative = high >> np.uint64(63) == 1
    flipped_low = np.where(negative, ~low + np.uint64(1), low)
    carry = (negative & (low == 0)).astype(np.uint64)
    flipped_high = np.where(negative, ~high + carry, high)
    mask, shift = np.uint64(0xFFFF_FFFF), np.uint64(32)
    return [flipped_low & mask, flipped_low >> shift, flipped_high & mask, flipped_high >> shift], negative


def _divide(limbs: list[Array], divisor: int) -> tuple[Array, list[Array]]:
    """Remainder and quotient of long division by a divisor below 2^32."""
    by, shift = np.uint64(divisor), np.uint64(32)
    rest = np.zeros_like(limbs[0])
    quotient: list[Array] = []
    for limb in reversed(limbs):
        value = rest << shift | limb
        whole = value // by
        rest = value - whole * by
        quotient.insert(0, whole)
    return rest, quotient


def _split(values: Array, into: Array) -> None:
    """Write ``values`` into the columns of ``into`` as groups of four digits, most significant first."""
    for place in reversed(range(into.shape[1])):
        into[:, place] = values % np.uint64(10_000)
        values = values // np.uint64(10_000)


def _trailing_zeros(fraction: Array) -> Array:
    """How many of the 18 decimals are zeros at the end (18 for a whole number)."""
    zeros = np.where(fraction == 0, DECIMAL_SCALE, 0)
    rest = np.where(fraction == 0, np.uint64(1), fraction)
    for step in (16, 8, 4, 2, 1):
        power = np.uint64(10**step)
        divisible = rest % power == 0
        rest = np.where(divisible, rest // power, rest)
        zeros = zeros + divisible * step
    return zeros


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
