"""What was produced, sunk, played again and sunk again gives the same rows, on a real broker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from streaming.consumer.worker import Sink
from streaming.producer.records import Record, connection_record, frame_headers
from tests.exchanges.upbit import samples
from tidemark import naming
from tidemark.contracts import CONTRACTS
from tidemark.contracts.fields import ENVELOPE
from tidemark.exchanges import registry
from tidemark.exchanges.connection import ConnectionRecord
from tidemark.jobs import replay, replay_targets
from tidemark.jobs.migrate import migrate_topics
from tidemark.jobs.replay_targets import ReplayError, drop
from tidemark.lake import parquet
from tidemark.lake.recorded import Window
from tidemark.lake.store import open_store
from tidemark.local.kafka import KafkaServer
from tidemark.settings import KafkaSettings, LakeSettings, Settings, SinkSettings

DATASETS = ("trade", "ticker", "orderbook", "system")
T0 = datetime(2026, 4, 13, 5, tzinfo=UTC)
START_NS = int(T0.timestamp()) * 10**9
WINDOW = Window(T0, T0 + timedelta(hours=1))
#: Where a row lies; that may differ between a run and the day it plays.
PLACE = {"kafka_cluster", "kafka_epoch", "kafka_topic", "kafka_offset"}


def produced() -> list[Record]:
    """Two connections opened, then frames of several markets and datasets, an acknowledgement and rubbish."""
    open_at = [
        ConnectionRecord(exchange="upbit", connection=f"c{n}", worker="producer-1", opened_at=T0) for n in range(2)
    ]
    records = [connection_record(record) for record in open_at]
    frames = [samples.TICKER, samples.ORDERBOOK, b'{"status":"UP"}', b"no json at all"]
    for n in range(1, 801):
        frame = frames[n % 4] if n % 8 < 4 else _trade(n)
        records.append(_record(f"c{n % 2}", frame, (n + 1) // 2, START_NS + n * 1_234_567))
    return records


def _record(connection: str, frame: bytes, frame_no: int, received_ns: int) -> Record:
    dataset, code = registry.get("upbit").classify(frame)
    headers = frame_headers(connection) | {"received_ns": b"%d" % received_ns, "frame": b"%d" % frame_no}
    key = connection if dataset == "system" else code
    return Record(naming.raw_topic("upbit", dataset), key.encode(), frame, received_ns // 1_000_000, headers)


def _trade(number: int) -> bytes:
    code = ["KRW-BTC", "KRW-ETH", "KRW-XRP", "BTC-ETH", "USDT-BTC"][number % 5]
    return samples.TRADE.replace(b"KRW-BTC", code.encode()).replace(b"17898744375740003", b"%d" % (10**16 + number))


@pytest.fixture
def settings(fresh_kafka: Callable[[], KafkaServer], tmp_path: Path) -> Settings:
    kafka = KafkaSettings(bootstrap_servers=fresh_kafka().bootstrap)
    lake = LakeSettings(url=f"file://{tmp_path}/lake")
    return Settings(kafka=kafka, lake=lake, sink=SinkSettings(rotate_seconds=0.4, session_timeout_ms=6_000))


@contextmanager
def sink(settings: Settings, topics: Sequence[str], group: str) -> Iterator[None]:
    own = settings.model_copy(update={"sink": settings.sink.model_copy(update={"group": group})})
    worker = Sink(own, topics=topics)
    thread = threading.Thread(target=worker.run)
    thread.start()
    yield
    worker.stop()
    thread.join(60)
    assert not thread.is_alive()


def offsets(settings: Settings, topic: str) -> int:
    """Offsets that the lake accounts for."""
    store = open_store(settings.lake)
    return sum(parquet.read_footer(store, o.path).offsets for o in store.list(naming.landing_prefix(topic)))


def rows(settings: Settings, topic: str) -> list[dict[str, Any]]:
    """All rows of a topic by partition and offset, without the names of the place."""
    store = open_store(settings.lake)
    found = [
        row
        for listed in store.list(naming.landing_prefix(topic))
        for row in parquet.read(store.get(listed.path)).to_pylist()
    ]
    found.sort(key=lambda r: (r["kafka_partition"], r["kafka_offset"], r["item"]))
    return [{name: value for name, value in row.items() if name not in PLACE} for row in found]


def until(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not check():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def sent(settings: Settings, records: Sequence[Record]) -> None:
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap_servers, "partitioner": "murmur2_random"})
    for r in records:
        producer.produce(r.topic, r.value, r.key or None, timestamp=r.timestamp_ms, headers=r.headers)
    assert producer.flush(30) == 0


def read(settings: Settings, topic: str, partitions: int) -> list[tuple[Any, ...]]:
    """Every record of a topic: partition, key, value, time, headers; by partition and offset."""
    consumer = Consumer({"bootstrap.servers": settings.kafka.bootstrap_servers, "group.id": "look"})
    places = [TopicPartition(topic, p, 0) for p in range(partitions)]
    ends = [consumer.get_watermark_offsets(place, timeout=10)[1] for place in places]
    consumer.assign(places)
    found = []
    while len(found) < sum(ends):
        message = consumer.poll(10)
        assert message is not None
        assert message.error() is None
        found.append(message)
    consumer.close()
    found.sort(key=lambda m: (m.partition(), m.offset()))
    return [(m.partition(), m.key(), m.value(), m.timestamp()[1], m.headers()) for m in found]


def to_the_microsecond(record: tuple[Any, ...]) -> tuple[Any, ...]:
    """The record as the lake can give it back."""
    *rest, headers = record
    return *rest, [(n, b"%d" % (int(v) // 1_000 * 1_000) if n == "received_ns" else v) for n, v in headers]


def test_a_day_played_again_gives_equal_records_and_equal_rows(settings: Settings) -> None:
    originals = naming.topics("upbit", DATASETS)
    migrate_topics(settings.kafka, originals)
    records = produced()
    sent(settings, records)
    names = [naming.raw_topic("upbit", dataset) for dataset in DATASETS]
    with sink(settings, names, "first"):
        until(lambda: sum(offsets(settings, n) for n in names) == len(records))

    summary = replay.to_topics(settings, "r1", replay.Order("upbit", WINDOW, DATASETS))
    assert (summary.records, summary.left.dead, summary.left.ignored) == (602, 100, 100)
    played = [naming.replay_topic("r1", name) for name in names]
    for topic, name in zip(originals, names, strict=False):
        before = [r for r in read(settings, name, topic.partitions) if _gave_rows(r)]
        after = read(settings, naming.replay_topic("r1", name), topic.partitions)
        assert after == [to_the_microsecond(r) for r in before]

    with sink(settings, played, "second"):
        until(lambda: sum(offsets(settings, n) for n in played) == summary.records)
    own = {f.name for f in ENVELOPE}
    for name, again, dataset in zip(names, played, DATASETS, strict=True):
        assert rows(settings, again) == rows(settings, name)
        assert {n for row in rows(settings, again) for n in row} >= set(CONTRACTS[dataset].names()) | (own - PLACE)
    assert sum(len(rows(settings, name)) for name in names) == 602


def _gave_rows(record: tuple[Any, ...]) -> bool:
    return record[2] not in (b'{"status":"UP"}', b"no json at all")


def test_a_run_is_played_once_and_can_be_dropped(settings: Settings) -> None:
    order = replay.Order("upbit", WINDOW, ("trade",))
    replay.to_topics(settings, "r1", order)
    with pytest.raises(ReplayError, match="run r1 was played before"):
        replay.to_topics(settings, "r1", order)
    assert drop(settings.kafka, "r1") == ["replay.r1.raw.upbit.trade.v1", "replay.r1.raw.upbit.trade.v1.dlq"]
    with pytest.raises(ReplayError, match="there is no run r1"):
        drop(settings.kafka, "r1")
    replay.to_topics(settings, "r2", order)


def test_a_broker_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_targets, "_TIMEOUT_S", 1.0)
    settings = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:9"))
    with pytest.raises(ReplayError, match=r"no broker answers at 127\.0\.0\.1:9"):
        replay.run(settings, "r1", replay.Order("upbit", WINDOW))


def test_the_in_memory_broker_is_refused() -> None:
    settings = Settings(kafka=KafkaSettings(memory=True))
    with pytest.raises(ReplayError, match="keeps 5 MiB"):
        replay.run(settings, "r1", replay.Order("upbit", WINDOW))


def test_no_production_topic_can_be_named(settings: Settings) -> None:
    with pytest.raises(ReplayError, match="lower-case letters"):
        replay.run(settings, "../raw.upbit.trade.v1", replay.Order("upbit", WINDOW))
