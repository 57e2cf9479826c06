"""A producer and a sink to which everything that is counted has happened."""

from __future__ import annotations

from collections import Counter
from typing import Any

from prometheus_client.registry import Collector

from streaming.consumer.metrics import Meter, SinkCollector, SinkVitals, TopicLag
from streaming.metrics import Buckets
from streaming.producer.metrics import LATENCY_S, ExchangeVitals, ProducerCollector, ProducerVitals
from tidemark.lake.parquet import Footer

TOPIC = "raw.upbit.trade.v1"


def footer(start: int, end: int, **more: Any) -> Footer:
    return Footer(TOPIC, 0, "c", 0, start, end, **({"rows": end - start + 1} | more))


def everything() -> list[Collector]:
    """The collectors of both."""
    meter = Meter()
    meter.wrote(footer(0, 99, parsed=97, dead=2, ignored=1, rows=150, received_min=10**18, received_max=2 * 10**18,
                       dead_reasons={"not_json": 2}), 5_000, 0.02, 2 * 10**18 + 10**9)  # fmt: skip
    meter.wrote(footer(100, 109, rows=0, kind="gap"), 700, 0.2, 3 * 10**18)
    meter.commit_failures = 3
    vitals = SinkVitals({TOPIC: TopicLag(12, 3.5)}, 4, 1, 50, 200, 2, True, {("trade", "negative_price"): 7})
    latency = Buckets(LATENCY_S)
    latency.observe(0.004, 90)
    latency.observe(0.3, 10)
    exchange = ExchangeVitals({"trade": 10}, {"trade": 999}, 3, 2, 5, 1, Counter(silent=3), True, 4, 1_500_000_000)
    producer = ProducerVitals({"upbit": exchange}, 100, 0, 7, 32, 64, True, 1.5, 2)
    return [SinkCollector(meter, lambda: vitals), ProducerCollector(lambda: producer, latency)]
