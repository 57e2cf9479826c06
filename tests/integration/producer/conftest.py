"""What the producer's tests share: topics of their own on the run's broker, and a producer in the test."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from streaming.producer import app
from tests.integration.producer.exchange import fast
from tidemark import naming
from tidemark.exchanges import registry
from tidemark.settings import ExchangeSettings, KafkaSettings, ProducerSettings

_numbers = itertools.count(1)


def make_topics(bootstrap: str, exchange: str, config: Mapping[str, str] | None = None) -> None:
    """The exchange's topics, as they are declared."""
    topics = [
        NewTopic(t.name, t.partitions, 1, config={**t.config(), **(config or {})})
        for t in naming.topics(exchange, registry.get("upbit").datasets)
    ]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics(topics).values():
        future.result(30)
    deadline = time.monotonic() + 30  # a broker may answer before it knows of them itself
    while not {topic.topic for topic in topics} <= set(admin.list_topics(timeout=10).topics):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def own_exchange(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an exchange that only this test knows; it speaks as Upbit does."""
    exchange = fast(f"upbit{os.getpid()}x{next(_numbers)}")
    monkeypatch.setitem(registry.EXCHANGES, exchange.name, exchange)
    return exchange.name


@pytest.fixture
def exchange_like(monkeypatch: pytest.MonkeyPatch, kafka_bootstrap: str) -> Callable[..., str]:
    """A function that makes another exchange with its topics, see ``fast``; returns its name."""

    def make(**more: Any) -> str:
        exchange = fast(f"upbit{os.getpid()}x{next(_numbers)}", **more)
        monkeypatch.setitem(registry.EXCHANGES, exchange.name, exchange)
        make_topics(kafka_bootstrap, exchange.name)
        return exchange.name

    return make


@pytest.fixture
def own_topics(own_exchange: str, kafka_bootstrap: str) -> str:
    """The same, with its topics on the run's Kafka."""
    make_topics(kafka_bootstrap, own_exchange)
    return own_exchange


class RunningProducer:
    """A producer in this event loop."""

    def __init__(self, setup: app.Setup) -> None:
        self.stop = asyncio.Event()
        self.worker = app.Worker(setup, self.stop)
        self.task = asyncio.create_task(self.worker.run())

    async def end(self) -> int:
        """Ask it to stop; its exit code."""
        self.stop.set()
        return await asyncio.wait_for(self.task, 30)


Producing = Callable[..., contextlib.AbstractAsyncContextManager[RunningProducer]]


@pytest.fixture
def producing(own_exchange: str) -> Producing:
    """A context that runs a producer on the test's own exchange or ``name``; keywords are settings."""

    @contextlib.asynccontextmanager
    async def run(
        bootstrap: str,
        exchange: ExchangeSettings,
        *,
        name: str = own_exchange,
        codes_per_connection: int = 200,
        memory: bool = False,
        beside: Mapping[str, ExchangeSettings] | None = None,
        **more: Any,
    ) -> AsyncIterator[RunningProducer]:
        settings = {
            "worker": "w",
            "reconnect_min_s": 0.02,
            "reconnect_max_s": 0.1,
            "drain_timeout_s": 10,
            **more,
        }
        setup = app.Setup(
            {**(beside or {}), name: exchange.model_copy(update={"codes_per_connection": codes_per_connection})},
            KafkaSettings(bootstrap_servers=bootstrap, memory=memory),
            ProducerSettings(**settings),
            naming.SINK_GROUP,
        )
        producer = RunningProducer(setup)
        try:
            yield producer
        finally:
            producer.stop.set()
            await asyncio.wait({producer.task}, timeout=30)

    return run
