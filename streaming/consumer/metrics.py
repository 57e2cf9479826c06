"""What a sink shows to Prometheus.

Lives here: the names, what each is, and where its value comes from. Doesn't: the server (``streaming.metrics``), the
counting of messages: a scrape reads what writers and objects' footers have counted anyway.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streaming.consumer.unknown_fields import UnknownFields
from streaming.metrics import Buckets
from tidemark.lake.parquet import Footer
from tidemark.naming import original_topic, parse_raw_topic

_UPLOAD_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_AGE_S: Final = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 75.0, 90.0, 120.0, 300.0, 900.0, 3_600.0)
#: The paths of a frame: read by the column, or by the exchange's record parser.
FAST: Final = "fast"
SLOW: Final = "slow"


@dataclass
class TopicTally:
    """What the objects of one topic account for since the start."""

    objects: int = 0
    bytes: int = 0
    records: int = 0
    rows: int = 0
    ignored: int = 0
    gaps: int = 0
    gone: int = 0
    dead: Counter[str] = field(default_factory=Counter)
    #: When the newest row in an object reached us, Unix nanoseconds.
    newest_ns: int = 0


class Meter:
    """Counts objects as they are written and batches as they are decoded: a few a second, never a message."""

    def __init__(self) -> None:
        self.topics: dict[str, TopicTally] = {}
        #: Frames that became rows, by topic and path; one that is decoded again counts again.
        self.frames: Counter[tuple[str, str]] = Counter()
        self.unknown = UnknownFields()
        #: Rows that were odd, by dataset and reason.
        self.quality: Counter[tuple[str, str]] = Counter()
        self.upload = Buckets(_UPLOAD_S)
        self.age = Buckets(_AGE_S)
        self.commit_failures = 0
        self.waits = 0

    def assigned(self, topic: str) -> None:
        """Show a topic's counters as 0 from now on: an increase needs a beginning."""
        self.topics.setdefault(topic, TopicTally())
        for path in (FAST, SLOW):
            self.frames[topic, path] += 0

    def wrote(self, footer: Footer, size: int, seconds: float, now_ns: int) -> None:
        """An object is durable: it took ``seconds`` to upload, and it is ``now_ns``."""
        tally = self.topics.setdefault(footer.topic, TopicTally())
        tally.objects += 1
        tally.bytes += size
        self.upload.observe(seconds)
        if footer.kind == "gap":
            tally.gaps += 1
            tally.gone += footer.offsets
            return
        tally.records += footer.offsets
        tally.rows += footer.rows
        tally.ignored += footer.ignored
        tally.dead.update(footer.dead_reasons)
        dataset = parse_raw_topic(original_topic(footer.topic)).dataset
        self.quality.update({(dataset, reason): count for reason, count in footer.quality.items()})
        if footer.received_min is not None and footer.received_max is not None:
            self.age.observe((now_ns - footer.received_min) / 1e9)
            tally.newest_ns = max(tally.newest_ns, footer.received_max)


@dataclass(frozen=True)
class TopicLag:
    """How far the lake is behind one topic: records in no object yet, and how long the oldest has waited."""

    offsets: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class SinkVitals:
    """How a sink is at one moment. ``quality`` counts, by dataset and reason, rows whose values were flagged."""

    lag: Mapping[str, TopicLag]
    partitions: int
    unopened: int
    gathered_bytes: int
    gathered_limit: int
    lost_races: int
    waiting: bool
    quality: Mapping[tuple[str, str], int] = field(default_factory=dict)


