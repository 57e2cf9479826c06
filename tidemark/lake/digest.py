"""Digests of rows by their values, however the rows are encoded, chunked or typed.

Contains: a hash for each row, the digest of a sequence of rows, the sum that ignores the order of rows. Does not
contain: Parquet (``parquet``), which rows are compared (``compacted``).

A value is hashed as the lake means it: text and bytes by their bytes, integers and times as 64 bits, decimals with 18
digits behind the point. ``list<item>`` and ``list<element>``, dictionaries and plain texts, large and small offsets
give the same hash. Null, the empty text, the empty list and a list of one null give four hashes. A row's hash has 128
bits and finds faults; it does not withstand somebody who wants two rows to be taken for one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tidemark.contracts.fields import DECIMAL_PRECISION, DECIMAL_SCALE

#: Two hashes of 64 bits for each row or value: shape (2, number of rows).
Hashes = npt.NDArray[np.uint64]

PACKED: Final = pa.binary(16)
#: Rows that are hashed at once: few enough for the processor's cache.
_AT_ONCE: Final = 4_096
_MASK: Final = 2**64 - 1
_DECIMAL: Final = pa.decimal128(DECIMAL_PRECISION, DECIMAL_SCALE)
#: splitmix64 (Steele, Lea, Flood 2014): the multipliers of its finalizer, and its step.
_FIRST, _SECOND, _STEP = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB), np.uint64(0x9E3779B97F4A7C15)
_SEEDS: Final = np.array([[0x243F6A8885A308D3], [0x13198A2E03707344]], np.uint64)
_NULL: Final = np.array([[0xA4093822299F31D0], [0x082EFA98EC4E6C89]], np.uint64)


class RowsDigest:
    """Digests of the rows that were added.

    ``rows`` counts them. ``total`` depends on the rows alone, ``sequence`` on their order too. Neither depends on the
    portions in which they were added.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._sequence = hashlib.sha256()
        self._sums = [0, 0]

    def add(self, hashes: Hashes) -> None:
        """Take in rows by their hashes (:func:`row_hashes`)."""
        self.rows += hashes.shape[1]
        self._sequence.update(np.ascontiguousarray(hashes.T).data)
        self._sums = [(n + int(more)) & _MASK for n, more in zip(self._sums, hashes.sum(axis=1), strict=True)]

    @property
    def sequence(self) -> str:
        """SHA-256 over the hashes of the rows in their order: 64 hex digits."""
        return self._sequence.hexdigest()

    @property
    def total(self) -> str:
        """Number of rows and the sum of their hashes: equal for the same rows in any order."""
        return f"{self.rows}-" + "".join(f"{n:016x}" for n in self._sums)


def digest_of(tables: Iterable[pa.Table]) -> RowsDigest:
    """The digest of the rows of ``tables``; see :func:`row_hashes`."""
    digest = RowsDigest()
    for table in tables:
        digest.add(row_hashes(table))
    return digest


def row_hashes(table: pa.Table) -> Hashes:
    """A hash for each row, over the names of the columns and their values.

    Raises:
        TypeError: a column is of a type that no contract has.
        pyarrow.ArrowInvalid: a decimal has more digits than the lake's.
    """
    hashes = np.zeros((2, table.num_rows), np.uint64)
    for start in range(0, table.num_rows, _AT_ONCE):
        some = table.slice(start, _AT_ONCE)
        found = hashes[:, start : start + _AT_ONCE]
        for name, column in zip(some.column_names, some.columns, strict=True):
            found += _value_hashes(column.combine_chunks())
            found += _bytes_hash(name.encode())
            _mix(found)
    return hashes


def packed(hashes: Hashes) -> pa.Array:
    """Hashes as a column, 16 bytes each."""
    data = pa.py_buffer(np.ascontiguousarray(hashes.T).data)
    return pa.Array.from_buffers(PACKED, hashes.shape[1], [None, data])


