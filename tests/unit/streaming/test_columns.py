"""Batches of records: by the column as one by one, with the same rows, dead letters and accounts; and what is odd."""

from __future__ import annotations

import json
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streaming.consumer import quality, records
from streaming.consumer.buffer import Buffer
from streaming.consumer.columns import Columns
from streaming.consumer.decode import Dead, Decoder
from streaming.consumer.records import Headers, Record
from tests.exchanges.upbit import samples
from tidemark.contracts import CONTRACTS
from tidemark.exchanges.base import Ignored
from tidemark.lake import parquet
from tidemark.lake.chain import Chain
from tidemark.lake.parquet import Footer

CHAIN = Chain("raw.upbit.trade.v1", "cluster", 2, 1)
HOUR_NS = 3_600 * 10**9
USUAL: Headers = (("received_ns", b"1776038400000000123"), ("connection", b"c1"), ("frame", b"7"))
HEADERS: list[Headers] = [
    USUAL,
    USUAL,
    (("received_ns", b"1776042000000000000"), ("connection", b"c2"), ("frame", b"%d" % 2**63)),
    (("received_ns", b"1776038400000000000"), ("connection", b"c1"), ("frame", b"%d" % (2**63 - 1))),
    (("received_ns", b"x"), ("connection", b"\xff"), ("frame", b"0")),
    (("connection", b"c1"), ("received_ns", b"1776038400000000123"), ("frame", b" 8 ")),
    (("received_ns", None), ("connection", None), ("frame", None)),
    (),
    (*USUAL, ("kind", b"oversized")),
    (*USUAL[:2], ("kind", b"new")),
]
VALUES = [
    samples.TRADE, samples.TRADE, samples.TRADE_SHORT, samples.TRADE_2021, samples.STATUS, samples.CANDLE, b"",
    b"no JSON", samples.TRADE[:-1] + b',"new":[1.50,"x"]}', b"[" + samples.TRADE + b"," + samples.TRADE_SHORT + b"]",
    samples.TRADE.replace(b"109649000.0", b"1" * 30), samples.TRADE.replace(b"KRW-BTC", b"KRW BTC"),
]  # fmt: skip


class Message:
    """What confluent-kafka hands out."""

    def __init__(self, offset: int, value: bytes | None, headers: Headers) -> None:
        self._offset, self._value, self._headers = offset, value, headers

    def offset(self) -> int:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_776_038_400_000 + self._offset

    def key(self) -> bytes:
        return b"KRW-BTC"

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return list(self._headers) or None


def messages(draw: st.DrawFn, start: int) -> list[Message]:
    usual = draw(st.booleans())
    found = draw(
        st.lists(st.tuples(st.sampled_from([*VALUES, None]), st.sampled_from(HEADERS)), min_size=1, max_size=8)
    )
    return [Message(start + n, value, USUAL if usual else named) for n, (value, named) in enumerate(found)]


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_batches_are_read_as_records_are_one_by_one(data: st.DataObject) -> None:
    buffer = Buffer(CHAIN, Columns(Decoder(CHAIN)), 100, lambda: 0.0)
    alone: list[Record] = []
    for _ in range(data.draw(st.integers(1, 3))):
        some = data.draw(st.composite(lambda draw: messages(draw, buffer.next))())
        alone += [records.from_message(message) for message in some]
        batch = records.of_messages(some)
        assert batch is not None
        assert [batch.record(n) for n in range(len(batch))] == alone[-len(some) :]
        buffer.extend(batch)
    footer, content = buffer.seal()
    check_account(footer, buffer, alone)
    rows = [row for record in alone if isinstance(outcome := Decoder(CHAIN).decode(record), list) for row in outcome]
    wanted = parquet.to_batch(CONTRACTS["trade"], rows)
    table = parquet.read(content)
    assert table.schema.equals(wanted.schema, check_metadata=True) or table.schema.equals(wanted.schema)
    assert table.to_pylist() == wanted.to_pylist()


