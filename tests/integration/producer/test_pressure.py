"""When broker or sink cannot follow, the socket is left unread: memory stays bounded and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.integration.producer.conftest import Producing, make_topics
from tests.integration.producer.exchange import Client, ScriptedExchange, headers, read
from tests.integration.producer.test_frames import by_connection, connections, topics, trade, until
from tidemark import naming
from tidemark.local.kafka import KafkaServer
from tidemark.local.memory import MemoryBroker

ROOT = Path(__file__).resolve().parents[3]
MIB = 1024 * 1024


def large(number: int) -> bytes:
    """A trade of about 8 KiB that does not compress."""
    return trade("KRW-BTC", number)[:-1] + b',"x":"' + os.urandom(4096).hex().encode() + b'"}'


class Process:
    """``python -m streaming.producer`` as it is run in earnest."""

    def __init__(self, bootstrap: str, exchange: ScriptedExchange, log: Path, **settings: str) -> None:
        self.log = log
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "TIDEMARK_PLATFORM__EXCHANGES": '["upbit"]',
            "TIDEMARK_UPBIT__WS_URL": exchange.url,
            "TIDEMARK_UPBIT__CODES": '["KRW-BTC"]',
            "TIDEMARK_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
            **{f"TIDEMARK_PRODUCER__{name.upper()}": value for name, value in settings.items()},
        }
        with log.open("wb") as file:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "streaming.producer", "--log-level", "DEBUG"],
                cwd=log.parent,
                env=environment,
                stderr=file,
            )

    def memory(self) -> int:
        """Resident bytes."""
        status = Path(f"/proc/{self.popen.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) * 1024

    async def ended(self, timeout_s: float = 30) -> int:
        """Its exit code."""
        return await asyncio.to_thread(self.popen.wait, timeout_s)


@pytest.mark.fault
def test_a_broker_that_is_down_fills_no_memory_and_loses_nothing(
    fresh_kafka: Callable[[], KafkaServer], tmp_path: Path
) -> None:
    """Also: SIGTERM delivers everything, closes in order, and ends with 0."""
    kafka = fresh_kafka()
    make_topics(kafka.bootstrap, "upbit")
    sent: list[bytes] = []
    may_go_on, all_read = asyncio.Event(), asyncio.Event()
    total = 5_000  # 40 MB

    async def script(client: Client) -> None:
        for number in range(total):
            if number == 100:
                await may_go_on.wait()
            frame = large(number)
            await client.send(frame)
            sent.append(frame)
        await client.all_read()
        all_read.set()
        await client.gone.wait()

    async def scene() -> tuple[int, int]:
        async with ScriptedExchange(script).running() as exchange:
            process = Process(kafka.bootstrap, exchange, tmp_path / "log", max_buffer_bytes=str(4 * MIB))
            try:
                await until(lambda: len(sent) == 100)
                await asyncio.sleep(0.5)
                await asyncio.to_thread(kafka.stop)
                before = process.memory()
                may_go_on.set()
                await until(lambda: b"sockets paused" in process.log.read_bytes())
                await asyncio.sleep(1)
                stuck = len(sent)
                await asyncio.sleep(2)
                grown = process.memory() - before
                assert len(sent) - stuck < 50, "the socket is not read any more"
                # 4 MiB of ours, and what two kernels may hold of one connection (2 here, 4 there)
                assert stuck * 8_300 < 16 * MIB, "more was taken than the buffers may hold"
                await asyncio.to_thread(kafka.start)
                await asyncio.wait_for(all_read.wait(), 90)
                process.popen.send_signal(signal.SIGTERM)
                return await process.ended(), grown
            finally:
                process.popen.kill()
                process.popen.wait()

    code, grown = asyncio.run(scene())
    assert code == 0, (tmp_path / "log").read_text()[-2_000:]
    assert grown < 64 * MIB, f"{grown} bytes for a buffer of 4 MiB"
    records = read(kafka.bootstrap, topics("upbit"))
    ((name, frames),) = by_connection(records).items()
    assert [record.value() for record in frames] == sent
    assert [record.offset() for record in frames] == list(range(total)), "no record twice"
    rows = connections("upbit", records)
    assert rows[name]["close"]["frames"] == total
    assert rows[name]["close"]["reason"] == "the producer stops"
    assert b'"event": "stopped"' in (tmp_path / "log").read_bytes()


def test_a_refused_record_ends_the_worker_with_an_error(
    own_exchange: str, kafka_bootstrap: str, producing: Producing, capsys: pytest.CaptureFixture[str]
) -> None:
    make_topics(kafka_bootstrap, own_exchange, {"max.message.bytes": "2000"})

    async def script(client: Client) -> None:
        await client.send(trade("KRW-BTC", 1))
        await client.send(large(2))
        await client.gone.wait()

    async def scene() -> int:
        async with (
            ScriptedExchange(script).running() as exchange,
            producing(kafka_bootstrap, exchange.settings()) as producer,
        ):
            return await asyncio.wait_for(producer.task, 30)

    assert asyncio.run(scene()) == 1
    said = capsys.readouterr()
    assert "record not delivered" in said.out + said.err
    rows = connections(own_exchange, read(kafka_bootstrap, topics(own_exchange)))
    assert [row["close"]["frames"] for row in rows.values()] == [2]


def test_asked_to_stop_with_the_broker_gone_it_ends_in_time_and_says_what_is_missing(tmp_path: Path) -> None:
    broker = MemoryBroker(tmp_path / "memory", tmp_path / "memory.log")
    broker.start()
    count = 0

    async def script(client: Client) -> None:
        nonlocal count
        for number in range(100_000):
            await client.send(large(number))
            count = number

    async def scene() -> tuple[int, float]:
        async with ScriptedExchange(script).running() as exchange:
            settings = {"max_buffer_bytes": str(MIB), "drain_timeout_s": "1"}
            process = Process(broker.bootstrap, exchange, tmp_path / "log", **settings)
            try:
                await until(lambda: count > 10)
                broker.stop()
                await until(lambda: b"sockets paused" in process.log.read_bytes())
                started = time.monotonic()
                process.popen.send_signal(signal.SIGTERM)
                return await process.ended(), time.monotonic() - started
            finally:
                process.popen.kill()
                process.popen.wait()

    try:
        code, seconds = asyncio.run(scene())
    finally:
        broker.stop()
    said = (tmp_path / "log").read_text()
    assert code == 1
    assert seconds < 20
    last = json.loads(next(line for line in said.splitlines() if "stopped with records undelivered" in line))
    assert last["undelivered"] > 0


class Sink(threading.Thread):
    """Reads a topic and commits, as the real one does, at the pace of a slow disk."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        super().__init__(daemon=True)
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": naming.SINK_GROUP,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
        )
        self._consumer.subscribe([topic])
        self.frames: list[tuple[int, bytes]] = []
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.is_set():
            for message in self._consumer.consume(50, 0.1):
                self.frames.append((int(headers(message)["frame"]), message.value()))
                self._consumer.commit(message=message, asynchronous=False)
            time.sleep(0.02)
        self._consumer.close()


