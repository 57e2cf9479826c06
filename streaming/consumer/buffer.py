"""What one partition has gathered since its last object: rows, dead letters, and the account of every offset.

Lives here: gathering records and sealing them into the bytes of one object. Doesn't: when to seal and where to
write (``writer``), decoding (``columns``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

import pyarrow as pa

from streaming.consumer import quality, records
from streaming.consumer.columns import Columns, DeadLetter
from streaming.consumer.frame_sums import FrameSums
from streaming.consumer.records import Batch, Record
from tidemark.lake import parquet
from tidemark.lake.chain import Chain
from tidemark.lake.parquet import Footer

#: Records that are decoded at once: enough for the column, few enough for the processor's cache.
_PACK_RECORDS: Final = 4_000
_PACK_BYTES: Final = 4 * 1024 * 1024


class Buffer:
    """The offsets from ``start`` on; each record must be the next one. ``now`` is a monotonic clock, seconds.

    ``rows`` and ``dead`` lag behind by what has not been decoded yet; sealing catches up. ``bytes`` are those that it
    takes in memory: a book is twice as large in columns as it was as a frame.
    """

    def __init__(self, chain: Chain, columns: Columns, start: int, now: Callable[[], float]) -> None:
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
        self._columns = columns
        self._now = now
        self._pending: list[Batch] = []
        self._pending_records = 0
        self._pending_bytes = 0
        self._batches: list[pa.RecordBatch] = []
        self._ignored = 0
        self._frames = FrameSums()
        self._received: list[int] = []
        self._last: Record | None = None

    def __len__(self) -> int:
        return self.next - self.start

    def add(self, record: Record) -> None:
        """Take in the next record."""
        self.extend(records.of_records([record]))

    def extend(self, batch: Batch) -> None:
        """Take in the next records. The buffer owns the batch from then on."""
        if batch.start != self.next:
            raise ValueError(f"{self._chain}: offset {batch.start} is not the next one, {self.next} is")
        if self.since is None:
            self.since = self._now()
            self.oldest_ns = int(batch.received_ns[0])
        self.next += len(batch)
        self.bytes += batch.size
        self._pending.append(batch)
        self._pending_records += len(batch)
        self._pending_bytes += batch.size
        if self._pending_records >= _PACK_RECORDS or self._pending_bytes >= _PACK_BYTES:
            self._pack()

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
            frames=self._frames.sums(),
            received_min=min(self._received, default=None),
            received_max=max(self._received, default=None),
            quality=quality.count(self._columns.contract, self._batches),
        )  # fmt: skip
        return footer, parquet.encode(self._columns.contract, self._batches, footer)

    def _pack(self) -> None:
        """Decode what is pending."""
        if not self._pending:
            return
        batch = records.together(self._pending)
        gathered = self._columns.decode(batch)
        self._last = batch.record(len(batch) - 1)
        self._frames.add(batch)
        self._pending, self._pending_records, self._pending_bytes = [], 0, 0
        self.bytes += gathered.rows.nbytes - batch.size
        if gathered.dead:
            self.dead += gathered.dead
            self.dead_sent = False
        self._ignored += gathered.ignored
        if gathered.rows.num_rows:
            self.rows += gathered.rows.num_rows
            self._batches.append(gathered.rows)
            received = gathered.received_ns
            self._received = [min([*self._received, int(received.min())]), max([*self._received, int(received.max())])]