def unpacked(column: pa.ChunkedArray) -> Hashes:
    """What :func:`packed` packed."""
    array = column.combine_chunks()
    words = np.frombuffer(array.buffers()[1] or b"", np.uint64).reshape(-1, 2)
    return words[array.offset : array.offset + len(array)].T


def _value_hashes(array: pa.Array) -> Hashes:
    """A hash for each value, nulls among them."""
    if array.null_count == len(array):
        return np.broadcast_to(_NULL, (2, len(array)))
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    hashes = _hasher(array.type)(array)
    if array.null_count:
        hashes[:, _numbers(pc.is_null(array))] = _NULL
    return hashes


def _hasher(kind: pa.DataType) -> Callable[[pa.Array], Hashes]:
    types = pa.types
    if types.is_list(kind) or types.is_large_list(kind):
        return _of_lists
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return _of_texts
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind):
        return _of_bytes
    if types.is_decimal(kind):
        return _of_decimals
    if types.is_timestamp(kind):
        return lambda array: _of_integers(array.cast(pa.timestamp("us", kind.tz)).cast(pa.int64()))
    if types.is_integer(kind) or types.is_boolean(kind):
        return lambda array: _of_integers(array.cast(pa.int64()))
    raise TypeError(f"no contract has a column of type {kind}: add it to {__name__}")


def _of_integers(array: pa.Array) -> Hashes:
    return _mix(_numbers(_filled(array, 0)).view(np.uint64) + _SEEDS)


def _of_decimals(array: pa.Array) -> Hashes:
    filled = _filled(array.cast(_DECIMAL), pa.scalar(0, _DECIMAL))
    words = np.frombuffer(filled.buffers()[1] or b"", np.uint64)
    words = words[2 * filled.offset : 2 * (filled.offset + len(filled))]
    return _mix(words[0::2] + words[1::2] * _STEP + _SEEDS)


def _of_texts(array: pa.Array) -> Hashes:
    """Most texts come many times: each is hashed once."""
    encoded = array.dictionary_encode()
    return _of_bytes(encoded.dictionary)[:, _numbers(_filled(encoded.indices, 0))]


def _of_bytes(array: pa.Array) -> Hashes:
    values = array.cast(pa.large_binary()).to_pylist()
    found = [hashlib.blake2b(value or b"", digest_size=16).digest() for value in values]
    return np.ascontiguousarray(np.frombuffer(b"".join(found), np.uint64).reshape(-1, 2).T)


def _of_lists(array: pa.Array) -> Hashes:
    """Each item mixed with its position, summed up, and mixed with the number of items."""
    lengths = _numbers(_filled(pc.list_value_length(array), 0)).astype(np.int64)
    ends = np.cumsum(lengths)
    items = _value_hashes(array.flatten())
    position = (np.arange(items.shape[1]) - np.repeat(ends - lengths, lengths)).astype(np.uint64)
    sums = np.zeros((2, items.shape[1] + 1), np.uint64)
    np.cumsum(_mix(items + position * _STEP), axis=1, out=sums[:, 1:])
    return _mix(sums[:, ends] - sums[:, ends - lengths] + (lengths.astype(np.uint64) + np.uint64(1)) * _STEP)


def _mix(x: Hashes) -> Hashes:
    """The finalizer of splitmix64, in place."""
    x ^= x >> np.uint64(30)
    x *= _FIRST
    x ^= x >> np.uint64(27)
    x *= _SECOND
    x ^= x >> np.uint64(31)
    return x


def _filled(array: pa.Array, value: Any) -> pa.Array:
    return pc.fill_null(array, value) if array.null_count else array


def _bytes_hash(value: bytes) -> Hashes:
    return np.frombuffer(hashlib.blake2b(value, digest_size=16).digest(), np.uint64).reshape(2, 1)


def _numbers(array: pa.Array) -> Any:
    return array.to_numpy(zero_copy_only=False)
