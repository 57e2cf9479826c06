"""Books that were built from changes, from the records that carry them to silver: the same book, and the same sums."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from streaming.consumer.decode import Decoder
from streaming.consumer.records import make
from tests.integration.producer.scripted_book import Market
from tests.transform.conftest import Warehouse
from tidemark.exchanges import registry
from tidemark.exchanges.base import Parsed
from tidemark.exchanges.book import Book, SpannedBook
from tidemark.exchanges.book_records import BookRecord, SnapshotRecord
from tidemark.lake.chain import Chain

BINANCE = registry.get("binance")
AT = datetime(2026, 3, 20, 9, 46, 40, tzinfo=UTC)


def arrived(dataset: str, records: list[tuple[str | None, bytes]]) -> list[dict[str, Any]]:
    """The rows that the sink makes of the records of a topic, as far as the warehouse loads them."""
    decoder = Decoder(Chain(f"raw.binance.{dataset}.v1", "test", 0, 0))
    rows = []
    for offset, (kind, value) in enumerate(records):
        headers: list[tuple[str, bytes]] = [("connection", b"c-1"), ("received_ns", b"1774000000500000000")]
        headers += [("kind", kind.encode())] if kind else [("frame", str(offset + 1).encode())]
        found = decoder.decode(make(offset, 1_774_000_000_500, b"BTCUSDT", value, tuple(headers)))
        assert isinstance(found, list)
        rows += [{name: value for name, value in row.items() if name != "frame"} for row in found]
    return rows


def test_a_book_that_was_built_is_measured_in_silver(warehouse: Warehouse) -> None:
    market, built = Market(), SpannedBook()
    (start,) = BINANCE.rest.depth("BTCUSDT").rows(market.snapshot(), AT)
    built.take(start)
    depth: list[tuple[str | None, bytes]] = [("snapshot", SnapshotRecord("BTCUSDT", AT, market.snapshot()).encode())]
    sent, measured = [], []
    for n in range(5):
        frame = market.change({10_001: 3 + n, 10_002: n}, {10_000: 2, 9_999: 7 * n})
        parsed = BINANCE.parse("depth", frame)
        assert isinstance(parsed, Parsed)
        built.take(parsed.rows[0])
        depth.append((None, frame))
        sent.append(("book", record(built.book)))
        measured.append(measures(built.book))
    warehouse.load("depth", arrived("depth", depth))
    warehouse.load("orderbook", arrived("orderbook", [*sent, sent[-1]]))
    warehouse.run("orderbook")
    kept = warehouse.rows(
        """
        select update_id, market, best_ask_price, best_ask_size, best_bid_price, best_bid_size, spread,
            weighted_mid_price, total_ask_size, total_bid_size, imbalance, ask_levels, bid_levels, frame_no, event_at
        from silver.orderbook order by update_id
        """
    )
    assert [row.pop("event_at") for row in kept] == [
        datetime(2026, 3, 20, 9, 46, 40, tzinfo=UTC) + timedelta(milliseconds=1_000 + 7 * n) for n in range(1, 6)
    ]
    assert [tuple(row.values()) for row in kept] == [(*one, None) for one in measured]
    assert warehouse.count("silver.duplicate", "dataset = 'orderbook'") == 1
    states = warehouse.rows("select kind, count(*) as n, min(last_update_id) as first from raw.depth_v1 group by kind")
    assert sorted(tuple(row.values()) for row in states) == [("snapshot", 1, 1_000), ("update", 5, 1_007)]
    warehouse.check()


def record(book: Book) -> bytes:
    assert book.changed_at is not None
    assert book.update_id is not None
    return BookRecord("BTCUSDT", book.changed_at, book.update_id, book.asks.top(30), book.bids.top(30)).encode()


def measures(book: Book) -> tuple[int | Decimal | str | None, ...]:
    assert book.asks.best is not None
    assert book.bids.best is not None
    return (
        book.update_id,
        "BTC-USDT",
        *book.asks.best,
        *book.bids.best,
        book.spread,
        book.weighted_mid,
        *book.total_sizes(30),
        book.imbalance(30),
        30,
        30,
    )
