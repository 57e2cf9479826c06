"""What the producer writes: the frame as it came; headers say when, over which connection, and its number.

Lives here: building of records, as pure functions. Doesn't: sending (``broker``), counting (``link``).
"""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from typing import Final, NamedTuple

from tidemark import naming
from tidemark.exchanges import connection
from tidemark.exchanges.connection import ConnectionRecord

SYSTEM: Final = "system"
#: A larger frame would not fit the broker's limit of 1 MiB with its headers.
LARGEST_FRAME: Final = 900 * 1024
#: How much is kept of a frame that is too large.
KEPT_OF_OVERSIZED: Final = 64 * 1024

Headers = dict[str, bytes]


class Record(NamedTuple):
    """One Kafka record, ready to send; ``timestamp_ms`` is when its content reached us. No key: any partition."""

    topic: str
    key: bytes | None
    value: bytes
    timestamp_ms: int
    headers: Headers


def frame_headers(connection_name: str) -> Headers:
    """The headers of every frame of a connection; what differs from frame to frame is written over and over."""
    return {"received_ns": b"", "connection": connection_name.encode(), "frame": b""}


def oversized(exchange: str, frame: bytes, dataset: str, headers: Headers, received_ns: int) -> Record:
    """The record of a frame too large for one: its beginning, in the topic of the system."""
    more: Headers = {
        "kind": connection.OVERSIZED.encode(),
        "length": str(len(frame)).encode(),
        "sha256": hashlib.sha256(frame).hexdigest().encode(),
        "dataset": dataset.encode(),
    }
    topic = naming.raw_topic(exchange, SYSTEM)
    return Record(topic, headers["connection"], frame[:KEPT_OF_OVERSIZED], received_ns // 1_000_000, headers | more)


def connection_record(record: ConnectionRecord) -> Record:
    """The record of a connection that was opened, is alive or was closed. It carries no frame number."""
    at = record.closed_at or record.alive_at or record.opened_at
    name = record.connection.encode()
    headers: Headers = {
        "received_ns": str(unix_ns(at)).encode(),
        "connection": name,
        "kind": record.kind.encode(),
    }
    topic = naming.raw_topic(record.exchange, SYSTEM)
    return Record(topic, name, record.encode(), unix_ns(at) // 1_000_000, headers)


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
