"""The digest of rows: over values and nothing else."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidemark.lake.digest import digest_of, packed, row_hashes, unpacked

AT = datetime(2026, 4, 13, 5, tzinfo=UTC)
DECIMAL = pa.decimal128(38, 18)
SCHEMA = pa.schema(
    [("t", pa.string()), ("d", DECIMAL), ("l", pa.list_(DECIMAL)), ("b", pa.bool_()), ("i", pa.int64()),
     ("x", pa.binary()), ("at", pa.timestamp("us", tz="UTC"))]
)  # fmt: skip
ONE: dict[str, Any] = {
    "t": "a", "d": Decimal("1.5"), "l": [Decimal(1), None], "b": True, "i": 1, "x": b"z", "at": AT
}  # fmt: skip
ROWS = [ONE, dict.fromkeys(ONE), {**ONE, "t": "", "l": [], "x": b""}, {**ONE, "i": -5, "d": Decimal(-3)}]
TABLE = pa.Table.from_pylist(ROWS, SCHEMA)


def digest(*tables: pa.Table) -> tuple[str, str]:
    found = digest_of(tables)
    return found.sequence, found.total


def test_chunks_slices_and_portions_do_not_matter() -> None:
    padded = pa.concat_tables([TABLE.slice(3), TABLE, TABLE.slice(0, 1)])
    assert digest(padded.slice(1, 4)) == digest(TABLE)
    assert digest(pa.concat_tables([TABLE.slice(0, 2), TABLE.slice(2)])) == digest(TABLE)
    assert digest(*(TABLE.slice(n, 1) for n in range(4))) == digest(TABLE)
    many = pa.concat_tables([TABLE] * 3_000)
    assert digest(many) == digest(*(many.slice(n, 999) for n in range(0, many.num_rows, 999)))


@pytest.mark.parametrize("options", [{}, {"use_compliant_nested_type": False}, {"use_dictionary": False}])
def test_a_way_through_parquet_does_not_matter(options: dict[str, Any]) -> None:
    sink = io.BytesIO()
    pq.write_table(TABLE, sink, row_group_size=2, **options)
    assert digest(pq.read_table(io.BytesIO(sink.getvalue()))) == digest(TABLE)
    assert digest(pq.read_table(io.BytesIO(sink.getvalue()), read_dictionary=["t"])) == digest(TABLE)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("t", pa.large_string()),
        ("t", pa.string_view()),
        ("t", pa.dictionary(pa.int8(), pa.string())),
        ("d", pa.decimal128(20, 4)),
        ("d", pa.decimal256(50, 18)),
        ("l", pa.large_list(DECIMAL)),
        ("l", pa.list_(pa.field("element", pa.decimal128(30, 10), nullable=False))),
        ("i", pa.int32()),
        ("x", pa.large_binary()),
        ("at", pa.timestamp("ns", tz="Asia/Seoul")),
    ],
)
def test_the_type_of_a_column_does_not_matter(name: str, kind: pa.DataType) -> None:
    place = SCHEMA.get_field_index(name)
    other = TABLE.set_column(place, name, pa.array(TABLE[name].to_pylist(), kind))
    assert other.schema != TABLE.schema
    assert digest(other) == digest(TABLE)


@pytest.mark.parametrize(
    ("row", "changed"),
    [
        (0, {"t": "b"}), (0, {"t": ""}), (0, {"t": None}), (2, {"t": None}), (0, {"d": Decimal("1.500000000000001")}),
        (0, {"d": Decimal(-1)}), (1, {"d": Decimal(0)}), (0, {"l": [None, Decimal(1)]}), (0, {"l": [Decimal(1)]}),
        (0, {"l": [Decimal(1), Decimal(0)]}), (0, {"l": []}), (1, {"l": []}), (1, {"l": [None]}), (0, {"b": False}),
        (0, {"b": None}), (1, {"b": False}), (0, {"i": 2}), (1, {"i": 0}), (2, {"x": None}), (0, {"x": b""}),
        (0, {"at": None}),
    ],
)  # fmt: skip
def test_each_value_matters_and_null_is_not_empty(row: int, changed: dict[str, Any]) -> None:
    rows = [{**one, **changed} if n == row else one for n, one in enumerate(ROWS)]
    other = digest(pa.Table.from_pylist(rows, SCHEMA))
    assert other[0] != digest(TABLE)[0]
    assert other[1] != digest(TABLE)[1]


def test_items_do_not_wander_between_lists() -> None:
    one, two = Decimal(1), Decimal(2)
    kinds = [[[one, two], []], [[one], [two]], [[], [one, two]], [[two, one], []], [[one, two], None]]
    found = {digest(pa.table({"l": pa.array(kind, pa.list_(DECIMAL))})) for kind in kinds}
    assert len(found) == len(kinds)


def test_values_do_not_wander_between_columns_and_rows() -> None:
    first = pa.table({"a": ["x", "y"], "b": ["y", "x"]})
    assert digest(first)[1] != digest(pa.table({"a": ["x", "x"], "b": ["y", "y"]}))[1]
    assert digest(first) != digest(first.rename_columns(["b", "a"]))


def test_the_sequence_depends_on_the_order_and_the_total_does_not() -> None:
    turned = pa.Table.from_pylist(ROWS[::-1], SCHEMA)
    assert digest(turned)[0] != digest(TABLE)[0]
    assert digest(turned)[1] == digest(TABLE)[1]
    twice = pa.concat_tables([TABLE, TABLE.slice(0, 1)])
    assert digest(twice)[1] != digest(TABLE)[1]


def test_hashes_come_back_from_a_column() -> None:
    hashes = row_hashes(TABLE)
    table = TABLE.append_column("h", packed(hashes))
    assert (unpacked(table["h"]) == hashes).all()
    assert (unpacked(table.slice(1, 2)["h"]) == hashes[:, 1:3]).all()


def test_a_type_that_no_contract_has_is_an_error() -> None:
    with pytest.raises(TypeError, match="no contract has a column of type"):
        row_hashes(pa.table({"a": [{"b": 1}]}))
