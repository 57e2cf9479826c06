"""Raw rows for the transform tests, as a loader would have copied them.

Lives here: one function a dataset, each returning a row with every offset unique unless it is given. Doesn't: getting
them into PostgreSQL (``conftest``).
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

Row = dict[str, Any]

#: The day that most tests play on.
DAY = datetime(2026, 3, 11, tzinfo=UTC)
_offsets = itertools.count(1)


def at(clock: str) -> datetime:
    """A time of the test day, such as ``14:40`` or ``14:40:59.095`` (UTC)."""
    hours, minutes, *seconds = clock.split(":")
    return DAY + timedelta(hours=int(hours), minutes=int(minutes), seconds=float(seconds[0]) if seconds else 0)


def trade(trade_id: int | None, event_at: datetime | None, price: str | None = "100", **more: Any) -> Row:
    """One execution."""
    row = {"trade_id": trade_id, "event_at": event_at, "price": price, "size": "1", "side": "buy"}
    return _row("trade", row, more)


def ticker(event_at: datetime, price: str | None, **more: Any) -> Row:
    """One state of a market."""
    return _row("ticker", {"event_at": event_at, "trade_price": price}, more)


def orderbook(event_at: datetime, ask: str, bid: str, **more: Any) -> Row:
    """One book of two levels a side."""
    row = {
        "event_at": event_at,
        "ask_prices": [ask, str(int(ask) + 1)],
        "ask_sizes": ["1.50", "2"],
        "bid_prices": [bid, str(int(bid) - 1)],
        "bid_sizes": ["0.5", "3"],
        "total_ask_size": "3.50",
        "total_bid_size": "3.5",
    }
    return _row("orderbook", row, more)


def candle(event_at: datetime, volume: str, updated_at: datetime, interval: str = "1m", **more: Any) -> Row:
    """One state of one bar of the exchange, received when it was updated."""
    row = {
        "received_at": max(event_at, updated_at),
        "interval": interval,
        "event_at": event_at,
        **dict.fromkeys(("open", "high", "low", "close"), "100"),
        "volume_base": volume,
        "volume_quote": str(float(volume) * 100),
        "updated_at": updated_at,
    }
    return _row("candle", row, more)


def listing(market: str, event_at: datetime, **more: Any) -> Row:
    """One market in one list of the exchange."""
    row = {"event_at": event_at, "english_name": market.split("-")[0].title()}
    return _row("market", row, {"market": market, "source": "rest", **more})


def snapshot(market: str, event_at: datetime, document: Row, **more: Any) -> Row:
    """What an exchange said of one market, as a document."""
    return _row("snapshot", {"event_at": event_at, "document": document}, {"market": market, "source": "rest", **more})


def _row(dataset: str, own: Row, more: Row) -> Row:
    source = more.get("source", "ws")
    market = more.get("market", "BTC-KRW")
    row = {
        "exchange": "upbit",
        "market": market,
        "code": "-".join(reversed(market.split("-"))),
        "source": source,
        "stream_type": "REALTIME" if source == "ws" else None,
        "received_at": own["event_at"] or DAY,
        "kafka_cluster": "test" if source == "ws" else "rest",
        "kafka_epoch": 0,
        "kafka_topic": f"raw.upbit.{dataset}.v1",
        "kafka_partition": 0,
        "kafka_offset": next(_offsets),
        "item": 0,
        **own,
        **more,
    }
    if dataset in ("market", "snapshot"):
        del row["stream_type"]
    return row
