"""Landing objects as the sink writes them, made for tests: real Parquet in a real store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tidemark import naming
from tidemark.contracts import CONTRACTS
from tidemark.lake import parquet
from tidemark.lake.chain import Chain
from tidemark.lake.parquet import Footer, FrameSum
from tidemark.lake.store import ObjectStore

T0 = datetime(2026, 4, 13, 10, 0, tzinfo=UTC)
CLUSTER = "test"


def chain(dataset: str = "trade", partition: int = 0, epoch: int = 0) -> Chain:
    return Chain(naming.raw_topic("upbit", dataset), CLUSTER, epoch, partition)


def envelope(
    where: Chain, offset: int, received: datetime, *, connection: str = "c1", frame: int = 0
) -> dict[str, Any]:
    return {
        "source": "ws",
        "received_at": received,
        "connection_id": connection,
        "frame_no": frame or offset + 1,
        "kafka_cluster": where.cluster,
        "kafka_epoch": where.epoch,
        "kafka_topic": where.topic,
        "kafka_partition": where.partition,
        "kafka_offset": offset,
        "item": 0,
        "frame": b"{}",
    }


def trade(number: int, event_at: datetime, **changes: Any) -> dict[str, Any]:
    row = {
        "exchange": "upbit",
        "market": "BTC-KRW",
        "code": "KRW-BTC",
        "trade_id": 17_732_400_590_950_000 + number,
        "event_at": event_at,
        "price": Decimal(100_000_000 + number),
        "size": Decimal(number + 1).scaleb(-8),
        "side": "buy" if number % 2 else "sell",
    }
    return {**row, **changes}


def trades(
    where: Chain,
    start: int,
    count: int,
    received: datetime = T0,
    *,
    connection: str = "c1",
    frame: int = 0,
    **changes: Any,
) -> list[dict[str, Any]]:
    """Trades at consecutive offsets, one a second, received when they happened."""
    rows = []
    for n in range(count):
        moment = received + timedelta(seconds=n % 3500)
        number = frame + n if frame else start + n + 1
        row = trade(where.partition * 1_000_000 + start + n, moment, **changes)
        rows.append(row | envelope(where, start + n, moment, connection=connection, frame=number))
    return rows


def frame_sums(rows: Iterable[Mapping[str, Any]]) -> tuple[FrameSum, ...]:
    groups: dict[tuple[str, int], list[int]] = {}
    for row in rows:
        if row["frame_no"] is not None:
            hour = int(row["received_at"].timestamp()) // 3600 * 3600
            groups.setdefault((row["connection_id"], hour), []).append(row["frame_no"])
    return tuple(FrameSum(c, h, len(n), min(n), max(n), sum(n)) for (c, h), n in groups.items())


def land(
    store: ObjectStore,
    where: Chain,
    rows: Sequence[Mapping[str, Any]],
    *,
    start: int | None = None,
    end: int | None = None,
    **footer: Any,
) -> str:
    """Write an object with one offset a row; ``start``, ``end`` and the footer's fields may say otherwise."""
    first = rows[0]["kafka_offset"] if start is None else start
    last = rows[-1]["kafka_offset"] if end is None else end
    received = [int(row["received_at"].timestamp() * 1e6) * 1000 for row in rows]
    values = {
        "rows": len(rows),
        "parsed": len(rows),
        "frames": frame_sums(rows),
        "fingerprint": f"{last:032x}",
        "received_min": min(received, default=None),
        "received_max": max(received, default=None),
    }
    made = Footer(where.topic, where.partition, where.cluster, where.epoch, first, last, **{**values, **footer})
    data = parquet.write(CONTRACTS[naming.parse_raw_topic(where.topic).dataset], rows, made)
    path = where.path(first)
    assert store.put_new(path, data)
    return path


def land_rest(store: ObjectStore, dataset: str, rows: Sequence[Mapping[str, Any]], digest: str) -> str:
    topic = naming.raw_topic("upbit", dataset)
    offset = int(digest[:16], 16) >> 1
    own = {"source": "rest", "kafka_cluster": "rest", "kafka_epoch": 0, "kafka_topic": topic, "kafka_partition": 0}
    rows = [{**row, **own, "kafka_offset": offset, "item": n} for n, row in enumerate(rows)]
    footer = Footer(topic, 0, "rest", 0, offset, offset, rows=len(rows), parsed=1, kind="rest")
    path = naming.rest_object(topic, digest)
    assert store.put_new(path, parquet.write(CONTRACTS[dataset], rows, footer))
    return path
