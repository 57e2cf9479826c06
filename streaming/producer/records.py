"""What the producer writes: the frame as it came; headers say when, over which connection, and its number.

Lives here: building of records, as pure functions. Doesn't: sending (``broker``), counting (``link``).
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tidemark import naming
from tidemark.exchanges import connection
from tidemark.exchanges.base import Exchange
from tidemark.exchanges.connection import ConnectionRecord

SYSTEM: Final = "system"
#: A larger frame would not fit the broker's limit of 1 MiB with its headers.
LARGEST_FRAME: Final = 900 * 1024
#: How much is kept of a frame that is too large.
KEPT_OF_OVERSIZED: Final = 64 * 1024

Headers = list[tuple[str, str | bytes | None]]


@dataclass(frozen=True, slots=True)
class Record:
    """One Kafka record, ready to send; ``timestamp_ms`` is when its content reached us."""

    topic: str
    key: bytes
    value: bytes
    timestamp_ms: int
    headers: Headers

    @property
    def size(self) -> int:
        """Bytes of it as memory and broker hold it, about."""
        return len(self.value) + len(self.key) + 256


@dataclass(frozen=True, slots=True)
class Framing:
    """Turns the frames of one connection into records."""

    exchange: Exchange
    connection: str

    def record(self, frame: bytes, number: int, received_ns: int) -> tuple[Record, str, str]:
        """The record of frame ``number`` (from 1), and the dataset and market code it was recognised as.

        What is no market data goes to the topic of the system, and so does the beginning of a frame that is
        too large.
        """
        dataset, code = self.exchange.classify(frame)
        headers: Headers = [
            ("received_ns", str(received_ns).encode()),
            ("connection", self.connection.encode()),
            ("frame", str(number).encode()),
        ]
        topic, key = dataset, code
        if len(frame) > LARGEST_FRAME:
            headers += _oversized(frame, dataset)
            frame, topic = frame[:KEPT_OF_OVERSIZED], SYSTEM
        if topic == SYSTEM:
            key = self.connection
        name = naming.raw_topic(self.exchange.name, topic)
        return Record(name, key.encode(), frame, received_ns // 1_000_000, headers), dataset, code


def connection_record(record: ConnectionRecord) -> Record:
    """The record that says a connection was opened or closed. It carries no frame number."""
    at = record.closed_at or record.opened_at
    headers: Headers = [
        ("received_ns", str(unix_ns(at)).encode()),
        ("connection", record.connection.encode()),
        ("kind", record.kind.encode()),
    ]
    topic = naming.raw_topic(record.exchange, SYSTEM)
    return Record(topic, record.connection.encode(), record.encode(), unix_ns(at) // 1_000_000, headers)


def unix_ns(at: datetime) -> int:
    """Nanoseconds since 1970 of a time, exactly to its microsecond."""
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000


class ConnectionNames:
    """Names for connections, never given before: worker, start of the run, counter."""

    def __init__(self, worker: str) -> None:
        self._prefix = f"{worker}-{datetime.fromtimestamp(time.time(), UTC):%Y%m%dT%H%M%S%f}"
        self._count = 0

    def next(self) -> str:
        """A new name."""
        self._count += 1
        return f"{self._prefix}-{self._count}"


def _oversized(frame: bytes, dataset: str) -> Headers:
    return [
        ("kind", connection.OVERSIZED.encode()),
        ("length", str(len(frame)).encode()),
        ("sha256", hashlib.sha256(frame).hexdigest().encode()),
        ("dataset", dataset.encode()),
    ]
