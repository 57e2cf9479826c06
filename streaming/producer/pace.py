"""The sink's pace, for the in-memory broker: it drops its oldest records silently, so it must never fill up.

Lives here: how many bytes of each partition the sink has not committed yet, and holding the gate before they
are too many. Doesn't: anything for a durable broker, where the lag may grow as long as retention allows.

The in-memory broker keeps 5 MiB a partition; records already there when the producer starts count as full
until the sink is past them.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Collection
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from streaming.producer.gate import Gate
from tidemark.settings import KafkaSettings

log = structlog.get_logger()

_HOLDER: Final = "the sink is behind"
_INTERVAL_S: Final = 0.1
_TIMEOUT_S: Final = 5.0
#: Of the 5 MiB; the rest is for what a socket had in its buffers when the gate was held.
_SAFE_BYTES: Final = 3 * 1024 * 1024

Partition = tuple[str, int]


class Pace:
    """Counts what was sent and not yet committed by the sink's group, partition by partition."""

    def __init__(self, gate: Gate, max_lag_bytes: int) -> None:
        self._gate = gate
        self._limit = min(max_lag_bytes, _SAFE_BYTES)
        self._on_its_way: defaultdict[str, int] = defaultdict(int)
        self._lag: defaultdict[Partition, int] = defaultdict(int)
        self._sizes: defaultdict[Partition, deque[tuple[int, int]]] = defaultdict(deque)

    @staticmethod
    def size(key: bytes | None, value: bytes) -> int:
        """Bytes of a record as the broker holds it, about."""
        return len(value) + len(key or b"") + 256

    @property
    def lag_bytes(self) -> int:
        """Bytes of the partition that is furthest behind, those on their way counted in full."""
        topics = {*self._on_its_way, *(topic for topic, _ in self._lag)}
        return max((self._lag_of(topic) for topic in topics), default=0)

    def found(self, topic: str, partition: int, end: int) -> None:
        """There are records before offset ``end``, of unknown size, that the sink hasn't committed."""
        self._sizes[topic, partition].append((end - 1, self._limit))
        self._lag[topic, partition] += self._limit
        self._judge()

    def sent(self, topic: str, size: int) -> None:
        """A record is on its way to some partition."""
        self._on_its_way[topic] += size
        if self._lag_of(topic) >= self._limit:
            self._gate.hold(_HOLDER)

    def delivered(self, topic: str, partition: int, offset: int | None, size: int) -> None:
        """A record has arrived; without an offset it lies after the ones before it."""
        self._on_its_way[topic] -= size
        sizes = self._sizes[topic, partition]
        if offset is None:
            offset = sizes[-1][0] + 1 if sizes else 0
        sizes.append((offset, size))
        self._lag[topic, partition] += size

    def committed(self, topic: str, partition: int, offset: int) -> None:
        """The sink has everything before ``offset``."""
        sizes = self._sizes[topic, partition]
        while sizes and sizes[0][0] < offset:
            self._lag[topic, partition] -= sizes.popleft()[1]
        self._judge()

    def _lag_of(self, topic: str) -> int:
        worst = max((lag for (name, _), lag in self._lag.items() if name == topic), default=0)
        return worst + self._on_its_way[topic]

    def _judge(self) -> None:
        lag = self.lag_bytes
        if lag >= self._limit:
            self._gate.hold(_HOLDER)
        elif lag <= self._limit // 2:
            self._gate.release(_HOLDER)


class CommitWatch:
    """Reads the sink's committed offsets, never joining its group."""

    def __init__(self, settings: KafkaSettings, group: str, topics: Collection[str], pace: Pace) -> None:
        self._pace = pace
        self._topics = topics
        self._partitions: list[TopicPartition] = []
        self._consumer = Consumer(
            {
                "bootstrap.servers": settings.bootstrap_servers,
                "group.id": group,
                "enable.auto.commit": False,
            }
        )

    def start(self) -> None:
        """Find the partitions, and what lies in them that the sink doesn't have. Blocks.

        Raises:
            KafkaException: the broker did not answer.
        """
        there = self._consumer.list_topics(timeout=_TIMEOUT_S).topics
        self._partitions = [TopicPartition(t, p) for t in self._topics if t in there for p in there[t].partitions]
        places = self._consumer.committed(self._partitions, timeout=_TIMEOUT_S)
        marks = [
            self._consumer.get_watermark_offsets(TopicPartition(p.topic, p.partition), timeout=_TIMEOUT_S)
            for p in places
        ]
        for place, (low, high) in zip(places, marks, strict=True):
            if max(low, place.offset) < high:
                self._pace.found(place.topic, place.partition, high)

    async def follow(self) -> None:
        """Tell the pace what the sink has committed, until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL_S)
            try:
                places = await asyncio.to_thread(self._consumer.committed, self._partitions, timeout=_TIMEOUT_S)
            except KafkaException as error:
                log.warning("the sink's offsets could not be read", error=str(error))
                continue
            for place in places:
                if place.error is None and place.offset > 0:
                    self._pace.committed(place.topic, place.partition, place.offset)

    def close(self) -> None:
        """Close the connection to the broker."""
        self._consumer.close()
