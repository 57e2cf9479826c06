"""Binary COPY, byte by byte, against PostgreSQL's documented format."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from decimal import Context, Decimal, localcontext

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidemark.contracts import Field, Kind
from tidemark.warehouse import copy_binary

DECIMAL = pa.decimal128(38, 18)


def encoded(kind: Kind, values: list[object], type_: pa.DataType) -> list[bytes]:
    """The column's payloads, one a row (None: null), taken out of the tuples again."""
    batch = pa.record_batch({"x": pa.array(values, type_)})
    data = bytes(copy_binary.encode(batch, (Field("x", kind, ""),), 7))
    found: list[bytes | None] = []
    while data:
        assert struct.unpack_from(">hiq", data) == (2, 8, 7), "two fields, the first the load's id"
        (length,) = struct.unpack_from(">i", data, 14)
        found.append(None if length < 0 else data[18 : 18 + length])
        data = data[18 + max(length, 0) :]
    return found  # type: ignore[return-value]


def numeric(payload: bytes) -> Decimal:
    """PostgreSQL's numeric, decoded as its documentation says."""
    ndigits, weight, sign, dscale = struct.unpack_from(">hhHh", payload)
    digits = struct.unpack_from(f">{ndigits}h", payload, 8)
    with localcontext(Context(prec=60)):
        value = sum((Decimal(d).scaleb(4 * (weight - place)) for place, d in enumerate(digits)), Decimal(0))
        return (-value if sign == 0x4000 else value).quantize(Decimal(1).scaleb(-dscale))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0", "0"),
        ("7", "7"),
        ("-0.5", "-0.5"),
        ("0.000000000000000001", "0.000000000000000001"),
        ("-99999999999999999999.999999999999999999", "-99999999999999999999.999999999999999999"),
        ("116539000", "116539000"),
        ("663504.029621340000000000", "663504.02962134"),
        ("18446744073.709551616", "18446744073.709551616"),
        ("10000", "10000"),
    ],
)
def test_a_decimal_keeps_its_value_and_loses_only_zeros_at_its_end(value: str, shown: str) -> None:
    (payload,) = encoded(Kind.DECIMAL, [Decimal(value)], DECIMAL)
    assert f"{numeric(payload):f}" == shown


#: Unscaled: those that a float's quotient finds, with the values at which it is off by one, and any at all.
QUICK = st.integers(0, 3 * 10**14).flatmap(
    lambda whole: st.integers(-3, 3).map(lambda near: whole * 10**18 + near)
) | st.integers(-(3 * 10**32), 3 * 10**32)
ANY = st.integers(-(10**38) + 1, 10**38 - 1)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(QUICK, max_size=20) | st.lists(ANY | QUICK, max_size=20))
def test_any_decimal_keeps_its_value(unscaled: list[int]) -> None:
    values = [Decimal(value).scaleb(-18, Context(prec=60)) for value in unscaled]
    for value, payload in zip(values, encoded(Kind.DECIMAL, list(values), DECIMAL), strict=True):
        assert numeric(payload) == value
        (shown,) = struct.unpack_from(">h", payload, 6)
        assert shown == max(-value.normalize(Context(prec=60)).as_tuple().exponent, 0)  # type: ignore[operator]


def test_nulls_are_nulls_in_every_kind() -> None:
    types = {
        Kind.TEXT: pa.string(),
        Kind.DECIMAL: DECIMAL,
        Kind.DECIMALS: pa.list_(DECIMAL),
        Kind.INTEGER: pa.int64(),
        Kind.BOOLEAN: pa.bool_(),
        Kind.TIMESTAMP: pa.timestamp("us", "UTC"),
        Kind.JSON: pa.string(),
    }
    for kind, type_ in types.items():
        assert encoded(kind, [None, None], type_) == [None, None], kind


def test_a_column_that_an_older_writer_did_not_know_is_null() -> None:
    batch = pa.record_batch({"y": pa.array([1])})
    data = bytes(copy_binary.encode(batch, (Field("x", Kind.DECIMALS, ""),), 7))
    assert data.endswith(b"\xff\xff\xff\xff")


def test_texts_json_times_and_flags() -> None:
    assert encoded(Kind.TEXT, ["", "리플\t\\N", None], pa.string()) == [b"", "리플\t\\N".encode(), None]
    assert encoded(Kind.JSON, ['{"a":1}'], pa.string()) == [b'\x01{"a":1}']
    assert encoded(Kind.BOOLEAN, [True, False, None], pa.bool_()) == [b"\x01", b"\x00", None]
    moment = datetime(2000, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert encoded(Kind.TIMESTAMP, [moment], pa.timestamp("us", "UTC")) == [struct.pack(">q", 1_000_000)]
    assert encoded(Kind.INTEGER, [2**63 - 1, -1], pa.int64()) == [struct.pack(">q", 2**63 - 1), b"\xff" * 8]


def test_lists_hold_their_own_elements_also_in_a_slice() -> None:
    values = [[Decimal(1)], [], None, [Decimal("2.5"), Decimal("-3")], [Decimal(9)]]
    column = pa.array(values, pa.list_(DECIMAL)).slice(1, 3)
    data = bytes(copy_binary.encode(pa.record_batch({"x": column}), (Field("x", Kind.DECIMALS, ""),), 7))
    empty, null, two = data[14:30], data[44:48], data[66:]
    assert empty == struct.pack(">iiii", 12, 0, 0, 1700)
    assert null == b"\xff\xff\xff\xff"
    assert struct.unpack_from(">iiiii", two) == (1, 0, 1700, 2, 1)
    assert [numeric(two[24 + 32 * n : 52 + 32 * n]) for n in range(2)] == [Decimal("2.5"), Decimal(-3)]


def test_a_column_of_another_type_is_named() -> None:
    batch = pa.record_batch({"x": pa.array(["no number"])})
    with pytest.raises(copy_binary.EncodingError, match="column x should hold integer"):
        copy_binary.encode(batch, (Field("x", Kind.INTEGER, ""),), 7)


def test_no_rows_are_no_bytes() -> None:
    assert copy_binary.encode(pa.record_batch({"x": pa.array([], pa.int64())}), (), 1) == b""
