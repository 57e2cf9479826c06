"""A sink with its surroundings: topics of its own on the run's broker, a lake of its own, and exact questions to it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from streaming.consumer.worker import Sink
from tidemark import naming
from tidemark.lake import chain as chains
from tidemark.lake import parquet
from tidemark.lake.chain import Chain, ChainReport, Link
from tidemark.lake.parquet import Footer
from tidemark.lake.store import ObjectStore, open_store
from tidemark.settings import PROJECT_ROOT, KafkaSettings, LakeSettings, Settings, SinkSettings

HOUR_NS = 3_600 * 10**9
#: 2026-04-13 00:00 UTC
START_NS = 1_776_038_400 * 10**9
_versions = itertools.count(os.getpid() * 1_000 + time.time_ns() % 997)

Frame = tuple[bytes, dict[str, bytes]]


def trade(number: int, at_ns: int = START_NS) -> Frame:
    """A trade frame as Upbit spells it, with the producer's headers; its id and volume are ``number``."""
    message = {
        "type": "trade", "code": "KRW-BTC", "timestamp": at_ns // 10**6, "trade_timestamp": at_ns // 10**6,
        "trade_price": 100_000_000.0 + number, "trade_volume": 0.5, "ask_bid": "BID", "sequential_id": number,
        "stream_type": "REALTIME",
    }  # fmt: skip
    return json.dumps(message).encode(), headers(number, at_ns)


def headers(frame_no: int, at_ns: int = START_NS, connection: str = "c1") -> dict[str, bytes]:
    return {"received_ns": b"%d" % at_ns, "connection": connection.encode(), "frame": b"%d" % frame_no}


def trades(first: int, count: int) -> list[Frame]:
    return [trade(number, START_NS + number * 1_000) for number in range(first, first + count)]


