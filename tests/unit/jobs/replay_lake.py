"""A lake to replay from: frames as Upbit spells them, landed as the sink lands them, without a broker."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tidemark.contracts import CONTRACTS
from tidemark.exchanges import connection, registry
from tidemark.exchanges.base import Parsed
from tidemark.exchanges.connection import ConnectionRecord
from tidemark.lake import parquet
from tidemark.lake.chain import Chain
from tidemark.lake.parquet import Footer
from tidemark.lake.store import ObjectStore
from tidemark.naming import parse_raw_topic, raw_topic, rest_object

T0 = datetime(2026, 4, 13, 5, tzinfo=UTC)


@dataclass(frozen=True)
class Frame:
    """One record to land: what it says, when it came (since T0), over which connection, and its number there."""

    value: bytes
    after: timedelta
    connection: str = "producer-1-x-1"
    number: int | None = 1
    kind: str | None = None

    @property
    def at(self) -> datetime:
        return T0 + self.after


def trade(number: int, after: timedelta, code: str = "KRW-BTC", padding: int = 0) -> Frame:
    """A trade whose id is ``number``; it is its connection's frame of that number, too."""
    ms = int((T0 + after).timestamp() * 1_000)
    message = {
        "type": "trade", "code": code, "timestamp": ms, "trade_timestamp": ms, "trade_price": 100.5,
        "trade_volume": 0.25, "ask_bid": "BID", "sequential_id": number, "stream_type": "REALTIME",
    }  # fmt: skip
    if padding:
        message["note"] = f"{number:09d}" * (padding // 9)
    return Frame(json.dumps(message, ensure_ascii=False).encode(), after, number=number)


def opened(name: str, after: timedelta) -> Frame:
    """What a producer says when it has opened a connection."""
    record = ConnectionRecord(exchange="upbit", connection=name, worker="producer-1", opened_at=T0 + after)
    return Frame(record.encode(), after, connection=name, number=None, kind=connection.OPEN)


def land(store: ObjectStore, dataset: str, partition: int, start: int, frames: Sequence[Frame], dead: int = 0) -> None:
    """One object of a chain: an offset a frame from ``start`` on, then ``dead`` more that gave no row."""
    chain = Chain(raw_topic("upbit", dataset), "cluster", 0, partition)
    rows = [row for n, frame in enumerate(frames) for row in _rows(chain, start + n, frame)]
    ns = [_ns(frame.at) for frame in frames]
    footer = Footer(
        chain.topic, partition, chain.cluster, chain.epoch, start, start + len(frames) + dead - 1, rows=len(rows),
        parsed=len(frames), dead=dead, received_min=min(ns), received_max=max(ns),
    )  # fmt: skip
    assert store.put_new(chain.path(start), parquet.write(CONTRACTS[dataset], rows, footer))


def land_rest(store: ObjectStore, frame: Frame) -> None:
    """The same rows as if REST had brought them."""
    chain = Chain(raw_topic("upbit", "trade"), "rest", 0, 0)
    rows = [row | {"source": "rest", "connection_id": None, "frame_no": None} for row in _rows(chain, 77, frame)]
    at = _ns(frame.at)
    footer = Footer(
        chain.topic, 0, "rest", 0, 77, 77, rows=len(rows), parsed=1, kind="rest", received_min=at, received_max=at
    )
    path = rest_object(chain.topic, "ab" * 16)
    assert store.put_new(path, parquet.write(CONTRACTS["trade"], rows, footer))


def _rows(chain: Chain, offset: int, frame: Frame) -> list[dict[str, Any]]:
    name = parse_raw_topic(chain.topic)
    outcome = registry.read(name.exchange, name.dataset, frame.kind, frame.value)
    assert isinstance(outcome, Parsed)
    return [
        {
            **row, "source": "ws", "received_at": frame.at, "connection_id": frame.connection,
            "frame_no": frame.number, "kafka_cluster": chain.cluster, "kafka_epoch": chain.epoch,
            "kafka_topic": chain.topic, "kafka_partition": chain.partition, "kafka_offset": offset, "item": item,
            "frame": frame.value if item == 0 else None,
        }
        for item, row in enumerate(outcome.rows)
    ]  # fmt: skip


def _ns(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000
