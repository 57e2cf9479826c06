"""Metrics: what is served is what was counted, in Prometheus' own format; asking never disturbs."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from streaming.health import Health, Pulse, Report
from streaming.metrics import Buckets, Server, serve
from tests.unit.streaming.everything import TOPIC, everything


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


@pytest.fixture
def server() -> Iterator[Server]:
    pulse = Pulse()
    server = Server("127.0.0.1", 0, "w-1", everything(), Health("w-1", pulse, Report, 60))
    yield server
    server.close()


def test_every_value_is_the_counted_one(server: Server) -> None:
    answer = requests.get(f"http://127.0.0.1:{server.port}/metrics", timeout=5)
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    found = samples(answer.text)
    topic = (("topic", TOPIC),)
    expected = {
        ("tidemark_sink_records_total", topic): 100,
        ("tidemark_sink_rows_total", topic): 150,
        ("tidemark_sink_objects_total", topic): 2,
        ("tidemark_sink_object_bytes_total", topic): 5_700,
        ("tidemark_sink_ignored_records_total", topic): 1,
        ("tidemark_sink_gap_objects_total", topic): 1,
        ("tidemark_sink_gap_offsets_total", topic): 10,
        ("tidemark_sink_dead_letters_total", (("reason", "not_json"), *topic)): 2,
        ("tidemark_sink_frames_total", (("path", "fast"), *topic)): 95,
        ("tidemark_sink_frames_total", (("path", "slow"), *topic)): 0,
        ("tidemark_sink_unknown_fields", (("field", "new"), *topic)): 1,
        ("tidemark_sink_newest_row_timestamp_seconds", topic): 2e9,
        ("tidemark_sink_lag_offsets", topic): 12,
        ("tidemark_sink_lag_seconds", topic): 3.5,
        ("tidemark_sink_partitions", ()): 4,
        ("tidemark_sink_partitions_unopened", ()): 1,
        ("tidemark_sink_gathered_bytes", ()): 50,
        ("tidemark_sink_gathered_ratio", ()): 0.25,
        ("tidemark_sink_waiting", ()): 1,
        ("tidemark_sink_commit_failures_total", ()): 3,
        ("tidemark_sink_lost_races_total", ()): 2,
        ("tidemark_sink_quality_total", (("dataset", "trade"), ("reason", "negative_price"))): 7,
        ("tidemark_sink_upload_seconds_bucket", (("le", "0.025"),)): 1,
        ("tidemark_sink_upload_seconds_count", ()): 2,
        ("tidemark_producer_frames_total", (("dataset", "trade"), ("exchange", "upbit"))): 10,
        ("tidemark_producer_received_bytes_total", (("dataset", "trade"), ("exchange", "upbit"))): 999,
        ("tidemark_producer_connections", (("exchange", "upbit"),)): 2,
        ("tidemark_producer_connections_planned", (("exchange", "upbit"),)): 3,
        ("tidemark_producer_connections_ended_total", (("exchange", "upbit"), ("reason", "silent"))): 3,
        ("tidemark_producer_connections_ended_total", (("exchange", "upbit"), ("reason", "closed_by_the_exchange"))): 1,
        ("tidemark_producer_silences_total", (("dataset", "trade"), ("exchange", "upbit"))): 3,
        ("tidemark_producer_book_changes_total", (("exchange", "upbit"),)): 8,
        ("tidemark_producer_breaker_open", (("exchange", "upbit"),)): 1,
        ("tidemark_producer_banned_seconds", (("exchange", "upbit"),)): 720,
        ("tidemark_producer_silent_streams", (("exchange", "upbit"),)): 4,
        ("tidemark_producer_last_frame_timestamp_seconds", (("exchange", "upbit"),)): 1.5,
        ("tidemark_producer_buffer_ratio", ()): 0.5,
        ("tidemark_producer_paused_seconds_total", ()): 1.5,
        ("tidemark_producer_delivery_seconds_bucket", (("le", "0.005"),)): 90,
        ("tidemark_producer_delivery_seconds_bucket", (("le", "+Inf"),)): 100,
        ("tidemark_producer_delivery_seconds_sum", ()): pytest.approx(3.36),
        ("tidemark_build_info", (("version", "0.1.0"), ("worker", "w-1"))): 1,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert ("process_resident_memory_bytes", ()) in found


def test_open_metrics_is_spoken_too(server: Server) -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = requests.get(f"http://127.0.0.1:{server.port}/metrics", headers=accept, timeout=5)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_probes_are_answered_in_json(server: Server) -> None:
    for path in ("livez", "readyz"):
        answer = requests.get(f"http://127.0.0.1:{server.port}/{path}", timeout=5)
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    assert requests.get(f"http://127.0.0.1:{server.port}/", timeout=5).status_code == 404
    assert requests.head(f"http://127.0.0.1:{server.port}/metrics", timeout=5).text == ""


def test_what_fails_is_503_and_says_why() -> None:
    health = Health("w", Pulse(), lambda: Report(failing={"broker": "no answer"}), 60)
    server = Server("127.0.0.1", 0, "w", [], health)
    answer = requests.get(f"http://127.0.0.1:{server.port}/readyz", timeout=5)
    server.close()
    assert (answer.status_code, json.loads(answer.text)["failing"]) == (503, {"broker": "no answer"})


def test_one_who_asks_nothing_keeps_nobody_waiting(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port)):
        begun = time.monotonic()
        assert requests.get(f"http://127.0.0.1:{server.port}/livez", timeout=5).ok
        assert time.monotonic() - begun < 2


def test_a_taken_port_is_said_and_stops_nobody(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    health = Health("w", Pulse(), Report, 60)
    assert serve("127.0.0.1", server.port, "w", [], health) is None
    assert "metrics are not served" in "".join(capsys.readouterr())
    assert serve("127.0.0.1", 0, "w", [], health) is None


def test_a_clock_that_was_set_back_counts_as_no_time() -> None:
    buckets = Buckets((0.1, 1.0))
    buckets.observe(-5.0)
    family = buckets.family("x", "x")
    assert [s.value for s in family.samples] == [1, 1, 1, 1, 0.0]


def test_observations_are_in_their_buckets() -> None:
    buckets = Buckets((0.1, 1.0))
    for value, count in ((0.1, 2), (0.100001, 3), (9.0, 1)):
        buckets.observe(value, count)
    counts = [s.value for s in buckets.family("x", "x").samples if s.name == "x_bucket"]
    assert counts == [2, 5, 6]