class SinkCollector(Collector):
    """Reads ``meter`` and ``vitals()`` when Prometheus asks."""

    def __init__(self, meter: Meter, vitals: Callable[[], SinkVitals]) -> None:
        self._meter = meter
        self._vitals = vitals

    def collect(self) -> Iterable[Metric]:
        """Every family of a sink."""
        vitals = self._vitals()
        yield from self._of_topics()
        yield from self._of_frames()
        yield from self._of_lag(vitals)
        yield from self._of_worker(vitals)
        yield self._meter.upload.family("tidemark_sink_upload_seconds", "Time to make one object durable.")
        yield self._meter.age.family(
            "tidemark_sink_oldest_record_age_seconds",
            "Topic to object: age of an object's oldest row, from its receipt, when the object was durable.",
        )

    def _of_topics(self) -> Iterable[Metric]:
        topics = dict(self._meter.topics)
        for name, documentation, read in _BY_TOPIC:
            family = CounterMetricFamily(f"tidemark_sink_{name}", documentation, labels=["topic"])
            for topic, tally in topics.items():
                family.add_metric([topic], read(tally))
            yield family
        dead = CounterMetricFamily(
            "tidemark_sink_dead_letters", "Records that could not be parsed.", labels=["topic", "reason"]
        )
        for topic, tally in topics.items():
            for reason, count in dict(tally.dead).items():
                dead.add_metric([topic, reason], count)
        yield dead
        newest = GaugeMetricFamily(
            "tidemark_sink_newest_row_timestamp_seconds",
            "When the newest row that lies in an object reached us, Unix time.",
            labels=["topic"],
        )
        for topic, tally in topics.items():
            if tally.newest_ns:
                newest.add_metric([topic], tally.newest_ns / 1e9)
        yield newest

    def _of_frames(self) -> Iterable[Metric]:
        frames = CounterMetricFamily(
            "tidemark_sink_frames",
            "Frames that became rows, by the path they took: fast (by the column) or slow (one by one).",
            labels=["topic", "path"],
        )
        for (topic, path), count in dict(self._meter.frames).items():
            frames.add_metric([topic, path], count)
        yield frames
        unknown = GaugeMetricFamily(
            "tidemark_sink_unknown_fields",
            "1 for each field seen since the start that no column holds and nobody knows.",
            labels=["topic", "field"],
        )
        for topic, name in self._meter.unknown.found():
            unknown.add_metric([topic, name], 1)
        yield unknown

    def _of_lag(self, vitals: SinkVitals) -> Iterable[Metric]:
        offsets = GaugeMetricFamily(
            "tidemark_sink_lag_offsets", "Records that the log holds and no object accounts for.", labels=["topic"]
        )
        seconds = GaugeMetricFamily(
            "tidemark_sink_lag_seconds", "How long the oldest of those records has been waiting.", labels=["topic"]
        )
        for topic, lag in vitals.lag.items():
            offsets.add_metric([topic], lag.offsets)
            seconds.add_metric([topic], lag.seconds)
        yield from (offsets, seconds)

    def _of_worker(self, vitals: SinkVitals) -> Iterable[Metric]:
        for name, documentation, value in (
            ("partitions", "Partitions that this worker writes.", vitals.partitions),
            ("partitions_unopened", "Partitions assigned whose chain has not been read yet.", vitals.unopened),
            ("gathered_bytes", "Bytes of records in memory, in no object yet.", vitals.gathered_bytes),
            ("gathered_ratio", "The same as a part of what may be gathered.", _ratio(vitals)),
            ("waiting", "1 while the lake or the broker does not answer and nothing is read.", int(vitals.waiting)),
        ):
            yield GaugeMetricFamily(f"tidemark_sink_{name}", documentation, value=value)
        for name, documentation, value in (
            (
                "commit_failures",
                "Commits that the broker did not take (they only show lag).",
                self._meter.commit_failures,
            ),
            ("lost_races", "Objects that another writer had written first.", vitals.lost_races),
            ("waits", "Times that the lake or the broker did not answer.", self._meter.waits),
        ):
            yield CounterMetricFamily(f"tidemark_sink_{name}", documentation, value=value)
        quality = CounterMetricFamily(
            "tidemark_sink_quality", "Rows whose values were flagged, by reason.", labels=["dataset", "reason"]
        )
        for (dataset, reason), count in vitals.quality.items():
            quality.add_metric([dataset, reason], count)
        yield quality


_BY_TOPIC: Final[tuple[tuple[str, str, Callable[[TopicTally], int]], ...]] = (
    ("records", "Records that objects account for.", lambda t: t.records),
    ("rows", "Rows in objects.", lambda t: t.rows),
    ("object_bytes", "Bytes of objects.", lambda t: t.bytes),
    ("objects", "Objects written.", lambda t: t.objects),
    ("ignored_records", "Records without content (acknowledgements, signs of life).", lambda t: t.ignored),
    ("gap_objects", "Objects that stand for offsets which the log no longer held.", lambda t: t.gaps),
    ("gap_offsets", "Offsets that were gone from the log before they were read.", lambda t: t.gone),
)


def _ratio(vitals: SinkVitals) -> float:
    return vitals.gathered_bytes / vitals.gathered_limit if vitals.gathered_limit else 0.0
