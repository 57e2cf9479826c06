"""The benchmarks' warehouse: a real PostgreSQL with raw migrated, and a lake with trades that the sink has landed.

Lives here: starting it, landing trades. Doesn't: frames (``frames``), what is timed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.bench import frames
from tests.bench.harness import Place
from tidemark import naming
from tidemark.contracts import CONTRACTS
from tidemark.exchanges import registry
from tidemark.exchanges.base import Parsed
from tidemark.lake import parquet
from tidemark.lake.chain import Chain
from tidemark.lake.local import LocalStore
from tidemark.lake.parquet import Footer, FrameSum
from tidemark.local import process
from tidemark.local.postgres import PostgresServer
from tidemark.settings import WarehouseSettings
from tidemark.warehouse.migrate import migrate

#: Receipts of one hour of one day: one partition of raw.
_AT = datetime(2026, 9, 20, 3, tzinfo=UTC)
_OBJECTS = 8


@dataclass(frozen=True)
class Warehouse:
    """Where it is: PostgreSQL's URL for its administrator, the lake's folder, how many trades lie there."""

    url: str
    lake: Path
    trades: int


@contextmanager
def warehouse(place: Place, trades: int) -> Iterator[Warehouse]:
    """A durable PostgreSQL of this run's own, and ``trades`` trades in eight landing objects."""
    server = PostgresServer(place.folder / "postgres", process.free_port(), place.folder / "postgres.log")
    server.start()
    try:
        migrate(WarehouseSettings(url=server.url(), admin_url=server.url()))
        lake = place.folder / "lake"
        _land(LocalStore(lake), trades)
        yield Warehouse(server.url(), lake, trades)
    finally:
        server.remove()


def _land(store: LocalStore, count: int) -> None:
    where = Chain(naming.raw_topic("upbit", "trade"), "bench", 0, 0)
    exchange, size, start = registry.get("upbit"), count // _OBJECTS, 0
    rows = []
    for offset, (_, frame) in enumerate(frames.trades(size * _OBJECTS)):
        parsed = exchange.parse("trade", frame)
        assert isinstance(parsed, Parsed)
        rows.append(parsed.rows[0] | _envelope(where, offset))
        if len(rows) == size:
            _write(store, where, rows, start)
            start, rows = offset + 1, []


def _envelope(where: Chain, offset: int) -> dict[str, object]:
    return {
        "source": "ws",
        "received_at": _AT + timedelta(milliseconds=offset % 3_000_000),
        "connection_id": "producer-1",
        "frame_no": offset + 1,
        "kafka_cluster": where.cluster,
        "kafka_epoch": where.epoch,
        "kafka_topic": where.topic,
        "kafka_partition": where.partition,
        "kafka_offset": offset,
        "item": 0,
    }


def _write(store: LocalStore, where: Chain, rows: list[dict[str, object]], start: int) -> None:
    last = start + len(rows) - 1
    receipts = [int(row["received_at"].timestamp() * 1000) * 1_000_000 for row in (rows[0], rows[-1])]  # type: ignore[attr-defined]
    sums = FrameSum("producer-1", int(_AT.timestamp()), len(rows), start + 1, last + 1, sum(range(start + 1, last + 2)))
    footer = Footer(
        where.topic, where.partition, where.cluster, where.epoch, start, last, rows=len(rows), parsed=len(rows),
        frames=(sums,), fingerprint=f"{last:032x}", received_min=min(receipts), received_max=max(receipts),
    )  # fmt: skip
    assert store.put_new(where.path(start), parquet.write(CONTRACTS["trade"], rows, footer))
