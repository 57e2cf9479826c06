"""Looking into the broker's log: where a partition begins and ends, and which record lies at an offset.

Lives here: a consumer of its own that belongs to no group, for looks that must not disturb the reading. Doesn't:
reading in order (``worker``).
"""

from __future__ import annotations

import time
from typing import Any, Final, Protocol

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streaming.consumer import records
from streaming.consumer.records import Record
from tidemark.settings import KafkaSettings

_TIMEOUT_S: Final = 10.0


class LogUnavailableError(Exception):
    """The broker did not answer in time; asking again later makes sense."""


class Log(Protocol):
    """What the lake protocol needs to know of a log."""

    def watermarks(self, topic: str, partition: int) -> tuple[int, int]:
        """First offset that the log holds, and the offset that its next record gets."""
        ...

    def record_at(self, topic: str, partition: int, offset: int) -> Record | None:
        """The record at ``offset``; None where the log holds none there."""
        ...


class KafkaLog:
    """The log as the broker shows it (see :class:`Log`). Raises LogUnavailableError."""

    def __init__(self, settings: KafkaSettings, name: str) -> None:
        self._consumer: Any = Consumer(
            {
                "bootstrap.servers": settings.bootstrap_servers,
                "client.id": f"{name}-look",
                "group.id": f"{name}-look",  # the client insists on one; nothing is ever committed
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_uncommitted",
                "fetch.wait.max.ms": 50,
                "queued.max.messages.kbytes": 2_048,
            }
        )

    def watermarks(self, topic: str, partition: int) -> tuple[int, int]:
        """See the interface."""
        try:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_TIMEOUT_S)
        except KafkaException as error:
            raise LogUnavailableError(f"{topic}/{partition}: the broker does not say its offsets: {error}") from error
        return int(low), int(high)

    def record_at(self, topic: str, partition: int, offset: int) -> Record | None:
        """See the interface."""
        low, high = self.watermarks(topic, partition)
        if not low <= offset < high:
            return None
        try:
            self._consumer.assign([TopicPartition(topic, partition, offset)])
            found = self._first(topic, partition)
        except KafkaException as error:
            raise LogUnavailableError(f"{topic}/{partition}: offset {offset} can't be read: {error}") from error
        finally:
            self._consumer.unassign()
        return found if found.offset == offset else None

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    def _first(self, topic: str, partition: int) -> Record:
        deadline = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < deadline:
            message = self._consumer.poll(0.5)
            if message is not None and message.error() is None and message.topic() == topic:
                return records.from_message(message)
        raise LogUnavailableError(f"{topic}/{partition}: the broker did not serve a record within {_TIMEOUT_S:.0f} s")
