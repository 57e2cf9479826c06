"""What a producer shows to Prometheus.

Lives here: the names, what each is, and where its value comes from. Doesn't: the server (``streaming.metrics``), the
counting of messages: a scrape reads what links and broker have counted anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streaming.metrics import Buckets

#: Around the goal (5 ms) and the alert (200 ms).
LATENCY_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0, 60.0)


@dataclass(frozen=True)
class ExchangeVitals:
    """How the connections to one exchange are. Frames and bytes by dataset since the start of the worker.

    ``ended`` counts connections that ended by reason (a few fixed words), ``newest_ns`` is when the last frame came
    (Unix nanoseconds, 0: never), ``silent`` how many streams are connected and say nothing for longer than they may.
    """

    frames: Mapping[str, int] = field(default_factory=dict)
    bytes: Mapping[str, int] = field(default_factory=dict)
    planned: int = 0
    open: int = 0
    opened: int = 0
    failed_connects: int = 0
    ended: Mapping[str, int] = field(default_factory=dict)
    breaker_open: bool = False
    silent: int = 0
    newest_ns: int = 0


@dataclass(frozen=True)
class ProducerVitals:
    """How a producer is at one moment."""

    exchanges: Mapping[str, ExchangeVitals]
    delivered: int
    failures: int
    in_flight: int
    buffer_bytes: int
    buffer_limit: int
    paused: bool
    paused_s: float
    times_paused: int


class ProducerCollector(Collector):
    """Reads ``vitals()`` and ``latency`` when Prometheus asks."""

    def __init__(self, vitals: Callable[[], ProducerVitals], latency: Buckets) -> None:
        self._vitals = vitals
        self._latency = latency

    def collect(self) -> Iterable[Metric]:
        """Every family of a producer."""
        vitals = self._vitals()
        yield from _of_streams(vitals.exchanges)
        yield from _of_connections(vitals.exchanges)
        yield from _of_worker(vitals)
        yield self._latency.family(
            "tidemark_producer_delivery_seconds",
            "Socket to topic: from the receipt of a frame until the broker has confirmed its record.",
        )


def _of_streams(exchanges: Mapping[str, ExchangeVitals]) -> Iterable[Metric]:
    labels = ["exchange", "dataset"]
    frames = CounterMetricFamily("tidemark_producer_frames", "Frames received.", labels=labels)
    size = CounterMetricFamily("tidemark_producer_received_bytes", "Bytes of those frames.", labels=labels)
    for name, exchange in exchanges.items():
        for dataset, count in exchange.frames.items():
            frames.add_metric([name, dataset], count)
        for dataset, count in exchange.bytes.items():
            size.add_metric([name, dataset], count)
    yield from (frames, size)


def _of_connections(exchanges: Mapping[str, ExchangeVitals]) -> Iterable[Metric]:
    for name, documentation, read in _GAUGES:
        gauge = GaugeMetricFamily(f"tidemark_producer_{name}", documentation, labels=["exchange"])
        for exchange, vitals in exchanges.items():
            gauge.add_metric([exchange], read(vitals))
        yield gauge
    for name, documentation, count in _COUNTERS:
        counter = CounterMetricFamily(f"tidemark_producer_{name}", documentation, labels=["exchange"])
        for exchange, vitals in exchanges.items():
            counter.add_metric([exchange], count(vitals))
        yield counter
    ended = CounterMetricFamily(
        "tidemark_producer_connections_ended", "Connections that ended, by reason.", labels=["exchange", "reason"]
    )
    for exchange, vitals in exchanges.items():
        for reason, number in vitals.ended.items():
            ended.add_metric([exchange, reason], number)
    yield ended


def _of_worker(vitals: ProducerVitals) -> Iterable[Metric]:
    ratio = vitals.buffer_bytes / vitals.buffer_limit if vitals.buffer_limit else 0.0
    for name, documentation, value in (
        ("buffer_bytes", "Bytes of records that the broker has not confirmed.", vitals.buffer_bytes),
        ("buffer_ratio", "The same as a part of the limit at which sockets are left unread.", ratio),
        ("buffer_records", "Records that the broker has not confirmed.", vitals.in_flight),
        ("paused", "1 while sockets are left unread.", int(vitals.paused)),
    ):
        yield GaugeMetricFamily(f"tidemark_producer_{name}", documentation, value=value)
    for name, documentation, value in (
        ("delivered_records", "Records that the broker has confirmed.", vitals.delivered),
        ("undeliverable_records", "Records that the broker refused for good: the worker ends.", vitals.failures),
        ("paused_seconds", "Time for which sockets were left unread.", vitals.paused_s),
        ("pauses", "Times that sockets were left unread.", vitals.times_paused),
    ):
        yield CounterMetricFamily(f"tidemark_producer_{name}", documentation, value=value)


_Read = Callable[[ExchangeVitals], float]
_GAUGES: Final[tuple[tuple[str, str, _Read], ...]] = (
    ("connections", "Connections that are open.", lambda e: e.open),
    ("connections_planned", "Connections that should be open.", lambda e: e.planned),
    ("breaker_open", "1 while connecting is given up for a time.", lambda e: int(e.breaker_open)),
    ("silent_streams", "Streams that are connected and say nothing for longer than they may.", lambda e: e.silent),
    ("last_frame_timestamp_seconds", "When the last frame came, Unix time; 0: never.", lambda e: e.newest_ns / 1e9),
)
_COUNTERS: Final[tuple[tuple[str, str, _Read], ...]] = (
    ("connections_opened", "Connections that were opened.", lambda e: e.opened),
    ("failed_connects", "Attempts to connect that failed.", lambda e: e.failed_connects),
)
