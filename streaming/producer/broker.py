"""Delivery to Kafka: idempotent, in order, counted, in bounded memory; nothing is dropped silently.

Lives here: the wrapper around librdkafka's producer. Doesn't: what records hold (``records``).

A record is waited for as long as the broker needs (no time-out): an outage fills the buffer, the full buffer
holds the gate, and the sockets are left unread. A record that the broker refuses for good is a failure of the
whole worker.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streaming.producer.gate import Gate
from streaming.producer.records import Record
from tidemark.settings import KafkaSettings

log = structlog.get_logger()

_HOLDER: Final = "the broker is behind"
_BUSY_S: Final = 0.01
_IDLE_S: Final = 0.1

Delivered = Callable[[str, int, int | None, int], None]


class Broker:
    """Sends records and keeps count of those on their way.

    ``failed`` is set when a record could not be delivered for good. ``on_sent(topic, size)`` and
    ``on_delivered(topic, partition, offset, size)`` are called for every record; the offset is None where the
    broker found a repeated batch to be there already.
    """

    def __init__(self, settings: KafkaSettings, client_id: str, gate: Gate, max_buffer_bytes: int) -> None:
        self._gate = gate
        self._max_bytes = max_buffer_bytes
        self._waiting: deque[Record] = deque()
        self.in_flight_bytes = 0
        self.in_flight = 0
        self.delivered = 0
        self.failures = 0
        self.failed = asyncio.Event()
        self.on_sent: Callable[[str, int], None] = lambda topic, size: None
        self.on_delivered: Delivered = lambda topic, partition, offset, size: None
        self._producer = Producer(
            _configuration(settings, client_id, max_buffer_bytes, self._error),
            logger=logging.getLogger("librdkafka"),
        )

    def send(self, record: Record) -> None:
        """Take a record; it will be delivered, or ``failed`` be set. Never blocks, never raises."""
        self.in_flight += 1
        self.in_flight_bytes += record.size
        self.on_sent(record.topic, record.size)
        if self._waiting or not self._produce(record):
            self._waiting.append(record)
        if self.in_flight_bytes >= self._max_bytes:
            self._gate.hold(_HOLDER)

    def missing(self, topics: Collection[str], timeout_s: float) -> list[str]:
        """Which of these topics the cluster doesn't have. Blocks.

        Raises:
            KafkaException: the cluster did not answer in time.
        """
        there = self._producer.list_topics(timeout=timeout_s).topics
        return sorted(set(topics) - set(there))

    async def pump(self) -> None:
        """Serve deliveries until cancelled."""
        while True:
            self._serve()
            await asyncio.sleep(_BUSY_S if self.in_flight else _IDLE_S)

    async def drain(self, timeout_s: float) -> bool:
        """Wait until nothing is on its way; False when that took longer than ``timeout_s``."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while self.in_flight and asyncio.get_running_loop().time() < deadline:
            self._serve()
            await asyncio.sleep(_BUSY_S)
        return not self.in_flight

    def abandon(self) -> None:
        """Give up what is on its way, so that the process can end."""
        self._producer.purge()

    def _serve(self) -> None:
        self._producer.poll(0)
        while self._waiting and self._produce(self._waiting[0]):
            self._waiting.popleft()
        if self.in_flight_bytes <= self._max_bytes // 2:
            self._gate.release(_HOLDER)

    def _produce(self, record: Record) -> bool:
        """Hand a record to librdkafka; False when its own queue is full."""
        try:
            self._producer.produce(
                record.topic,
                value=record.value,
                key=record.key or None,
                headers=record.headers,
                timestamp=record.timestamp_ms,
                on_delivery=partial(self._done, record.topic, record.size),
            )
        except BufferError:
            return False
        except KafkaException as error:
            self._done(record.topic, record.size, error.args[0], None)
        return True

    def _done(self, topic: str, size: int, error: KafkaError | None, message: Message | None) -> None:
        self.in_flight -= 1
        self.in_flight_bytes -= size
        if error is not None:
            self.failures += 1
            if not self.failed.is_set():
                log.error("record not delivered", topic=topic, bytes=size, error=str(error))
            self.failed.set()
        elif message is not None:
            self.delivered += 1
            self.on_delivered(topic, message.partition() or 0, message.offset(), size)

    def _error(self, error: KafkaError) -> None:
        """What librdkafka says beside deliveries: outages pass, a fatal error doesn't."""
        if error.fatal():
            log.error("broker failed for good", error=str(error))
            self.failed.set()
        else:
            log.warning("broker trouble", error=str(error))


def _configuration(
    settings: KafkaSettings, client_id: str, max_buffer_bytes: int, on_error: Callable[[KafkaError], None]
) -> dict[str, Any]:
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": client_id,
        "enable.idempotence": True,
        "acks": "all",
        # One request at a time. With more, a partition that was just made (or moved) may refuse the first batch
        # and take the second: then the first never gets in, and librdkafka reports it as delivered.
        "max.in.flight.requests.per.connection": 1,
        "compression.type": "lz4",
        "linger.ms": 5,
        "partitioner": "murmur2_random",
        "message.max.bytes": 1_048_576,
        "message.timeout.ms": 0,
        # The bound is ours (in_flight_bytes); librdkafka's own stands well behind it.
        "queue.buffering.max.messages": 0,
        "queue.buffering.max.kbytes": max(65_536, 4 * max_buffer_bytes // 1024),
        "reconnect.backoff.max.ms": 2_000,
        "socket.keepalive.enable": True,
        "error_cb": on_error,
    }