def test_with_the_memory_broker_the_producer_keeps_the_sinks_pace(memory_bootstrap: str, producing: Producing) -> None:
    """20 MB through a broker that keeps 5 MiB a partition and drops the oldest without a word."""
    topic = naming.raw_topic("upbit", "trade")
    sent: list[bytes] = []
    total = 2_500

    async def script(client: Client) -> None:
        for number in range(total):
            frame = large(number)
            sent.append(frame)
            await client.send(frame)
        await client.gone.wait()

    def end_of_log() -> int:
        consumer = Consumer({"bootstrap.servers": memory_bootstrap, "group.id": "looks"})
        ends = [consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=5)[1] for p in range(4)]
        consumer.close()
        return sum(ends)

    async def scene(sink: Sink) -> int:
        async with (
            ScriptedExchange(script).running() as exchange,
            producing(memory_bootstrap, exchange.settings(), name="upbit", memory=True) as producer,
        ):
            await until(lambda: end_of_log() > 100)
            await asyncio.sleep(2)
            waiting = end_of_log()
            assert waiting * 8_300 < 4 * MIB, "it stops before the broker is full"
            sink.start()
            await until(lambda: len(sink.frames) == total, 90)
            return await producer.end()

    sink = Sink(memory_bootstrap, topic)
    try:
        code = asyncio.run(scene(sink))
    finally:
        sink.done.set()
    sink.join(10)
    assert code == 0
    assert sorted(sink.frames) == [(number, frame) for number, frame in enumerate(sent, 1)]
