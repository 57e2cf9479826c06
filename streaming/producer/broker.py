"""Delivery to Kafka: idempotent, in order, counted, in bounded memory; nothing is dropped silently.

Lives here: the wrapper around librdkafka's producer. Doesn't: what records hold (``records``).

A record is waited for as long as the broker needs (no time-out): an outage fills librdkafka's queue, the full queue
holds the gate, and the sockets are left unread. A record that the broker refuses for good is a failure of the whole
worker.

Deliveries are counted without a call per record: librdkafka reports failures only, and knows how many records it has
not been rid of. What was taken, less those, less the failures, has been delivered.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streaming.producer import statistics
from streaming.producer.gate import Gate
from streaming.producer.pace import Pace
from streaming.producer.records import Headers, Record
from tidemark.settings import KafkaSettings

log = structlog.get_logger()

_HOLDER: Final = "the broker is behind"
_BUSY_S: Final = 0.005
_IDLE_S: Final = 0.1
_STATISTICS_MS: Final = 1_000
_ANY_PARTITION: Final = -1
#: What a record takes beside its value (key, headers, librdkafka's own); so many a byte of the buffer fit at most.
_SMALLEST_BYTES: Final = 1024


class Broker:
    """Sends records and keeps count of those on their way.

    ``failed`` is set when a record could not be delivered for good. ``pace``, where there is one, is told of every
    record that is sent and delivered. ``on_latency(seconds, count)`` is called once a second, some times: so many
    records took so long from here into the broker's log.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        client_id: str,
        gate: Gate,
        max_buffer_bytes: int,
        linger_ms: float,
        pace: Pace | None = None,
    ) -> None:
        self._gate = gate
        self._pace = pace
        self._most = max_buffer_bytes // _SMALLEST_BYTES
        self._max_bytes = max_buffer_bytes
        self._waiting: deque[Record] = deque()
        self._release_at: int | None = None
        self._marks: deque[tuple[int, float]] = deque()
        self.taken = 0
        self.failures = 0
        self.failed = asyncio.Event()
        #: Bytes of values in librdkafka's queue, up to a second ago.
        self.buffered_bytes = 0
        #: The longest way to the broker since somebody set this to zero, in seconds.
        self.slowest_s = 0.0
        self.on_latency: Callable[[float, int], None] = lambda seconds, count: None
        #: Called each time that deliveries were looked at: the work loop turns.
        self.on_turn: Callable[[], None] = lambda: None
        self._producer = Producer(
            {
                **_configuration(settings, client_id, linger_ms),
                "queue.buffering.max.messages": self._most,
                "queue.buffering.max.kbytes": max_buffer_bytes // 1024,
                "delivery.report.only.error": pace is None,
                "error_cb": self._error,
                "stats_cb": self._statistics,
            },
            logger=logging.getLogger("librdkafka"),
        )
        self._produce: Callable[..., None] = self._producer.produce
        # Bound once: librdkafka keeps it with every record, and the collector would look at as many copies.
        self._on_report = self._report

    @property
    def in_flight(self) -> int:
        """Records taken and not delivered."""
        return len(self._producer) + len(self._waiting)

    @property
    def delivered(self) -> int:
        """Records that are in the broker's log."""
        return self.taken - self.in_flight - self.failures

    @property
    def fill(self) -> float:
        """How full the buffer is: 0 empty, 1 full (then sockets are left unread)."""
        return max(len(self._producer) / self._most, self.buffered_bytes / self._max_bytes)

    def send(self, topic: str, key: bytes | None, value: bytes, timestamp_ms: int, headers: Headers) -> None:
        """Take a record; it will be delivered, or ``failed`` be set. Never blocks, never raises.

        The headers are copied: the caller may write the next record's into the same dictionary.
        """
        self.taken += 1
        if self._pace is not None:
            self._pace.sent(topic, Pace.size(key, value))
        if self._waiting:
            self._waiting.append(Record(topic, key, value, timestamp_ms, headers.copy()))
            return
        try:
            # All by position: this is the hot path, and keywords cost a tenth of it.
            self._produce(topic, value, key, _ANY_PARTITION, self._on_report, None, timestamp_ms, headers)
        except BufferError:
            self._full(Record(topic, key, value, timestamp_ms, headers.copy()))
        except KafkaException as error:
            self._not_delivered(topic, len(value), error.args[0])

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
            self.on_turn()
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
        while self._waiting and self._again(self._waiting[0]):
            self._waiting.popleft()
        in_flight = self.in_flight
        if self._release_at is not None and in_flight <= self._release_at:
            self._release_at = None
            self._gate.release(_HOLDER)
        self._time(in_flight)

    def _time(self, in_flight: int) -> None:
        now = time.monotonic()
        delivered = self.taken - in_flight
        while self._marks and self._marks[0][0] <= delivered:
            seconds = now - self._marks.popleft()[1]
            self.slowest_s = max(self.slowest_s, seconds)
        if in_flight and (not self._marks or self._marks[-1][0] < self.taken):
            self._marks.append((self.taken, now))

    def _again(self, record: Record) -> bool:
        """Hand a record that waited to librdkafka; False when its queue is still full."""
        topic, key, value, timestamp_ms, headers = record
        try:
            self._produce(topic, value, key, _ANY_PARTITION, self._on_report, None, timestamp_ms, headers)
        except BufferError:
            return False
        except KafkaException as error:
            self._not_delivered(topic, len(value), error.args[0])
        return True

    def _full(self, record: Record) -> None:
        """Keep a record until there is room, and leave the sockets unread until half of the queue is gone."""
        self._waiting.append(record)
        if self._release_at is None:
            self._release_at = len(self._producer) // 2
            self._gate.hold(_HOLDER)

    def _report(self, error: KafkaError | None, message: Message) -> None:
        """The library's word on one record: a failure, or (only where there is a pace) its delivery."""
        topic, size = message.topic() or "", len(message)
        if error is not None:
            self._not_delivered(topic, size, error)
        elif self._pace is not None:
            size = Pace.size(message.key(), message.value() or b"")
            self._pace.delivered(topic, message.partition() or 0, message.offset(), size)

    def _not_delivered(self, topic: str, size: int, error: KafkaError) -> None:
        self.failures += 1
        if not self.failed.is_set():
            log.error("record not delivered", topic=topic, bytes=size, error=str(error))
        self.failed.set()

    def _error(self, error: KafkaError) -> None:
        """What librdkafka says beside deliveries: outages pass, a fatal error doesn't."""
        if error.fatal():
            log.error("broker failed for good", error=str(error))
            self.failed.set()
        else:
            log.warning("broker trouble", error=str(error))

    def _statistics(self, text: str) -> None:
        found = statistics.read(text)
        self.buffered_bytes = found.msg_size
        for seconds, count in found.latencies():
            self.on_latency(seconds, count)


def _configuration(settings: KafkaSettings, client_id: str, linger_ms: float) -> dict[str, Any]:
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": client_id,
        "enable.idempotence": True,
        "acks": "all",
        # One request at a time. With more, a partition that was just made (or moved) may refuse the first batch
        # and take the second: then the first never gets in, and librdkafka reports it as delivered.
        "max.in.flight.requests.per.connection": 1,
        "compression.type": "lz4",
        "linger.ms": linger_ms,
        "partitioner": "murmur2_random",
        "message.max.bytes": 1_048_576,
        "message.timeout.ms": 0,
        "reconnect.backoff.max.ms": 2_000,
        "socket.keepalive.enable": True,
        "socket.nagle.disable": True,
        "statistics.interval.ms": _STATISTICS_MS,
    }
