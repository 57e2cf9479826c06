"""Records about books: snapshots with the exchange's answer inside, and whole books; written, read, refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tidemark.contracts import CONTRACTS
from tidemark.exchanges import connection, registry
from tidemark.exchanges.base import Parsed, Row, Unparsable
from tidemark.exchanges.book_records import BookRecord, SnapshotRecord

AT = datetime(2026, 4, 13, 1, 2, 3, 456000, tzinfo=UTC)
ANSWER = (
    b'{"lastUpdateId":120, "E":1776042123456,"T":1776042123450,"bids":[["64250.00","1.500"]],"asks":[["64250.10","2"]]}'
)


def row(dataset: str, kind: str, value: bytes, exchange: str = "binance") -> Row:
    parsed = registry.read(exchange, dataset, kind, value)
    assert isinstance(parsed, Parsed)
    (one,) = parsed.rows
    assert set(one) == set(CONTRACTS[dataset].names())
    return one


def book(**more: object) -> BookRecord:
    asks = [(Decimal("64250.100000000000000000"), Decimal("2E+1")), (Decimal("64251"), Decimal("0.5"))]
    fields = {"code": "BTCUSDT", "event_at": AT, "update_id": 120, "asks": asks, "bids": [], **more}
    return BookRecord(**fields)  # type: ignore[arg-type]


def test_a_snapshot_holds_the_answer_byte_for_byte() -> None:
    value = SnapshotRecord("BTCUSDT", AT, ANSWER).encode()
    assert ANSWER in value
    assert json.loads(value)["asked_at"] == "2026-04-13T01:02:03.456000Z"
    assert row("depth", "snapshot", value) == registry.get("binance").rest.depth("BTCUSDT").rows(ANSWER, AT)[0]


def test_a_book_is_a_row_of_orderbook() -> None:
    value = book().encode()
    assert json.loads(value)["asks"] == [["64250.1", "20"], ["64251", "0.5"]]
    found = row("orderbook", "book", value)
    assert (found["exchange"], found["market"], found["code"]) == ("binance", "BTC-USDT", "BTCUSDT")
    assert (found["event_at"], found["update_id"], found["level"]) == (AT, 120, 0)
    assert (found["ask_prices"], found["ask_sizes"]) == ([Decimal("64250.1"), 64251], [20, Decimal("0.5")])
    assert (found["total_ask_size"], found["total_bid_size"]) == (Decimal("20.5"), 0)
    assert (found["bid_prices"], found["stream_type"], found["extra"]) == ([], None, None)


@pytest.mark.parametrize(
    ("exchange", "dataset", "kind", "value", "slug"),
    [
        ("binance", "orderbook", "snapshot", SnapshotRecord("BTCUSDT", AT, ANSWER).encode(), "wrong_topic"),
        ("binance", "depth", "book", book().encode(), "wrong_topic"),
        ("binance", "depth", "snapshot", b"{", "bad_record"),
        ("binance", "depth", "snapshot", b'{"code":"BTCUSDT","asked_at":"soon","answer":{}}', "bad_record"),
        ("binance", "depth", "snapshot", SnapshotRecord("BTCUSDT", AT, b"{}").encode(), "not_an_object"),
        ("binance", "depth", "snapshot", SnapshotRecord("btc", AT, ANSWER).encode(), "bad_code"),
        ("upbit", "depth", "snapshot", SnapshotRecord("KRW-BTC", AT, ANSWER).encode(), "bad_record"),
        ("binance", "orderbook", "book", b"5", "bad_record"),
        ("binance", "orderbook", "book", b"{", "not_json"),
        ("binance", "orderbook", "book", book(code="btc").encode(), "bad_code"),
        ("binance", "orderbook", "book", book().encode().replace(b'["64251","0.5"]', b'["64251"]'), "bad_type"),
        ("binance", "orderbook", "book", book().encode().replace(b'"64251"', b'"x"'), "bad_type"),
        ("binance", "depth", "half", b"{}", "unknown_kind"),
    ],
)
def test_anything_else_is_refused(exchange: str, dataset: str, kind: str, value: bytes, slug: str) -> None:
    with pytest.raises(Unparsable) as caught:
        registry.read(exchange, dataset, kind, value)
    assert caught.value.reason == slug


def test_a_break_names_what_is_missing() -> None:
    record = connection.BreakRecord(
        exchange="binance",
        connection="c-1",
        worker="w-1",
        found_at=AT,
        dataset="depth",
        code="BTCUSDT",
        reason="change 40 follows 30, and 10 came last",
        first_missing=11,
        last_missing=30,
        from_at=AT,
    )
    found = row("system", "break", record.encode())
    missing = {"dataset": "depth", "code": "BTCUSDT", "first_missing": 11, "last_missing": 30}
    assert json.loads(str(found.pop("extra"))) == {**missing, "from_at": "2026-04-13T01:02:03.456000Z"}
    assert found == {
        "exchange": "binance",
        "kind": "break",
        "connection": "c-1",
        "worker": "w-1",
        "event_at": AT,
        "frames": None,
        "reason": "change 40 follows 30, and 10 came last",
        "subscription": None,
    }
