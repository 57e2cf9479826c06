"""Rows to Parquet and back, to the last digit; footers; what does not fit."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streaming.consumer import records
from streaming.consumer.buffer import Buffer
from streaming.consumer.columns import BAD_VALUE, Columns
from streaming.consumer.decode import PARSER_ERROR, Dead, Decoder
from tests.unit.lake.memory_store import MemoryStore
from tidemark.contracts import CONTRACTS
from tidemark.exchanges.base import Ignored
from tidemark.lake import parquet
from tidemark.lake.chain import Chain
from tidemark.lake.parquet import CorruptObjectError, Footer, FrameSum

CHAIN = Chain("raw.upbit.orderbook.v1", "cluster", 2, 1)
AT = datetime(2026, 4, 13, 1, 2, 3, 456789, tzinfo=UTC)
ROW: dict[str, Any] = {
    "exchange": "upbit", "market": "BTC-KRW", "code": "KRW-BTC", "event_at": AT,
    "ask_prices": [Decimal("0.000000000000000001"), Decimal("99999999999999999999.999999999999999999")],
    "ask_sizes": [], "bid_prices": None, "extra": '{"new":"필드"}', "source": "ws", "received_at": AT,
    "kafka_offset": 2**62, "item": 0, "frame": b"\x00\xff",
}  # fmt: skip


def footer(rows: int = 1, **more: Any) -> Footer:
    return Footer(CHAIN.topic, 1, "cluster", 2, 10, 19, rows=rows, **more)


def test_rows_come_back_as_they_went() -> None:
    data = parquet.write(CONTRACTS["orderbook"], [ROW], footer())
    table = parquet.read(data)
    (row,) = table.to_pylist()
    assert {name: row[name] for name in ROW} == ROW
    assert all(value is None for name, value in row.items() if name not in ROW)
    assert table.column_names == [f.name for f in CONTRACTS["orderbook"].columns]
    assert parquet.read(data, ["item"]).column_names == ["item"]


@pytest.mark.parametrize("dataset", sorted(CONTRACTS))
def test_strings_alone_are_in_dictionaries_and_all_is_zstd(dataset: str) -> None:
    rows = [{"exchange": "upbit", "received_at": AT, "item": n, "frame": b"x"} for n in range(5)]
    group = pq.read_metadata(pa.BufferReader(parquet.write(CONTRACTS[dataset], rows, footer(5)))).row_group(0)
    columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    assert {c.compression for c in columns.values()} == {"ZSTD"}
    with_dictionary = {name for name, c in columns.items() if c.has_dictionary_page}
    assert "exchange" in with_dictionary
    assert not with_dictionary & {"received_at", "item", "frame", "price", "kafka_offset"}


@pytest.mark.parametrize(
    "bad",
    [
        {"ask_prices": [Decimal("0.0000000000000000001")]},
        {"ask_prices": [Decimal("1e20")]},
        {"kafka_offset": 2**63},
        {"market": 5},
        {"no_such_column": 1},
        {"market": "\ud800"},
    ],
)
def test_a_value_that_does_not_fit_is_an_error_and_never_rounded(bad: dict[str, Any]) -> None:
    with pytest.raises(parquet.VALUE_ERRORS):
        parquet.to_batch(CONTRACTS["orderbook"], [{**ROW, **bad}])


def test_a_footer_comes_back_as_it_went_and_is_read_from_the_end() -> None:
    full = footer(
        parsed=7, dead=2, ignored=1, fingerprint="ab", dead_reasons={"not_json": 2},
        frames=(FrameSum("c1", 1_776_038_400, 9, 1, 10, 2**70),), received_min=1, received_max=2**62,
    )  # fmt: skip
    assert Footer.from_json(full.to_json()) == full
    assert full.offsets == 10
    noise = {**ROW, "frame": os.urandom(300_000)}
    store = MemoryStore()
    store.put_new("a/b", parquet.write(CONTRACTS["orderbook"], [noise], full))
    asked: list[int] = []
    real = store.get_tail
    store.get_tail = lambda path, n: (asked.append(n), real(path, n))[1]  # type: ignore[method-assign]
    store.get = None  # type: ignore[method-assign, assignment]
    assert parquet.read_footer(store, "a/b") == full
    assert asked == [65_536]


def test_a_footer_longer_than_the_first_look_is_read_whole() -> None:
    many = footer(frames=tuple(FrameSum(f"connection-{n:05d}", 0, 1, 1, 1, 1) for n in range(4_000)))
    store = MemoryStore()
    store.put_new("a/b", parquet.write(CONTRACTS["orderbook"], [ROW], many))
    assert parquet.read_footer(store, "a/b") == many


def test_a_footer_of_a_later_version_can_be_read() -> None:
    later = footer().to_json()[:-1] + ',"colour":"blue"}'
    assert Footer.from_json(later) == footer()


@pytest.mark.parametrize("data", [b"", b"PAR1", b"not parquet at all" * 10, b"\xff\xff\xff\x7fPAR1"])
def test_what_is_no_object_of_ours_is_named(data: bytes) -> None:
    store = MemoryStore()
    store.put_new("a/b", data)
    with pytest.raises(CorruptObjectError, match="a/b"):
        parquet.read_footer(store, "a/b")
    with pytest.raises(CorruptObjectError):
        parquet.read(data)


def test_a_truncated_object_is_corrupt() -> None:
    data = parquet.write(CONTRACTS["orderbook"], [ROW], footer())
    with pytest.raises(CorruptObjectError):
        parquet.footer_of(data[: len(data) // 2])


def test_a_footer_must_count_the_rows() -> None:
    with pytest.raises(ValueError, match="counts 2 rows, there are 1"):
        parquet.write(CONTRACTS["orderbook"], [ROW], footer(rows=2))


def test_a_file_of_an_older_contract_gets_the_new_columns_as_null() -> None:
    table = parquet.read(parquet.write(CONTRACTS["orderbook"], [ROW], footer()))
    older = table.drop_columns(["extra"])
    conformed = parquet.conform(older, CONTRACTS["orderbook"])
    assert conformed.schema.names == table.schema.names
    assert conformed["extra"].to_pylist() == [None]
    assert conformed["ask_prices"].to_pylist() == [ROW["ask_prices"]]


# --- what the sink gathers ----------------------------------------------------------------------------------


class Scripted(Decoder):
    """A decoder that says what it is told to."""

    def __init__(self, outcomes: list[Any]) -> None:
        super().__init__(CHAIN)
        self.outcomes = outcomes

    def decode(self, record: records.Record) -> Any:
        return self.outcomes[record.offset - 10]


def record(offset: int, frame: int = 1) -> records.Record:
    headers = (("received_ns", b"%d" % (offset * 10**9)), ("connection", b"c"), ("frame", b"%d" % frame))
    return records.make(offset, 0, b"k", b"v", headers)


def test_one_value_that_fits_no_column_makes_one_dead_letter() -> None:
    good = {"received_at": AT, "item": 0}
    wide = {**good, "ask_prices": [Decimal("1e30")]}
    buffer = Buffer(
        CHAIN,
        Columns(Scripted([[good], [good, wide], Ignored("status"), [good, good], Dead("x", "")])),
        10,
        lambda: 0.0,
    )
    for offset in range(10, 15):
        buffer.add(record(offset, frame=offset))
    said, data = buffer.seal()
    assert (said.start, said.end, said.rows, said.parsed, said.dead, said.ignored) == (10, 14, 3, 2, 2, 1)
    assert said.dead_reasons == {BAD_VALUE: 1, "x": 1}
    assert sorted(letter.record.offset for letter in buffer.dead) == [11, 14]
    assert said.frames == (FrameSum("c", 0, 5, 10, 14, 60),)
    assert (said.received_min, said.received_max) == (10 * 10**9, 13 * 10**9)
    assert parquet.footer_of(data) == said
    assert parquet.read(data).num_rows == 3
    assert buffer.seal() == (said, data)  # sealing takes nothing away
    with pytest.raises(ValueError, match="offset 20 is not the next one"):
        buffer.add(record(20))


def test_a_parser_that_fails_unforeseen_makes_a_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    from tidemark.exchanges import registry

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(registry, "read", broken)
    outcome = Decoder(CHAIN).decode(record(10))
    assert outcome == Dead(PARSER_ERROR, "ZeroDivisionError: a fault of ours")


@pytest.mark.parametrize(
    ("headers", "received_ns", "connection", "frame_no"),
    [
        ((), 7_000_000, None, None),
        ((("received_ns", b"x"), ("connection", b"\xff"), ("frame", b"-1")), 7_000_000, "\\xff", None),
        ((("received_ns", b"5"), ("connection", b"c"), ("frame", b"9")), 5, "c", 9),
        ((("received_ns", None), ("connection", None), ("frame", None)), 7_000_000, None, None),
        ((("received_ns", b"9" * 30), ("frame", b"9" * 30)), 7_000_000, None, None),
    ],
)
def test_headers_are_read_as_far_as_they_can_be(
    headers: records.Headers, received_ns: int, connection: str | None, frame_no: int | None
) -> None:
    made = records.make(0, 7, None, None, headers)
    assert (made.received_ns, made.connection, made.frame_no) == (received_ns, connection, frame_no)
    assert made.value == b""
