"""The stage of one case: an exchange, the real producer, Kafka, real sinks, a lake, and a warehouse.

Lives here: putting it together, waiting for it to come to rest. Doesn't: what must hold (``proof``), single faults.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.faults.feed import CODE, Feed, Sent
from tests.faults.worker import Worker
from tidemark import naming
from tidemark.exchanges import registry
from tidemark.jobs import completeness, load, migrate
from tidemark.jobs.completeness import CompletenessSummary
from tidemark.lake import chain as chains
from tidemark.lake.chain import Chain, ChainReport, Link
from tidemark.lake.store import ObjectStore, open_store
from tidemark.settings import ExchangeSettings, KafkaSettings, LakeSettings, PlatformSettings, Settings

EXCHANGE = "upbit"
DATASETS = ("trade", "system")
TRADES = naming.raw_topic(EXCHANGE, "trade")
_HOUR = timedelta(hours=1)
_names = itertools.count(1)


def until(check: Callable[[], bool], seconds: float = 60, what: Callable[[], str] = lambda: "waited in vain") -> None:
    """Wait until ``check`` holds."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


@dataclass
class Stage:
    """What a case acts on. ``published`` are records that a case wrote to the broker itself."""

    settings: Settings
    folder: Path
    feed: Feed
    workers: list[Worker] = field(default_factory=list)
    published: list[Sent] = field(default_factory=list)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self.store: ObjectStore = open_store(self.settings.lake)

    # --- workers ------------------------------------------------------------------------------------------

    def producer(self, *, at: str = "", on: int = 1, **changes: Any) -> Worker:
        """Start a producer, with a fail point if ``at`` names one; ``changes`` are its settings.

        All are one worker by name: what a supervisor starts again.
        """
        return self._start("producer", at, on, "SIGKILL", changes)

    def sink(self, *, at: str = "", on: int = 1, sign: str = "SIGKILL", **changes: Any) -> Worker:
        """Start a sink, with a fail point if ``at`` names one; ``changes`` are its settings."""
        return self._start("sink", at, on, sign, changes)

    def _start(self, role: str, at: str, on: int, sign: str, changes: dict[str, Any]) -> Worker:
        name = f"{role}-{next(_names)}"
        own = getattr(self.settings, role).model_copy(update={"worker": role} | changes)
        settings = self.settings.model_copy(update={role: own})
        module = {"producer": "producer", "sink": "consumer"}[role]
        log = self.folder / f"{name}.log"
        if at:
            worker = Worker("tests.faults.failing", settings, log, [module, at, str(on), sign])
        else:
            worker = Worker(f"streaming.{module}", settings, log)
        self.workers.append(worker)
        return worker

    def close(self) -> None:
        """Leave no process behind, however the case ended."""
        for worker in self.workers:
            worker.kill()

    # --- the broker ---------------------------------------------------------------------------------------

    def make_topics(self) -> None:
        """The exchange's topics, empty, whatever was there before."""
        admin = self.admin
        there = [t for t in admin.list_topics(timeout=20).topics if t.startswith("raw.")]
        if there:
            for future in admin.delete_topics(there).values():
                future.result(20)
            until(lambda: not set(there) & set(admin.list_topics(timeout=20).topics), 30)
        migrate.migrate_topics(self.settings.kafka, naming.topics(EXCHANGE, registry.get(EXCHANGE).datasets))
        until(lambda: all(self.high(t, p) == 0 for t, p in self.places()), 30, lambda: "the topics do not come up")

    @cached_property
    def admin(self) -> AdminClient:
        """A client for orders to the broker; it must outlive their answers."""
        return AdminClient({"bootstrap.servers": self.settings.kafka.bootstrap_servers, "log_level": 0})

    def publish(
        self,
        frames: Iterable[bytes],
        *,
        partition: int = 0,
        connection: str = "own",
        received: Callable[[int], int] = lambda n: time.time_ns(),
        topic: str = TRADES,
    ) -> None:
        """Write these frames to the broker as a producer would; ``received`` tells the Unix ns of the nth."""
        producer: Any = Producer(
            {
                "bootstrap.servers": self.settings.kafka.bootstrap_servers,
                "enable.idempotence": True,
                "max.in.flight": 1,
                "linger.ms": 5,
                "log_level": 0,
            }
        )
        number = sum(s.connection == connection for s in self.published)
        for n, frame in enumerate(frames):
            at_ns = received(n)
            self.published.append(Sent(connection, number + n + 1, at_ns, frame))
            headers = [
                ("received_ns", b"%d" % at_ns),
                ("connection", connection.encode()),
                ("frame", b"%d" % (number + n + 1)),
            ]
            while True:
                try:
                    producer.produce(
                        topic, frame, CODE.encode(), partition=partition, timestamp=at_ns // 10**6, headers=headers
                    )
                    break
                except BufferError:
                    producer.poll(0.1)
        assert producer.flush(30) == 0

    def places(self) -> list[tuple[str, int]]:
        """Every partition of the exchange's raw topics."""
        declared = naming.topics(EXCHANGE, registry.get(EXCHANGE).datasets)
        return [(t.name, p) for t in declared if not t.name.endswith(".dlq") for p in range(t.partitions)]

    def low(self, topic: str = TRADES, partition: int = 0) -> int:
        return self._marks(topic, partition)[0]

    def high(self, topic: str = TRADES, partition: int = 0) -> int:
        """The offset that the partition's next record gets; -1 while the broker doesn't say."""
        return self._marks(topic, partition)[1]

    def _marks(self, topic: str, partition: int) -> tuple[int, int]:
        return self.marks([(topic, partition)])[topic, partition]

    def marks(self, places: Sequence[tuple[str, int]]) -> dict[tuple[str, int], tuple[int, int]]:
        """First offset and next offset of these partitions; (-1, -1) while the broker doesn't say."""
        consumer = Consumer(
            {"bootstrap.servers": self.settings.kafka.bootstrap_servers, "group.id": "looks", "log_level": 0}
        )
        found: dict[tuple[str, int], tuple[int, int]] = {}
        try:
            for place in places:
                try:
                    found[place] = consumer.get_watermark_offsets(TopicPartition(*place), timeout=10)
                except Exception:
                    found[place] = (-1, -1)
        finally:
            consumer.close()
        return found

    def headers(self, topic: str) -> list[dict[str, str]]:
        """The headers of every record of a topic."""
        found: list[dict[str, str]] = []
        place = (topic, 0)
        (low, high) = self.marks([place])[place]
        consumer = Consumer(
            {"bootstrap.servers": self.settings.kafka.bootstrap_servers, "group.id": "looks", "log_level": 0}
        )
        try:
            consumer.assign([TopicPartition(topic, 0, low)])
            while len(found) < high - low:
                message = consumer.poll(20)
                assert message is not None
                assert message.error() is None
                found.append({name: value.decode() for name, value in message.headers() or ()})
        finally:
            consumer.close()
        return found

    # --- the lake -----------------------------------------------------------------------------------------

    def chain(self, topic: str = TRADES, partition: int = 0, epoch: int | None = None) -> Chain:
        kafka = self.settings.kafka
        return Chain(topic, kafka.cluster, kafka.epoch if epoch is None else epoch, partition)

    def links(self, topic: str = TRADES, partition: int = 0, epoch: int | None = None) -> list[Link]:
        return chains.list_chain(self.store, self.chain(topic, partition, epoch))

    def report(self, topic: str = TRADES, partition: int = 0, epoch: int | None = None) -> ChainReport:
        return chains.walk((link.start, link.end) for link in self.links(topic, partition, epoch))

    def end(self, topic: str = TRADES, partition: int = 0) -> int:
        """Last offset that lies in the lake; -1 when none does."""
        end = self.report(topic, partition).end
        return -1 if end is None else end

    def landed(self, count: int, seconds: float = 60) -> None:
        """Wait until so many trades have landed, in whichever partitions."""
        until(lambda: self._landed() >= count, seconds, lambda: f"{self._landed()} of {count} landed\n{self._tails()}")

    def _landed(self) -> int:
        partitions = [p for t, p in self.places() if t == TRADES]
        return sum(self.end(TRADES, p) + 1 for p in partitions)

    # --- coming to rest -----------------------------------------------------------------------------------

    def rest(self, seconds: float = 90) -> None:
        """Drain producers, let a sink land all that the broker holds, drain the sinks."""
        for worker in self._alive("producer"):
            assert worker.drained() == 0, worker.tail()
        if not self._alive("sink"):
            self.sink()
        highs = {place: high for place, (_, high) in self.marks(self.places()).items()}
        deadline = time.monotonic() + seconds
        while behind := {p: (self.end(*p), h) for p, h in highs.items() if self.end(*p) < h - 1}:
            assert time.monotonic() < deadline, f"not landed (lake, broker): {behind}\n{self._tails()}"
            time.sleep(0.1)
        for worker in self._alive("sink"):
            worker.until_said("sink starts")  # before that it knows no signals
            assert worker.drained() == 0, worker.tail()

    def load(self, *datasets: str) -> None:
        """Everything that has landed of these datasets (default: trades and the system's) into the warehouse."""
        for dataset in datasets or DATASETS:
            load.run(self.settings, dataset, EXCHANGE)

    def check(self) -> CompletenessSummary:
        """The completeness check over the case's hours: now, and once more when they are over."""
        start = self.began.replace(minute=0, second=0, microsecond=0)
        times = [datetime.fromtimestamp(sent.at_ns / 1e9, UTC) for sent in self.published]
        start = min([start, *(t.replace(minute=0, second=0, microsecond=0) for t in times)])
        now = datetime.now(UTC)
        end = now.replace(minute=0, second=0, microsecond=0) + _HOUR
        completeness.run(self.settings, start, end, now)
        return completeness.run(self.settings, start, end, now + 2 * _HOUR)

    def _alive(self, role: str) -> list[Worker]:
        return [w for w in self.workers if w.alive and w.log.name.startswith(role)]

    def _tails(self) -> str:
        return "\n".join(f"--- {w.log.name}\n{w.tail()[-1_500:]}" for w in self.workers)


def settings_of(bootstrap: str, lake: LakeSettings, warehouse: Any, feed: Feed, *, memory: bool = False) -> Settings:
    """Settings of a case of its own: cluster and group are new names."""
    case = f"case-{time.time_ns():x}"
    base = Settings()
    return base.model_copy(
        update={
            "upbit": ExchangeSettings(
                ws_url=feed.url, rest_url="http://127.0.0.1:1", datasets=("trade",), codes=(CODE,)
            ),
            "platform": PlatformSettings(exchanges=(EXCHANGE,)),
            "kafka": KafkaSettings(bootstrap_servers=bootstrap, cluster=case, memory=memory),
            "lake": lake,
            "warehouse": warehouse,
            "producer": base.producer.model_copy(
                update={"reconnect_min_s": 0.05, "reconnect_max_s": 0.5, "ping_interval_s": 1.0, "drain_timeout_s": 20}
            ),
            "sink": base.sink.model_copy(
                update={"group": case, "session_timeout_ms": 6_000, "rotate_seconds": 0.4, "rotate_rows": 500}
            ),
        }
    )
