"""What one record of a raw topic carries: the frame, and where and when it was received.

Lives here: reading a Kafka message into plain values. Doesn't: parsing the frame (``decode``).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tidemark.lake import chain

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR_NS: Final = 3_600 * 1_000_000_000
_LATEST_NS: Final = 2**63 - 1
#: Roughly what a record costs beside its key, value and headers.
_OVERHEAD: Final = 100

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Record:
    """One record. ``received_ns`` is Unix nanoseconds: the header's, else the record's own timestamp."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes
    headers: Headers = ()
    received_ns: int = 0
    connection: str | None = None
    frame_no: int | None = None
    kind: str | None = None
    size: int = field(default=0)

    @property
    def received_at(self) -> datetime:
        """When it reached us, UTC, microseconds."""
        return _EPOCH + timedelta(microseconds=self.received_ns // 1_000)

    @property
    def hour(self) -> int:
        """Start of the hour in which it reached us, Unix seconds."""
        return self.received_ns // _HOUR_NS * 3_600

    @property
    def fingerprint(self) -> str:
        """What recognises it in the log."""
        return chain.fingerprint(self.offset, self.timestamp_ms, self.key, self.value)


def from_message(message: Any) -> Record:
    """The record that a message of confluent-kafka is."""
    return make(
        message.offset(),
        message.timestamp()[1],
        message.key(),
        message.value(),
        tuple(message.headers() or ()),
    )


def make(offset: int, timestamp_ms: int, key: bytes | None, value: bytes | None, headers: Headers) -> Record:
    """A record from its parts. A header that can't be read counts as absent: no header may stop the sink."""
    value = value or b""
    named = dict(headers)
    return Record(
        offset,
        timestamp_ms,
        key,
        value,
        headers,
        received_ns=_whole(named.get("received_ns")) or max(timestamp_ms, 0) * 1_000_000,
        connection=_text(named.get("connection")),
        frame_no=_whole(named.get("frame")),
        kind=_text(named.get("kind")),
        size=len(value) + len(key or b"") + sum(len(n) + len(v or b"") for n, v in headers) + _OVERHEAD,
    )


def _whole(header: bytes | None) -> int | None:
    """A whole number from 1 to the largest that 64 bits hold, or None."""
    with contextlib.suppress(ValueError):
        number = int(header or b"", 10)
        return number if 0 < number <= _LATEST_NS else None
    return None


def _text(header: bytes | None) -> str | None:
    return None if header is None else header.decode("utf-8", "backslashreplace")
