"""What a producer shows to Prometheus.

Lives here: the names, what each is, and where its value comes from. Doesn't: the server (``streaming.metrics``),
counting (``counts``, ``broker``, ``gate``): a scrape reads what they have counted anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streaming.metrics import Buckets
from streaming.producer.books import BookCounts
from streaming.producer.broker import Broker
from streaming.producer.counts import Counts, ExchangeCounts
from streaming.producer.gate import Gate
from tidemark.bans import Ban

#: Around the goal (5 ms) and the alert (200 ms).
LATENCY_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0, 60.0)

_PREFIX: Final = "tidemark_producer_"
_Read = Callable[[ExchangeCounts], float]
_GAUGES: Final[tuple[tuple[str, str, _Read], ...]] = (
    ("connections", "Connections that are open.", lambda c: c.connections),
    ("connections_planned", "Connections that should be open.", lambda c: c.planned),
    ("breaker_open", "1 while connections wait because nothing works.", lambda c: int(c.breaker != "closed")),
    ("silent_streams", "Streams that say nothing for longer than they may.", lambda c: _sum(c.silent_streams)),
    ("silent_codes", "Codes that were asked for and of which nothing has come.", lambda c: _sum(c.silent_codes)),
    (
        "unreadable_codes",
        "Codes or rows of the market list that cannot be read, and are not subscribed.",
        lambda c: len(c.unreadable_codes),
    ),
    ("last_frame_timestamp_seconds", "When the last frame came, Unix time; 0: never.", lambda c: c.newest_ns / 1e9),
)
_COUNTERS: Final[tuple[tuple[str, str, _Read], ...]] = (
    ("connections_opened", "Connections that were opened.", lambda c: c.opened),
    ("failed_connects", "Attempts to connect that failed.", lambda c: c.failed_connects),
    ("missing_acknowledgements", "Parts of subscriptions not acknowledged in time.", lambda c: c.acks_missing),
    ("refused_subscriptions", "Parts of subscriptions that the exchange refused.", lambda c: c.refused),
    ("market_list_failures", "Times that the market list could not be had.", lambda c: c.market_list_failures),
    ("replans", "Times that the plan of connections was changed.", lambda c: c.replanned),
    ("bad_orders", "Orders on the control topic that could not be followed.", lambda c: c.bad_orders),
    ("internal_errors", "Errors of our own that a part was started again after.", lambda c: c.restarts),
    ("breaker_openings", "Times that the breaker opened.", lambda c: c.breaker_opened),
)
_BOOKS: Final[tuple[tuple[str, str, Callable[[BookCounts], int]], ...]] = (
    ("book_changes", "Changes applied to local books.", lambda b: b.changes),
    ("book_breaks", "Times that numbers of changes were missing.", lambda b: b.breaks),
    ("book_snapshots", "Snapshots that books began anew with.", lambda b: b.snapshots),
    ("book_snapshot_failures", "Snapshots that could not be had.", lambda b: b.snapshots_failed),
    ("books", "Whole books written.", lambda b: b.books),
)


class ProducerCollector(Collector):
    """Reads what the parts of a worker have counted, when Prometheus asks."""

    def __init__(
        self,
        counts: Counts,
        books: Mapping[str, BookCounts],
        broker: Broker,
        gate: Gate,
        latency: Buckets,
        bans: Mapping[str, tuple[Ban, ...]] | None = None,
    ) -> None:
        self._counts = counts
        self._books = books
        self._broker = broker
        self._gate = gate
        self._latency = latency
        self._bans = bans or {}

    def collect(self) -> Iterable[Metric]:
        """Every family of a producer. Called from another thread: it reads copies."""
        counts = dict(self._counts)
        yield from _of_streams(counts)
        for name, documentation, read in _GAUGES:
            gauge = GaugeMetricFamily(_PREFIX + name, documentation, labels=["exchange"])
            for exchange, counted in counts.items():
                gauge.add_metric([exchange], read(counted))
            yield gauge
        for name, documentation, read in _COUNTERS:
            counter = CounterMetricFamily(_PREFIX + name, documentation, labels=["exchange"])
            for exchange, counted in counts.items():
                counter.add_metric([exchange], read(counted))
            yield counter
        yield from _of_ends(counts)
        yield from _of_books(dict(self._books))
        yield from _of_bans(self._bans)
        yield from self._of_worker()
        yield self._latency.family(
            f"{_PREFIX}delivery_seconds",
            "Socket to topic: from the receipt of a frame until its record is confirmed, each try by itself.",
        )

    def _of_worker(self) -> Iterable[Metric]:
        broker, gate = self._broker, self._gate
        for name, documentation, value in (
            ("buffer_bytes", "Bytes of records that the broker has not confirmed.", broker.buffered_bytes),
            ("buffer_ratio", "How full the buffer is; at 1 sockets are left unread.", broker.fill),
            ("buffer_records", "Records that the broker has not confirmed.", broker.in_flight),
            ("paused", "1 while sockets are left unread.", int(gate.held)),
        ):
            yield GaugeMetricFamily(_PREFIX + name, documentation, value=value)
        for name, documentation, value in (
            ("delivered_records", "Records that the broker has confirmed.", broker.delivered),
            ("undeliverable_records", "Records that the broker refused for good: the worker ends.", broker.failures),
            ("paused_seconds", "Time for which sockets were left unread.", gate.held_s),
            ("pauses", "Times that sockets were left unread.", gate.times_held),
        ):
            yield CounterMetricFamily(_PREFIX + name, documentation, value=value)


def _of_streams(counts: Mapping[str, ExchangeCounts]) -> Iterable[Metric]:
    labels = ["exchange", "dataset"]
    frames = CounterMetricFamily(f"{_PREFIX}frames", "Frames received.", labels=labels)
    size = CounterMetricFamily(f"{_PREFIX}received_bytes", "Bytes of those frames.", labels=labels)
    silences = CounterMetricFamily(f"{_PREFIX}silences", "Streams found connected but silent.", labels=labels)
    for exchange, counted in counts.items():
        for dataset, tally in dict(counted.datasets).items():
            frames.add_metric([exchange, dataset], tally.frames)
            size.add_metric([exchange, dataset], tally.bytes)
        for dataset, count in dict(counted.silences).items():
            silences.add_metric([exchange, dataset], count)
    yield from (frames, size, silences)


def _of_ends(counts: Mapping[str, ExchangeCounts]) -> Iterable[Metric]:
    ended = CounterMetricFamily(
        f"{_PREFIX}connections_ended", "Connections that ended, by reason.", labels=["exchange", "reason"]
    )
    for exchange, counted in counts.items():
        for end, number in dict(counted.ends).items():
            ended.add_metric([exchange, end.value.replace(" ", "_")], number)
    yield ended


def _of_books(books: Mapping[str, BookCounts]) -> Iterable[Metric]:
    for name, documentation, read in _BOOKS:
        counter = CounterMetricFamily(_PREFIX + name, documentation, labels=["exchange"])
        for exchange, counted in books.items():
            counter.add_metric([exchange], read(counted))
        yield counter


def _of_bans(bans: Mapping[str, tuple[Ban, ...]]) -> Iterable[Metric]:
    gauge = GaugeMetricFamily(
        f"{_PREFIX}banned_seconds",
        "Seconds until the ban of this machine's address ends, whichever process earned it; 0: none.",
        labels=["exchange"],
    )
    for exchange, hosts in bans.items():
        gauge.add_metric([exchange], max(ban.left_s for ban in hosts))
    yield gauge


def _sum(by_connection: Mapping[str, int]) -> int:
    return sum(dict(by_connection).values())
