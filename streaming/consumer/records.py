"""What the records of a raw topic carry: the frame, and where and when it was received.

Lives here: reading Kafka messages into plain values, one (``Record``) or many of a partition by the column (``Batch``).
Doesn't: parsing frames (``decode``, ``columns``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain as chained
from operator import methodcaller
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tidemark.lake import chain

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR_NS: Final = 3_600 * 1_000_000_000
_LATEST_NS: Final = 2**63 - 1
#: Roughly what a record costs beside its key, value and headers.
_OVERHEAD: Final = 100
#: And with them, beside its value.
_USUAL_OVERHEAD: Final = 200
#: What the producer writes, in its order; records with other headers are read one by one.
_USUAL_HEADERS: Final = ["received_ns", "connection", "frame"]

#: These go through many objects without a step of Python for each.
_OFFSET, _VALUE, _HEADERS = methodcaller("offset"), methodcaller("value"), methodcaller("headers")

Ints = npt.NDArray[np.int64]
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


@dataclass(slots=True)
class Batch:
    """Records of one partition, offset after offset, by the column.

    ``frame_nos`` are 0 where a record has none. ``special`` are the places of records that are no frame (they have a
    kind). ``sources`` are the messages or records that it was made of.
    """

    start: int
    values: list[bytes]
    received_ns: Ints
    connections: list[str | None]
    frame_nos: Ints
    special: list[int]
    size: int
    sources: list[Any]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def latest_hour(self) -> int:
        """Start of the latest hour in which one reached us, Unix seconds."""
        return int(self.received_ns.max()) // _HOUR_NS * 3_600

    @property
    def earliest_hour(self) -> int:
        """Start of the earliest hour in which one reached us, Unix seconds."""
        return int(self.received_ns.min()) // _HOUR_NS * 3_600

    def record(self, place: int) -> Record:
        """One of them by itself."""
        source = self.sources[place]
        return source if isinstance(source, Record) else from_message(source)


def together(batches: Sequence[Batch]) -> Batch:
    """Batches that follow one another as one."""
    if len(batches) == 1:
        return batches[0]
    starts = np.cumsum([0, *map(len, batches)]).tolist()
    return Batch(
        batches[0].start,
        _all(batch.values for batch in batches),
        np.concatenate([batch.received_ns for batch in batches]),
        _all(batch.connections for batch in batches),
        np.concatenate([batch.frame_nos for batch in batches]),
        special=[start + place for start, batch in zip(starts, batches, strict=False) for place in batch.special],
        size=sum(batch.size for batch in batches),
        sources=_all(batch.sources for batch in batches),
    )


def _all(lists: Iterable[list[Any]]) -> list[Any]:
    """One list of many."""
    found: list[Any] = []
    for one in lists:
        found += one
    return found


def of_messages(messages: Sequence[Any]) -> Batch | None:
    """The batch of a partition's messages; None where an offset is missing between two of them."""
    offsets = list(map(_OFFSET, messages))
    start = offsets[0]
    if offsets != list(range(start, start + len(offsets))):
        return None
    try:
        return _usual(start, messages)
    except (ValueError, TypeError):
        return of_records([from_message(message) for message in messages])


def _usual(start: int, messages: Sequence[Any]) -> Batch:
    """The batch of messages whose headers are the usual ones.

    Raises:
        ValueError, TypeError: some are not, or can't be read.
    """
    headers = list(map(_HEADERS, messages))
    flat = list(chained.from_iterable(chained.from_iterable(headers)))
    if set(map(len, headers)) != {len(_USUAL_HEADERS)} or flat[0::2] != _USUAL_HEADERS * len(messages):
        raise ValueError("other headers")
    connections = flat[3::6]
    values = list(map(_VALUE, messages))
    if None in values:
        values = [value or b"" for value in values]
    texts = {name: _text(name) for name in set(connections)}
    return Batch(
        start,
        values,
        _wholes(flat[1::6]),
        [texts[name] for name in connections],
        _wholes(flat[5::6]),
        special=[],
        size=sum(map(len, values)) + len(values) * _USUAL_OVERHEAD,
        sources=list(messages),
    )


def _wholes(texts: Sequence[bytes]) -> Ints:
    """Whole numbers as the producer writes them.

    Raises:
        ValueError, TypeError: one is not written so, or counts as absent.
    """
    together = b" ".join(texts)
    if together.translate(None, b"0123456789") != b" " * (len(texts) - 1):
        raise ValueError("more than digits")
    numbers = np.fromstring(together, np.int64, sep=" ")
    # A number too large for 64 bits is read as the largest.
    if len(numbers) != len(texts) or numbers.min() <= 0 or numbers.max() >= _LATEST_NS:
        raise ValueError("a number that counts as absent")
    return numbers


def of_records(records: Sequence[Record]) -> Batch:
    """The batch of records that follow one another."""
    return Batch(
        records[0].offset,
        [record.value for record in records],
        np.asarray([record.received_ns for record in records], np.int64),
        [record.connection for record in records],
        np.asarray([record.frame_no or 0 for record in records], np.int64),
        special=[place for place, record in enumerate(records) if record.kind is not None],
        size=sum(record.size for record in records),
        sources=list(records),
    )


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
