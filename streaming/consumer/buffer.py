"""What one partition has gathered since its last object: rows, dead letters, and the account of every offset.

Lives here: gathering records and sealing them into the bytes of one object. Doesn't: when to seal and where to
write (``writer``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from streaming.consumer.decode import Dead, Decoder
from streaming.consumer.records import Record
from tidemark.contracts import CONTRACTS
from tidemark.exchanges.base import Ignored, Row
from tidemark.lake import parquet
from tidemark.lake.chain import Chain
from tidemark.lake.parquet import Footer, FrameSum

#: Rows kept as Python objects; beyond that they become Arrow, a tenth of the size.
_PACK_ROWS = 2_000
BAD_VALUE = "bad_value"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record and why it is dead."""

    record: Record
    dead: Dead


class Buffer:
    """The offsets from ``start`` on; each record must be the next one. ``now`` is a monotonic clock, seconds."""

    def __init__(self, chain: Chain, decoder: Decoder, start: int, now: Callable[[], float]) -> None:
        self.start = start
        self.next = start
        self.rows = 0
        self.bytes = 0
        self.since: float | None = None
        #: When the first record reached us, Unix nanoseconds.
        self.oldest_ns = 0
        self.dead: list[DeadLetter] = []
        self.dead_sent = False
        self._chain = chain
        self._decoder = decoder
        self._now = now
        self._contract = CONTRACTS[decoder.dataset]
        self._pending: list[tuple[Record, list[Row]]] = []
        self._pending_rows = 0
        self._batches: list[pa.RecordBatch] = []
        self._ignored = 0
        self._frames: dict[tuple[str, int], list[int]] = {}
        self._received: list[int] = []
        self._last: Record | None = None

    def __len__(self) -> int:
        return self.next - self.start

    def add(self, record: Record) -> None:
        """Take in the next record."""
        if record.offset != self.next:
            raise ValueError(f"{self._chain}: offset {record.offset} is not the next one, {self.next} is")
        if self.since is None:
            self.since = self._now()
            self.oldest_ns = record.received_ns
        self.next += 1
        self.bytes += record.size
        self._last = record
        self._count_frame(record)
        outcome = self._decoder.decode(record)
        if isinstance(outcome, Dead):
            self._bury(record, outcome)
        elif isinstance(outcome, Ignored):
            self._ignored += 1
        else:
            self._keep(record, outcome)

    def seal(self) -> tuple[Footer, bytes]:
        """The object that accounts for everything gathered. Nothing is lost by sealing: it may be done again."""
        self._pack()
        if self._last is None:
            raise ValueError(f"{self._chain}: there is nothing to seal")
        c = self._chain
        footer = Footer(
            c.topic, c.partition, c.cluster, c.epoch, self.start, self.next - 1,
            rows=self.rows,
            parsed=len(self) - len(self.dead) - self._ignored,
            dead=len(self.dead),
            ignored=self._ignored,
            fingerprint=self._last.fingerprint,
            dead_reasons=dict(sorted(Counter(letter.dead.reason for letter in self.dead).items())),
            frames=tuple(FrameSum(name, hour, *sums) for (name, hour), sums in sorted(self._frames.items())),
            received_min=min(self._received, default=None),
            received_max=max(self._received, default=None),
        )  # fmt: skip
        return footer, parquet.encode(self._contract, self._batches, footer)

    def _keep(self, record: Record, rows: list[Row]) -> None:
        self._pending.append((record, rows))
        self._pending_rows += len(rows)
        self.rows += len(rows)
        if self._pending_rows >= _PACK_ROWS:
            self._pack()

    def _bury(self, record: Record, dead: Dead) -> None:
        self.dead.append(DeadLetter(record, dead))
        self.dead_sent = False

    def _pack(self) -> None:
        """Turn rows into Arrow. A value that no column can hold makes its record a dead letter, and only that."""
        if not self._pending:
            return
        try:
            batch = parquet.to_batch(self._contract, [row for _, rows in self._pending for row in rows])
        except parquet.VALUE_ERRORS:
            self._pending = [(record, rows) for record, rows in self._pending if self._fits(record, rows)]
            batch = parquet.to_batch(self._contract, [row for _, rows in self._pending for row in rows])
        if batch.num_rows:
            self._batches.append(batch)
            received = [record.received_ns for record, rows in self._pending if rows]
            self._received = [min([*self._received, *received]), max([*self._received, *received])]
        self._pending, self._pending_rows = [], 0

    def _fits(self, record: Record, rows: list[Row]) -> bool:
        try:
            parquet.to_batch(self._contract, rows)
        except parquet.VALUE_ERRORS as error:
            self.rows -= len(rows)
            self._bury(record, Dead(BAD_VALUE, str(error)))
            return False
        return True

    def _count_frame(self, record: Record) -> None:
        if record.frame_no is None or record.connection is None:
            return
        n = record.frame_no
        sums = self._frames.setdefault((record.connection, record.hour), [0, n, n, 0])
        sums[:] = [sums[0] + 1, min(sums[1], n), max(sums[2], n), sums[3] + n]
