"""Stage: a socket to a topic: how many frames a second, and what is added to each one's way.

Lives here: what is compared with what, and the brokers. Doesn't: the timed programs (``our_producer``,
``websockets_loop``, ``socket_latency``), the exchange (``socket_source``).

Frames a second are measured against librdkafka's in-memory broker in a process of its own: it takes what both bring,
while a durable one on the same two cores would be measured in their place. What is added is measured on a durable one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka.admin import AdminClient, NewTopic

from tests.bench.harness import Candidate, Place, Row
from tidemark import naming
from tidemark.exchanges import registry
from tidemark.local.kafka import KafkaServer
from tidemark.local.memory import MemoryBroker
from tidemark.local.process import free_port

_KNOWN_LOOP = 104_000


def rows(place: Place) -> Iterator[Row]:
    """Three lines of the table."""
    count = "100000" if place.quick else "400000"
    with _memory(place) as bootstrap:
        ours = Candidate("producer", ["-m", "tests.bench.our_producer", bootstrap, count])
        loop = ["-m", "tests.bench.websockets_loop", bootstrap, count]
        yield Row(
            "socket → topic, same key and headers",
            ours,
            goal=2.5,
            yardstick=Candidate("websockets + confluent-kafka, key by json", [*loop, "json"]),
            known=_KNOWN_LOOP,
        )
        yield Row(
            "the same against a loop that reads the key with msgspec",
            ours,
            goal=2.5,
            yardstick=Candidate("websockets + confluent-kafka, key by msgspec", [*loop, "msgspec"]),
        )
    with _durable(place) as bootstrap:
        frames = "15000" if place.quick else "50000"
        yield Row(
            "added latency socket → topic at 5,000 frames/s (5 ms by p99)",
            Candidate("producer", ["-m", "tests.bench.socket_latency", bootstrap, frames]),
            goal=1.0,
            reference=1.0,
            reference_name="p99 of 5 ms",
            unit="× as fast",
            scale=1.0,
        )


@contextmanager
def _memory(place: Place) -> Iterator[str]:
    broker = MemoryBroker(place.folder / "memory", place.folder / "memory.log")
    broker.start()
    try:
        yield broker.bootstrap
    finally:
        broker.stop()


@contextmanager
def _durable(place: Place) -> Iterator[str]:
    """A Kafka of this stage's own, whose topics hold the time at which a record came into the log."""
    server = KafkaServer(place.folder / "timed", free_port(), place.folder / "timed.log", place.cache, optimised=True)
    server.start()
    try:
        admin = AdminClient({"bootstrap.servers": server.bootstrap})
        topics = [
            NewTopic(t.name, t.partitions, 1, config={**t.config(), "message.timestamp.type": "LogAppendTime"})
            for t in naming.topics("upbit", registry.get("upbit").datasets)
        ]
        for made in admin.create_topics(topics).values():
            made.result(30)
        yield server.bootstrap
    finally:
        server.stop()
