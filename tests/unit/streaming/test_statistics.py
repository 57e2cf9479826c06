"""librdkafka's own report: every record is counted once, none as faster than it was."""

from __future__ import annotations

import json

from streaming.producer import statistics


def window(count: int, *quantiles: int) -> dict[str, int]:
    return {"cnt": count, **dict(zip(("p50", "p75", "p90", "p95", "p99", "max"), quantiles, strict=True)), "avg": 1}


def test_each_record_is_counted_once_with_the_sum_of_its_ways() -> None:
    node = {
        "int_latency": window(1_000, 100, 200, 300, 400, 500, 600),
        "outbuf_latency": window(20, 10, 20, 30, 40, 50, 60),
        "rtt": window(20, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000),
    }
    found = statistics.read(json.dumps({"msg_size": 77, "brokers": {"a": node, "b": {"nodename": "idle"}}}))
    assert found.msg_size == 77
    assert list(found.latencies()) == [
        (0.00111, 500), (0.00222, 250), (0.00333, 150), (0.00444, 50), (0.00555, 40), (0.00666, 10),
    ]  # fmt: skip


def test_a_few_records_are_all_counted() -> None:
    for count in range(1, 30):
        node = {"int_latency": window(count, 1, 2, 3, 4, 5, 6)}
        found = statistics.read(json.dumps({"brokers": {"a": node}}))
        assert sum(n for _, n in found.latencies()) == count


def test_a_report_without_brokers_is_read() -> None:
    assert list(statistics.read("{}").latencies()) == []
