"""A producer as Prometheus, probes and systemd see it: the figures are those of the broker, and health is the truth."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from confluent_kafka.admin import AdminClient
from prometheus_client.registry import Collector

from streaming.health import Health
from streaming.metrics import Server
from streaming.notify import ServiceManager
from streaming.producer import app
from streaming.producer.metrics import ProducerCollector
from tests.exchanges.upbit import samples
from tests.integration.producer.conftest import make_topics
from tests.integration.producer.exchange import Client, ScriptedExchange, fast, read
from tests.integration.producer.test_frames import topics, until
from tidemark import naming
from tidemark.exchanges import registry
from tidemark.settings import PROJECT_ROOT, KafkaSettings, ProducerSettings


class Listener:
    """The end of the notify socket that systemd would hold, read in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self.said: list[tuple[float, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.settimeout(0.1)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def words(self, since: float = 0.0) -> list[str]:
        return [word for at, word in list(self.said) if at >= since]

    def close(self) -> None:
        self._end.set()
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while not self._end.is_set():
            try:
                text = self._socket.recv(4096).decode()
            except TimeoutError:
                continue
            self.said += [(time.monotonic(), word) for word in text.split("\n")]


def setup(bootstrap: str, exchange: ScriptedExchange, name: str) -> app.Setup:
    producer = ProducerSettings(worker="w", reconnect_min_s=0.05, reconnect_max_s=0.2, ack_timeout_s=1.0)
    return app.Setup(
        {name: exchange.settings(datasets=("trade",))},
        KafkaSettings(bootstrap_servers=bootstrap),
        producer,
        naming.SINK_GROUP,
    )


def collector(worker: app.Worker) -> Collector:
    return ProducerCollector(worker.counts, worker.book_counts, worker.broker, worker.gate, worker.latency)


def figures(worker: app.Worker) -> dict[str, float]:
    """Every sample, by name and labels."""
    return {
        s.name + "".join(f"{{{v}}}" for k, v in sorted(s.labels.items()) if k != "exchange"): s.value
        for family in collector(worker).collect()
        for s in family.samples
    }


async def trades(client: Client, count: int = 300) -> None:
    for number in range(count):
        await client.send(samples.TRADE.replace(b"17898744375740003", b"%d" % number))
    while True:  # and one now and then, so that the exchange is not silent
        await asyncio.sleep(0.2)
        await client.send(samples.TRADE)


async def running(worker: app.Worker, stop: asyncio.Event, scene: Callable[[], Awaitable[None]]) -> int:
    """The worker beside a scene; its exit code."""
    task = asyncio.create_task(worker.run())
    try:
        await scene()
    finally:
        stop.set()
        code = await asyncio.wait_for(task, 30)
    return code


def test_its_figures_are_those_of_the_broker(own_topics: str, kafka_bootstrap: str) -> None:
    async def scene() -> tuple[dict[str, float], dict[str, float]]:
        async with ScriptedExchange(trades).running() as exchange:
            stop = asyncio.Event()
            worker = app.Worker(setup(kafka_bootstrap, exchange, own_topics), stop)
            during: dict[str, float] = {}

            async def look() -> None:
                await until(lambda: worker.counts[own_topics].frames > 300)
                await until(lambda: worker.counts[own_topics].newest_ns > 0)
                await until(lambda: worker.latency.count >= 300)  # the client library tells it once a second
                during.update(figures(worker))

            assert await running(worker, stop, look) == 0
            return during, figures(worker)

    during, after = asyncio.run(scene())
    messages = read(kafka_bootstrap, topics(own_topics))
    data = [m for m in messages if ".trade." in str(m.topic())]
    assert after["tidemark_producer_frames_total{trade}"] == len(data)
    assert after["tidemark_producer_received_bytes_total{trade}"] == sum(len(m.value() or b"") for m in data)
    assert after["tidemark_producer_delivered_records_total"] == len(messages)
    assert after["tidemark_producer_buffer_records"] == after["tidemark_producer_undeliverable_records_total"] == 0
    assert after["tidemark_producer_connections_ended_total{stopped}"] == 1
    assert (during["tidemark_producer_connections"], after["tidemark_producer_connections"]) == (1, 0)
    assert during["tidemark_producer_connections_planned"] == 1
    assert during["tidemark_producer_delivery_seconds_count"] >= 300  # what was sent twice was timed twice
    assert (
        during["tidemark_producer_delivery_seconds_bucket{2.5}"] == during["tidemark_producer_delivery_seconds_count"]
    )
    assert abs(during["tidemark_producer_last_frame_timestamp_seconds"] - time.time()) < 120


def test_ready_when_it_delivers_fed_while_the_loop_turns_and_not_when_it_hangs(
    own_topics: str, kafka_bootstrap: str, tmp_path: Path
) -> None:
    listener = Listener(tmp_path / "notify")
    probed: list[tuple[int, dict[str, Any]]] = []

    async def scene() -> None:
        async with ScriptedExchange(trades).running() as exchange:
            stop = asyncio.Event()
            manager = ServiceManager(listener.address, watchdog_s=1.5)
            worker = app.Worker(setup(kafka_bootstrap, exchange, own_topics), stop, manager)
            health = Health("w", worker.pulse, worker.readiness.report, stuck_after_s=1.0)
            server = Server("127.0.0.1", 0, "w", [collector(worker)], health)

            def probe() -> None:
                time.sleep(2.0)
                for path in ("livez", "readyz"):
                    answer = requests.get(f"http://127.0.0.1:{server.port}/{path}", timeout=2)
                    probed.append((answer.status_code, answer.json()))

            async def look() -> None:
                await until(lambda: "READY=1" in listener.words())
                assert worker.counts[own_topics].newest_ns > 0
                assert any(word.startswith("EXTEND_TIMEOUT_USEC=") for word in listener.words())
                begun = time.monotonic()
                await until(lambda: listener.words(begun).count("WATCHDOG=1") >= 3)
                asking = threading.Thread(target=probe)
                asking.start()
                time.sleep(3.0)
                hung = time.monotonic() - 2.5
                assert listener.words(hung) == []
                asking.join()
                await until(lambda: "WATCHDOG=1" in listener.words(hung))

            assert await running(worker, stop, look) == 0
            server.close()

    try:
        asyncio.run(scene())
    finally:
        listener.close()
    assert [status for status, _ in probed] == [503, 503]
    assert "has not turned for" in probed[0][1]["failing"]["loop"]
    assert "STOPPING=1" in listener.words()


def test_without_a_broker_it_is_alive_and_not_ready_and_says_so(tmp_path: Path) -> None:
    listener = Listener(tmp_path / "notify")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TIDEMARK_")} | {
        "TIDEMARK_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:9",
        "TIDEMARK_PLATFORM__EXCHANGES": '["upbit"]',
        "TIDEMARK_PRODUCER__METRICS_PORT": str(port),
        "NOTIFY_SOCKET": listener.address,
    }
    command = [sys.executable, "-m", "streaming.producer"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while "STATUS=broker: no answer from 127.0.0.1:9 yet, or topics are missing" not in "\n".join(listener.words()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        begun = time.monotonic()
        assert requests.get(f"http://127.0.0.1:{port}/livez", timeout=5).status_code == 200
        answer = requests.get(f"http://127.0.0.1:{port}/readyz", timeout=5)
        assert time.monotonic() - begun < 2, "a probe must not wait for the broker"
        assert answer.status_code == 503
        assert "no answer from 127.0.0.1:9" in answer.json()["failing"]["broker"]
        assert "READY=1" not in listener.words()
    finally:
        process.terminate()
        process.wait(30)
        listener.close()


def test_one_exchange_that_is_down_is_said_and_the_other_makes_it_ready(
    own_topics: str, kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = fast(f"{own_topics}down")
    monkeypatch.setitem(registry.EXCHANGES, down.name, down)
    make_topics(kafka_bootstrap, down.name)
    there = AdminClient({"bootstrap.servers": kafka_bootstrap})

    async def scene() -> tuple[dict[str, str], dict[str, str]]:
        async with ScriptedExchange(trades).running() as exchange:
            both = setup(kafka_bootstrap, exchange, own_topics)
            gone = exchange.settings(datasets=("trade",)).model_copy(update={"ws_url": "ws://127.0.0.1:9"})
            both = app.Setup(
                {**both.exchanges, down.name: gone}, both.kafka,
                both.producer.model_copy(update={"breaker_failures": 2}), both.sink_group,
            )  # fmt: skip
            stop = asyncio.Event()
            worker = app.Worker(both, stop)
            found: list[dict[str, str]] = []

            async def look() -> None:
                await until(lambda: worker.counts[down.name].breaker == "open")
                await until(lambda: not worker.readiness.report().failing)
                report = worker.readiness.report()
                found.extend([dict(report.failing), dict(report.degraded)])

            await running(worker, stop, look)
            return found[0], found[1]

    wanted = {t.name for t in naming.topics(down.name, down.datasets)}
    asyncio.run(until(lambda: wanted <= set(there.list_topics(timeout=10).topics)))
    failing, degraded = asyncio.run(scene())
    assert failing == {}
    assert "the breaker is" in degraded[down.name]
