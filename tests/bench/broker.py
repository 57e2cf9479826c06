"""The benchmarks' Kafka: a real, durable one, with topics full of frames.

Lives here: starting it and filling topics as the producer would. Doesn't: frames (``frames``).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tidemark.local import process
from tidemark.local.kafka import KafkaServer

_CONNECTION = b"producer-1-20261120T000000000000-1"


@contextmanager
def broker(folder: Path, cache: Path) -> Iterator[str]:
    """A Kafka of this run's own, whose data are in ``folder``; its bootstrap servers."""
    folder.mkdir(parents=True, exist_ok=True)
    server = KafkaServer(folder / "kafka", process.free_port(), folder / "kafka.log", cache, optimised=True)
    server.start()
    try:
        yield server.bootstrap
    finally:
        server.stop()


def fill(bootstrap: str, topic: str, frames: Iterable[tuple[str, bytes]]) -> None:
    """A topic of one partition with these frames, keyed, headed and compressed as the producer does it."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1, config={"retention.ms": "-1"})])[topic].result(30)
    settings = {"bootstrap.servers": bootstrap, "linger.ms": 5, "compression.type": "lz4"}
    producer = Producer({**settings, "queue.buffering.max.messages": 200_000})
    start = time.time_ns()
    for number, (code, frame) in enumerate(frames):
        at = start + number * 1_000
        headers = [("received_ns", b"%d" % at), ("connection", _CONNECTION), ("frame", b"%d" % (number + 1))]
        while True:
            try:
                producer.produce(topic, frame, code.encode(), headers=headers, timestamp=at // 1_000_000)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(120) == 0