def check_account(footer: Footer, buffer: Buffer, alone: list[Record]) -> None:
    outcomes = [Decoder(CHAIN).decode(record) for record in alone]
    parsed = [record for record, outcome in zip(alone, outcomes, strict=True) if isinstance(outcome, list)]
    assert (footer.start, footer.end) == (100, 99 + len(alone))
    assert footer.ignored == sum(isinstance(outcome, Ignored) for outcome in outcomes)
    assert footer.parsed == len(parsed)
    assert [(d.record, d.dead) for d in buffer.dead] == [
        (record, outcome) for record, outcome in zip(alone, outcomes, strict=True) if isinstance(outcome, Dead)
    ]
    assert footer.fingerprint == alone[-1].fingerprint
    assert footer.received_min == min((record.received_ns for record in parsed), default=None)
    assert footer.received_max == max((record.received_ns for record in parsed), default=None)
    sums: dict[tuple[str, int], list[int]] = {}
    for record in alone:
        if record.connection is not None and record.frame_no is not None:
            sums.setdefault((record.connection, record.hour), []).append(record.frame_no)
    assert {(f.connection, f.hour): (f.count, f.min, f.max, f.sum) for f in footer.frames} == {
        key: (len(found), min(found), max(found), sum(found)) for key, found in sums.items()
    }


def test_a_batch_with_a_hole_is_none() -> None:
    assert records.of_messages([Message(1, b"x", USUAL), Message(3, b"x", USUAL)]) is None


def test_frames_can_be_left_out() -> None:
    buffer = Buffer(CHAIN, Columns(Decoder(CHAIN), keep_frames=False), 0, lambda: 0.0)
    for offset, value in enumerate([samples.TRADE, b"[" + samples.TRADE + b"," + samples.TRADE_SHORT + b"]"]):
        buffer.add(records.make(offset, 0, b"k", value, USUAL))
    table = parquet.read(buffer.seal()[1])
    assert table.num_rows == 3
    assert table["frame"].null_count == 3


def test_what_is_packed_is_read_as_the_contract_says() -> None:
    buffer = Buffer(CHAIN, Columns(Decoder(CHAIN)), 0, lambda: 0.0)
    buffer.add(records.make(0, 0, b"k", samples.TRADE, USUAL))
    footer, content = buffer.seal()
    assert parquet.read(content).schema.equals(parquet.schema_of("trade"))
    assert parquet.footer_of(content) == footer
    import pyarrow as pa

    column = pq.read_metadata(pa.BufferReader(content)).row_group(0).column(1)
    assert (column.path_in_schema, column.has_dictionary_page, column.is_stats_set) == ("market", True, True)


# --- what is odd ---------------------------------------------------------------------------------------------

AT = 1_789_874_437_574


def trade(number: int, at: int = AT, code: str = "KRW-BTC", **changed: Any) -> bytes:
    message = {
        "type": "trade",
        "code": code,
        "trade_timestamp": at,
        "trade_price": 5.5,
        "trade_volume": 1,
        "ask_bid": "BID",
    }
    return json.dumps(message | {"sequential_id": number} | changed).encode()


def found(topic: str, frames: list[bytes], received_ms: int = AT + 10) -> dict[str, int]:
    chain = Chain(topic, "cluster", 0, 0)
    buffer = Buffer(chain, Columns(Decoder(chain)), 0, lambda: 0.0)
    for offset, frame in enumerate(frames):
        buffer.add(records.make(offset, 0, b"k", frame, (("received_ns", b"%d" % (received_ms * 10**6)),)))
    footer, content = buffer.seal()
    assert footer.rows == len(frames)  # nothing is dropped for it
    assert parquet.footer_of(content).quality == footer.quality
    return dict(footer.quality)


@pytest.mark.parametrize(
    ("frames", "odd"),
    [
        ([trade(1), trade(2), trade(3)], {}),
        ([trade(1), trade(2), trade(1), trade(1)], {"duplicate": 2}),
        ([trade(1), trade(1, code="KRW-ETH")], {}),
        ([trade(1), trade(2, AT - 1), trade(3, AT - 2), trade(4, AT)], {"late": 2}),
        ([trade(1), trade(2, AT - 1, code="KRW-ETH")], {}),
        (
            [trade(1, trade_price=0), trade(2, trade_price=-1), trade(3, trade_volume=0.0)],
            {"range.price": 2, "range.size": 1},
        ),
        ([trade(1, trade_price=None, ask_bid=None)], {"null.price": 1, "null.side": 1}),
        ([trade(None), trade(None)], {"null.trade_id": 2}),  # type: ignore[arg-type]
        ([trade(1, AT + 1_010), trade(2, AT + 1_011)], {"clock": 1}),
        ([trade(1, trade_timestamp=None)], {"null.event_at": 1}),
        ([trade(1, AT + 900_010), trade(2, AT + 900_011)], {"clock": 2, "implausible.event_at": 1}),
        ([trade(1, 4_102_444_800_000)], {"clock": 1, "implausible.event_at": 1}),
        ([trade(1, 0)], {"implausible.event_at": 1}),
        ([trade(1, 4_102_444_800_000), trade(2), trade(3)], {"clock": 1, "implausible.event_at": 1}),
    ],
)
def test_odd_trades_are_counted(frames: list[bytes], odd: dict[str, int]) -> None:
    assert found("raw.upbit.trade.v1", frames) == odd