class Plant:
    """Topics, a lake, sinks. ``topic`` is the first topic made."""

    def __init__(self, bootstrap: str, folder: Path, lake: LakeSettings | None = None) -> None:
        self.bootstrap = bootstrap
        self.folder = folder
        self.lake = lake or LakeSettings(url=f"file://{folder}/lake")
        self.store: ObjectStore = open_store(self.lake)
        self.admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        self.producer: Any = Producer(
            {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5, "log_level": 0}
        )
        self.cluster = str(self.admin.list_topics(timeout=10).cluster_id)
        self.version = next(_versions)
        self.group = f"sink.{self.version}"
        self.processes: list[subprocess.Popen[bytes]] = []

    def make_topic(self, dataset: str = "trade", partitions: int = 1, *, again: bool = False) -> str:
        """A topic of this test's own, with its dead letters'."""
        topic = f"raw.upbit.{dataset}.v{self.version}"
        # Records carry times of another month: the broker must not think them overdue.
        new = [NewTopic(topic, partitions, 1, config={"retention.ms": "-1"})]
        new += [] if again else [NewTopic(naming.dead_letter_topic(topic), 1, 1)]
        for future in self.admin.create_topics(new).values():
            future.result(20)
        until(lambda: len(self.admin.list_topics(topic, timeout=5).topics[topic].partitions) == partitions, 10)
        return topic

    def send(self, topic: str, frames: Sequence[Frame], partition: int = 0, key: bytes = b"KRW-BTC") -> None:
        for value, named in frames:
            at = int(named.get("received_ns", b"0")) // 10**6 or START_NS // 10**6
            self.producer.produce(topic, value, key, partition=partition, timestamp=at, headers=list(named.items()))
        assert self.producer.flush(30) == 0

    def settings(self, epoch: int = 0, **sink: Any) -> Settings:
        defaults = {
            "group": self.group,
            "session_timeout_ms": 6_000,
            "rotate_seconds": 0.4,
            "worker": "sink-1",
        }
        return Settings(
            kafka=KafkaSettings(bootstrap_servers=self.bootstrap, epoch=epoch),
            lake=self.lake,
            sink=SinkSettings(**(defaults | sink)),
        )

    @contextmanager
    def sink(self, *topics: str, places: Sequence[tuple[str, int]] = (), epoch: int = 0, **sink: Any) -> Iterator[Sink]:
        """A sink in a thread of this process; drained at the end, its failure raised here."""
        worker = Sink(self.settings(epoch, **sink), topics=topics, places=places)
        failed: list[BaseException] = []

        def run() -> None:
            try:
                worker.run()
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield worker
        finally:
            worker.stop()
            thread.join(60)
            assert not thread.is_alive()
        if failed:
            raise failed[0]

    def process(
        self, *topics: str, kill_at: int = 0, places: Sequence[tuple[str, int]] = (), **sink: Any
    ) -> subprocess.Popen[bytes]:
        """A sink in a process of its own, which kills itself between the upload number ``kill_at`` and its commit."""
        settings = self.settings(**sink)
        order = {
            "kafka": settings.kafka.model_dump(), "lake": settings.lake.model_dump(),
            "sink": settings.sink.model_dump(), "topics": topics, "places": places, "kill_at": kill_at,
        }  # fmt: skip
        with (self.folder / "sink.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.sink.sink_process", json.dumps(order)],
                cwd=PROJECT_ROOT, stderr=log, stdout=log,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def close(self) -> None:
        """Leave no sink behind, however the test ended."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()  # also ends one that is stopped
            process.wait(10)

    # --- questions ---------------------------------------------------------------------------------------

    def links(self, topic: str, partition: int = 0, epoch: int = 0) -> list[Link]:
        return chains.list_chain(self.store, Chain(topic, self.cluster, epoch, partition))

    def report(self, topic: str, partition: int = 0) -> ChainReport:
        return chains.walk((link.start, link.end) for link in self.links(topic, partition))

    def end(self, topic: str, partition: int = 0) -> int:
        end = self.report(topic, partition).end
        return -1 if end is None else end

    def footers(self, topic: str, partition: int = 0, epoch: int = 0) -> list[Footer]:
        return [link.footer for link in self.links(topic, partition, epoch)]

    def rows(self, topic: str, partition: int = 0, epoch: int = 0) -> list[dict[str, Any]]:
        """Every row of the chain, in its order."""
        return [
            r
            for link in self.links(topic, partition, epoch)
            for r in parquet.read(self.store.get(link.path)).to_pylist()
        ]

    def assert_exact(self, topic: str, count: int, partition: int = 0) -> None:
        """The chain holds offsets 0 to ``count - 1``, each once, and each as the row of the trade with that number."""
        report = self.report(topic, partition)
        assert report == ChainReport(0, count - 1), report
        rows = self.rows(topic, partition)
        assert [r["kafka_offset"] for r in rows] == list(range(count))
        assert [r["trade_id"] for r in rows] == list(range(count))
        footers = self.footers(topic, partition)
        assert sum(f.rows for f in footers) == sum(f.parsed for f in footers) == count

    def committed(self, topic: str, partition: int = 0) -> int:
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.group, "log_level": 0})
        try:
            (found,) = consumer.committed([TopicPartition(topic, partition)], timeout=10)
            return int(found.offset)
        finally:
            consumer.close()

    def reset_committed(self, topic: str, offset: int, partition: int = 0) -> None:
        """What an operator does while the group has no member."""
        wanted = ConsumerGroupTopicPartitions(self.group, [TopicPartition(topic, partition, offset)])

        def reset() -> bool:
            try:
                for future in self.admin.alter_consumer_group_offsets([wanted]).values():
                    future.result(10)
            except Exception:
                return False  # a killed member is still counted until its session ends
            return True

        until(reset, 30)

    def dead_letters(self, topic: str) -> list[tuple[bytes, dict[str, str]]]:
        """Value and headers of every dead letter of ``topic``."""
        dlq = naming.dead_letter_topic(topic)
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "look",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        try:
            _, high = consumer.get_watermark_offsets(TopicPartition(dlq, 0), timeout=10)
            consumer.assign([TopicPartition(dlq, 0, 0)])
            found = []
            while len(found) < high:
                message = consumer.poll(10)
                assert message is not None
                assert message.error() is None
                found.append((message.value(), {n: v.decode() for n, v in message.headers() or []}))
            return found
        finally:
            consumer.close()

    def dead_reasons(self, topic: str, partition: int = 0) -> Counter[str]:
        return sum((Counter(f.dead_reasons) for f in self.footers(topic, partition)), Counter())


def until(check: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until ``check`` holds."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def killed(process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """Wait until the process has killed itself."""
    assert process.wait(seconds) == -signal.SIGKILL
