"""A producer and a sink to which everything that is counted has happened."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
from prometheus_client.registry import Collector

from streaming.consumer.metrics import FAST, Meter, SinkCollector, SinkVitals, TopicLag
from streaming.metrics import Buckets
from streaming.producer.books import BookCounts
from streaming.producer.counts import Counts, End
from streaming.producer.metrics import LATENCY_S, ProducerCollector
from tidemark.bans import Ban
from tidemark.contracts import CONTRACTS
from tidemark.lake import parquet
from tidemark.lake.parquet import Footer

TOPIC = "raw.upbit.trade.v1"


def footer(start: int, end: int, **more: Any) -> Footer:
    return Footer(TOPIC, 0, "c", 0, start, end, **({"rows": end - start + 1} | more))


def with_extra(*texts: str | None) -> pa.RecordBatch:
    """Rows of the trade dataset as they wait in memory, with these texts in ``extra``; a row a second from 1970 on."""
    rows = [
        {"extra": text, "kafka_offset": 100 + n, "received_at": datetime.fromtimestamp(n, UTC)}
        for n, text in enumerate(texts)
    ]
    plain = parquet.to_batch(CONTRACTS["trade"], rows)
    return pa.RecordBatch.from_arrays(
        [parquet.packed(array) for array in plain.columns], schema=parquet.packed_schema_of("trade")
    )


def everything() -> list[Collector]:
    """The collectors of both."""
    meter = Meter()
    meter.wrote(footer(0, 99, parsed=97, dead=2, ignored=1, rows=150, received_min=10**18, received_max=2 * 10**18,
                       dead_reasons={"not_json": 2}), 5_000, 0.02, 2 * 10**18 + 10**9)  # fmt: skip
    meter.wrote(footer(100, 109, rows=0, kind="gap"), 700, 0.2, 3 * 10**18)
    meter.commit_failures = 3
    meter.assigned(TOPIC)
    meter.frames[TOPIC, FAST] = 95
    meter.unknown.look(("upbit", "trade", TOPIC), frozenset(), with_extra('{"new":1}'))
    vitals = SinkVitals({TOPIC: TopicLag(12, 3.5)}, 4, 1, 50, 200, 2, True, {("trade", "negative_price"): 7})
    return [SinkCollector(meter, lambda: vitals), ProducerCollector(*producer_parts())]


def producer_parts() -> tuple[Counts, dict[str, BookCounts], Any, Any, Buckets, dict[str, tuple[Ban, ...]]]:
    """Counts, books, broker, gate, latency and bans of a producer; broker and gate are no more than their figures."""
    latency = Buckets(LATENCY_S)
    latency.observe(0.004, 90)
    latency.observe(0.3, 10)
    counts = Counts()
    upbit = counts["upbit"]
    upbit.datasets["trade"].frames, upbit.datasets["trade"].bytes = 10, 999
    upbit.planned, upbit.opened, upbit.closed, upbit.failed_connects = 3, 5, 3, 1
    upbit.ends[End.SILENT], upbit.ends[End.CLOSED] = 3, 1
    upbit.silences["trade"] = 3
    upbit.breaker, upbit.breaker_opened = "open", 1
    upbit.silent_streams = {"c-1": 3, "c-2": 1}
    upbit.newest_ns = 1_500_000_000
    broker = SimpleNamespace(buffered_bytes=32, fill=0.5, in_flight=7, delivered=100, failures=0)
    gate = SimpleNamespace(held=True, held_s=1.5, times_held=2)
    banned = Ban("upbit", "https://upbit.example", clock=lambda: 1_000.0)
    banned.begin(1_720.0, "418")
    bans = {"upbit": (Ban("upbit", "wss://upbit.example"), banned)}
    return counts, {"upbit": BookCounts(changes=8, breaks=2)}, broker, gate, latency, bans