def book(asks: list[float], bids: list[float]) -> bytes:
    units = [{"ask_price": a, "ask_size": 1, "bid_price": b, "bid_size": 1} for a, b in zip(asks, bids, strict=True)]
    return json.dumps({"type": "orderbook", "code": "KRW-BTC", "timestamp": AT, "orderbook_units": units}).encode()


@pytest.mark.parametrize(
    ("frames", "odd"),
    [
        ([book([101, 102], [100, 99]), book([10, 11], [9, 8]), book([], [])], {}),
        ([book([101], [101]), book([101], [102])], {"crossed_book": 2}),
        ([book([102, 101], [100, 99])], {"unsorted_book": 1}),
        ([book([101, 102], [99, 100])], {"unsorted_book": 1}),
        ([book([101, 101], [99, 98])], {"unsorted_book": 1}),
        ([book([2e9, 3e9], [1e9, 5e8]), book([1e-8, 1], [1e-9, 1e-10])], {}),
        ([book([99999999999, 100000000000], [1, 0.5]), book([5, 6], [4, 3])], {}),
    ],
)
def test_odd_books_are_counted(frames: list[bytes], odd: dict[str, int]) -> None:
    assert found("raw.upbit.orderbook.v1", frames) == odd


def levels(*units: tuple[float | None, float | None, float | None, float | None]) -> bytes:
    """A book of levels: ask price and size, bid price and size."""
    names = ("ask_price", "ask_size", "bid_price", "bid_size")
    found = [dict(zip(names, unit, strict=True)) for unit in units]
    return json.dumps({"type": "orderbook", "code": "KRW-BTC", "timestamp": AT, "orderbook_units": found}).encode()


SOUND = levels((101, 1, 100, 1))


@pytest.mark.parametrize(
    ("frame", "odd"),
    [
        (levels((101, 1, 100, 1), (0, 0, 99, 1)), {}),
        (levels((0, 0, 100, 1)), {}),
        (levels((101, 1, 0, 0)), {}),
        (levels((0, 2, 100, 1)), {"range.ask_prices": 1, "crossed_book": 1}),
        (levels((101, 1, 100, 1), (0, 2, 99, 1)), {"range.ask_prices": 1, "unsorted_book": 1}),
        (levels((101, -1, 100, 1)), {"range.ask_sizes": 1}),
        (levels((101, 0, 100, 1)), {"range.ask_sizes": 1}),
        (levels((101, 1, -100, 1)), {"range.bid_prices": 1}),
        (levels((101, 1, 100, 0), (102, 1, 99, -1)), {"range.bid_sizes": 1}),
        (levels((101, None, 100, 1)), {"range.ask_sizes": 1}),
    ],
)
def test_levels_that_cannot_be_are_counted_by_the_book(frame: bytes, odd: dict[str, int]) -> None:
    assert found("raw.upbit.orderbook.v1", [SOUND, frame, SOUND]) == odd


def test_a_change_may_remove_a_level_and_not_name_one_that_cannot_be() -> None:
    def change(number: int, *asks: list[str]) -> bytes:
        event = {"e": "depthUpdate", "E": AT, "T": AT, "s": "BTCUSDT", "U": number, "u": number, "pu": number - 1}
        return json.dumps(event | {"b": [["99", "1"]], "a": asks}).encode()

    frames = [change(1, ["102", "1"], ["101", "0"]), change(2, ["0", "0"]), change(3, ["101", "-1"]), change(4)]
    assert found("raw.binance.depth.v1", frames) == {"range.ask_prices": 1, "range.ask_sizes": 1}


def test_a_book_without_its_levels_is_no_crossed_one() -> None:
    frame = json.dumps({"type": "orderbook", "code": "KRW-BTC", "timestamp": AT}).encode()
    wanted = {f"null.{side}_{what}": 1 for side in ("ask", "bid") for what in ("prices", "sizes")}
    assert found("raw.upbit.orderbook.v1", [frame, book([2], [1])]) == wanted


def test_nothing_is_odd_about_nothing() -> None:
    assert quality.count(CONTRACTS["trade"], []) == {}


def test_a_footer_without_quality_can_be_read() -> None:
    old = Footer(CHAIN.topic, 1, "cluster", 2, 10, 19, rows=0)
    text = json.loads(old.to_json())
    del text["quality"]
    assert Footer.from_json(json.dumps(text)) == old
